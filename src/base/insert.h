/*-------------------------------------------------------------------------
 * insert.h
 *	  Insert rows into a table of ours, many at a time.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_INSERT_H
#define FLOW_INSERT_H

/* A table of schema flow_internal, as a static with its name */
typedef struct FlowTable
{
	const char *name;
	int			columns;		/* that the caller fills; all there are */
	Oid			relid;			/* found at the first use */
	uint32		generation;		/* of the installation it was found in */
} FlowTable;

/*
 * Inserts n rows; values and nulls hold the columns of one row after the
 * other, in the order of the table.  The rows are visible to the next
 * statement.  Needs a transaction; asks for no privilege, so whoever calls it
 * has decided that they may be inserted.  A duplicate key is an error.
 */
extern void FlowTableInsert(FlowTable *table, Datum *values, bool *nulls, int n);

/* The OID of the table.  Needs a transaction. */
extern Oid	FlowTableRelid(FlowTable *table);

/* The next value of a sequence of schema flow_internal; needs as little. */
extern int64 FlowTableNextId(FlowTable *sequence);

#endif							/* FLOW_INSERT_H */
