/*-------------------------------------------------------------------------
 * cat_sweep.c
 *	  What the scheduler reads and writes: ready tasks, due times, events.
 *
 * Every read is by keyset on one of the two partial indexes of
 * flow_internal.task, or by primary key, so that its cost does not depend on
 * how many rows, live or dead, lie before the place it starts from.
 *
 * Task rows are locked with SKIP LOCKED only, since whoever holds one may be
 * waiting for the run this transaction would hold up.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_sweep.h"
#include "catalog/catalog.h"
#include "catalog/stepkey.h"

static void read_ready(HeapTuple row, FlowReady *ready);
static void make_key_arrays(const FlowDue *dues, int n, Datum *arrays);

/* Another priority of that workflow, else the next workflow */
#define NEXT_GROUP(owner, workflow, priority) \
	" (SELECT t.owner, t.workflow_id, t.priority FROM flow_internal.task t" \
	"  WHERE t.home = $1 AND t.status = 'ready' AND t.owner = " owner \
	"  AND t.workflow_id = " workflow " AND t.priority < " priority \
	"  ORDER BY t.priority DESC LIMIT 1)" \
	" UNION ALL" \
	" (SELECT t.owner, t.workflow_id, t.priority FROM flow_internal.task t" \
	"  WHERE t.home = $1 AND t.status = 'ready'" \
	"  AND (t.owner, t.workflow_id) > (" owner ", " workflow ")" \
	"  ORDER BY t.owner, t.workflow_id, t.priority DESC LIMIT 1)" \
	" LIMIT 1"

static FlowStatement read_groups = {
	.sql = "WITH RECURSIVE g(owner, workflow_id, priority) AS ("
	" (" NEXT_GROUP("$2", "$3", "$4") ")"
	" UNION ALL"
	" SELECT n.* FROM g, LATERAL"
	" (" NEXT_GROUP("g.owner", "g.workflow_id", "g.priority") ") n)"
	" SELECT owner, workflow_id, priority FROM g LIMIT $5",
	.expect = SPI_OK_SELECT,
	.nargs = 5,
	.argtypes = {INT8OID, OIDOID, INT4OID, INT4OID, INT4OID}
};

static FlowStatement read_ready_tasks = {
	.sql = "SELECT t.run_id, t.step_no, t.item_no, t.workflow_id,"
	" t.definition_id, t.priority FROM flow_internal.task t"
	" WHERE t.home = $1 AND t.owner = $2 AND t.workflow_id = $3"
	" AND t.status = 'ready' AND t.priority = $4"
	" AND (t.run_id, t.step_no, t.item_no) >= ($5, $6, $7)"
	" AND t.ready_at < $8"
	" AND (SELECT r.status <> 'held' AND (r.status <> 'paused' OR t.asked IS NOT NULL"
	"  OR " FLOW_TASK_IS_TIMER ") FROM flow_internal.run r WHERE r.id = t.run_id)"
	" ORDER BY t.run_id, t.step_no, t.item_no LIMIT $9",
	.expect = SPI_OK_SELECT,
	.nargs = 9,
	.argtypes = {INT8OID, OIDOID, INT4OID, INT4OID, INT8OID, INT4OID, INT4OID,
	TIMESTAMPTZOID, INT4OID}
};

static FlowStatement read_due = {
	.sql = "SELECT t.run_id, t.step_no, t.item_no, t.due_at"
	" FROM flow_internal.task t"
	" WHERE t.home = $1 AND t.due_at IS NOT NULL"
	" AND (t.due_at, t.run_id, t.step_no, t.item_no) > ($2, $3, $4, $5)"
	" AND t.status IN ('sleeping', 'waiting', 'pending')"
	" ORDER BY t.due_at, t.run_id, t.step_no, t.item_no LIMIT $6",
	.expect = SPI_OK_SELECT,
	.nargs = 6,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID, INT4OID, INT4OID, INT4OID}
};

/*
 * By primary key and nothing else: the joins can be planned in one way only,
 * and no partial index can serve the other conditions.  A plan that was made
 * on empty tables is kept when they are full.
 */
#define DUE_KEYS \
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)," \
	"  pg_catalog.unnest($4)) AS k(run_id, step_no, item_no)"

#define DUE_TASKS \
	" FROM flow_internal.task t WHERE t.run_id = k.run_id" \
	" AND t.step_no = k.step_no AND t.item_no = k.item_no" \
	" AND t.home IS NOT DISTINCT FROM $1" \
	" AND t.status IN ('sleeping', 'waiting', 'pending')" \
	" AND COALESCE(t.due_at <= pg_catalog.clock_timestamp(), false)"

static FlowStatement fire_due = {
	.sql = "WITH l AS (SELECT d.tid" DUE_KEYS ","
	"  LATERAL (SELECT t.ctid AS tid" DUE_TASKS
	"   FOR UPDATE SKIP LOCKED) d)"
	" UPDATE flow_internal.task t SET status = 'ready', due_at = NULL,"
	"  ready_at = pg_catalog.clock_timestamp()"
	" WHERE t.ctid = ANY (ARRAY(SELECT l.tid FROM l))"
	" RETURNING t.run_id, t.step_no, t.item_no, t.workflow_id,"
	"  t.definition_id, t.priority, t.owner",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 4,
	.argtypes = {INT8OID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID}
};

