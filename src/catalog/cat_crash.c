/*-------------------------------------------------------------------------
 * cat_crash.c
 *	  Steps that ran when their process died; and the timeline of the server.
 *
 * The scheduler inserts, before it lets anything run; workers look, and say
 * what came to an end, in their flush with the run locked.  Rows stay as the
 * history of the run.  What concerns a definition may be changed by several
 * workers at once, so it is changed with SKIP LOCKED: the next one will do.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_crash.h"

/* Hooks run also when their run is over. */
#define IS_HOOK(key) \
	"(SELECT t.asked IS NOT NULL FROM flow_internal.task t" \
	" WHERE t.run_id = " key ".run_id AND t.step_no = " key ".step_no" \
	" AND t.item_no = " key ".item_no)"

static FlowStatement insert_rows = {
	.sql = "INSERT INTO flow_internal.crash"
	" (run_id, step_no, item_no, no, home, definition_id, charged, counts, at)"
	" SELECT k.run_id, k.step_no, k.item_no, COALESCE(l.no, 0) + 1, $1,"
	"  k.definition_id, k.charged, k.charged, $7"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
	"  pg_catalog.unnest($5), pg_catalog.unnest($6))"
	"  AS k(run_id, step_no, item_no, definition_id, charged)"
	" CROSS JOIN LATERAL (SELECT r.status FROM flow_internal.run r WHERE r.id = k.run_id"
	"  AND r.home IS NOT DISTINCT FROM $1 OFFSET 0) r"
	" LEFT JOIN LATERAL (SELECT c.no FROM flow_internal.crash c WHERE c.run_id = k.run_id"
	"  AND c.step_no = k.step_no AND c.item_no = k.item_no"
	"  ORDER BY c.no DESC LIMIT 1) l ON true"
	" WHERE (r.status NOT IN ('completed', 'failed', 'cancelled')"
	"  OR " IS_HOOK("k") ")"
	" AND NOT EXISTS (SELECT FROM flow_internal.crash c WHERE c.run_id = k.run_id"
	"  AND c.step_no = k.step_no AND c.item_no = k.item_no AND c.at = $7)"
	" AND NOT EXISTS (SELECT FROM flow_internal.outcome o WHERE o.run_id = k.run_id"
	"  AND o.step_no = k.step_no AND o.item_no = k.item_no)",
	.expect = SPI_OK_INSERT,
	.nargs = 7,
	.argtypes = {INT8OID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
	BOOLARRAYOID, TIMESTAMPTZOID}
};

static FlowStatement is_watched = {
	.sql = "SELECT EXISTS (SELECT FROM flow_internal.crash c WHERE c.counts AND c.home = $1"
	"  GROUP BY c.definition_id, c.step_no HAVING pg_catalog.count(*) >= $2"
	"  OR pg_catalog.max(c.at) > pg_catalog.now() - INTERVAL '1 hour')"
	" OR EXISTS (SELECT FROM flow_internal.crash c, LATERAL"
	"  (SELECT r.status FROM flow_internal.run r WHERE r.id = c.run_id OFFSET 0) r"
	"  WHERE c.open AND c.home = $1"
	"  AND (r.status NOT IN ('completed', 'failed', 'cancelled')"
	"  OR " IS_HOOK("c") "))",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement list_of = {
	.sql = "SELECT run_id, step_no, item_no,"
	" (pg_catalog.count(*) FILTER (WHERE charged))::pg_catalog.int4, pg_catalog.max(at)"
	" FROM flow_internal.crash WHERE run_id = ANY ($1) AND open GROUP BY 1, 2, 3",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8ARRAYOID}
};

static FlowStatement count_of = {
	.sql = "SELECT definition_id, step_no, pg_catalog.count(*)::pg_catalog.int4"
	" FROM flow_internal.crash WHERE definition_id = ANY ($1) AND counts GROUP BY 1, 2",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT4ARRAYOID}
};

static FlowStatement close_rows = {
	.sql = "UPDATE flow_internal.crash SET open = false WHERE run_id = $1 AND open"
	" AND ($2 = 0 OR step_no = $2 AND item_no = $3)",
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement clear_rows = {
	.sql = "UPDATE flow_internal.crash SET counts = false WHERE ctid = ANY (ARRAY("
	"SELECT c.ctid FROM flow_internal.crash c WHERE c.definition_id = $1 AND c.step_no = $2"
	" AND c.counts FOR NO KEY UPDATE SKIP LOCKED))",
	.expect = SPI_OK_UPDATE,
	.nargs = 2,
	.argtypes = {INT4OID, INT4OID}
};

static FlowStatement release_definitions = {
	.sql = "UPDATE flow_internal.crash c SET counts = false, open = false"
	" FROM flow_internal.definition d, flow_internal.workflow w"
	" WHERE c.home = $1 AND c.counts AND d.id = c.definition_id AND w.id = d.workflow_id"
	" AND pg_catalog.pg_has_role($2, w.owner, 'USAGE')",
	.expect = SPI_OK_UPDATE,
	.nargs = 2,
	.argtypes = {INT8OID, OIDOID}
};

static FlowStatement release_tasks = {
	.sql = "WITH t AS (UPDATE flow_internal.task SET status = 'ready',"
	" ready_at = pg_catalog.clock_timestamp()"
	" WHERE home = $1 AND status = 'held' AND pg_catalog.pg_has_role($2, owner, 'USAGE')"
	" RETURNING run_id) SELECT pg_catalog.count(DISTINCT run_id) FROM t",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, OIDOID}
};

