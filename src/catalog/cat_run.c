/*-------------------------------------------------------------------------
 * cat_run.c
 *	  Runs: insert, lock in id order, change state.
 *
 * The row of a run is its mutex; see catalog.h for who takes it and when.
 * Which state may follow which is decided in engine/run.c, not here.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/qunique.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/table.h"
#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_run.h"

/* Columns of flow_internal.run */
#define RUN_TABLE_COLUMNS	34

/* Columns that are read or changed by number */
enum
{
	COLUMN_ID = 1,
	COLUMN_HOME,
	COLUMN_WORKFLOW_ID,
	COLUMN_DEFINITION_ID,
	COLUMN_OWNER,
	COLUMN_STATUS = 7,
	COLUMN_EPOCH,
	COLUMN_FAILING,
	COLUMN_PRIORITY,
	COLUMN_NOTIFY,
	COLUMN_KEY,
	COLUMN_SLOT,
	COLUMN_INPUT,
	COLUMN_OUTPUT,
	COLUMN_STARTED_BY = 18,
	COLUMN_CREATED_AT = 22,
	COLUMN_STARTED_AT,
	COLUMN_FINISHED_AT,
	COLUMN_EARLY = 26,
	COLUMN_PARENT_RUN,
	COLUMN_PARENT_STEP,
	COLUMN_DEPTH,
	COLUMN_ERASED,
	COLUMN_PARENT_ITEM = 33
};

static FlowTable runs = {.name = "run",.columns = RUN_TABLE_COLUMNS};
static FlowTable run_ids = {.name = "run_id_seq"};

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
static bool find_run(FlowLook *look, int64 run_id);
static bool is_ours(FlowLook *look);
static int	sort_ids(const int64 *ids, int n, int64 *sorted);
static int	compare_ids(const void *a, const void *b);
static void read_run(FlowLook *look, FlowRunRow *run);

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
FlowRunLoad(int64 run_id, FlowRunRow *row)
{
	FlowLook	look;
	bool		found;

	FlowLookBeginNow(&look, &runs, NULL, false);
	found = find_run(&look, run_id);
	if (found)
		read_run(&look, row);
	FlowLookEndNow(&look);
	return found;
}

bool
FlowRunIsOver(int64 run_id)
{
	FlowLook	look;
	FlowRunRow	row;
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	FlowLookBegin(&look, &runs, NULL, GetActiveSnapshot(), false);
	found = find_run(&look, run_id);
	if (found)
		read_run(&look, &row);
	FlowLookEnd(&look);
	PopActiveSnapshot();
	return !found || FlowRunStatusIsFinal(row.status);
}

void
FlowRunLookBegin(FlowLook *look)
{
	FlowLookBegin(look, &runs, NULL, GetActiveSnapshot(), false);
}

FlowRunClaimed *
FlowRunLookAt(FlowLook *look, int64 run_id)
{
	Datum		key[1] = {Int64GetDatum(run_id)};
	FlowRunClaimed *run;
	bool		isnull;

	if (!FlowLookFind(look, key))
		return NULL;
	run = palloc(sizeof(FlowRunClaimed));
	read_run(look, &run->row);
	run->input = FlowLookCopy(look, COLUMN_INPUT, &isnull);
	run->slot = (TimestampTz) FlowLookInt64(look, FlowLookIsNull(look, COLUMN_SLOT) ?
											COLUMN_CREATED_AT : COLUMN_SLOT);
	return run;
}

int
FlowRunLock(const int64 *run_ids, int n, bool skip, FlowRunRow **rows)
{
	int64	   *ids = palloc(sizeof(int64) * Max(n, 1));
	int			found = 0;
	FlowLook	look;

	n = sort_ids(run_ids, n, ids);
	*rows = palloc0(sizeof(FlowRunRow) * Max(n, 1));
	FlowLookBeginNow(&look, &runs, NULL, true);
	for (int i = 0; i < n; i++)
		if (find_run(&look, ids[i]) &&
			FlowLookLock(&look, skip ? LockWaitSkip : LockWaitBlock) == FLOW_HOLD_TAKEN &&
			is_ours(&look))
			read_run(&look, &(*rows)[found++]);
	FlowLookEndNow(&look);
	pfree(ids);
	return found;
}