static FlowStatement read_locked = {
	.sql = "SELECT d.run_id, d.step_no, d.item_no" DUE_KEYS ","
	" LATERAL (SELECT t.run_id, t.step_no, t.item_no" DUE_TASKS
	"  OFFSET 0) d",
	.expect = SPI_OK_SELECT,
	.nargs = 4,
	.argtypes = {INT8OID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID}
};

#define EVENT_COLUMNS \
	" e.id, e.run_id, e.workflow_id, e.key, e.step, e.status, e.at" \
	" FROM flow_internal.event e"

static FlowStatement read_events = {
	.sql = "SELECT e.id, COALESCE(r.notify, w.notify, 'none') <> 'none', w.name,"
	" pg_catalog.json_build_object('id', e.id, 'run', e.run_id,"
	"  'workflow', w.name, 'key', e.key, 'step', e.step,"
	"  'status', e.status, 'at', e.at)::pg_catalog.text"
	" FROM ((SELECT" EVENT_COLUMNS
	"   WHERE e.id = ANY ($2) AND e.home = $1 ORDER BY e.id)"
	"  UNION ALL"
	"  (SELECT" EVENT_COLUMNS
	"   WHERE e.id > $3 AND e.home = $1 AND e.at >= $4"
	"   ORDER BY e.id LIMIT $5)) e"
	" LEFT JOIN flow_internal.run r ON r.id = e.run_id"
	" LEFT JOIN flow_internal.workflow w ON w.id = e.workflow_id"
	" ORDER BY e.id LIMIT $5",
	.expect = SPI_OK_SELECT,
	.nargs = 5,
	.argtypes = {INT8OID, INT8ARRAYOID, INT8OID, TIMESTAMPTZOID, INT4OID}
};

static FlowStatement last_event = {
	.sql = "SELECT pg_catalog.max(e.id) FROM flow_internal.event e",
	.expect = SPI_OK_SELECT,
	.nargs = 0
};

static FlowStatement extension_version = {
	.sql = "SELECT x.extversion FROM pg_catalog.pg_extension x"
	" WHERE x.extname = 'flow'",
	.expect = SPI_OK_SELECT,
	.nargs = 0
};

/* What somebody has put on our tables, which have nothing of that */
static FlowStatement additions = {
	.sql = "SELECT pg_catalog.string_agg(x.what, ', ' ORDER BY x.what) FROM ("
	" SELECT pg_catalog.format('trigger %I on %I', t.tgname, c.relname)"
	"  FROM pg_catalog.pg_trigger t, pg_catalog.pg_class c"
	"  WHERE c.oid = t.tgrelid AND c.relnamespace = $1 AND NOT t.tgisinternal"
	"  AND (SELECT p.pronamespace FROM pg_catalog.pg_proc p WHERE p.oid = t.tgfoid) <> $1"
	" UNION ALL"
	" SELECT pg_catalog.format('rule %I on %I', w.rulename, c.relname)"
	"  FROM pg_catalog.pg_rewrite w, pg_catalog.pg_class c"
	"  WHERE c.oid = w.ev_class AND c.relnamespace = $1 AND c.relkind <> 'v'"
	" UNION ALL"
	" SELECT pg_catalog.format('row security on %I', c.relname)"
	"  FROM pg_catalog.pg_class c"
	"  WHERE c.relnamespace = $1 AND c.relrowsecurity"
	" UNION ALL"
	" SELECT pg_catalog.format('another owner of %I', c.relname)"
	"  FROM pg_catalog.pg_class c, pg_catalog.pg_class r"
	"  WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'S')"
	"  AND r.relnamespace = $1 AND r.relname = 'run'"
	"  AND c.relowner <> r.relowner"
	" UNION ALL"
	" SELECT pg_catalog.format('a table that inherits from %I', c.relname)"
	"  FROM pg_catalog.pg_inherits i, pg_catalog.pg_class c"
	"  WHERE c.oid = i.inhparent AND c.relnamespace = $1"
	"  AND c.relkind = 'r') AS x(what)",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {OIDOID}
};

