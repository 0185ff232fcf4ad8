/*-------------------------------------------------------------------------
 * cat_prune.c
 *	  Finished runs that go: rows read in order, deleted, or erased.
 *
 * There is no index on when a run has ended, since then no update of a run
 * would be HOT.  Runs of one workflow are read by id instead, which grows with
 * created_at: one that was created after a moment has not ended before it, nor
 * has any that follows.
 *
 * The rows of the runs are locked first, in order of id and with SKIP LOCKED,
 * and what belongs to them is touched only then.  A run of which a task is
 * left, as when it was cancelled and a worker has not noticed, is left alone.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_prune.h"

#define FINISHED	"r.status IN ('completed', 'failed', 'cancelled')"

static FlowStatement list_keeping = {
	.sql = "SELECT i.id, i.owner, n.now, n.now - i.keep, n.now - i.keep_data"
	" FROM flow_internal.workflow i, pg_catalog.clock_timestamp() n(now)"
	" WHERE i.home = $1 AND (i.keep IS NOT NULL OR i.keep_data IS NOT NULL)"
	" ORDER BY i.id",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement list_named = {
	.sql = "SELECT i.id, i.owner, NULL::timestamptz, NULL::timestamptz,"
	" NULL::timestamptz FROM flow_internal.workflow i"
	" WHERE i.home = $1 AND ($2 IS NULL OR i.name = $2) ORDER BY i.id",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static FlowStatement read_runs = {
	.sql = "SELECT r.id, r.created_at, CASE WHEN " FINISHED " THEN r.finished_at END"
	" FROM flow_internal.run r"
	" WHERE r.workflow_id = $1 AND r.erased = $2 AND r.id > $3 AND r.home = $4"
	" ORDER BY r.id LIMIT $5",
	.expect = SPI_OK_SELECT,
	.nargs = 5,
	.argtypes = {INT4OID, INT4OID, INT8OID, INT8OID, INT4OID}
};

#define LOCK_RUNS(condition, mode) \
	"SELECT r.id FROM flow_internal.run r" \
	" WHERE r.id = ANY ($1) AND r.finished_at <= $2 AND " FINISHED condition \
	" AND (SELECT pg_catalog.count(*) FROM flow_internal.task t" \
	"  WHERE t.run_id = r.id) = 0" \
	" ORDER BY r.id FOR " mode " OF r SKIP LOCKED"

static FlowStatement lock_to_delete = {
	.sql = LOCK_RUNS("", "UPDATE"),
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZOID}
};

static FlowStatement lock_to_erase = {
	.sql = LOCK_RUNS(" AND r.erased = 0", "NO KEY UPDATE"),
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZOID}
};

#define DELETE_FROM(table, condition) \
	{ \
		.sql = "DELETE FROM flow_internal." table " WHERE " condition, \
		.expect = SPI_OK_DELETE, \
		.nargs = 1, \
		.argtypes = {INT8ARRAYOID} \
	}

/*
 * All that belongs to a run; the run last.  A crash that counts against the
 * definition still, stays for that.
 */
/* Signals of the runs, written so that each has an index of its own */
#define UNTAKEN_SIGNAL	"run_id = ANY ($1) AND run_id IS NOT NULL AND taken_at IS NULL"
#define TAKEN_SIGNAL	"taken_by_run = ANY ($1) AND taken_by_run IS NOT NULL"

static FlowStatement deletes[] = {
	DELETE_FROM("outcome", "run_id = ANY ($1)"),
	DELETE_FROM("attempt", "run_id = ANY ($1)"),
	DELETE_FROM("data", "run_id = ANY ($1)"),
	DELETE_FROM("waiting", "run_id = ANY ($1)"),
	DELETE_FROM("round", "run_id = ANY ($1)"),
	DELETE_FROM("map", "run_id = ANY ($1)"),
	DELETE_FROM("item", "run_id = ANY ($1)"),
	DELETE_FROM("total", "run_id = ANY ($1)"),
	DELETE_FROM("command", "run_id = ANY ($1)"),
	DELETE_FROM("decision", "run_id = ANY ($1)"),
	DELETE_FROM("signal", UNTAKEN_SIGNAL),
	DELETE_FROM("signal", TAKEN_SIGNAL),
	DELETE_FROM("crash", "run_id = ANY ($1) AND NOT counts"),
	DELETE_FROM("event", "run_id = ANY ($1)"),
	DELETE_FROM("run", "id = ANY ($1)")
};

/* An error keeps its SQLSTATE, step and attempt */
#define WITHOUT_TEXTS \
	" - '{message,detail,hint,context}'::pg_catalog.text[]"

