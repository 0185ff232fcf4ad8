/*-------------------------------------------------------------------------
 * cat_task.c
 *	  Live steps: claim by key, insert, put to sleep, delete.
 *
 * The row lock taken by a claim is the lease: it lasts as long as the
 * transaction that runs the step, and is gone with it.  See catalog.h for the
 * lock order.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/table.h"
#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_task.h"
#include "catalog/catalog.h"
#include "catalog/stepkey.h"

/* Columns of flow_internal.task */
#define TASK_COLUMNS	22

/* ... that a new row fills; the rest are those of a step that has ended */
#define NEW_COLUMNS		13

/* Columns that are read or written by number */
enum
{
	COLUMN_HOME = 4,
	COLUMN_OWNER,
	COLUMN_STATUS = 9,
	COLUMN_ATTEMPT,
	COLUMN_ATTEMPT_BASE,
	COLUMN_ENDED = 14,
	COLUMN_STARTED_AT,
	COLUMN_FINISHED_AT,
	COLUMN_WORKER,
	COLUMN_OUTPUT,
	COLUMN_ASKED,
	COLUMN_LIMITS,
	COLUMN_LIMIT_KEY,
	COLUMN_ADMITTED_AT
};

static FlowTable tasks = {.name = "task",.columns = TASK_COLUMNS};

#define READY_COLUMNS \
	"t.run_id, t.step_no, t.item_no, t.workflow_id, t.definition_id, t.priority"

/*
 * The joins are written so that there is only one way to plan them: a plan
 * that was made on empty tables is kept when they are full.  Conditions that
 * must not choose an index are written with IS NOT DISTINCT FROM.
 */
static FlowStatement peek = {
	.sql = "SELECT " READY_COLUMNS
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	" AS k(run_id, step_no, item_no),"
	" LATERAL (SELECT * FROM flow_internal.task t WHERE t.run_id = k.run_id"
	" AND t.step_no = k.step_no AND t.item_no = k.item_no"
	" AND t.status IS NOT DISTINCT FROM 'ready' AND t.home IS NOT DISTINCT FROM $4"
	" AND t.owner IS NOT DISTINCT FROM $5 OFFSET 0) t",
	.expect = SPI_OK_SELECT,
	.nargs = 5,
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT8OID, OIDOID}
};

/* The timer of a paused run resumes it. */
#define MAY_RUN \
	" AND r.status <> 'held' AND (r.status <> 'paused' OR t.asked IS NOT NULL OR " FLOW_TASK_IS_TIMER ")"

static FlowStatement ready_of_owner = {
	.sql = "SELECT " READY_COLUMNS " FROM flow_internal.task t"
	" JOIN flow_internal.run r ON r.id = t.run_id"
	" WHERE t.status = 'ready' AND t.home = $1 AND t.owner = $2"
	MAY_RUN
	" ORDER BY t.workflow_id, t.priority DESC, t.run_id, t.step_no, t.item_no LIMIT $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, OIDOID, INT8OID}
};

static FlowStatement ready_of_run = {
	.sql = "SELECT " READY_COLUMNS " FROM flow_internal.task t"
	" JOIN flow_internal.run r ON r.id = t.run_id"
	" WHERE t.status = 'ready' AND t.home = $1 AND t.owner = $2 AND t.run_id IN ("
	"WITH RECURSIVE tree (id) AS (SELECT $4 UNION ALL"
	" SELECT c.id FROM flow_internal.run c JOIN tree ON c.parent_run = tree.id)"
	" SELECT id FROM tree)"
	MAY_RUN
	" ORDER BY t.priority DESC, t.step_no, t.item_no LIMIT $3",
	.expect = SPI_OK_SELECT,
	.nargs = 4,
	.argtypes = {INT8OID, OIDOID, INT8OID, INT8OID}
};

