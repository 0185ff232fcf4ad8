/*-------------------------------------------------------------------------
 * cat_run.c
 *	  Runs: insert, reserve a key, lock in id order, change state.
 *
 * The row of a run is its mutex; see catalog.h for who takes it and when.
 * Which state may follow which is decided in engine/run.c, not here.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/insert.h"
#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_run.h"

/* Columns of flow_internal.run */
#define RUN_TABLE_COLUMNS	34

/* Columns that are read by number */
enum
{
	COLUMN_STATUS = 7,
	COLUMN_EPOCH = 8
};

static FlowTable runs = {.name = "run",.columns = RUN_TABLE_COLUMNS};
static FlowTable run_ids = {.name = "run_id_seq"};

static FlowStatement key_reserve = {
	.sql = "INSERT INTO flow_internal.run_key (workflow_id, key, run_id)"
	" VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 3,
	.argtypes = {INT4OID, TEXTOID, INT8OID}
};

static FlowStatement key_forget = {
	.sql = "DELETE FROM flow_internal.run_key WHERE workflow_id = $1 AND key = $2",
	.expect = SPI_OK_DELETE,
	.nargs = 2,
	.argtypes = {INT4OID, TEXTOID}
};

static FlowStatement key_holder = {
	.sql = "SELECT run_id FROM flow_internal.run_key WHERE workflow_id = $1 AND key = $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, TEXTOID}
};

static FlowStatement latest_of_key = {
	.sql = "SELECT k.id FROM"
	" ((SELECT r.id FROM flow_internal.run r WHERE r.workflow_id = $1 AND r.key = $2"
	"   ORDER BY r.id DESC LIMIT 1)"
	"  UNION ALL"
	"  (SELECT r.id FROM flow_internal.run r WHERE r.workflow_id = $1"
	"   AND r.key = " FLOW_KEY_HASH("$2")
	"   AND r.erased = 2 ORDER BY r.id DESC LIMIT 1)) k"
	" ORDER BY k.id DESC LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, TEXTOID}
};

static FlowStatement key_release = {
	.sql = "DELETE FROM flow_internal.run_key WHERE workflow_id = $1 AND key = $2"
	" AND run_id = $3",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT4OID, TEXTOID, INT8OID}
};

#define RUN_COLUMNS \
	"id, workflow_id, definition_id, owner, status, epoch, failing, priority," \
	" notify, key, started_by, started_at IS NOT NULL, ctid, early," \
	" parent_run, parent_step, depth, erased, parent_item"

static FlowStatement load = {
	.sql = "SELECT " RUN_COLUMNS " FROM flow_internal.run WHERE id = $1 AND home = $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID}
};

static FlowStatement lock_wait = {
	.sql = "SELECT " RUN_COLUMNS " FROM flow_internal.run WHERE id = ANY ($1) AND home = $2"
	" ORDER BY id FOR NO KEY UPDATE",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, INT8OID}
};

static FlowStatement lock_skip = {
	.sql = "SELECT " RUN_COLUMNS " FROM flow_internal.run WHERE id = ANY ($1) AND home = $2"
	" ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, INT8OID}
};

/* By position, so that there is only one way to plan it */
static FlowStatement end_runs = {
	.sql = "UPDATE flow_internal.run r SET status = e.status, output = e.output,"
	" failing = false, finished_at = pg_catalog.clock_timestamp()"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	" AS e(tid, status, output) WHERE r.ctid = e.tid",
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {TIDARRAYOID, TEXTARRAYOID, JSONBARRAYOID}
};

static FlowStatement set_status = {
	.sql = "UPDATE flow_internal.run SET status = $2, status_reason = $3 WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {INT8OID, TEXTOID, TEXTOID}
};

static FlowStatement set_cancelled = {
	.sql = "UPDATE flow_internal.run SET status_reason = $2,"
	" status = CASE WHEN $3 THEN 'cancelled' ELSE 'compensating' END,"
	" finished_at = CASE WHEN $3 THEN pg_catalog.clock_timestamp() END,"
	" compensation = CASE WHEN $4 THEN 'running' END,"
	" epoch = epoch + 1, failing = false WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 4,
	.argtypes = {INT8OID, TEXTOID, BOOLOID, BOOLOID}
};