/* A run of our home */
static bool
find_run(FlowLook *look, int64 run_id)
{
	Datum		key[1] = {Int64GetDatum(run_id)};

	return FlowLookFind(look, key) && is_ours(look);
}

static bool
is_ours(FlowLook *look)
{
	return FlowLookInt64(look, COLUMN_HOME) == FlowInstallRequire()->home;
}

/* Each once; returns how many. */
static int
sort_ids(const int64 *ids, int n, int64 *sorted)
{
	if (n == 0)
		return 0;
	memcpy(sorted, ids, sizeof(int64) * n);
	qsort(sorted, n, sizeof(int64), compare_ids);
	return (int) qunique(sorted, n, sizeof(int64), compare_ids);
}

static int
compare_ids(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

FlowHold
FlowRunHold(int64 run_id, FlowRunStatus *status, int32 *epoch)
{
	Datum		key[1] = {Int64GetDatum(run_id)};
	FlowHeldRow row;
	FlowHold	hold;
	bool		isnull;

	hold = FlowHeldRowLock(&runs, key, LockWaitBlock, &row);
	if (hold != FLOW_HOLD_TAKEN)
		return hold;
	*status = FlowRunStatusParse(TextDatumGetCString(FlowHeldRowDatum(&row, COLUMN_STATUS, &isnull)));
	*epoch = DatumGetInt32(FlowHeldRowDatum(&row, COLUMN_EPOCH, &isnull));
	return hold;
}

void
FlowRunEndAll(const FlowRunEnd *ends, int n)
{
	Datum	   *values = palloc0(sizeof(Datum) * RUN_TABLE_COLUMNS * Max(n, 1));
	bool	   *nulls = palloc0(sizeof(bool) * RUN_TABLE_COLUMNS * Max(n, 1));
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * Max(n, 1));
	bool		replaces[RUN_TABLE_COLUMNS] = {
		[COLUMN_STATUS - 1] = true,[COLUMN_FAILING - 1] = true,
		[COLUMN_OUTPUT - 1] = true,[COLUMN_FINISHED_AT - 1] = true
	};
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < n; i++)
	{
		Datum	   *row = values + (Size) i * RUN_TABLE_COLUMNS;

		tids[i] = ends[i].tid;
		row[COLUMN_STATUS - 1] =
			CStringGetTextDatum(FlowRunStatusName(ends[i].status));
		row[COLUMN_FAILING - 1] = BoolGetDatum(false);
		row[COLUMN_OUTPUT - 1] = ends[i].output;
		nulls[(Size) i * RUN_TABLE_COLUMNS + COLUMN_OUTPUT - 1] = !ends[i].has_output;
		row[COLUMN_FINISHED_AT - 1] = TimestampTzGetDatum(now);
	}
	FlowTableUpdate(&runs, tids, values, nulls, replaces, n);
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

static void
read_run(FlowLook *look, FlowRunRow *run)
{
	run->id = FlowLookInt64(look, COLUMN_ID);
	run->workflow_id = FlowLookInt32(look, COLUMN_WORKFLOW_ID);
	run->definition_id = FlowLookInt32(look, COLUMN_DEFINITION_ID);
	run->owner = FlowLookOid(look, COLUMN_OWNER);
	run->status = FlowRunStatusParse(FlowLookText(look, COLUMN_STATUS));
	run->epoch = FlowLookInt32(look, COLUMN_EPOCH);
	run->failing = FlowLookBool(look, COLUMN_FAILING);
	run->priority = FlowLookInt32(look, COLUMN_PRIORITY);
	run->notify = strcmp(FlowLookText(look, COLUMN_NOTIFY), "none") != 0;
	run->key = FlowLookText(look, COLUMN_KEY);
	run->started_by = FlowLookOid(look, COLUMN_STARTED_BY);
	run->started = !FlowLookIsNull(look, COLUMN_STARTED_AT);
	run->tid = look->row->tts_tid;
	run->early = FlowLookBool(look, COLUMN_EARLY);
	run->parent.run_id = FlowLookInt64(look, COLUMN_PARENT_RUN);
	run->parent.step_no = FlowLookInt32(look, COLUMN_PARENT_STEP);
	run->depth = FlowLookInt32(look, COLUMN_DEPTH);
	run->erased = FlowLookInt32(look, COLUMN_ERASED);
	run->parent.item_no = FlowLookInt32(look, COLUMN_PARENT_ITEM);
}
