/*-------------------------------------------------------------------------
 * cat_limit.c
 *	  Limits, and who has or waits for a place under them.
 *
 * A place is not counted up and down anywhere, so that it cannot be lost: it is
 * had by rows of flow_internal.task in the state in which a worker may run
 * them, and given back with that state, whatever ends it.
 *
 * Only the scheduler lets in, so what it has counted can only have become less
 * since, but for runs that go on after they have waited.  It locks tasks with
 * SKIP LOCKED, and reads runs without locking them.
 *
 * Reads are by keyset, from one group to the next, and cost nothing for what
 * waits behind the first of its group.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_limit.h"
#include "catalog/catalog.h"

static FlowStatement of_runs = {
	.sql = "SELECT id, max_runs, max_runs_by FROM flow_internal.workflow WHERE id = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT4OID}
};

static FlowStatement put_task = {
	.sql = "UPDATE flow_internal.task SET status = 'pending', due_at = NULL, limit_key = $2,"
	" admitted_at = NULL WHERE run_id = $1 AND step_no = 0 AND item_no = 0",
	.expect = SPI_OK_UPDATE,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static FlowStatement put_run = {
	.sql = "UPDATE flow_internal.run SET limit_key = $2 WHERE id = $1 RETURNING ctid",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static FlowStatement set_pending = {
	.sql = "UPDATE flow_internal.run SET status = 'pending', started_at = NULL WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};

#define WAITING_RUNS	"t.status = 'pending' AND t.due_at IS NULL"

static FlowStatement release = {
	.sql = "UPDATE flow_internal.task SET status = 'ready', limits = NULL, due_at = NULL,"
	" ready_at = pg_catalog.clock_timestamp() WHERE (run_id, step_no, item_no) IN ("
	"SELECT t.run_id, t.step_no, t.item_no FROM flow_internal.task t"
	" WHERE t.home = $1 AND t.owner = $2 AND ((" WAITING_RUNS
	") OR (t.limits IS NOT NULL AND t.status = 'waiting'))"
	" AND ($3 = 0 OR t.run_id IN ("
	"WITH RECURSIVE tree (id) AS (SELECT $3 UNION ALL"
	" SELECT c.id FROM flow_internal.run c JOIN tree ON c.parent_run = tree.id)"
	" SELECT id FROM tree))"
	" ORDER BY t.priority DESC, t.run_id, t.step_no, t.item_no LIMIT $4"
	" FOR NO KEY UPDATE SKIP LOCKED)",
	.expect = SPI_OK_UPDATE,
	.nargs = 4,
	.argtypes = {INT8OID, OIDOID, INT8OID, INT4OID}
};

#define NEXT_WORKFLOW(after) \
	"(SELECT t.workflow_id FROM flow_internal.task t WHERE t.home = $1 AND " WAITING_RUNS \
	" AND t.workflow_id > " after " ORDER BY t.workflow_id LIMIT 1)"

static FlowStatement read_workflows = {
	.sql = "WITH RECURSIVE w (id) AS (" NEXT_WORKFLOW("$2")
	" UNION ALL SELECT " NEXT_WORKFLOW("w.id") " FROM w WHERE w.id IS NOT NULL)"
	" SELECT w.id, (SELECT f.max_runs FROM flow_internal.workflow f WHERE f.id = w.id)"
	" FROM w WHERE w.id IS NOT NULL LIMIT $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

/*
 * Those that run: some step of theirs could be claimed, or is; and those that
 * were let in and are about to begin.  A run that is only about to hear of a
 * message, or of its child, does not count yet, nor does a hook.
 */
#define NEXT_OWNER(after) \
	"(SELECT t.owner FROM flow_internal.task t WHERE t.home = $1 AND t.status = 'ready'" after \
	" ORDER BY t.owner LIMIT 1)"

