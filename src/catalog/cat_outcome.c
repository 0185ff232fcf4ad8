/*-------------------------------------------------------------------------
 * cat_outcome.c
 *	  History: one row per ended step, one per failed attempt.
 *
 * Insert-only but for flow_retry and compensation; the primary key is the only index.  A flush
 * writes all its rows with one statement.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/held.h"
#include "base/table.h"
#include "base/spi.h"
#include "catalog/cat_outcome.h"
#include "catalog/stepkey.h"

/* Columns of flow_internal.outcome and flow_internal.attempt */
#define OUTCOME_COLUMNS	13
#define ATTEMPT_COLUMNS	12

static FlowTable outcomes = {.name = "outcome",.columns = OUTCOME_COLUMNS};
static FlowTable attempts = {.name = "attempt",.columns = ATTEMPT_COLUMNS};

static FlowStatement list_of = {
	.sql = "SELECT run_id, step_no, item_no, status, attempt, emits FROM flow_internal.outcome"
	" WHERE run_id = ANY ($1) AND item_no = 0",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8ARRAYOID}
};

/* Does not read the outcomes of items on its way; there is one way to plan it */
static FlowStatement probe = {
	.sql = "SELECT o.run_id, o.step_no, o.item_no, o.status, o.attempt, o.emits"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS k(run_id, steps),"
	" LATERAL pg_catalog.generate_series(1, k.steps) AS s(no),"
	" LATERAL (SELECT * FROM flow_internal.outcome o WHERE o.run_id = k.run_id"
	" AND o.step_no = s.no AND o.item_no = 0 OFFSET 0) o",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID}
};

static FlowStatement status_of = {
	.sql = "SELECT status FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement output = {
	.sql = "SELECT output FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement emits = {
	.sql = "SELECT emits FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement error = {
	.sql = "SELECT error FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement tried = {
	.sql = "SELECT run_id, step_no, pg_catalog.max(attempt) FROM flow_internal.attempt"
	" WHERE run_id = ANY ($1) AND item_no = 0 GROUP BY run_id, step_no",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8ARRAYOID}
};

static FlowStatement copy = {
	.sql = "INSERT INTO flow_internal.outcome (run_id, step_no, item_no, status, attempt,"
	" started_at, finished_at, worker, output, error, reason, handled, emits)"
	" SELECT $2, step_no, item_no, status, attempt, started_at, finished_at, NULL,"
	" output, error, reason, handled, emits FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = ANY ($3)",
	.expect = SPI_OK_INSERT,
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, INT4ARRAYOID}
};

static FlowStatement forget = {
	.sql = "DELETE FROM flow_internal.outcome WHERE run_id = $1 AND step_no = ANY ($2)",
	.expect = SPI_OK_DELETE,
	.nargs = 2,
	.argtypes = {INT8OID, INT4ARRAYOID}
};

