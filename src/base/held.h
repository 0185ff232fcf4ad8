/*-------------------------------------------------------------------------
 * held.h
 *	  One row of a table of ours, locked and changed without SQL.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_HELD_H
#define FLOW_HELD_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "base/insert.h"
#include "nodes/lockoptions.h"

typedef enum FlowHold
{
	FLOW_HOLD_TAKEN,
	FLOW_HOLD_BUSY,				/* somebody has locked it */
	FLOW_HOLD_GONE				/* not there, or not any more */
} FlowHold;

typedef struct FlowHeldRow
{
	FlowTable  *table;
	TupleDesc	desc;
	HeapTuple	tuple;			/* as it was when it was locked */
} FlowHeldRow;

/*
 * Locks the newest version of the row of that primary key, whose columns are
 * the first n of the table and int4 or int8, FOR NO KEY UPDATE.  What the
 * transaction's snapshot sees does not matter, and no predicate lock is taken,
 * at any isolation level.  LockWaitBlock waits no longer than lock_timeout
 * says.  A row that is changed by somebody at this very moment may be reported
 * as gone, so the caller looks again in another transaction.  Needs an active
 * snapshot; allocates in the current memory context.
 */
extern FlowHold FlowHeldRowLock(FlowTable *table, const Datum *key, int n,
								LockWaitPolicy policy, FlowHeldRow *row);

/* A column of it, from 1; points into the row. */
extern Datum FlowHeldRowDatum(const FlowHeldRow *row, int column, bool *isnull);

/*
 * Gives the row the values of those columns for which replaces is true; the
 * three arrays have an element for each column.
 */
extern void FlowHeldRowUpdate(FlowHeldRow *row, Datum *values, bool *nulls,
							  bool *replaces);

#endif							/* FLOW_HELD_H */
