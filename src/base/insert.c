/*-------------------------------------------------------------------------
 * insert.c
 *	  Insert rows into a table of ours, many at a time.
 *
 * What a batch writes most are new rows, of tables that have no rules and no
 * trigger but the one that keeps others out.  They go straight to the table and its indexes, a page of them
 * with one WAL record, as COPY does it: through SQL, an INSERT of a hundred
 * rows from arrays spends most of its time on the arrays.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/insert.h"
#include "base/install.h"
#include "compat.h"
#include "flow.h"

/* Rows handed to the table at once */
#define CHUNK	128

static void insert_chunk(Relation relation, ResultRelInfo *target,
						 EState *estate, TupleTableSlot **slots, int n);

void
FlowTableInsert(FlowTable *table, Datum *values, bool *nulls, int n)
{
	Relation	relation;
	TupleTableSlot *slots[CHUNK];
	ResultRelInfo target;
	EState	   *estate;
	int			natts;
	int			made = Min(n, CHUNK);

	if (n == 0)
		return;
	relation = table_open(FlowTableRelid(table), RowExclusiveLock);
	natts = RelationGetDescr(relation)->natts;
	if (natts != table->columns)
		elog(ERROR, "table \"%s\" of flow has %d columns, expected %d",
			 table->name, natts, table->columns);
	estate = CreateExecutorState();
	memset(&target, 0, sizeof(target));
	InitResultRelInfo(&target, relation, 1, NULL, 0);
	ExecOpenIndices(&target, false);
	for (int i = 0; i < made; i++)
		slots[i] = table_slot_create(relation, NULL);

	for (int done = 0; done < n; done += CHUNK)
	{
		int			count = Min(CHUNK, n - done);

		for (int i = 0; i < count; i++)
		{
			Size		at = (Size) (done + i) * natts;

			ExecClearTuple(slots[i]);
			memcpy(slots[i]->tts_values, values + at, sizeof(Datum) * natts);
			memcpy(slots[i]->tts_isnull, nulls + at, sizeof(bool) * natts);
			ExecStoreVirtualTuple(slots[i]);
		}
		insert_chunk(relation, &target, estate, slots, count);
	}

	for (int i = 0; i < made; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	ExecCloseIndices(&target);
	FreeExecutorState(estate);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

static void
insert_chunk(Relation relation, ResultRelInfo *target, EState *estate,
			 TupleTableSlot **slots, int n)
{
	BulkInsertState bulk = n > 1 ? GetBulkInsertState() : NULL;
	CommandId	cid = GetCurrentCommandId(true);

	if (n == 1)
		table_tuple_insert(relation, slots[0], cid, 0, NULL);
	else
		table_multi_insert(relation, slots, n, cid, 0, bulk);
	for (int i = 0; i < n; i++)
	{
		(void) FlowExecInsertIndexTuples(target, slots[i], estate);
		ResetPerTupleExprContext(estate);
	}
	if (bulk != NULL)
		FreeBulkInsertState(bulk);
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
