/*-------------------------------------------------------------------------
 * table.c
 *	  Insert, update and delete rows of a table of ours, many at a time.
 *
 * What a batch writes most are new rows, of tables that have no rules and no
 * trigger but the one that keeps others out.  They go straight to the table
 * and its indexes, a page of them with one WAL record, as COPY does it: through
 * SQL, an INSERT of a hundred rows from arrays spends most of its time on the
 * arrays.  What is done to rows that are locked, whose positions are known,
 * goes the same way.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/table.h"
#include "base/install.h"
#include "base/target.h"
#include "compat.h"
#include "flow.h"

/* Rows handed to the table at once */
#define CHUNK	128

static Relation open_for(FlowTable *table);
static void insert_chunk(Relation relation, FlowTarget *target,
						 TupleTableSlot **slots, int n);
static void merge(TupleTableSlot *before, TupleTableSlot *after,
				  const Datum *values, const bool *nulls, const bool *replaces);

void
FlowTableInsert(FlowTable *table, Datum *values, bool *nulls, int n)
{
	Relation	relation;
	FlowTarget *target;
	TupleTableSlot **slots;
	int			natts;

	if (n == 0)
		return;
	relation = open_for(table);
	natts = table->columns;
	target = FlowTargetOpen(table, relation);
	slots = FlowTargetSlots(target, Min(n, CHUNK));

	for (int done = 0; done < n; done += CHUNK)
	{
		int			count = Min(CHUNK, n - done);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < count; i++)
		{
			Size		at = (Size) (done + i) * natts;

			ExecClearTuple(slots[i]);
			memcpy(slots[i]->tts_values, values + at, sizeof(Datum) * natts);
			memcpy(slots[i]->tts_isnull, nulls + at, sizeof(bool) * natts);
			ExecStoreVirtualTuple(slots[i]);
		}
		insert_chunk(relation, target, slots, count);
	}

	FlowTargetClose(target);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

static Relation
open_for(FlowTable *table)
{
	Relation	relation = FlowTableOpen(table, RowExclusiveLock);
	int			natts = RelationGetDescr(relation)->natts;

	if (natts != table->columns)
		elog(ERROR, "table \"%s\" of flow has %d columns, expected %d",
			 table->name, natts, table->columns);
	return relation;
}

static void
insert_chunk(Relation relation, FlowTarget *target, TupleTableSlot **slots,
			 int n)
{
	MemoryContext caller = MemoryContextSwitchTo(FlowTargetMemory(target));
	BulkInsertState bulk = n > 1 ? GetBulkInsertState() : NULL;
	CommandId	cid = GetCurrentCommandId(true);

	if (n == 1)
		table_tuple_insert(relation, slots[0], cid, 0, NULL);
	else
		table_multi_insert(relation, slots, n, cid, 0, bulk);
	if (bulk != NULL)
		FreeBulkInsertState(bulk);
	MemoryContextSwitchTo(caller);
	FlowTargetIndex(target, slots, n, false);
}

void
FlowTableUpdate(FlowTable *table, const ItemPointerData *tids,
				const Datum *values, const bool *nulls, const bool *replaces,
				int n)
{
	Relation	relation;
	FlowTarget *target;
	TupleTableSlot *before;
	TupleTableSlot *after;

	if (n == 0)
		return;
	relation = open_for(table);
	target = FlowTargetOpen(table, relation);
	before = table_slot_create(relation, NULL);
	after = FlowTargetSlots(target, 1)[0];
	for (int i = 0; i < n; i++)
	{
		Size		at = (Size) i * table->columns;
		ItemPointerData tid = tids[i];
		MemoryContext caller;
		FlowUpdateIndexes update;

		CHECK_FOR_INTERRUPTS();
		if (!table_tuple_fetch_row_version(relation, &tid, SnapshotAny, before))
			elog(ERROR, "a row of table \"%s\" of flow has changed while it was locked",
				 table->name);
		merge(before, after, values + at, nulls + at, replaces);
		caller = MemoryContextSwitchTo(FlowTargetMemory(target));
		simple_table_tuple_update(relation, &tid, after, GetActiveSnapshot(),
								  &update);
		MemoryContextSwitchTo(caller);
		if (FlowUpdatesIndexes(update))
			FlowTargetIndex(target, &after, 1, FlowUpdateSummarizes(update));
		else
			MemoryContextReset(FlowTargetMemory(target));
	}
	ExecDropSingleTupleTableSlot(before);
	FlowTargetClose(target);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

/* The row as it is to be, for as long as "before" holds what it was. */
static void
merge(TupleTableSlot *before, TupleTableSlot *after, const Datum *values,
	  const bool *nulls, const bool *replaces)
{
	slot_getallattrs(before);
	ExecClearTuple(after);
	for (int i = 0; i < before->tts_tupleDescriptor->natts; i++)
	{
		after->tts_values[i] = replaces[i] ? values[i] : before->tts_values[i];
		after->tts_isnull[i] = replaces[i] ? nulls[i] : before->tts_isnull[i];
	}
	ExecStoreVirtualTuple(after);
}

/* SnapshotSelf sees what earlier commands of this transaction have left. */
void
FlowTableDelete(FlowTable *table, const ItemPointerData *tids, int n)
{
	Relation	relation;
	TupleTableSlot *slot;
	CommandId	cid;

	if (n == 0)
		return;
	relation = open_for(table);
	slot = table_slot_create(relation, NULL);
	cid = GetCurrentCommandId(true);
	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid = tids[i];
		TM_FailureData failure;

		CHECK_FOR_INTERRUPTS();
		if (table_tuple_fetch_row_version(relation, &tid, SnapshotSelf, slot) &&
			table_tuple_delete(relation, &tid, cid, GetActiveSnapshot(),
							   InvalidSnapshot, true, &failure, false) != TM_Ok)
			elog(ERROR, "a row of table \"%s\" of flow has changed while it was locked",
				 table->name);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

Relation
FlowTableOpen(FlowTable *table, LOCKMODE mode)
{
	Relation	relation;

	while ((relation = try_table_open(FlowTableRelid(table), mode)) == NULL)
		table->relid = InvalidOid;	/* there may be a new installation */
	return relation;
}

int64
FlowTableNextId(FlowTable *sequence)
{
	return nextval_internal(FlowTableRelid(sequence), false);
}

Oid
FlowTableRelid(FlowTable *table)
{
	const FlowInstall *install = FlowInstallRequire();

	if (!OidIsValid(table->relid) || table->generation != install->generation)
	{
		table->relid = get_relname_relid(table->name,
										 get_namespace_oid(FLOW_TABLE_SCHEMA, false));
		table->generation = install->generation;
		if (!OidIsValid(table->relid))
			elog(ERROR, "table \"%s\" of flow does not exist", table->name);
	}
	return table->relid;
}
