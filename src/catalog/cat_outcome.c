/*-------------------------------------------------------------------------
 * cat_outcome.c
 *	  History: one row per ended step, one per failed attempt.
 *
 * Insert-only but for flow_retry; the primary key is the only index.  A flush
 * writes all its rows with one statement.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_outcome.h"

static FlowStatement insert = {
	.sql = "INSERT INTO flow_internal.outcome (run_id, step_no, item_no, status, attempt,"
	" started_at, finished_at, worker, output, error, reason)"
	" SELECT n.run_id, n.step_no, n.item_no, n.status, n.attempt, n.started_at,"
	" n.finished_at, $1, n.output, n.error, n.reason"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
	" pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8),"
	" pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11))"
	" AS n(run_id, step_no, item_no, status, attempt, started_at, finished_at, output, error, reason)",
	.expect = SPI_OK_INSERT,
	.nargs = 11,
	.argtypes = {INT4OID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
	TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, JSONBARRAYOID, JSONBARRAYOID, TEXTARRAYOID}
};

static FlowStatement insert_attempt = {
	.sql = "INSERT INTO flow_internal.attempt (run_id, step_no, item_no, attempt, started_at,"
	" finished_at, sqlstate, message, detail, hint, context, next_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
	.expect = SPI_OK_INSERT,
	.nargs = 12,
	.argtypes = {INT8OID, INT4OID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
};

static FlowStatement list_of = {
	.sql = "SELECT run_id, step_no, item_no, status, attempt FROM flow_internal.outcome"
	" WHERE run_id = ANY ($1)",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8ARRAYOID}
};

static FlowStatement output = {
	.sql = "SELECT output FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = 0",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement forget = {
	.sql = "DELETE FROM flow_internal.outcome WHERE run_id = $1"
	" AND (status = 'skipped' OR status = 'cancelled'"
	" OR (status = 'failed' AND ($2 = 0 OR step_no = $2)))",
	.expect = SPI_OK_DELETE,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static Datum text_or_null(const char *text, bool *isnull);

void
FlowOutcomeInsert(const FlowOutcomeRow *rows, int n)
{
	static const Oid types[] = {INT8OID, INT4OID, INT4OID, TEXTOID, INT4OID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID, JSONBOID, TEXTOID};
	Datum	   *value[10];
	bool	   *nulls[10];
	Datum		args[11];

	if (n == 0)
		return;
	for (int c = 0; c < 10; c++)
	{
		value[c] = palloc0(sizeof(Datum) * n);
		nulls[c] = palloc0(sizeof(bool) * n);
	}
	for (int i = 0; i < n; i++)
	{
		const FlowOutcomeRow *row = &rows[i];

		value[0][i] = Int64GetDatum(row->key.run_id);
		value[1][i] = Int32GetDatum(row->key.step_no);
		value[2][i] = Int32GetDatum(row->key.item_no);
		value[3][i] = CStringGetTextDatum(FlowStepStatusName(row->status));
		value[4][i] = Int32GetDatum(row->attempt);
		value[5][i] = TimestampTzGetDatum(row->started_at);
		nulls[5][i] = TIMESTAMP_IS_NOBEGIN(row->started_at);
		value[6][i] = TimestampTzGetDatum(row->finished_at);
		value[7][i] = row->output;
		nulls[7][i] = !row->has_output;
		value[8][i] = row->error;
		nulls[8][i] = !row->has_error;
		value[9][i] = text_or_null(row->reason, &nulls[9][i]);
	}
	args[0] = Int32GetDatum(MyProcPid);
	for (int c = 0; c < 10; c++)
		args[c + 1] = FlowArray(types[c], value[c], nulls[c], n);
	FlowStatementExecute(&insert, args, NULL);
}

void
FlowAttemptInsert(const FlowAttemptRow *rows, int n)
{
	for (int i = 0; i < n; i++)
	{
		const FlowAttemptRow *row = &rows[i];
		Datum		args[12];
		bool		nulls[12] = {false};

		args[0] = Int64GetDatum(row->key.run_id);
		args[1] = Int32GetDatum(row->key.step_no);
		args[2] = Int32GetDatum(row->key.item_no);
		args[3] = Int32GetDatum(row->attempt);
		args[4] = TimestampTzGetDatum(row->started_at);
		nulls[4] = TIMESTAMP_IS_NOBEGIN(row->started_at);
		args[5] = TimestampTzGetDatum(row->finished_at);
		args[6] = text_or_null(row->sqlstate, &nulls[6]);
		args[7] = text_or_null(row->message, &nulls[7]);
		args[8] = text_or_null(row->detail, &nulls[8]);
		args[9] = text_or_null(row->hint, &nulls[9]);
		args[10] = text_or_null(row->context, &nulls[10]);
		args[11] = TimestampTzGetDatum(row->next_at);
		nulls[11] = TIMESTAMP_IS_NOBEGIN(row->next_at);
		FlowStatementExecute(&insert_attempt, args, nulls);
	}
}

List *
FlowOutcomeListOf(const int64 *run_ids, int n)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));
	List	   *result = NIL;
	Datum		args[1];

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(run_ids[i]);
	args[0] = FlowArray(INT8OID, ids, NULL, n);
	FlowStatementExecute(&list_of, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		FlowOutcomeRow *row = palloc0(sizeof(FlowOutcomeRow));

		row->key.run_id = FlowRowInt64(tuple, 1);
		row->key.step_no = FlowRowInt32(tuple, 2);
		row->key.item_no = FlowRowInt32(tuple, 3);
		row->status = FlowStepStatusParse(FlowRowText(tuple, 4));
		row->attempt = FlowRowInt32(tuple, 5);
		result = lappend(result, row);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

bool
FlowOutcomeOutput(int64 run_id, int32 step_no, Datum *value, bool *isnull)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};
	bool		found = FlowStatementRead(&output, args, NULL) == 1;

	*isnull = true;
	if (found)
		*value = FlowRowDatum(SPI_tuptable->vals[0], 1, isnull);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
FlowOutcomeForget(int64 run_id, int32 step_no)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};

	FlowStatementExecute(&forget, args, NULL);
}

static Datum
text_or_null(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}