static FlowStatement count_runs = {
	.sql = "WITH RECURSIVE o (owner) AS (" NEXT_OWNER("")
	" UNION ALL SELECT " NEXT_OWNER(" AND t.owner > o.owner")
	" FROM o WHERE o.owner IS NOT NULL)"
	" SELECT COALESCE(r.limit_key, '" FLOW_LIMIT_NO_KEY "'), pg_catalog.count(*)::pg_catalog.int4"
	" FROM (SELECT u.run_id, pg_catalog.bool_or(u.begins) AS begins FROM ("
	"  SELECT s.run_id, s.step_no = 0 AS begins FROM o,"
	"  LATERAL (SELECT t.run_id, t.step_no FROM flow_internal.task t"
	"   WHERE t.home = $1 AND t.owner = o.owner AND t.workflow_id = $2 AND t.status = 'ready'"
	"   AND (t.step_no > 0 OR (t.item_no = 0 AND t.admitted_at IS NOT NULL))"
	"   AND (t.asked IS NULL OR t.ended) OFFSET 0) s"
	"  UNION ALL SELECT t.run_id, false FROM flow_internal.task t"
	"   WHERE t.home = $1 AND t.workflow_id = $2 AND t.asked IS NULL"
	"   AND " FLOW_TASK_IS_COMMAND("t") ") u GROUP BY u.run_id) a,"
	" LATERAL (SELECT r.limit_key FROM flow_internal.run r WHERE r.id = a.run_id"
	"  AND (r.status IN ('running', 'compensating') OR (r.status = 'pending' AND a.begins))"
	"  OFFSET 0) r GROUP BY 1",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

#define NEXT_KEY(after) \
	"(SELECT t.limit_key FROM flow_internal.task t WHERE t.home = $1 AND t.workflow_id = $2" \
	" AND " WAITING_RUNS " AND t.limit_key > " after " ORDER BY t.limit_key LIMIT 1)"

static FlowStatement read_keys = {
	.sql = "WITH RECURSIVE k (key) AS (" NEXT_KEY("$3")
	" UNION ALL SELECT " NEXT_KEY("k.key") " FROM k WHERE k.key IS NOT NULL)"
	" SELECT k.key FROM k WHERE k.key IS NOT NULL LIMIT $4",
	.expect = SPI_OK_SELECT,
	.nargs = 4,
	.argtypes = {INT8OID, INT4OID, TEXTOID, INT4OID}
};

static FlowStatement admit_runs = {
	.sql = "UPDATE flow_internal.task t SET status = 'ready',"
	" ready_at = pg_catalog.clock_timestamp(),"
	" admitted_at = (SELECT pg_catalog.clock_timestamp() FROM flow_internal.run r"
	"  WHERE r.id = t.run_id AND r.status = 'pending')"
	" WHERE t.ctid = ANY (ARRAY(SELECT t.ctid FROM flow_internal.task t"
	"  WHERE t.home = $1 AND t.workflow_id = $2 AND t.limit_key = $3 AND " WAITING_RUNS
	"  ORDER BY t.priority DESC, t.run_id LIMIT $4 FOR UPDATE SKIP LOCKED))"
	" RETURNING t.run_id, t.step_no, t.item_no, t.workflow_id, t.definition_id, t.priority,"
	" t.owner, t.admitted_at IS NOT NULL",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 4,
	.argtypes = {INT8OID, INT4OID, TEXTOID, INT4OID}
};

static FlowStatement any_waits = {
	.sql = "SELECT FROM flow_internal.task t WHERE t.home = $1 AND t.workflow_id = $2"
	" AND t.limit_key = $3 AND " WAITING_RUNS " LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, TEXTOID}
};

FlowRunLimit
FlowLimitOfRuns(int32 workflow_id)
{
	Datum		args[1] = {Int32GetDatum(workflow_id)};
	FlowRunLimit limit = {workflow_id, 0, NULL};

	if (FlowStatementExecute(&of_runs, args, NULL) == 1)
	{
		limit.max_runs = FlowRowInt32(SPI_tuptable->vals[0], 2);
		limit.max_runs_by = FlowRowText(SPI_tuptable->vals[0], 3);
	}
	SPI_freetuptable(SPI_tuptable);
	return limit;
}

void
FlowLimitPut(int64 run_id, const char *key, ItemPointerData *tid)
{
	Datum		args[2] = {Int64GetDatum(run_id), CStringGetTextDatum(key)};

	FlowStatementExecute(&put_task, args, NULL);
	if (FlowStatementExecute(&put_run, args, NULL) == 1)
		FlowRowTid(SPI_tuptable->vals[0], 1, tid);
	SPI_freetuptable(SPI_tuptable);
}

void
FlowLimitSetPending(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&set_pending, args, NULL);
}

