/*-------------------------------------------------------------------------
 * held.c
 *	  One row of a table of ours, locked and changed at any isolation level.
 *
 * For transactions at REPEATABLE READ and SERIALIZABLE, in which users' steps
 * run.  A statement of ours there would see the tables as they were when the
 * snapshot was taken, fail when a row has changed since, and at SERIALIZABLE
 * leave predicate locks, which make unrelated runs conflict through our
 * tables.  None of that is true of a look with SnapshotSelf, which is no MVCC
 * snapshot, and of a lock or an update by position.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/held.h"

FlowHold
FlowHeldRowLock(FlowTable *table, const Datum *key, LockWaitPolicy policy,
				FlowHeldRow *row)
{
	FlowHold	hold = FLOW_HOLD_GONE;
	FlowLook	look;

	FlowLookBegin(&look, table, NULL, SnapshotSelf, true);
	if (FlowLookFind(&look, key))
		hold = FlowLookLock(&look, policy);
	if (hold == FLOW_HOLD_TAKEN)
	{
		row->table = table;
		row->desc = CreateTupleDescCopy(RelationGetDescr(look.relation));
		row->tuple = ExecCopySlotHeapTuple(look.row);
	}
	FlowLookEnd(&look);
	return hold;
}

Datum
FlowHeldRowDatum(const FlowHeldRow *row, int column, bool *isnull)
{
	return heap_getattr(row->tuple, column, row->desc, isnull);
}

void
FlowHeldRowUpdate(FlowHeldRow *row, const Datum *values, const bool *nulls,
				  const bool *replaces)
{
	FlowTableUpdate(row->table, &row->tuple->t_self, values, nulls, replaces, 1);
}
