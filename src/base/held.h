/*-------------------------------------------------------------------------
 * held.h
 *	  One row of a table of ours, locked and changed at any isolation level.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_HELD_H
#define FLOW_HELD_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "base/look.h"

typedef struct FlowHeldRow
{
	FlowTable  *table;
	TupleDesc	desc;
	HeapTuple	tuple;			/* as it was when it was locked */
} FlowHeldRow;

/*
 * Locks the newest version of the row of that primary key FOR NO KEY UPDATE.
 * What the transaction's snapshot sees does not matter, and no predicate lock is
 * taken, at any isolation level.  LockWaitBlock waits no longer than
 * lock_timeout says.  A row that is changed by somebody at this very moment may
 * be reported as gone, so the caller looks again in another transaction.  Needs
 * an active snapshot; allocates in the current memory context.
 */
extern FlowHold FlowHeldRowLock(FlowTable *table, const Datum *key,
								LockWaitPolicy policy, FlowHeldRow *row);

/* A column of it, from 1; points into the row. */
extern Datum FlowHeldRowDatum(const FlowHeldRow *row, int column, bool *isnull);

/*
 * Gives the row the values of those columns for which replaces is true; the
 * three arrays have an element for each column.
 */
extern void FlowHeldRowUpdate(FlowHeldRow *row, const Datum *values,
							  const bool *nulls, const bool *replaces);

#endif							/* FLOW_HELD_H */