static FlowStatement read_timeline = {
	.sql = "SELECT timeline FROM flow_internal.timeline WHERE home = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement save_timeline = {
	.sql = "INSERT INTO flow_internal.timeline AS t (home, timeline) VALUES ($1, $2)"
	" ON CONFLICT (home) DO UPDATE SET timeline = EXCLUDED.timeline",
	.expect = SPI_OK_INSERT,
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID}
};

void
FlowCrashInsert(int64 home, TimestampTz at, const FlowCrashNew *rows, int n)
{
	Datum	   *columns[5];
	Datum		args[7];

	for (int c = 0; c < lengthof(columns); c++)
		columns[c] = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int64GetDatum(rows[i].key.run_id);
		columns[1][i] = Int32GetDatum(rows[i].key.step_no);
		columns[2][i] = Int32GetDatum(rows[i].key.item_no);
		columns[3][i] = Int32GetDatum(rows[i].definition_id);
		columns[4][i] = BoolGetDatum(rows[i].charged);
	}
	args[0] = Int64GetDatum(home);
	args[1] = FlowArray(INT8OID, columns[0], NULL, n);
	args[2] = FlowArray(INT4OID, columns[1], NULL, n);
	args[3] = FlowArray(INT4OID, columns[2], NULL, n);
	args[4] = FlowArray(INT4OID, columns[3], NULL, n);
	args[5] = FlowArray(BOOLOID, columns[4], NULL, n);
	args[6] = TimestampTzGetDatum(at);
	FlowStatementExecute(&insert_rows, args, NULL);
}

bool
FlowCrashIsWatched(int64 home)
{
	Datum		args[2] = {Int64GetDatum(home), Int32GetDatum(FLOW_CRASH_QUARANTINE)};
	bool		watched;

	FlowStatementExecute(&is_watched, args, NULL);
	watched = FlowRowBool(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return watched;
}

List *
FlowCrashListOf(const int64 *run_ids, int n)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));
	Datum		args[1];
	List	   *result = NIL;

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(run_ids[i]);
	args[0] = FlowArray(INT8OID, ids, NULL, n);
	FlowStatementExecute(&list_of, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		FlowCrashRow *crash = palloc0(sizeof(FlowCrashRow));

		crash->key.run_id = FlowRowInt64(row, 1);
		crash->key.step_no = FlowRowInt32(row, 2);
		crash->key.item_no = FlowRowInt32(row, 3);
		crash->charges = FlowRowInt32(row, 4);
		crash->at = (TimestampTz) FlowRowInt64(row, 5);
		result = lappend(result, crash);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

List *
FlowCrashCountOf(const int32 *definition_ids, int n)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));
	Datum		args[1];
	List	   *result = NIL;

	for (int i = 0; i < n; i++)
		ids[i] = Int32GetDatum(definition_ids[i]);
	args[0] = FlowArray(INT4OID, ids, NULL, n);
	FlowStatementExecute(&count_of, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		FlowCrashCount *count = palloc0(sizeof(FlowCrashCount));

		count->definition_id = FlowRowInt32(row, 1);
		count->step_no = FlowRowInt32(row, 2);
		count->charges = FlowRowInt32(row, 3);
		result = lappend(result, count);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

void
FlowCrashClose(int64 run_id, int32 step_no, int32 item_no)
{
	Datum		args[3];

	args[0] = Int64GetDatum(run_id);
	args[1] = Int32GetDatum(step_no);
	args[2] = Int32GetDatum(item_no);
	FlowStatementExecute(&close_rows, args, NULL);
}

void
FlowCrashClear(int32 definition_id, int32 step_no)
{
	Datum		args[2];

	args[0] = Int32GetDatum(definition_id);
	args[1] = Int32GetDatum(step_no);
	FlowStatementExecute(&clear_rows, args, NULL);
}

int64
FlowCrashReleaseAll(int64 home, Oid user)
{
	Datum		args[2];
	int64		released;

	args[0] = Int64GetDatum(home);
	args[1] = ObjectIdGetDatum(user);
	FlowStatementExecute(&release_definitions, args, NULL);
	FlowStatementExecute(&release_tasks, args, NULL);
	released = FlowRowInt64(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return released;
}

bool
FlowCrashNoteTimeline(int64 home, uint32 timeline)
{
	Datum		args[2];
	bool		known;
	int64		stored = 0;

	args[0] = Int64GetDatum(home);
	args[1] = Int64GetDatum((int64) timeline);
	known = FlowStatementExecute(&read_timeline, args, NULL) > 0;
	if (known)
		stored = FlowRowInt64(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	if (known && stored == (int64) timeline)
		return false;
	FlowStatementExecute(&save_timeline, args, NULL);
	return known;
}