#define ERASE(verb, table, ...) \
	{ \
		.sql = verb " flow_internal." table " r " __VA_ARGS__, \
		.expect = SPI_OK_UPDATE, \
		.nargs = 2, \
		.argtypes = {INT8ARRAYOID, BOOLOID} \
	}

/* Payloads, wherever they are; $2: the key, too */
static FlowStatement erases[] = {
	ERASE("UPDATE", "outcome",
		  "SET output = NULL, error = r.error" WITHOUT_TEXTS ","
		  " reason = NULL, emits = NULL"
		  " WHERE r.run_id = ANY ($1) AND $2 IS NOT NULL"),
	ERASE("UPDATE", "attempt",
		  "SET message = '', detail = NULL, hint = NULL, context = NULL"
		  " WHERE r.run_id = ANY ($1) AND $2 IS NOT NULL"),
	ERASE("UPDATE", "item",
		  "SET item = 'null' WHERE r.run_id = ANY ($1) AND $2 IS NOT NULL"),
	ERASE("UPDATE", "command",
		  "SET sql = '' WHERE r.run_id = ANY ($1) AND $2 IS NOT NULL"),
	ERASE("UPDATE", "decision",
		  "SET approver = NULL, comment = NULL"
		  " WHERE r.run_id = ANY ($1) AND $2 IS NOT NULL"),
	ERASE("UPDATE", "signal",
		  "SET payload = NULL WHERE r." UNTAKEN_SIGNAL " AND $2 IS NOT NULL"),
	ERASE("UPDATE", "signal",
		  "SET payload = NULL,"
		  " key = CASE WHEN $2 THEN " FLOW_KEY_HASH("r.key") " ELSE r.key END"
		  " WHERE r." TAKEN_SIGNAL),
	ERASE("UPDATE", "event",
		  "SET detail = NULL,"
		  " key = CASE WHEN $2 THEN " FLOW_KEY_HASH("r.key") " ELSE r.key END"
		  " WHERE r.run_id = ANY ($1) AND ($2 OR r.detail IS NOT NULL)"),
	ERASE("UPDATE", "run",
		  "SET input = '{}', output = NULL, error = r.error" WITHOUT_TEXTS ","
		  " status_reason = NULL, limit_key = NULL,"
		  " key = CASE WHEN $2 THEN " FLOW_KEY_HASH("r.key") " ELSE r.key END,"
		  " erased = CASE WHEN $2 THEN 2 ELSE 1 END,"
		  " erased_at = COALESCE(r.erased_at, pg_catalog.clock_timestamp())"
		  " WHERE r.id = ANY ($1)")
};

static FlowStatement delete_data = DELETE_FROM("data", "run_id = ANY ($1)");

/*
 * Untaken signals of this home.  Each condition is a subquery, so that there is
 * one way to read them in the order in which they were sent.
 */
#define RUN_OF_SIGNAL \
	"COALESCE(s.run_id, (SELECT k.run_id FROM flow_internal.run_key k" \
	"  WHERE k.workflow_id = s.workflow_id AND k.key = s.key))"
#define MAY_EXPIRE \
	"s.taken_at IS NULL AND (SELECT w.home FROM flow_internal.workflow w" \
	"  WHERE w.id = s.workflow_id) = $1" \
	" AND COALESCE((SELECT r.status FROM flow_internal.run r" \
	"  WHERE r.id = " RUN_OF_SIGNAL "), '') NOT IN ('paused', 'held')"
#define HAS_WORK \
	"(SELECT pg_catalog.count(*) FROM flow_internal.task t" \
	"  WHERE t.run_id = " RUN_OF_SIGNAL " AND t.status = 'ready') > 0"

static FlowStatement delete_signals = {
	.sql = "DELETE FROM flow_internal.signal WHERE id IN ("
	"SELECT s.id FROM flow_internal.signal s WHERE " MAY_EXPIRE
	" AND NOT " HAS_WORK " AND s.sent_at <= $2"
	" ORDER BY s.sent_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT4OID}
};

static FlowStatement oldest_signal = {
	.sql = "SELECT s.sent_at, " HAS_WORK " FROM flow_internal.signal s"
	" WHERE " MAY_EXPIRE " ORDER BY s.sent_at LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static List *list_workflows(FlowStatement *statement, Datum *values,
							const bool *nulls);
static TimestampTz time_or(HeapTuple row, int column, TimestampTz otherwise);
static int	lock_runs(FlowStatement *statement, const int64 *run_ids, int n,
					  TimestampTz before, Datum *locked);
static void erase(Datum run_ids, bool with_key);