static FlowStatement set_compensating = {
	.sql = "UPDATE flow_internal.run SET status = 'compensating',"
	" failing = true, compensation = 'running' WHERE id = $1 RETURNING ctid",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement set_compensated = {
	.sql = "UPDATE flow_internal.run SET"
	" compensation = $2"
	" WHERE id = $1 RETURNING ctid",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static FlowStatement compensation = {
	.sql = "SELECT COALESCE(compensation, 'none') FROM flow_internal.run WHERE id = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement set_failing = {
	.sql = "UPDATE flow_internal.run SET failing = true, error = COALESCE(error, $2) WHERE id = $1"
	" RETURNING ctid",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 2,
	.argtypes = {INT8OID, JSONBOID}
};

static FlowStatement set_error = {
	.sql = "UPDATE flow_internal.run SET error = COALESCE(error, $2) WHERE id = $1"
	" RETURNING ctid",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 2,
	.argtypes = {INT8OID, JSONBOID}
};

static FlowStatement set_early = {
	.sql = "UPDATE flow_internal.run SET early = true WHERE id = $1 AND NOT early",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement request_of = {
	.sql = "SELECT input, slot FROM flow_internal.run WHERE id = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement result_of = {
	.sql = "SELECT output, error FROM flow_internal.run WHERE id = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement set_retried = {
	.sql = "UPDATE flow_internal.run SET status = 'running', status_reason = NULL,"
	" error = NULL, output = NULL, failing = false, early = true,"
	" started_at = COALESCE(started_at, pg_catalog.clock_timestamp()),"
	" finished_at = NULL WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement set_started = {
	.sql = "UPDATE flow_internal.run SET status = 'running', status_reason = NULL,"
	" started_at = pg_catalog.clock_timestamp() WHERE id = $1 RETURNING ctid",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static void take_tid(ItemPointerData *tid);
static int64 first_id(void);
static Datum id_array(const int64 *ids, int n);
static void read_run(HeapTuple row, FlowRunRow *run);

int64
FlowRunNextId(void)
{
	return FlowTableNextId(&run_ids);
}

void
FlowRunInsert(const FlowRunNew *run)
{
	Datum		values[RUN_TABLE_COLUMNS] = {0};
	bool		nulls[RUN_TABLE_COLUMNS] = {false};

	values[0] = Int64GetDatum(run->id);
	values[1] = Int64GetDatum(FlowInstallRequire()->home);
	values[2] = Int32GetDatum(run->workflow_id);
	values[3] = Int32GetDatum(run->definition_id);
	values[4] = ObjectIdGetDatum(run->owner);
	values[5] = CStringGetTextDatum(run->owner_name);
	values[6] = CStringGetTextDatum(FlowRunStatusName(run->status));
	values[7] = Int32GetDatum(0);	/* epoch */
	values[8] = BoolGetDatum(false);	/* failing */
	values[9] = Int32GetDatum(run->priority);
	values[10] = CStringGetTextDatum(run->notify);
	values[11] = FlowTextOrNull(run->key, &nulls[11]);
	values[12] = TimestampTzGetDatum(run->slot);
	nulls[12] = TIMESTAMP_IS_NOBEGIN(run->slot);
	values[13] = run->input;
	nulls[14] = nulls[15] = nulls[16] = true;	/* output, error, reason */
	values[17] = ObjectIdGetDatum(run->started_by);
	values[18] = CStringGetTextDatum(run->started_by_name);
	values[19] = CStringGetTextDatum(run->started_by_app);
	nulls[20] = true;			/* schedule */
	values[21] = TimestampTzGetDatum(run->created_at);
	values[22] = values[21];
	nulls[22] = run->status != FLOW_RUN_RUNNING;
	nulls[23] = nulls[24] = true;	/* finished_at, origin */
	values[25] = BoolGetDatum(run->early);
	values[26] = Int64GetDatum(run->parent.run_id);
	values[27] = Int32GetDatum(run->parent.step_no);
	nulls[26] = nulls[27] = run->parent.run_id == 0;
	values[28] = Int32GetDatum(run->depth);
	values[29] = Int32GetDatum(FLOW_ERASED_NOTHING);
	nulls[30] = true;			/* erased_at */
	nulls[31] = true;			/* compensation */
	values[32] = Int32GetDatum(run->parent.item_no);
	nulls[33] = true;			/* limit_key */
	FlowTableInsert(&runs, values, nulls, 1);
}

bool
FlowRunKeyReserve(int32 workflow_id, const char *key, int64 run_id)
{
	Datum		args[3];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	args[2] = Int64GetDatum(run_id);
	return FlowStatementExecute(&key_reserve, args, NULL) == 1;
}

void
FlowRunKeyForget(int32 workflow_id, const char *key)
{
	Datum		args[2];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	FlowStatementExecute(&key_forget, args, NULL);
}

int64
FlowRunKeyHolder(int32 workflow_id, const char *key)
{
	Datum		args[2];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	FlowStatementExecute(&key_holder, args, NULL);
	return first_id();
}

int64
FlowRunLatestOfKey(int32 workflow_id, const char *key)
{
	Datum		args[2];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	FlowStatementExecute(&latest_of_key, args, NULL);
	return first_id();
}

void
FlowRunKeyRelease(int32 workflow_id, const char *key, int64 run_id)
{
	Datum		args[3];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	args[2] = Int64GetDatum(run_id);
	FlowStatementExecute(&key_release, args, NULL);
}

bool
FlowRunLoad(int64 run_id, FlowRunRow *row)
{
	Datum		args[2];
	bool		found;

	args[0] = Int64GetDatum(run_id);
	args[1] = Int64GetDatum(FlowInstallRequire()->home);
	found = FlowStatementExecute(&load, args, NULL) == 1;
	if (found)
		read_run(SPI_tuptable->vals[0], row);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

bool
FlowRunIsOver(int64 run_id)
{
	Datum		args[2];
	FlowRunRow	row;
	bool		found;

	args[0] = Int64GetDatum(run_id);
	args[1] = Int64GetDatum(FlowInstallRequire()->home);
	PushActiveSnapshot(GetLatestSnapshot());
	found = FlowStatementRead(&load, args, NULL) == 1;
	if (found)
		read_run(SPI_tuptable->vals[0], &row);
	SPI_freetuptable(SPI_tuptable);
	PopActiveSnapshot();
	return !found || FlowRunStatusIsFinal(row.status);
}

int
FlowRunLock(const int64 *run_ids, int n, bool skip, FlowRunRow **rows)
{
	Datum		args[2];
	uint64		found;

	args[0] = id_array(run_ids, n);
	args[1] = Int64GetDatum(FlowInstallRequire()->home);
	found = FlowStatementExecute(skip ? &lock_skip : &lock_wait, args, NULL);
	*rows = palloc0(sizeof(FlowRunRow) * Max(found, 1));
	for (uint64 i = 0; i < found; i++)
		read_run(SPI_tuptable->vals[i], &(*rows)[i]);
	SPI_freetuptable(SPI_tuptable);
	return (int) found;
}

FlowHold
FlowRunHold(int64 run_id, FlowRunStatus *status, int32 *epoch)
{
	Datum		key[1] = {Int64GetDatum(run_id)};
	FlowHeldRow row;
	FlowHold	hold;
	bool		isnull;

	hold = FlowHeldRowLock(&runs, key, lengthof(key), LockWaitBlock, &row);
	if (hold != FLOW_HOLD_TAKEN)
		return hold;
	*status = FlowRunStatusParse(TextDatumGetCString(FlowHeldRowDatum(&row, COLUMN_STATUS, &isnull)));
	*epoch = DatumGetInt32(FlowHeldRowDatum(&row, COLUMN_EPOCH, &isnull));
	return hold;
}

void
FlowRunEndAll(const FlowRunEnd *ends, int n)
{
	Datum	   *tids = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *statuses = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *outputs = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *no_output = palloc(sizeof(bool) * Max(n, 1));
	Datum		args[3];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		tids[i] = PointerGetDatum(&ends[i].tid);
		statuses[i] = CStringGetTextDatum(FlowRunStatusName(ends[i].status));
		outputs[i] = ends[i].output;
		no_output[i] = !ends[i].has_output;
	}
	args[0] = FlowArray(TIDOID, tids, NULL, n);
	args[1] = FlowArray(TEXTOID, statuses, NULL, n);
	args[2] = FlowArray(JSONBOID, outputs, no_output, n);
	if (FlowStatementExecute(&end_runs, args, NULL) != n)
		elog(ERROR, "runs of flow changed while they were locked");
}

void
FlowRunSetStatus(int64 run_id, FlowRunStatus status, const char *reason)
{
	Datum		args[3];
	bool		nulls[3] = {false, false, reason == NULL};

	args[0] = Int64GetDatum(run_id);
	args[1] = CStringGetTextDatum(FlowRunStatusName(status));
	args[2] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	FlowStatementExecute(&set_status, args, nulls);
}

void
FlowRunSetCancelled(int64 run_id, bool at_once, bool undo, const char *reason)
{
	Datum		args[4];
	bool		nulls[4] = {false, reason == NULL, false, false};

	args[0] = Int64GetDatum(run_id);
	args[1] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	args[2] = BoolGetDatum(at_once);
	args[3] = BoolGetDatum(undo);
	FlowStatementExecute(&set_cancelled, args, nulls);
}

void
FlowRunSetCompensating(int64 run_id, ItemPointerData *tid)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&set_compensating, args, NULL);
	take_tid(tid);
}

void
FlowRunSetCompensated(int64 run_id, const char *how, ItemPointerData *tid)
{
	Datum		args[2] = {Int64GetDatum(run_id)};
	bool		nulls[2] = {false, false};

	args[1] = FlowTextOrNull(how, &nulls[1]);
	FlowStatementExecute(&set_compensated, args, nulls);
	take_tid(tid);
}

char *
FlowRunCompensation(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};
	char	   *how = NULL;

	if (FlowStatementExecute(&compensation, args, NULL) == 1)
		how = FlowRowText(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return how;
}

bool
FlowRunIsCompensated(int64 run_id)
{
	char	   *how = FlowRunCompensation(run_id);

	return how != NULL && strcmp(how, "none") != 0;
}

void
FlowRunSetFailing(int64 run_id, Datum error, ItemPointerData *tid)
{
	Datum		args[2] = {Int64GetDatum(run_id), error};

	FlowStatementExecute(&set_failing, args, NULL);
	take_tid(tid);
}

void
FlowRunSetError(int64 run_id, Datum error, ItemPointerData *tid)
{
	Datum		args[2] = {Int64GetDatum(run_id), error};

	FlowStatementExecute(&set_error, args, NULL);
	take_tid(tid);
}

void
FlowRunSetEarly(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&set_early, args, NULL);
}

void
FlowRunRequest(int64 run_id, Datum *input, TimestampTz *slot)
{
	Datum		args[1] = {Int64GetDatum(run_id)};
	bool		isnull;

	if (FlowStatementExecute(&request_of, args, NULL) != 1)
		elog(ERROR, "run " INT64_FORMAT " is gone", run_id);
	*input = FlowRowDatum(SPI_tuptable->vals[0], 1, &isnull);
	*slot = DatumGetTimestampTz(FlowRowDatum(SPI_tuptable->vals[0], 2, &isnull));
	if (isnull)
		*slot = DT_NOBEGIN;
	SPI_freetuptable(SPI_tuptable);
}

void
FlowRunResult(int64 run_id, NullableDatum *output, NullableDatum *error)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	if (FlowStatementExecute(&result_of, args, NULL) != 1)
		elog(ERROR, "run " INT64_FORMAT " is gone", run_id);
	output->value = FlowRowDatum(SPI_tuptable->vals[0], 1, &output->isnull);
	error->value = FlowRowDatum(SPI_tuptable->vals[0], 2, &error->isnull);
	SPI_freetuptable(SPI_tuptable);
}