/* Every step that has ended in the run itself has the process that ended it. */
static FlowStatement copied = {
	.sql = "SELECT step_no FROM flow_internal.outcome WHERE run_id = $1 AND item_no = 0"
	" AND worker IS NULL",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement set_undone = {
	.sql = "UPDATE flow_internal.outcome SET status = $3, error = $4, reason = $5"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $6",
	.expect = SPI_OK_UPDATE,
	.nargs = 6,
	.argtypes = {INT8OID, INT4OID, TEXTOID, JSONBOID, TEXTOID, INT4OID}
};

static List *read_ends(void);
static void write_outcome(const FlowOutcomeRow *row, Datum *values, bool *nulls);
static bool read_value(FlowStatement *statement, const FlowStepKey *key,
					   Datum *value, bool *isnull);
static Datum step_array(const int *steps, int n);
static void write_attempt(const FlowAttemptRow *row, Datum *values, bool *nulls);

void
FlowOutcomeInsert(const FlowOutcomeRow *rows, int n)
{
	Datum	   *values = palloc0(sizeof(Datum) * OUTCOME_COLUMNS * Max(n, 1));
	bool	   *nulls = palloc0(sizeof(bool) * OUTCOME_COLUMNS * Max(n, 1));

	for (int i = 0; i < n; i++)
		write_outcome(&rows[i], values + i * OUTCOME_COLUMNS,
					  nulls + i * OUTCOME_COLUMNS);
	FlowTableInsert(&outcomes, values, nulls, n);
}

static void
write_outcome(const FlowOutcomeRow *row, Datum *values, bool *nulls)
{
	values[0] = Int64GetDatum(row->key.run_id);
	values[1] = Int32GetDatum(row->key.step_no);
	values[2] = Int32GetDatum(row->key.item_no);
	values[3] = CStringGetTextDatum(FlowStepStatusName(row->status));
	values[4] = Int32GetDatum(row->attempt);
	values[5] = TimestampTzGetDatum(row->started_at);
	nulls[5] = TIMESTAMP_IS_NOBEGIN(row->started_at);
	values[6] = TimestampTzGetDatum(row->finished_at);
	values[7] = Int32GetDatum(row->worker ? row->worker : MyProcPid);
	values[8] = row->output;
	nulls[8] = !row->has_output;
	values[9] = row->error;
	nulls[9] = !row->has_error;
	values[10] = FlowTextOrNull(row->reason, &nulls[10]);
	values[11] = BoolGetDatum(row->handled);
	values[12] = row->emits;
	nulls[12] = !row->has_emits;
}

void
FlowAttemptInsert(const FlowAttemptRow *rows, int n)
{
	Datum	   *values = palloc0(sizeof(Datum) * ATTEMPT_COLUMNS * Max(n, 1));
	bool	   *nulls = palloc0(sizeof(bool) * ATTEMPT_COLUMNS * Max(n, 1));

	for (int i = 0; i < n; i++)
		write_attempt(&rows[i], values + i * ATTEMPT_COLUMNS,
					  nulls + i * ATTEMPT_COLUMNS);
	FlowTableInsert(&attempts, values, nulls, n);
}

static void
write_attempt(const FlowAttemptRow *row, Datum *values, bool *nulls)
{
	values[0] = Int64GetDatum(row->key.run_id);
	values[1] = Int32GetDatum(row->key.step_no);
	values[2] = Int32GetDatum(row->key.item_no);
	values[3] = Int32GetDatum(row->attempt);
	values[4] = TimestampTzGetDatum(row->started_at);
	nulls[4] = TIMESTAMP_IS_NOBEGIN(row->started_at);
	values[5] = TimestampTzGetDatum(row->finished_at);
	values[6] = FlowTextOrNull(row->sqlstate, &nulls[6]);
	values[7] = FlowTextOrNull(row->message, &nulls[7]);
	values[8] = FlowTextOrNull(row->detail, &nulls[8]);
	values[9] = FlowTextOrNull(row->hint, &nulls[9]);
	values[10] = FlowTextOrNull(row->context, &nulls[10]);
	values[11] = TimestampTzGetDatum(row->next_at);
	nulls[11] = TIMESTAMP_IS_NOBEGIN(row->next_at);
}

List *
FlowOutcomeListOf(const int64 *run_ids, const int32 *probes, int n)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *steps = palloc(sizeof(Datum) * Max(n, 1));
	int			n_plain = 0;
	int			n_probed = 0;
	List	   *result = NIL;
	Datum		args[2];

	for (int i = 0; i < n; i++)
		if (probes[i] == 0)
			ids[n_plain++] = Int64GetDatum(run_ids[i]);
	if (n_plain > 0)
	{
		args[0] = FlowArray(INT8OID, ids, NULL, n_plain);
		FlowStatementExecute(&list_of, args, NULL);
		result = read_ends();
	}
	for (int i = 0; i < n; i++)
		if (probes[i] > 0)
		{
			ids[n_probed] = Int64GetDatum(run_ids[i]);
			steps[n_probed++] = Int32GetDatum(probes[i]);
		}
	if (n_probed > 0)
	{
		args[0] = FlowArray(INT8OID, ids, NULL, n_probed);
		args[1] = FlowArray(INT4OID, steps, NULL, n_probed);
		FlowStatementExecute(&probe, args, NULL);
		result = list_concat(result, read_ends());
	}
	return result;
}

