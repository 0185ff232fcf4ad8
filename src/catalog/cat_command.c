/*-------------------------------------------------------------------------
 * cat_command.c
 *	  Commands that run: rows of flow_internal.task, and texts that were built.
 *
 * A command runs outside of a transaction, so its row is not locked meanwhile.
 * Its status, and the process that runs it, say so instead
 * (FLOW_TASK_IS_COMMAND in catalog.h).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_command.h"
#include "catalog/catalog.h"

#define ROW_TYPES	INT8OID, INT4OID, INT4OID, INT4OID, INT4OID
#define OF_ROW \
	" WHERE t.run_id = $1 AND t.step_no = $2 AND t.item_no = $3" \
	" AND t.attempt = $4 AND t.worker = $5 AND " FLOW_TASK_IS_COMMAND("t")

static FlowStatement begin = {
	.sql = "UPDATE flow_internal.task SET status = 'running', attempt = $4,"
	" worker = $5, started_at = pg_catalog.clock_timestamp(), finished_at = NULL,"
	" output = NULL, due_at = NULL"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_UPDATE,
	.nargs = 5,
	.argtypes = {ROW_TYPES}
};

static FlowStatement note = {
	.sql = "INSERT INTO flow_internal.command (run_id, step_no, item_no, attempt, sql)"
	" SELECT $1, $2, $3, $4, $6 WHERE $5 IS NOT NULL"
	" ON CONFLICT (run_id, step_no, item_no, attempt) DO UPDATE SET sql = EXCLUDED.sql",
	.expect = SPI_OK_INSERT,
	.nargs = 6,
	.argtypes = {ROW_TYPES, TEXTOID}
};

static FlowStatement end = {
	.sql = "UPDATE flow_internal.task t SET status = 'ready', attempt = t.attempt - 1,"
	" ready_at = pg_catalog.now(), started_at = $6,"
	" finished_at = CASE WHEN $7 IS NOT NULL THEN pg_catalog.clock_timestamp() END,"
	" output = $7" OF_ROW,
	.expect = SPI_OK_UPDATE,
	.nargs = 7,
	.argtypes = {ROW_TYPES, TIMESTAMPTZOID, JSONBOID}
};

static FlowStatement list = {
	.sql = "SELECT t.run_id, t.step_no, t.item_no, t.attempt, t.worker"
	" FROM flow_internal.task t WHERE t.home = $1 AND " FLOW_TASK_IS_COMMAND("t"),
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

/* A crash is no attempt that counts against the retries. */
static FlowStatement release = {
	.sql = "WITH t AS (UPDATE flow_internal.task t SET status = 'ready',"
	" attempt_base = t.attempt_base + 1, ready_at = pg_catalog.now(),"
	" worker = NULL" OF_ROW
	" RETURNING t.run_id, t.step_no, t.item_no, t.attempt, t.started_at)"
	" INSERT INTO flow_internal.attempt (run_id, step_no, item_no, attempt,"
	" started_at, finished_at, sqlstate, message, detail, next_at)"
	" SELECT t.run_id, t.step_no, t.item_no, t.attempt, t.started_at,"
	" pg_catalog.clock_timestamp(), 'WF005',"
	" 'the server or its worker went down while it ran the command',"
	" 'What the command had committed by then has stayed.', pg_catalog.now()"
	" FROM t ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 5,
	.argtypes = {ROW_TYPES}
};

static void row_args(const FlowCommandRow *row, Datum *args);

void
FlowCommandBegin(const FlowCommandRow *row)
{
	Datum		args[5];

	row_args(row, args);
	FlowStatementExecute(&begin, args, NULL);
}

static void
row_args(const FlowCommandRow *row, Datum *args)
{
	args[0] = Int64GetDatum(row->key.run_id);
	args[1] = Int32GetDatum(row->key.step_no);
	args[2] = Int32GetDatum(row->key.item_no);
	args[3] = Int32GetDatum(row->attempt);
	args[4] = Int32GetDatum(row->worker);
}

void
FlowCommandNote(const FlowCommandRow *row, const char *sql)
{
	Datum		args[6];

	row_args(row, args);
	args[5] = CStringGetTextDatum(sql);
	FlowStatementExecute(&note, args, NULL);
}

bool
FlowCommandEnd(const FlowCommandRow *row, TimestampTz started_at, Datum result)
{
	Datum		args[7];
	bool		nulls[7] = {false};

	row_args(row, args);
	args[5] = TimestampTzGetDatum(started_at);
	args[6] = result;
	nulls[6] = result == (Datum) 0;
	return FlowStatementExecute(&end, args, nulls) == 1;
}

List *
FlowCommandList(int64 home)
{
	Datum		args[1] = {Int64GetDatum(home)};
	uint64		n = FlowStatementExecute(&list, args, NULL);
	List	   *result = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		FlowCommandRow *row = palloc0(sizeof(FlowCommandRow));

		row->key.run_id = FlowRowInt64(tuple, 1);
		row->key.step_no = FlowRowInt32(tuple, 2);
		row->key.item_no = FlowRowInt32(tuple, 3);
		row->attempt = FlowRowInt32(tuple, 4);
		row->worker = FlowRowInt32(tuple, 5);
		result = lappend(result, row);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

bool
FlowCommandRelease(const FlowCommandRow *row)
{
	Datum		args[5];

	row_args(row, args);
	return FlowStatementExecute(&release, args, NULL) == 1;
}
