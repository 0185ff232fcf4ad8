/*-------------------------------------------------------------------------
 * spi.h
 *	  Kept statements on the extension's own tables.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SPI_H
#define FLOW_SPI_H

#include "executor/spi.h"

#define FLOW_STATEMENT_MAX_ARGS	20

/*
 * One fixed statement, written as a static with designated initialisers in
 * catalog/; prepared at its first use in a backend and kept.
 */
typedef struct FlowStatement
{
	const char *sql;
	int			expect;			/* SPI_OK_... it must return */
	int			nargs;
	Oid			argtypes[FLOW_STATEMENT_MAX_ARGS];
	SPIPlanPtr	plan;			/* NULL until first used */
} FlowStatement;

/*
 * Executes a kept statement and returns the number of rows processed; what it
 * returned is in SPI_tuptable, which the caller gives back with
 * SPI_freetuptable() as soon as it has copied what it needs.  nulls is NULL
 * or an array of bool, one per argument.  Must be connected to SPI, raised
 * (FlowIdentityRaise), and in a transaction.  Any result code but the
 * expected one is an error.  The memory context stays what it was.
 */
extern uint64 FlowStatementExecute(FlowStatement *statement, Datum *values,
								   const bool *nulls);

/* The same, reading with the snapshot that is active already. */
extern uint64 FlowStatementRead(FlowStatement *statement, Datum *values,
								const bool *nulls);

/*
 * Columns of a row in SPI_tuptable.  FlowRowText and FlowRowDatum copy into the
 * current memory context; FlowRowText returns NULL for a null.
 */
extern bool FlowRowIsNull(HeapTuple row, int column);
extern int64 FlowRowInt64(HeapTuple row, int column);	/* null: 0 */
extern int32 FlowRowInt32(HeapTuple row, int column);	/* null: 0 */
extern bool FlowRowBool(HeapTuple row, int column); /* null: false */
extern Oid	FlowRowOid(HeapTuple row, int column);	/* null: InvalidOid */
extern char *FlowRowText(HeapTuple row, int column);
extern void FlowRowTid(HeapTuple row, int column, ItemPointerData *tid);
extern Datum FlowRowDatum(HeapTuple row, int column, bool *isnull);

/*
 * Arrays as arguments of multi-row statements: an array of n elements of one
 * of the types int4, int8, text, jsonb, timestamptz, float8, oid, tid, bool.
 * nulls may be NULL.
 */
extern Datum FlowArray(Oid type, const Datum *values, const bool *nulls, int n);

/* A text, or 0 and a null for NULL. */
extern Datum FlowTextOrNull(const char *text, bool *isnull);

#endif							/* FLOW_SPI_H */
