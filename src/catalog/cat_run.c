/*-------------------------------------------------------------------------
 * cat_run.c
 *	  Runs: insert, reserve a key, lock in id order, change state.
 *
 * The row of a run is its mutex; see catalog.h for who takes it and when.
 * Which state may follow which is decided in engine/run.c, not here.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_run.h"

static FlowStatement insert = {
	.sql = "INSERT INTO flow_internal.run (id, home, workflow_id, definition_id, owner,"
	" owner_name, status, priority, notify, key, slot, input, started_by, started_by_name,"
	" started_by_app, created_at, started_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
	.expect = SPI_OK_INSERT,
	.nargs = 17,
	.argtypes = {INT8OID, INT8OID, INT4OID, INT4OID, OIDOID, TEXTOID, TEXTOID, INT4OID,
		TEXTOID, TEXTOID, TIMESTAMPTZOID, JSONBOID, OIDOID, TEXTOID, TEXTOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID}
};

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
	.sql = "SELECT id FROM flow_internal.run WHERE workflow_id = $1 AND key = $2"
	" ORDER BY id DESC LIMIT 1",
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
	" notify, key, started_by, started_at IS NOT NULL"

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

static FlowStatement end_run = {
	.sql = "UPDATE flow_internal.run SET status = $2, output = $3,"
	" failing = false, finished_at = pg_catalog.clock_timestamp() WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {INT8OID, TEXTOID, JSONBOID}
};

static FlowStatement set_status = {
	.sql = "UPDATE flow_internal.run SET status = $2, status_reason = $3 WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {INT8OID, TEXTOID, TEXTOID}
};

static FlowStatement set_cancelled = {
	.sql = "UPDATE flow_internal.run SET status = 'cancelled', status_reason = $2,"
	" epoch = epoch + 1, failing = false, finished_at = pg_catalog.clock_timestamp()"
	" WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static FlowStatement set_failing = {
	.sql = "UPDATE flow_internal.run SET failing = true, error = $2 WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 2,
	.argtypes = {INT8OID, JSONBOID}
};

static FlowStatement set_retried = {
	.sql = "UPDATE flow_internal.run SET status = 'running', status_reason = NULL,"
	" error = NULL, output = NULL, failing = false, finished_at = NULL WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement set_started = {
	.sql = "UPDATE flow_internal.run SET status = 'running', status_reason = NULL,"
	" started_at = pg_catalog.clock_timestamp() WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static int64 first_id(void);
static Datum id_array(const int64 *ids, int n);
static void read_run(HeapTuple row, FlowRunRow *run);

int64
FlowRunNextId(void)
{
	static uint32 generation = 0;
	static Oid	sequence = InvalidOid;
	const FlowInstall *install = FlowInstallRequire();

	if (!OidIsValid(sequence) || generation != install->generation)
	{
		sequence = get_relname_relid("run_id_seq",
									 get_namespace_oid(FLOW_TABLE_SCHEMA, false));
		generation = install->generation;
	}
	return nextval_internal(sequence, false);
}

void
FlowRunInsert(const FlowRunNew *run)
{
	bool		started = run->status == FLOW_RUN_RUNNING;
	Datum		args[17];
	bool		nulls[17] = {false};

	args[0] = Int64GetDatum(run->id);
	args[1] = Int64GetDatum(FlowInstallRequire()->home);
	args[2] = Int32GetDatum(run->workflow_id);
	args[3] = Int32GetDatum(run->definition_id);
	args[4] = ObjectIdGetDatum(run->owner);
	args[5] = CStringGetTextDatum(run->owner_name);
	args[6] = CStringGetTextDatum(FlowRunStatusName(run->status));
	args[7] = Int32GetDatum(run->priority);
	args[8] = CStringGetTextDatum(run->notify);
	args[9] = run->key ? CStringGetTextDatum(run->key) : (Datum) 0;
	nulls[9] = run->key == NULL;
	args[10] = TimestampTzGetDatum(run->slot);
	nulls[10] = TIMESTAMP_IS_NOBEGIN(run->slot);
	args[11] = run->input;
	args[12] = ObjectIdGetDatum(run->started_by);
	args[13] = CStringGetTextDatum(run->started_by_name);
	args[14] = CStringGetTextDatum(run->started_by_app);
	args[15] = TimestampTzGetDatum(run->created_at);
	args[16] = args[15];
	nulls[16] = !started;
	FlowStatementExecute(&insert, args, nulls);
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

void
FlowRunEndOne(const FlowRunEnd *end)
{
	Datum		args[3];
	bool		nulls[3] = {false, false, !end->has_output};

	args[0] = Int64GetDatum(end->id);
	args[1] = CStringGetTextDatum(FlowRunStatusName(end->status));
	args[2] = end->output;
	FlowStatementExecute(&end_run, args, nulls);
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
FlowRunSetCancelled(int64 run_id, const char *reason)
{
	Datum		args[2];
	bool		nulls[2] = {false, reason == NULL};

	args[0] = Int64GetDatum(run_id);
	args[1] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	FlowStatementExecute(&set_cancelled, args, nulls);
}

void
FlowRunSetFailing(int64 run_id, Datum error)
{
	Datum		args[2] = {Int64GetDatum(run_id), error};

	FlowStatementExecute(&set_failing, args, NULL);
}

void
FlowRunSetRetried(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&set_retried, args, NULL);
}

void
FlowRunSetStarted(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&set_started, args, NULL);
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
}