int
FlowLimitRelease(Oid owner, int64 run_id, int most)
{
	Datum		args[4];

	args[0] = Int64GetDatum(FlowInstallRequire()->home);
	args[1] = ObjectIdGetDatum(owner);
	args[2] = Int64GetDatum(run_id);
	args[3] = Int32GetDatum(most);
	return (int) FlowStatementExecute(&release, args, NULL);
}

int
FlowLimitReadWorkflows(int64 home, int32 after, FlowRunLimit *limits, int max)
{
	Datum		args[3];
	int			n;

	args[0] = Int64GetDatum(home);
	args[1] = Int32GetDatum(after);
	args[2] = Int32GetDatum(max);
	n = (int) FlowStatementExecute(&read_workflows, args, NULL);
	for (int i = 0; i < n; i++)
	{
		limits[i].workflow_id = FlowRowInt32(SPI_tuptable->vals[i], 1);
		limits[i].max_runs = FlowRowInt32(SPI_tuptable->vals[i], 2);
		limits[i].max_runs_by = NULL;
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

List *
FlowLimitCountRuns(int64 home, int32 workflow_id)
{
	Datum		args[2] = {Int64GetDatum(home), Int32GetDatum(workflow_id)};
	List	   *result = NIL;

	FlowStatementExecute(&count_runs, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		FlowKeyCount *count = palloc(sizeof(FlowKeyCount));

		count->key = FlowRowText(SPI_tuptable->vals[i], 1);
		count->n = FlowRowInt32(SPI_tuptable->vals[i], 2);
		result = lappend(result, count);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

List *
FlowLimitReadKeys(int64 home, int32 workflow_id, const char *after, int max)
{
	Datum		args[4];
	List	   *result = NIL;

	args[0] = Int64GetDatum(home);
	args[1] = Int32GetDatum(workflow_id);
	args[2] = CStringGetTextDatum(after);
	args[3] = Int32GetDatum(max);
	FlowStatementExecute(&read_keys, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		result = lappend(result, FlowRowText(SPI_tuptable->vals[i], 1));
	SPI_freetuptable(SPI_tuptable);
	return result;
}

int
FlowLimitAdmitRuns(int64 home, int32 workflow_id, const char *key, int n,
				   FlowAdmitted *admitted)
{
	Datum		args[4];

	args[0] = Int64GetDatum(home);
	args[1] = Int32GetDatum(workflow_id);
	args[2] = CStringGetTextDatum(key);
	args[3] = Int32GetDatum(n);
	n = (int) FlowStatementExecute(&admit_runs, args, NULL);
	for (int i = 0; i < n; i++)
		FlowLimitReadAdmitted(SPI_tuptable->vals[i], &admitted[i]);
	SPI_freetuptable(SPI_tuptable);
	return n;
}

bool
FlowLimitAnyWaits(int64 home, int32 workflow_id, const char *key)
{
	Datum		args[3] = {Int64GetDatum(home), Int32GetDatum(workflow_id)};
	bool		found;

	args[2] = CStringGetTextDatum(key);
	found = FlowStatementExecute(&any_waits, args, NULL) == 1;
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
FlowLimitReadAdmitted(HeapTuple row, FlowAdmitted *admitted)
{
	admitted->ready.key.run_id = FlowRowInt64(row, 1);
	admitted->ready.key.step_no = FlowRowInt32(row, 2);
	admitted->ready.key.item_no = FlowRowInt32(row, 3);
	admitted->ready.workflow_id = FlowRowInt32(row, 4);
	admitted->ready.definition_id = FlowRowInt32(row, 5);
	admitted->ready.priority = FlowRowInt32(row, 6);
	admitted->owner = FlowRowOid(row, 7);
	admitted->placed = FlowRowBool(row, 8);
}