static List *
read_ends(void)
{
	List	   *result = NIL;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		FlowOutcomeRow *row = palloc0(sizeof(FlowOutcomeRow));
		bool		isnull;

		row->key.run_id = FlowRowInt64(tuple, 1);
		row->key.step_no = FlowRowInt32(tuple, 2);
		row->key.item_no = FlowRowInt32(tuple, 3);
		row->status = FlowStepStatusParse(FlowRowText(tuple, 4));
		row->attempt = FlowRowInt32(tuple, 5);
		row->emits = FlowRowDatum(tuple, 6, &isnull);
		row->has_emits = !isnull;
		result = lappend(result, row);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

List *
FlowAttemptListOf(const int64 *run_ids, int n)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));
	List	   *result = NIL;
	Datum		args[1];

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(run_ids[i]);
	args[0] = FlowArray(INT8OID, ids, NULL, n);
	FlowStatementExecute(&tried, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		FlowAttemptRow *row = palloc0(sizeof(FlowAttemptRow));

		row->key.run_id = FlowRowInt64(tuple, 1);
		row->key.step_no = FlowRowInt32(tuple, 2);
		row->attempt = FlowRowInt32(tuple, 3);
		result = lappend(result, row);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

FlowStepStatus
FlowOutcomeStatus(const FlowStepKey *key)
{
	Datum		args[3];
	FlowStepStatus status = 0;

	FlowStepKeyWrite(key, args);
	if (FlowStatementExecute(&status_of, args, NULL) == 1)
		status = FlowStepStatusParse(FlowRowText(SPI_tuptable->vals[0], 1));
	SPI_freetuptable(SPI_tuptable);
	return status;
}

bool
FlowOutcomeOutput(const FlowStepKey *key, Datum *value, bool *isnull)
{
	return read_value(&output, key, value, isnull);
}

static bool
read_value(FlowStatement *statement, const FlowStepKey *key, Datum *value,
		   bool *isnull)
{
	Datum		args[3];
	bool		found;

	FlowStepKeyWrite(key, args);
	found = FlowStatementRead(statement, args, NULL) == 1;

	*isnull = true;
	if (found)
		*value = FlowRowDatum(SPI_tuptable->vals[0], 1, isnull);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

bool
FlowOutcomeIsThere(const FlowStepKey *key)
{
	Datum		columns[3];
	FlowHeldRow row;

	FlowStepKeyWrite(key, columns);
	return FlowHeldRowLock(&outcomes, columns, LockWaitSkip, &row) != FLOW_HOLD_GONE;
}

bool
FlowOutcomeEmits(const FlowStepKey *key, Datum *value, bool *isnull)
{
	return read_value(&emits, key, value, isnull);
}

bool
FlowOutcomeError(const FlowStepKey *key, Datum *value, bool *isnull)
{
	return read_value(&error, key, value, isnull);
}

void
FlowOutcomeCopy(int64 from_run, int64 to_run, const int *steps, int n)
{
	Datum		args[3] = {Int64GetDatum(from_run), Int64GetDatum(to_run)};

	args[2] = step_array(steps, n);
	FlowStatementExecute(&copy, args, NULL);
}

void
FlowOutcomeForget(int64 run_id, const int *steps, int n)
{
	Datum		args[2] = {Int64GetDatum(run_id)};

	args[1] = step_array(steps, n);
	FlowStatementExecute(&forget, args, NULL);
}

static Datum
step_array(const int *steps, int n)
{
	Datum	   *numbers = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		numbers[i] = Int32GetDatum(steps[i]);
	return FlowArray(INT4OID, numbers, NULL, n);
}

void
FlowOutcomeSetUndone(const FlowOutcomeRow *row)
{
	Datum		args[6];
	bool		nulls[6] = {false};

	args[0] = Int64GetDatum(row->key.run_id);
	args[1] = Int32GetDatum(row->key.step_no);
	args[2] = CStringGetTextDatum(FlowStepStatusName(row->status));
	args[3] = row->error;
	nulls[3] = !row->has_error;
	args[4] = FlowTextOrNull(row->reason, &nulls[4]);
	args[5] = Int32GetDatum(row->key.item_no);
	FlowStatementExecute(&set_undone, args, nulls);
}

List *
FlowOutcomeCopied(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};
	List	   *steps = NIL;

	FlowStatementExecute(&copied, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		steps = lappend_int(steps, FlowRowInt32(SPI_tuptable->vals[i], 1));
	SPI_freetuptable(SPI_tuptable);
	return steps;
}