static FlowStatement wake_due = {
	.sql = "UPDATE flow_internal.task SET status = 'ready', due_at = NULL,"
	" ready_at = pg_catalog.clock_timestamp()"
	" WHERE (run_id, step_no, item_no) IN ("
	"SELECT t.run_id, t.step_no, t.item_no FROM flow_internal.task t"
	" WHERE t.home = $1 AND t.owner = $2 AND t.due_at IS NOT NULL"
	" AND ($3 = 0 OR t.run_id IN " FLOW_RUN_TREE("$3") ")"
	" AND (t.due_at <= pg_catalog.clock_timestamp() OR ($4 AND NOT (" FLOW_TASK_IS_TIMER ")"
	" AND (t.step_no <> 0 OR t.item_no <> 3)"
	" AND NOT " FLOW_HAS_CHILD("t") "))"
	" FOR NO KEY UPDATE SKIP LOCKED)",
	.expect = SPI_OK_UPDATE,
	.nargs = 4,
	.argtypes = {INT8OID, OIDOID, INT8OID, BOOLOID}
};

static FlowStatement insert_missing = {
	.sql = "INSERT INTO flow_internal.task (run_id, step_no, item_no, home, owner,"
	" workflow_id, definition_id, priority, status, attempt, attempt_base, ready_at, due_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = NEW_COLUMNS,
	.argtypes = {INT8OID, INT4OID, INT4OID, INT8OID, OIDOID, INT4OID, INT4OID, INT4OID,
	TEXTOID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static FlowStatement put_to_sleep = {
	.sql = "UPDATE flow_internal.task SET status = $4, attempt = $5, due_at = $6,"
	" attempt_base = $7, ready_at = pg_catalog.now(), admitted_at = NULL,"
	" started_at = NULL, finished_at = NULL, worker = NULL, output = NULL"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_UPDATE,
	.nargs = 7,
	.argtypes = {INT8OID, INT4OID, INT4OID, TEXTOID, INT4OID, TIMESTAMPTZOID, INT4OID}
};

static FlowStatement hold = {
	.sql = "UPDATE flow_internal.task SET status = 'held', admitted_at = NULL WHERE ctid = ANY ($1)",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {TIDARRAYOID}
};

static void write_task(const FlowTaskNew *row, Datum *values, bool *nulls);
static bool claim_task(FlowLook *look, const FlowStepKey *key, Oid owner,
					   FlowTaskRow *task);
static bool is_claimable(FlowLook *look, Oid owner);
static bool claim_run(FlowLook *look, const FlowTaskRow *previous,
					  FlowTaskRow *task);
static void read_end(FlowLook *look, FlowTaskEnd *end);
static List *read_ready(void);

int
FlowTaskClaim(const FlowStepKey *keys, int n, Oid owner, FlowTaskRow **rows)
{
	int			found = 0;
	FlowLook	tasks_look;
	FlowLook	runs_look;

	*rows = palloc0(sizeof(FlowTaskRow) * Max(n, 1));
	FlowLookBeginNow(&tasks_look, &tasks, NULL, true);
	FlowRunLookBegin(&runs_look);
	for (int i = 0; i < n; i++)
	{
		FlowTaskRow *task = &(*rows)[found];

		if (claim_task(&tasks_look, &keys[i], owner, task) &&
			claim_run(&runs_look, found > 0 ? task - 1 : NULL, task))
			found++;
	}
	FlowLookEnd(&runs_look);
	FlowLookEndNow(&tasks_look);
	return found;
}

/*
 * The row must be ready before it is locked, too: others may be about to wake
 * one that sleeps or waits.
 */
static bool
claim_task(FlowLook *look, const FlowStepKey *key, Oid owner, FlowTaskRow *task)
{
	Datum		values[3];

	FlowStepKeyWrite(key, values);
	if (!FlowLookFind(look, values) || !is_claimable(look, owner) ||
		FlowLookLock(look, LockWaitSkip) != FLOW_HOLD_TAKEN ||
		!is_claimable(look, owner))
		return false;
	task->key = *key;
	task->tid = look->row->tts_tid;
	task->attempt = FlowLookInt32(look, COLUMN_ATTEMPT);
	task->attempt_base = FlowLookInt32(look, COLUMN_ATTEMPT_BASE);
	task->admitted = !FlowLookIsNull(look, COLUMN_ADMITTED_AT);
	task->ended = FlowLookBool(look, COLUMN_ENDED);
	task->has_result = !task->ended && !FlowLookIsNull(look, COLUMN_FINISHED_AT);
	if (task->ended || task->has_result)
		read_end(look, &task->end);
	return true;
}

static bool
is_claimable(FlowLook *look, Oid owner)
{
	return FlowLookOid(look, COLUMN_OWNER) == owner &&
		FlowLookInt64(look, COLUMN_HOME) == FlowInstallRequire()->home &&
		FlowLookTextIs(look, COLUMN_STATUS, FlowStepStatusName(FLOW_STEP_READY));
}

/* One run often has several of the tasks, which come one after the other. */
static bool
claim_run(FlowLook *look, const FlowTaskRow *previous, FlowTaskRow *task)
{
	if (previous != NULL && previous->key.run_id == task->key.run_id)
		task->run = previous->run;
	else
		task->run = FlowRunLookAt(look, task->key.run_id);
	return task->run != NULL;
}

List *
FlowTaskPeek(const FlowStepKey *keys, int n, Oid owner)
{
	Datum		args[5];

	FlowStepKeyWriteAll(keys, n, args);
	args[3] = Int64GetDatum(FlowInstallRequire()->home);
	args[4] = ObjectIdGetDatum(owner);
	FlowStatementExecute(&peek, args, NULL);
	return read_ready();
}

List *
FlowTaskReadyOf(Oid owner, int64 run_id, int limit)
{
	Datum		args[4];

	args[0] = Int64GetDatum(FlowInstallRequire()->home);
	args[1] = ObjectIdGetDatum(owner);
	args[2] = Int64GetDatum(limit);
	args[3] = Int64GetDatum(run_id);
	FlowStatementExecute(run_id ? &ready_of_run : &ready_of_owner, args, NULL);
	return read_ready();
}

void
FlowTaskWakeDue(Oid owner, int64 run_id, bool skip_time)
{
	Datum		args[4];

	args[0] = Int64GetDatum(FlowInstallRequire()->home);
	args[1] = ObjectIdGetDatum(owner);
	args[2] = Int64GetDatum(run_id);
	args[3] = BoolGetDatum(skip_time);
	FlowStatementExecute(&wake_due, args, NULL);
}

void
FlowTaskInsert(const FlowTaskNew *rows, int n)
{
	Datum	   *values = palloc0(sizeof(Datum) * TASK_COLUMNS * Max(n, 1));
	bool	   *nulls = palloc0(sizeof(bool) * TASK_COLUMNS * Max(n, 1));

	for (int i = 0; i < n; i++)
		write_task(&rows[i], values + i * TASK_COLUMNS, nulls + i * TASK_COLUMNS);
	FlowTableInsert(&tasks, values, nulls, n);
}

void
FlowTaskInsertMissing(const FlowTaskNew *rows, int n)
{
	for (int i = 0; i < n; i++)
	{
		Datum		values[TASK_COLUMNS] = {0};
		bool		nulls[TASK_COLUMNS] = {false};

		write_task(&rows[i], values, nulls);
		FlowStatementExecute(&insert_missing, values, nulls);
	}
}

static void
write_task(const FlowTaskNew *row, Datum *values, bool *nulls)
{
	FlowStepKeyWrite(&row->key, values);
	values[3] = Int64GetDatum(FlowInstallRequire()->home);
	values[4] = ObjectIdGetDatum(row->owner);
	values[5] = Int32GetDatum(row->workflow_id);
	values[6] = Int32GetDatum(row->definition_id);
	values[7] = Int32GetDatum(row->priority);
	values[8] = CStringGetTextDatum(FlowStepStatusName(row->status));
	values[9] = Int32GetDatum(row->attempt);
	values[10] = Int32GetDatum(row->attempt_base);
	values[11] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[12] = TimestampTzGetDatum(row->due_at);
	nulls[12] = TIMESTAMP_IS_NOBEGIN(row->due_at);
	values[COLUMN_ENDED - 1] = BoolGetDatum(false);
	for (int column = COLUMN_STARTED_AT; column <= COLUMN_ASKED; column++)
		nulls[column - 1] = true;
	values[COLUMN_ASKED - 1] = row->asked;
	nulls[COLUMN_ASKED - 1] = !row->has_asked;
	nulls[COLUMN_LIMITS - 1] = nulls[COLUMN_ADMITTED_AT - 1] = true;
	values[COLUMN_LIMIT_KEY - 1] = FlowTextOrNull(row->limit_key,
												  &nulls[COLUMN_LIMIT_KEY - 1]);
}

void
FlowTaskSleep(const FlowTaskNew *rows, int n)
{
	for (int i = 0; i < n; i++)
	{
		const FlowTaskNew *row = &rows[i];
		Datum		args[7];
		bool		nulls[7] = {false};

		FlowStepKeyWrite(&row->key, args);
		args[3] = CStringGetTextDatum(FlowStepStatusName(row->status));
		args[4] = Int32GetDatum(row->attempt);
		args[5] = TimestampTzGetDatum(row->due_at);
		nulls[5] = TIMESTAMP_IS_NOBEGIN(row->due_at);
		args[6] = Int32GetDatum(row->attempt_base);
		FlowStatementExecute(&put_to_sleep, args, nulls);
	}
}

void
FlowTaskHoldBack(const ItemPointerData *tids, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	Datum		args[1];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
		values[i] = PointerGetDatum(&tids[i]);
	args[0] = FlowArray(TIDOID, values, NULL, n);
	FlowStatementExecute(&hold, args, NULL);
}

void
FlowTaskDelete(const ItemPointerData *tids, int n)
{
	FlowTableDelete(&tasks, tids, n);
}

FlowHold
FlowTaskHold(const FlowStepKey *key, int32 attempt, FlowHeldRow *row)
{
	Datum		values[3];
	FlowHold	hold;
	bool		isnull;

	FlowStepKeyWrite(key, values);
	hold = FlowHeldRowLock(&tasks, values, LockWaitSkip, row);
	if (hold != FLOW_HOLD_TAKEN)
		return hold;
	if (strcmp(TextDatumGetCString(FlowHeldRowDatum(row, COLUMN_STATUS, &isnull)),
			   FlowStepStatusName(FLOW_STEP_READY)) != 0 ||
		DatumGetInt32(FlowHeldRowDatum(row, COLUMN_ATTEMPT, &isnull)) != attempt ||
		DatumGetBool(FlowHeldRowDatum(row, COLUMN_ENDED, &isnull)))
		return FLOW_HOLD_GONE;
	return FLOW_HOLD_TAKEN;
}

void
FlowTaskSetEnded(FlowHeldRow *row, const FlowTaskEnd *end)
{
	Datum		values[TASK_COLUMNS] = {0};
	bool		nulls[TASK_COLUMNS] = {false};
	bool		replaces[TASK_COLUMNS] = {false};

	values[COLUMN_ENDED - 1] = BoolGetDatum(true);
	values[COLUMN_STARTED_AT - 1] = TimestampTzGetDatum(end->started_at);
	values[COLUMN_FINISHED_AT - 1] = TimestampTzGetDatum(end->finished_at);
	values[COLUMN_WORKER - 1] = Int32GetDatum(end->worker);
	values[COLUMN_OUTPUT - 1] = end->output;
	nulls[COLUMN_OUTPUT - 1] = !end->has_output;
	values[COLUMN_ASKED - 1] = end->asked;
	nulls[COLUMN_ASKED - 1] = !end->has_asked;
	for (int column = COLUMN_ENDED; column <= COLUMN_ASKED; column++)
		replaces[column - 1] = true;
	FlowHeldRowUpdate(row, values, nulls, replaces);
}

static void
read_end(FlowLook *look, FlowTaskEnd *end)
{
	bool		isnull;

	end->started_at = (TimestampTz) FlowLookInt64(look, COLUMN_STARTED_AT);
	end->finished_at = (TimestampTz) FlowLookInt64(look, COLUMN_FINISHED_AT);
	end->worker = FlowLookInt32(look, COLUMN_WORKER);
	end->output = FlowLookCopy(look, COLUMN_OUTPUT, &isnull);
	end->has_output = !isnull;
	end->asked = FlowLookCopy(look, COLUMN_ASKED, &isnull);
	end->has_asked = !isnull;
}

static List *
read_ready(void)
{
	List	   *result = NIL;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		FlowReady  *ready = palloc0(sizeof(FlowReady));

		FlowStepKeyRead(row, &ready->key);
		ready->workflow_id = FlowRowInt32(row, 4);
		ready->definition_id = FlowRowInt32(row, 5);
		ready->priority = FlowRowInt32(row, 6);
		result = lappend(result, ready);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}
