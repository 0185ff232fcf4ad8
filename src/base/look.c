/*-------------------------------------------------------------------------
 * look.c
 *	  Rows of a table of ours, found by key and locked without SQL.
 *
 * What the engine does most is to find rows by primary key, lock them, and read
 * most of their columns: the steps that it claims, and their runs.  Through SQL
 * that cost four times as much.  It is done here as the executor does it for
 * SELECT ... FOR NO KEY UPDATE, an index scan and then a lock by position, so
 * that it means the same.
 *
 * Between the two the position stays good: a version that was live then cannot
 * be pruned while this transaction has a snapshot.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/look.h"
#include "compat.h"

static Oid	index_named(Relation relation, const char *name);
static RegProcedure equality_of(Oid type);
static bool follows_changes(const FlowLook *look);

void
FlowLookBegin(FlowLook *look, FlowTable *table, const char *index,
			  Snapshot snapshot, bool locks)
{
	Relation	relation = FlowTableOpen(table, locks ? RowShareLock : AccessShareLock);

	look->relation = relation;
	look->index = index_open(index == NULL ? RelationGetPrimaryKeyIndex(relation) :
							 index_named(relation, index), AccessShareLock);
	look->snapshot = snapshot;
	look->n_keys = IndexRelationGetNumberOfKeyAttributes(look->index);
	Assert(look->n_keys <= FLOW_LOOK_MAX_KEY);
	for (int i = 0; i < look->n_keys; i++)
		ScanKeyEntryInitialize(&look->keys[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, look->index->rd_indcollation[i],
							   equality_of(TupleDescAttr(RelationGetDescr(look->index), i)->atttypid),
							   (Datum) 0);
	look->scan = FlowIndexBeginScan(relation, look->index, snapshot, look->n_keys);
	look->found = table_slot_create(relation, NULL);
	look->locked = locks ? table_slot_create(relation, NULL) : NULL;
	look->row = NULL;
}

/*
 * Looked up each time, and after the table was locked: REINDEX CONCURRENTLY
 * gives the name to another index, and drops the one that had it when nobody
 * has the table any more.
 */
static Oid
index_named(Relation relation, const char *name)
{
	Oid			found = get_relname_relid(name, RelationGetNamespace(relation));

	if (!OidIsValid(found))
		elog(ERROR, "index \"%s\" of flow does not exist", name);
	return found;
}

static RegProcedure
equality_of(Oid type)
{
	return type == INT8OID ? F_INT8EQ : type == INT4OID ? F_INT4EQ : F_TEXTEQ;
}

void
FlowLookBeginNow(FlowLook *look, FlowTable *table, const char *index, bool locks)
{
	if (locks)
		PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	FlowLookBegin(look, table, index, GetActiveSnapshot(), locks);
}

bool
FlowLookFind(FlowLook *look, const Datum *key)
{
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < look->n_keys; i++)
		look->keys[i].sk_argument = key[i];
	index_rescan(look->scan, look->keys, look->n_keys, NULL, 0);
	look->row = NULL;
	if (!index_getnext_slot(look->scan, ForwardScanDirection, look->found))
		return false;
	look->row = look->found;
	return true;
}

FlowHold
FlowLookLock(FlowLook *look, LockWaitPolicy policy)
{
	ItemPointerData tid = look->row->tts_tid;
	bool		follows = follows_changes(look);
	TM_FailureData failure;
	TM_Result	result;

	look->row = NULL;
	result = table_tuple_lock(look->relation, &tid, look->snapshot, look->locked,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive,
							  policy,
							  follows ? TUPLE_LOCK_FLAG_FIND_LAST_VERSION : 0,
							  &failure);
	switch (result)
	{
		case TM_Ok:
			look->row = look->locked;
			return FLOW_HOLD_TAKEN;
		case TM_WouldBlock:
			return FLOW_HOLD_BUSY;
		case TM_Updated:
		case TM_Deleted:
			if (!follows)
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update"),
						 errdetail("Another transaction has changed the row since this one took its snapshot."),
						 errhint("Do the transaction again.")));
			return FLOW_HOLD_GONE;
		default:
			return FLOW_HOLD_GONE;
	}
}

/* Or is a change that the snapshot does not see an error? */
static bool
follows_changes(const FlowLook *look)
{
	return look->snapshot == SnapshotSelf || !IsolationUsesXactSnapshot();
}

Datum
FlowLookDatum(FlowLook *look, int column, bool *isnull)
{
	return slot_getattr(look->row, column, isnull);
}

int64
FlowLookInt64(FlowLook *look, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(look->row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

int32
FlowLookInt32(FlowLook *look, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(look->row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

bool
FlowLookBool(FlowLook *look, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(look->row, column, &isnull);

	return isnull ? false : DatumGetBool(value);
}

Oid
FlowLookOid(FlowLook *look, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(look->row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

bool
FlowLookIsNull(FlowLook *look, int column)
{
	return slot_attisnull(look->row, column);
}

bool
FlowLookTextIs(FlowLook *look, int column, const char *expected)
{
	bool		isnull;
	Datum		value = slot_getattr(look->row, column, &isnull);
	size_t		length = strlen(expected);
	text	   *found;

	if (isnull)
		return false;
	found = DatumGetTextPP(value);
	return VARSIZE_ANY_EXHDR(found) == length &&
		memcmp(VARDATA_ANY(found), expected, length) == 0;
}

char *
FlowLookText(FlowLook *look, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(look->row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

Datum
FlowLookCopy(FlowLook *look, int column, bool *isnull)
{
	Form_pg_attribute attribute =
	TupleDescAttr(look->row->tts_tupleDescriptor, column - 1);
	Datum		value = slot_getattr(look->row, column, isnull);

	if (*isnull)
		return (Datum) 0;
	return datumCopy(value, attribute->attbyval, attribute->attlen);
}

void
FlowLookEnd(FlowLook *look)
{
	index_endscan(look->scan);
	ExecDropSingleTupleTableSlot(look->found);
	if (look->locked != NULL)
		ExecDropSingleTupleTableSlot(look->locked);
	index_close(look->index, AccessShareLock);
	table_close(look->relation, NoLock);
}

void
FlowLookEndNow(FlowLook *look)
{
	FlowLookEnd(look);
	PopActiveSnapshot();
}