int
FlowSweepReadGroups(int64 home, FlowReadyGroup after, FlowReadyGroup *groups,
					int max)
{
	Datum		values[] = {
		Int64GetDatum(home), ObjectIdGetDatum(after.owner),
		Int32GetDatum(after.workflow_id), Int32GetDatum(after.priority),
		Int32GetDatum(max)
	};
	int			n = (int) FlowStatementExecute(&read_groups, values, NULL);

	for (int i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		groups[i].owner = FlowRowOid(row, 1);
		groups[i].workflow_id = FlowRowInt32(row, 2);
		groups[i].priority = FlowRowInt32(row, 3);
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

int
FlowSweepReadReady(int64 home, FlowReadyGroup group,
				   FlowStepKey from, TimestampTz before,
				   FlowReady *ready, int max)
{
	Datum		values[] = {
		Int64GetDatum(home), ObjectIdGetDatum(group.owner),
		Int32GetDatum(group.workflow_id), Int32GetDatum(group.priority),
		Int64GetDatum(from.run_id), Int32GetDatum(from.step_no),
		Int32GetDatum(from.item_no), TimestampTzGetDatum(before),
		Int32GetDatum(max)
	};
	int			n = (int) FlowStatementExecute(&read_ready_tasks, values, NULL);

	for (int i = 0; i < n; i++)
		read_ready(SPI_tuptable->vals[i], &ready[i]);
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static void
read_ready(HeapTuple row, FlowReady *ready)
{
	FlowStepKeyRead(row, &ready->key);
	ready->workflow_id = FlowRowInt32(row, 4);
	ready->definition_id = FlowRowInt32(row, 5);
	ready->priority = FlowRowInt32(row, 6);
}

int
FlowSweepReadDue(int64 home, const FlowDue *after, FlowDue *dues, int max)
{
	Datum		values[] = {
		Int64GetDatum(home), TimestampTzGetDatum(after->due_at),
		Int64GetDatum(after->key.run_id), Int32GetDatum(after->key.step_no),
		Int32GetDatum(after->key.item_no), Int32GetDatum(max)
	};
	int			n = (int) FlowStatementExecute(&read_due, values, NULL);

	for (int i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		FlowStepKeyRead(row, &dues[i].key);
		dues[i].due_at = (TimestampTz) FlowRowInt64(row, 4);
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

int
FlowSweepFire(int64 home, const FlowDue *dues, int n, Oid *owners,
			  FlowReady *ready)
{
	Datum		values[4] = {Int64GetDatum(home)};
	int			fired;

	make_key_arrays(dues, n, &values[1]);
	fired = (int) FlowStatementExecute(&fire_due, values, NULL);
	for (int i = 0; i < fired; i++)
	{
		read_ready(SPI_tuptable->vals[i], &ready[i]);
		owners[i] = FlowRowOid(SPI_tuptable->vals[i], 7);
	}
	SPI_freetuptable(SPI_tuptable);
	return fired;
}

/* Arrays of run_id, step_no and item_no */
static void
make_key_arrays(const FlowDue *dues, int n, Datum *arrays)
{
	Datum	   *runs = palloc(n * sizeof(Datum));
	Datum	   *steps = palloc(n * sizeof(Datum));
	Datum	   *items = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
	{
		runs[i] = Int64GetDatum(dues[i].key.run_id);
		steps[i] = Int32GetDatum(dues[i].key.step_no);
		items[i] = Int32GetDatum(dues[i].key.item_no);
	}
	arrays[0] = FlowArray(INT8OID, runs, NULL, n);
	arrays[1] = FlowArray(INT4OID, steps, NULL, n);
	arrays[2] = FlowArray(INT4OID, items, NULL, n);
}

int
FlowSweepReadLocked(int64 home, const FlowDue *dues, int n,
					FlowStepKey *locked)
{
	Datum		values[4] = {Int64GetDatum(home)};
	int			found;

	make_key_arrays(dues, n, &values[1]);
	found = (int) FlowStatementExecute(&read_locked, values, NULL);
	found = Min(found, n);
	for (int i = 0; i < found; i++)
		FlowStepKeyRead(SPI_tuptable->vals[i], &locked[i]);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

int
FlowSweepReadEvents(const FlowEventRange *range, FlowEventRow *events,
					int max)
{
	Datum	   *gaps = palloc((range->n_gaps + 1) * sizeof(Datum));
	Datum		values[5];
	int			n;

	for (int i = 0; i < range->n_gaps; i++)
		gaps[i] = Int64GetDatum(range->gaps[i]);
	values[0] = Int64GetDatum(range->home);
	values[1] = FlowArray(INT8OID, gaps, NULL, range->n_gaps);
	values[2] = Int64GetDatum(range->after);
	values[3] = TimestampTzGetDatum(range->since);
	values[4] = Int32GetDatum(max);

	n = (int) FlowStatementExecute(&read_events, values, NULL);
	for (int i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		events[i].id = FlowRowInt64(row, 1);
		events[i].announce = FlowRowBool(row, 2);
		events[i].workflow = FlowRowText(row, 3);
		events[i].payload = FlowRowText(row, 4);
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

int64
FlowSweepLastEvent(void)
{
	int64		last;

	(void) FlowStatementExecute(&last_event, NULL, NULL);
	last = FlowRowInt64(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return last;
}

char *
FlowSweepExtensionVersion(void)
{
	char	   *version = NULL;

	if (FlowStatementExecute(&extension_version, NULL, NULL) > 0)
		version = FlowRowText(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return version;
}

char *
FlowSweepAdditions(void)
{
	Datum		values[] = {
		ObjectIdGetDatum(get_namespace_oid(FLOW_TABLE_SCHEMA, false))
	};
	char	   *found;

	(void) FlowStatementExecute(&additions, values, NULL);
	found = FlowRowText(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return found;
}
