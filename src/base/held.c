/*-------------------------------------------------------------------------
 * held.c
 *	  One row of a table of ours, locked and changed without SQL.
 *
 * For transactions at REPEATABLE READ and SERIALIZABLE, in which users' steps
 * run.  A statement of ours there would see the tables as they were when the
 * snapshot was taken, fail when a row has changed since, and at SERIALIZABLE
 * leave predicate locks, which make unrelated runs conflict through our
 * tables.  None of that is true of a look with SnapshotSelf, which is no MVCC
 * snapshot, and of a lock or an update by position.
 *
 * Between the look and the lock the position stays good: a version that was
 * live then cannot be pruned while this transaction has a snapshot.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/held.h"
#include "compat.h"

/* Columns of the longest primary key */
#define MAX_KEY	3

static bool find(Relation relation, const Datum *key, int n,
				 ItemPointerData *tid);
static void insert_index_tuples(Relation relation, TupleTableSlot *slot);

FlowHold
FlowHeldRowLock(FlowTable *table, const Datum *key, int n,
				LockWaitPolicy policy, FlowHeldRow *row)
{
	Relation	relation = table_open(FlowTableRelid(table), RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	FlowHold	hold = FLOW_HOLD_GONE;
	TM_FailureData failure;
	ItemPointerData tid;

	if (find(relation, key, n, &tid))
	{
		TM_Result	result = table_tuple_lock(relation, &tid, GetActiveSnapshot(),
											  slot, GetCurrentCommandId(false),
											  LockTupleNoKeyExclusive, policy,
											  TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
											  &failure);

		if (result == TM_Ok)
			hold = FLOW_HOLD_TAKEN;
		else if (result == TM_WouldBlock)
			hold = FLOW_HOLD_BUSY;
	}
	if (hold == FLOW_HOLD_TAKEN)
	{
		row->table = table;
		row->desc = CreateTupleDescCopy(RelationGetDescr(relation));
		row->tuple = ExecCopySlotHeapTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	return hold;
}

/* The position of the row as it is now. */
static bool
find(Relation relation, const Datum *key, int n, ItemPointerData *tid)
{
	ScanKeyData keys[MAX_KEY];
	SysScanDesc scan;
	HeapTuple	tuple;

	Assert(n <= MAX_KEY);
	for (int i = 0; i < n; i++)
		ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber,
					TupleDescAttr(RelationGetDescr(relation), i)->atttypid == INT8OID
					? F_INT8EQ : F_INT4EQ, key[i]);
	scan = systable_beginscan(relation, RelationGetPrimaryKeyIndex(relation),
							  true, SnapshotSelf, n, keys);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		*tid = tuple->t_self;
	systable_endscan(scan);
	return tuple != NULL;
}

Datum
FlowHeldRowDatum(const FlowHeldRow *row, int column, bool *isnull)
{
	return heap_getattr(row->tuple, column, row->desc, isnull);
}

void
FlowHeldRowUpdate(FlowHeldRow *row, Datum *values, bool *nulls, bool *replaces)
{
	Relation	relation = table_open(FlowTableRelid(row->table), RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	HeapTuple	changed = heap_modify_tuple(row->tuple, row->desc, values, nulls,
											replaces);
	FlowUpdateIndexes update;

	ExecForceStoreHeapTuple(changed, slot, false);
	simple_table_tuple_update(relation, &row->tuple->t_self, slot,
							  GetActiveSnapshot(), &update);
	if (FlowUpdatesIndexes(update))
		insert_index_tuples(relation, slot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

static void
insert_index_tuples(Relation relation, TupleTableSlot *slot)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo target;

	memset(&target, 0, sizeof(target));
	InitResultRelInfo(&target, relation, 1, NULL, 0);
	ExecOpenIndices(&target, false);
	(void) FlowExecInsertIndexTuples(&target, slot, estate);
	ExecCloseIndices(&target);
	FreeExecutorState(estate);
}
