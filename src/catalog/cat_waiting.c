/*-------------------------------------------------------------------------
 * cat_waiting.c
 *	  Steps that wait, and the messages they wait for.
 *
 * Signals and decisions are inserted by clients, which lock nothing for it;
 * a step takes them in the flush that ends it, with the run locked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/table.h"
#include "base/spi.h"
#include "catalog/cat_waiting.h"
#include "catalog/catalog.h"
#include "catalog/stepkey.h"

static FlowTable signal_ids = {.name = "signal_id_seq"};

#define KEY_TYPES	INT8OID, INT4OID, INT4OID
#define OF_KEY		"run_id = $1 AND step_no = $2 AND item_no = $3"

static FlowStatement load = {
	.sql = "SELECT w.since, w.due_at, t.ready_at FROM (SELECT 1) AS one"
	" LEFT JOIN flow_internal.waiting w"
	" ON w.run_id = $1 AND w.step_no = $2 AND w.item_no = $3"
	" LEFT JOIN flow_internal.task t"
	" ON t.run_id = $1 AND t.step_no = $2 AND t.item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {KEY_TYPES}
};

static FlowStatement insert = {
	.sql = "INSERT INTO flow_internal.waiting (run_id, step_no, item_no, since, due_at)"
	" VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 5,
	.argtypes = {KEY_TYPES, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static FlowStatement delete = {
	.sql = "DELETE FROM flow_internal.waiting WHERE " OF_KEY,
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {KEY_TYPES}
};

static FlowStatement elapse = {
	.sql = "UPDATE flow_internal.waiting w SET due_at = pg_catalog.clock_timestamp()"
	" WHERE w.run_id IN " FLOW_RUN_TREE("$1")
	" AND w.due_at > pg_catalog.clock_timestamp()"
	" AND NOT " FLOW_HAS_CHILD("w"),
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement lock_of = {
	.sql = "SELECT run_id, step_no, item_no FROM flow_internal.task"
	" WHERE run_id = $1 AND status = 'waiting'"
	" ORDER BY step_no, item_no FOR NO KEY UPDATE SKIP LOCKED",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement set_ready = {
	.sql = "UPDATE flow_internal.task SET status = 'ready', due_at = NULL,"
	" ready_at = pg_catalog.now() WHERE " OF_KEY,
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {KEY_TYPES}
};

static FlowStatement insert_signal = {
	.sql = "INSERT INTO flow_internal.signal (id, run_id, workflow_id, key, name, payload,"
	" signal_id, sent_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 8,
	.argtypes = {INT8OID, INT8OID, INT4OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID}
};

static FlowStatement find_signal = {
	.sql = "(SELECT id, payload FROM flow_internal.signal"
	" WHERE run_id = $1 AND name = $4 AND taken_at IS NULL AND id > $5 ORDER BY id LIMIT 1)"
	" UNION ALL"
	" (SELECT id, payload FROM flow_internal.signal"
	" WHERE run_id IS NULL AND workflow_id = $2 AND key = $3 AND name = $4"
	" AND taken_at IS NULL AND id > $5 ORDER BY id LIMIT 1)"
	" ORDER BY id LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 5,
	.argtypes = {INT8OID, INT4OID, TEXTOID, TEXTOID, INT8OID}
};

static FlowStatement take_signal = {
	.sql = "UPDATE flow_internal.signal SET taken_at = pg_catalog.clock_timestamp(),"
	" taken_by_run = $2, taken_by_step = $3 WHERE id = $1 AND taken_at IS NULL",
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, INT4OID}
};

static FlowStatement insert_decision = {
	.sql = "INSERT INTO flow_internal.decision (run_id, step_no, item_no, approved, by_role,"
	" approver, comment) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 7,
	.argtypes = {KEY_TYPES, BOOLOID, TEXTOID, TEXTOID, TEXTOID}
};

static FlowStatement load_decision = {
	.sql = "SELECT approved, by_role, approver, comment FROM flow_internal.decision"
	" WHERE " OF_KEY,
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {KEY_TYPES}
};

static FlowStatement delete_decision = {
	.sql = "DELETE FROM flow_internal.decision WHERE " OF_KEY,
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {KEY_TYPES}
};

static FlowStatement read_status = {
	.sql = "SELECT COALESCE(o.status, t.status), o.error->>'sqlstate' FROM (SELECT 1) AS one"
	" LEFT JOIN flow_internal.outcome o"
	" ON o.run_id = $1 AND o.step_no = $2 AND o.item_no = $3"
	" LEFT JOIN flow_internal.task t"
	" ON t.run_id = $1 AND t.step_no = $2 AND t.item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {KEY_TYPES}
};


bool
FlowWaitingLoad(const FlowStepKey *key, TimestampTz *since, TimestampTz *due_at)
{
	Datum		args[3];
	HeapTuple	row;
	bool		found;

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&load, args, NULL);
	row = SPI_tuptable->vals[0];
	found = !FlowRowIsNull(row, 1);
	*due_at = DT_NOEND;
	if (found)
		*since = (TimestampTz) FlowRowInt64(row, 1);
	else
		*since = FlowRowIsNull(row, 3) ? GetCurrentTimestamp()
			: (TimestampTz) FlowRowInt64(row, 3);
	if (!FlowRowIsNull(row, 2))
		*due_at = (TimestampTz) FlowRowInt64(row, 2);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
FlowWaitingInsert(const FlowStepKey *key, TimestampTz since, TimestampTz due_at)
{
	Datum		args[5];
	bool		nulls[5] = {false};

	FlowStepKeyWrite(key, args);
	args[3] = TimestampTzGetDatum(since);
	args[4] = TimestampTzGetDatum(due_at);
	nulls[4] = TIMESTAMP_IS_NOEND(due_at);
	FlowStatementExecute(&insert, args, nulls);
}

void
FlowWaitingDelete(const FlowStepKey *key)
{
	Datum		args[3];

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&delete, args, NULL);
}

void
FlowWaitingElapse(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&elapse, args, NULL);
}

List *
FlowWaitingLockOf(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};
	List	   *keys = NIL;

	FlowStatementExecute(&lock_of, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		FlowStepKey *key = palloc(sizeof(FlowStepKey));

		key->run_id = FlowRowInt64(SPI_tuptable->vals[i], 1);
		key->step_no = FlowRowInt32(SPI_tuptable->vals[i], 2);
		key->item_no = FlowRowInt32(SPI_tuptable->vals[i], 3);
		keys = lappend(keys, key);
	}
	SPI_freetuptable(SPI_tuptable);
	return keys;
}

void
FlowWaitingSetReady(const FlowStepKey *key)
{
	Datum		args[3];

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&set_ready, args, NULL);
}

int64
FlowSignalNextId(void)
{
	return FlowTableNextId(&signal_ids);
}

int64
FlowSignalInsert(const FlowSignalNew *new)
{
	int64		id = FlowSignalNextId();
	Datum		args[8];
	bool		nulls[8] = {false};

	args[0] = Int64GetDatum(id);
	args[1] = Int64GetDatum(new->run_id);
	nulls[1] = new->run_id == 0;
	args[2] = Int32GetDatum(new->workflow_id);
	args[3] = FlowTextOrNull(new->key, &nulls[3]);
	args[4] = CStringGetTextDatum(new->name);
	args[5] = new->payload;
	nulls[5] = !new->has_payload;
	args[6] = FlowTextOrNull(new->signal_id, &nulls[6]);
	args[7] = CStringGetTextDatum(new->sent_by);
	return FlowStatementExecute(&insert_signal, args, nulls) == 1 ? id : 0;
}

bool
FlowSignalFind(int64 run_id, int32 workflow_id, const char *run_key,
			   const char *name, FlowSignalRow *signal)
{
	Datum		args[5];
	bool		nulls[5] = {false};
	bool		found;
	bool		isnull;

	args[0] = Int64GetDatum(run_id);
	args[1] = Int32GetDatum(workflow_id);
	args[2] = FlowTextOrNull(run_key, &nulls[2]);
	args[3] = CStringGetTextDatum(name);
	args[4] = Int64GetDatum(signal->id);
	found = FlowStatementExecute(&find_signal, args, nulls) == 1;
	if (found)
	{
		signal->id = FlowRowInt64(SPI_tuptable->vals[0], 1);
		signal->payload = FlowRowDatum(SPI_tuptable->vals[0], 2, &isnull);
		signal->has_payload = !isnull;
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

bool
FlowSignalTake(int64 id, const FlowStepKey *by)
{
	Datum		args[3];

	args[0] = Int64GetDatum(id);
	args[1] = Int64GetDatum(by->run_id);
	args[2] = Int32GetDatum(by->step_no);
	return FlowStatementExecute(&take_signal, args, NULL) == 1;
}

bool
FlowDecisionInsert(const FlowStepKey *key, const FlowDecisionRow *decision)
{
	Datum		args[7];
	bool		nulls[7] = {false};

	FlowStepKeyWrite(key, args);
	args[3] = BoolGetDatum(decision->approved);
	args[4] = CStringGetTextDatum(decision->by);
	args[5] = FlowTextOrNull(decision->approver, &nulls[5]);
	args[6] = FlowTextOrNull(decision->comment, &nulls[6]);
	return FlowStatementExecute(&insert_decision, args, nulls) == 1;
}

bool
FlowDecisionLoad(const FlowStepKey *key, FlowDecisionRow *decision)
{
	Datum		args[3];
	bool		found;

	FlowStepKeyWrite(key, args);
	found = FlowStatementExecute(&load_decision, args, NULL) == 1;
	if (found)
	{
		HeapTuple	row = SPI_tuptable->vals[0];

		decision->approved = FlowRowBool(row, 1);
		decision->by = FlowRowText(row, 2);
		decision->approver = FlowRowText(row, 3);
		decision->comment = FlowRowText(row, 4);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
FlowDecisionDelete(const FlowStepKey *key)
{
	Datum		args[3];

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&delete_decision, args, NULL);
}

char *
FlowWaitingStatus(const FlowStepKey *key, char **sqlstate)
{
	Datum		args[3];
	char	   *status;

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&read_status, args, NULL);
	status = FlowRowText(SPI_tuptable->vals[0], 1);
	*sqlstate = FlowRowText(SPI_tuptable->vals[0], 2);
	SPI_freetuptable(SPI_tuptable);
	return status;
}