List *
FlowPruneListKeeping(int64 home)
{
	Datum		values[] = {Int64GetDatum(home)};

	return list_workflows(&list_keeping, values, NULL);
}

List *
FlowPruneListNamed(int64 home, const char *name)
{
	Datum		values[] = {Int64GetDatum(home), 0};
	bool		nulls[] = {false, false};

	values[1] = FlowTextOrNull(name, &nulls[1]);
	return list_workflows(&list_named, values, nulls);
}

static List *
list_workflows(FlowStatement *statement, Datum *values, const bool *nulls)
{
	List	   *result = NIL;
	uint64		n = FlowStatementExecute(statement, values, nulls);

	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		FlowPruneWorkflow *workflow = palloc(sizeof(FlowPruneWorkflow));

		workflow->id = FlowRowInt32(row, 1);
		workflow->owner = FlowRowOid(row, 2);
		workflow->now = time_or(row, 3, DT_NOBEGIN);
		workflow->prune_before = time_or(row, 4, DT_NOBEGIN);
		workflow->erase_before = time_or(row, 5, DT_NOBEGIN);
		result = lappend(result, workflow);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

static TimestampTz
time_or(HeapTuple row, int column, TimestampTz otherwise)
{
	return FlowRowIsNull(row, column) ? otherwise :
		(TimestampTz) FlowRowInt64(row, column);
}

int
FlowPruneRead(int64 home, const FlowPrunePlace *place, FlowPruneCandidate *runs,
			  int max)
{
	Datum		values[] = {
		Int32GetDatum(place->workflow_id), Int32GetDatum(place->erased),
		Int64GetDatum(place->after), Int64GetDatum(home), Int32GetDatum(max)
	};
	int			n = (int) FlowStatementExecute(&read_runs, values, NULL);

	for (int i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		runs[i].id = FlowRowInt64(row, 1);
		runs[i].created_at = (TimestampTz) FlowRowInt64(row, 2);
		runs[i].finished_at = time_or(row, 3, DT_NOEND);
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

int
FlowPruneDelete(const int64 *run_ids, int n, TimestampTz before)
{
	Datum		locked[1];
	int			n_locked = lock_runs(&lock_to_delete, run_ids, n, before, locked);

	for (int i = 0; i < lengthof(deletes) && n_locked > 0; i++)
		FlowStatementExecute(&deletes[i], locked, NULL);
	return n_locked;
}

/* *locked becomes the array of those that were locked. */
static int
lock_runs(FlowStatement *statement, const int64 *run_ids, int n,
		  TimestampTz before, Datum *locked)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));
	Datum		values[2];

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(run_ids[i]);
	values[0] = FlowArray(INT8OID, ids, NULL, n);
	values[1] = TimestampTzGetDatum(before);
	n = (int) FlowStatementExecute(statement, values, NULL);
	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(FlowRowInt64(SPI_tuptable->vals[i], 1));
	SPI_freetuptable(SPI_tuptable);
	*locked = FlowArray(INT8OID, ids, NULL, n);
	return n;
}

int
FlowPruneErase(const int64 *run_ids, int n, TimestampTz before)
{
	Datum		locked;
	int			n_locked = lock_runs(&lock_to_erase, run_ids, n, before, &locked);

	if (n_locked > 0)
		erase(locked, false);
	return n_locked;
}

void
FlowPruneEraseRun(int64 run_id, bool with_key)
{
	Datum		id = Int64GetDatum(run_id);

	erase(FlowArray(INT8OID, &id, NULL, 1), with_key);
}

static void
erase(Datum run_ids, bool with_key)
{
	Datum		values[2] = {run_ids, BoolGetDatum(with_key)};

	for (int i = 0; i < lengthof(erases); i++)
		FlowStatementExecute(&erases[i], values, NULL);
	FlowStatementExecute(&delete_data, values, NULL);
}

int
FlowPruneSignals(int64 home, TimestampTz before, int max)
{
	Datum		values[] = {
		Int64GetDatum(home), TimestampTzGetDatum(before), Int32GetDatum(max)
	};

	return (int) FlowStatementExecute(&delete_signals, values, NULL);
}

TimestampTz
FlowPruneOldestSignal(int64 home, bool *spared)
{
	Datum		values[] = {Int64GetDatum(home)};
	TimestampTz sent_at = DT_NOEND;

	*spared = false;
	if (FlowStatementExecute(&oldest_signal, values, NULL) > 0)
	{
		sent_at = (TimestampTz) FlowRowInt64(SPI_tuptable->vals[0], 1);
		*spared = FlowRowBool(SPI_tuptable->vals[0], 2);
	}
	SPI_freetuptable(SPI_tuptable);
	return sent_at;
}