void
FlowRunSetRetried(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&set_retried, args, NULL);
}

void
FlowRunSetStarted(int64 run_id, ItemPointerData *tid)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&set_started, args, NULL);
	take_tid(tid);
}

static void
take_tid(ItemPointerData *tid)
{
	if (SPI_processed == 1)
		FlowRowTid(SPI_tuptable->vals[0], 1, tid);
	SPI_freetuptable(SPI_tuptable);
}

static int64
first_id(void)
{
	int64		id = SPI_processed > 0 ? FlowRowInt64(SPI_tuptable->vals[0], 1) : 0;

	SPI_freetuptable(SPI_tuptable);
	return id;
}

static Datum
id_array(const int64 *ids, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		values[i] = Int64GetDatum(ids[i]);
	return FlowArray(INT8OID, values, NULL, n);
}

static void
read_run(HeapTuple row, FlowRunRow *run)
{
	run->id = FlowRowInt64(row, 1);
	run->workflow_id = FlowRowInt32(row, 2);
	run->definition_id = FlowRowInt32(row, 3);
	run->owner = FlowRowOid(row, 4);
	run->status = FlowRunStatusParse(FlowRowText(row, 5));
	run->epoch = FlowRowInt32(row, 6);
	run->failing = FlowRowBool(row, 7);
	run->priority = FlowRowInt32(row, 8);
	run->notify = strcmp(FlowRowText(row, 9), "none") != 0;
	run->key = FlowRowText(row, 10);
	run->started_by = FlowRowOid(row, 11);
	run->started = FlowRowBool(row, 12);
	FlowRowTid(row, 13, &run->tid);
	run->early = FlowRowBool(row, 14);
	run->parent.run_id = FlowRowInt64(row, 15);
	run->parent.step_no = FlowRowInt32(row, 16);
	run->depth = FlowRowInt32(row, 17);
	run->erased = FlowRowInt32(row, 18);
	run->parent.item_no = FlowRowInt32(row, 19);
}
