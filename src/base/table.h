/*-------------------------------------------------------------------------
 * table.h
 *	  Insert, update and delete rows of a table of ours, many at a time.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_TABLE_H
#define FLOW_TABLE_H

#include "storage/itemptr.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* A table of schema flow_internal, as a static with its name */
typedef struct FlowTable
{
	const char *name;
	int			columns;		/* that the caller fills; all there are */
	Oid			relid;			/* found at the first use */
	uint32		generation;		/* of the installation it was found in */
	struct FlowTarget *target;	/* kept by target.c; NULL: nothing is */
} FlowTable;

/*
 * Inserts n rows; values and nulls hold the columns of one row after the
 * other, in the order of the table.  The rows are visible to the next
 * statement.  Needs a transaction; asks for no privilege, so whoever calls it
 * has decided that they may be inserted.  A duplicate key is an error.
 */
extern void FlowTableInsert(FlowTable *table, Datum *values, bool *nulls, int n);

/*
 * Gives n rows, which this transaction has locked and which are at these
 * positions, new values in those columns for which replaces is true; values and
 * nulls as above, of which the other columns are not looked at.  Positions must
 * be those of the newest versions, or it is an error.
 */
extern void FlowTableUpdate(FlowTable *table, const ItemPointerData *tids,
							const Datum *values, const bool *nulls,
							const bool *replaces, int n);

/*
 * Deletes n rows that this transaction has locked, by position; those that it
 * has deleted or changed already are left as they are.
 */
extern void FlowTableDelete(FlowTable *table, const ItemPointerData *tids, int n);

/*
 * Opens and locks the table; the caller closes it with table_close.  If the
 * extension is dropped while the lock is waited for, 55000.
 */
extern Relation FlowTableOpen(FlowTable *table, LOCKMODE mode);

/* The OID of the table.  Needs a transaction. */
extern Oid	FlowTableRelid(FlowTable *table);

/* The next value of a sequence of schema flow_internal; needs as little. */
extern int64 FlowTableNextId(FlowTable *sequence);

#endif							/* FLOW_TABLE_H */
