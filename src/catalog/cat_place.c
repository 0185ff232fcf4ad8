/*-------------------------------------------------------------------------
 * cat_place.c
 *	  Named limits, and the steps that have or wait for a place under them.
 *
 * A step has its place as long as its row is ready and says when it was let in.
 * Whatever ends that, its end, its sleep, a cancel, gives the place back; the
 * death of its worker does not, since the step is ready again, and its own.
 *
 * Steps that name the same limits and have the same key wait in one line, of
 * which only the first can matter.  Lines are read by keyset.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_place.h"
#include "catalog/catalog.h"
#include "catalog/stepkey.h"

static FlowStatement find_limit = {
	.sql = "SELECT 1 FROM flow_internal.\"limit\" WHERE name = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {TEXTOID}
};

static FlowStatement save_limit = {
	.sql = "INSERT INTO flow_internal.\"limit\" (name, running, rate, per)"
	" VALUES ($1, NULLIF($2, 0), NULLIF($3, 0), $4)"
	" ON CONFLICT (name) DO UPDATE SET running = excluded.running,"
	" rate = excluded.rate, per = excluded.per",
	.expect = SPI_OK_INSERT,
	.nargs = 4,
	.argtypes = {TEXTOID, INT4OID, INT4OID, INTERVALOID}
};

static FlowStatement remove_limit = {
	.sql = "DELETE FROM flow_internal.\"limit\" WHERE name = $1",
	.expect = SPI_OK_DELETE,
	.nargs = 1,
	.argtypes = {TEXTOID}
};

static FlowStatement put = {
	.sql = "UPDATE flow_internal.task SET status = 'waiting', due_at = $6, limits = $4,"
	" limit_key = $5, admitted_at = NULL WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_UPDATE,
	.nargs = 6,
	.argtypes = {INT8OID, INT4OID, INT4OID, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID}
};

static FlowStatement list_limits = {
	.sql = "SELECT i.name, i.running, i.rate FROM flow_internal.\"limit\" i",
	.expect = SPI_OK_SELECT,
	.nargs = 0
};

/* Written so that they are not looked for among all that are ready. */
#define PLACED \
	"t.home = $1 AND t.limits IS NOT NULL AND t.admitted_at IS NOT NULL" \
	" AND t.status IS NOT DISTINCT FROM 'ready'"

static FlowStatement count = {
	.sql = "SELECT t.limits, t.limit_key, pg_catalog.count(*)::pg_catalog.int4"
	" FROM flow_internal.task t WHERE t.home = $1 AND t.limits IS NOT NULL"
	" AND t.admitted_at IS NOT NULL"
	" AND (t.status IS NOT DISTINCT FROM 'ready' OR " FLOW_TASK_IS_COMMAND("t") ")"
	" GROUP BY t.limits, t.limit_key",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

#define WAITING \
	"t.home = $1 AND t.limits IS NOT NULL AND t.status = 'waiting'"

#define NEXT_GROUP(limits, key) \
	"(SELECT t.limits, t.limit_key FROM flow_internal.task t WHERE " WAITING \
	" AND (t.limits, t.limit_key) > (" limits ", " key ")" \
	" ORDER BY t.limits, t.limit_key LIMIT 1)"

static FlowStatement read_groups = {
	.sql = "WITH RECURSIVE g (limits, limit_key) AS (" NEXT_GROUP("$2", "$3")
	" UNION ALL SELECT n.* FROM g, LATERAL " NEXT_GROUP("g.limits", "g.limit_key") " n)"
	" SELECT g.limits, g.limit_key FROM g LIMIT $4",
	.expect = SPI_OK_SELECT,
	.nargs = 4,
	.argtypes = {INT8OID, TEXTARRAYOID, TEXTOID, INT4OID}
};

#define READ_WAITERS(lock) \
	{ \
		.sql = "SELECT t.run_id, t.step_no, t.item_no, t.priority, t.ready_at," \
		" t.asked IS NULL AND (SELECT r.status FROM flow_internal.run r WHERE r.id = t.run_id) = 'paused'" \
		" FROM flow_internal.task t WHERE " WAITING " AND t.limits = $2 AND t.limit_key = $3" \
		" ORDER BY t.priority DESC, t.ready_at, t.run_id, t.step_no, t.item_no LIMIT $4" lock, \
		.expect = SPI_OK_SELECT, \
		.nargs = 4, \
		.argtypes = {INT8OID, TEXTARRAYOID, TEXTOID, INT4OID} \
	}

static FlowStatement read_waiters = READ_WAITERS("");
static FlowStatement read_free_waiters = READ_WAITERS(" FOR UPDATE OF t SKIP LOCKED");

/* By key, and so that there is only one way to plan it */
static FlowStatement admit = {
	.sql = "WITH l AS (SELECT d.tid"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))"
	" AS k(run_id, step_no, item_no),"
	" LATERAL (SELECT t.ctid AS tid FROM flow_internal.task t WHERE t.run_id = k.run_id"
	"  AND t.step_no = k.step_no AND t.item_no = k.item_no"
	"  AND t.home IS NOT DISTINCT FROM $1 AND t.status IS NOT DISTINCT FROM 'waiting'"
	"  AND t.limits IS DISTINCT FROM NULL FOR UPDATE SKIP LOCKED) d)"
	" UPDATE flow_internal.task t SET status = 'ready',"
	" ready_at = pg_catalog.clock_timestamp(), due_at = NULL,"
	" admitted_at = CASE WHEN $5 THEN pg_catalog.clock_timestamp() END"
	" WHERE t.ctid = ANY (ARRAY(SELECT l.tid FROM l))"
	" RETURNING t.run_id, t.step_no, t.item_no, t.workflow_id, t.definition_id, t.priority,"
	" t.owner, t.admitted_at IS NOT NULL",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 5,
	.argtypes = {INT8OID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, BOOLOID}
};

static FlowStatement take_back = {
	.sql = "UPDATE flow_internal.task t SET admitted_at = NULL"
	" WHERE t.ctid = ANY (ARRAY(SELECT t.ctid FROM flow_internal.task t WHERE " PLACED
	" AND t.asked IS NULL AND NOT t.ended"
	" AND (SELECT r.status FROM flow_internal.run r WHERE r.id = t.run_id) = 'paused'"
	" LIMIT $2 FOR UPDATE SKIP LOCKED))"
	" RETURNING t.run_id, t.step_no, t.item_no, t.workflow_id, t.definition_id, t.priority,"
	" t.owner, false",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

/* The start before which there is room for one more, and the end of its time */
static FlowStatement rate_left = {
	.sql = "SELECT (SELECT pg_catalog.count(*) FROM flow_internal.limit_start s"
	"  WHERE s.name = l.name AND s.key = $2"
	"  AND s.at > pg_catalog.clock_timestamp() - l.per)::pg_catalog.int4,"
	" (SELECT s.at + l.per FROM flow_internal.limit_start s WHERE s.name = l.name"
	"  AND s.key = $2 ORDER BY s.at DESC LIMIT 1 OFFSET l.rate - 1)"
	" FROM flow_internal.\"limit\" l WHERE l.name = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID}
};

static FlowStatement note_start = {
	.sql = "INSERT INTO flow_internal.limit_start (name, key, at, run_id, step_no, item_no)"
	" VALUES ($1, $2, pg_catalog.clock_timestamp(), $3, $4, $5)",
	.expect = SPI_OK_INSERT,
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, INT8OID, INT4OID, INT4OID}
};

static FlowStatement forget_starts = {
	.sql = "DELETE FROM flow_internal.limit_start s WHERE NOT EXISTS ("
	"SELECT FROM flow_internal.\"limit\" l WHERE l.name = s.name AND l.rate IS NOT NULL"
	" AND s.at > pg_catalog.clock_timestamp() - l.per)",
	.expect = SPI_OK_DELETE,
	.nargs = 0
};

static Datum text_array(const char *const *items, int n);
static FlowPlaceGroup *read_group(HeapTuple row);
static int	read_admitted(FlowAdmitted *admitted, int n);

const char *
FlowPlaceOfRun(int32 max_parallel, int64 run_id)
{
	return psprintf("\001%d " INT64_FORMAT, max_parallel, run_id);
}

int32
FlowPlaceOfRunIs(const char *name)
{
	return name[0] == '\001' ? pg_strtoint32(pnstrdup(name + 1, strcspn(name + 1, " "))) : 0;
}

bool
FlowPlaceFindLimit(const char *name)
{
	Datum		args[1] = {CStringGetTextDatum(name)};
	bool		found = FlowStatementExecute(&find_limit, args, NULL) > 0;

	SPI_freetuptable(SPI_tuptable);
	return found;
}

bool
FlowPlaceSaveLimit(const char *name, int32 running, int32 rate,
				   const Interval *per)
{
	Datum		args[4];

	args[0] = CStringGetTextDatum(name);
	args[1] = Int32GetDatum(running);
	args[2] = Int32GetDatum(rate);
	args[3] = IntervalPGetDatum(per);
	return FlowStatementExecute(&save_limit, args, NULL) == 1;
}

bool
FlowPlaceRemoveLimit(const char *name)
{
	Datum		args[1] = {CStringGetTextDatum(name)};

	return FlowStatementExecute(&remove_limit, args, NULL) > 0;
}

void
FlowPlacePut(const FlowStepKey *key, const char *const *limits, int n,
			 const char *limit_key, TimestampTz until)
{
	bool		nulls[6] = {false};
	Datum		args[6];

	FlowStepKeyWrite(key, args);
	args[3] = text_array(limits, n);
	args[4] = CStringGetTextDatum(limit_key);
	args[5] = TimestampTzGetDatum(until);
	nulls[5] = TIMESTAMP_IS_NOEND(until);
	FlowStatementExecute(&put, args, nulls);
}

static Datum
text_array(const char *const *items, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(items[i]);
	return FlowArray(TEXTOID, values, NULL, n);
}

List *
FlowPlaceListLimits(void)
{
	List	   *result = NIL;

	FlowStatementExecute(&list_limits, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		FlowLimitRow *limit = palloc(sizeof(FlowLimitRow));

		limit->name = FlowRowText(SPI_tuptable->vals[i], 1);
		limit->running = FlowRowInt32(SPI_tuptable->vals[i], 2);
		limit->rate = FlowRowInt32(SPI_tuptable->vals[i], 3);
		result = lappend(result, limit);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

List *
FlowPlaceCount(int64 home)
{
	Datum		args[1] = {Int64GetDatum(home)};
	List	   *result = NIL;

	FlowStatementExecute(&count, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		FlowPlaceGroup *group = read_group(SPI_tuptable->vals[i]);

		group->n = FlowRowInt32(SPI_tuptable->vals[i], 3);
		result = lappend(result, group);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

List *
FlowPlaceReadGroups(int64 home, const FlowPlaceGroup *after, int max)
{
	Datum		args[4];
	List	   *result = NIL;

	args[0] = Int64GetDatum(home);
	args[1] = after ? after->stored : text_array(NULL, 0);
	args[2] = CStringGetTextDatum(after ? after->key : "");
	args[3] = Int32GetDatum(max);
	FlowStatementExecute(&read_groups, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		result = lappend(result, read_group(SPI_tuptable->vals[i]));
	SPI_freetuptable(SPI_tuptable);
	return result;
}

static FlowPlaceGroup *
read_group(HeapTuple row)
{
	FlowPlaceGroup *group = palloc0(sizeof(FlowPlaceGroup));
	Datum	   *names;
	bool		isnull;

	group->stored = FlowRowDatum(row, 1, &isnull);
	group->key = FlowRowText(row, 2);
	deconstruct_array(DatumGetArrayTypeP(group->stored), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, NULL, &group->n_limits);
	group->limits = palloc(sizeof(char *) * Max(group->n_limits, 1));
	for (int i = 0; i < group->n_limits; i++)
		group->limits[i] = TextDatumGetCString(names[i]);
	return group;
}

int
FlowPlaceReadWaiters(int64 home, const FlowPlaceGroup *group, bool only_free,
					 FlowPlaceWaiter *waiters, int max)
{
	Datum		args[4];
	int			n;

	args[0] = Int64GetDatum(home);
	args[1] = group->stored;
	args[2] = CStringGetTextDatum(group->key);
	args[3] = Int32GetDatum(max);
	n = (int) FlowStatementExecute(only_free ? &read_free_waiters : &read_waiters,
								   args, NULL);
	for (int i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		waiters[i].key.run_id = FlowRowInt64(row, 1);
		waiters[i].key.step_no = FlowRowInt32(row, 2);
		waiters[i].key.item_no = FlowRowInt32(row, 3);
		waiters[i].priority = FlowRowInt32(row, 4);
		waiters[i].since = (TimestampTz) FlowRowInt64(row, 5);
		waiters[i].paused = FlowRowBool(row, 6);
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

int
FlowPlaceAdmit(int64 home, const FlowStepKey *keys, int n, bool placed,
			   FlowAdmitted *admitted)
{
	Datum	   *columns[3];
	Datum		args[5];

	for (int c = 0; c < 3; c++)
		columns[c] = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int64GetDatum(keys[i].run_id);
		columns[1][i] = Int32GetDatum(keys[i].step_no);
		columns[2][i] = Int32GetDatum(keys[i].item_no);
	}
	args[0] = Int64GetDatum(home);
	args[1] = FlowArray(INT8OID, columns[0], NULL, n);
	args[2] = FlowArray(INT4OID, columns[1], NULL, n);
	args[3] = FlowArray(INT4OID, columns[2], NULL, n);
	args[4] = BoolGetDatum(placed);
	return read_admitted(admitted, (int) FlowStatementExecute(&admit, args, NULL));
}

int
FlowPlaceTakeBack(int64 home, FlowAdmitted *taken, int max)
{
	Datum		args[2] = {Int64GetDatum(home), Int32GetDatum(max)};

	return read_admitted(taken, (int) FlowStatementExecute(&take_back, args, NULL));
}

static int
read_admitted(FlowAdmitted *admitted, int n)
{
	for (int i = 0; i < n; i++)
		FlowLimitReadAdmitted(SPI_tuptable->vals[i], &admitted[i]);
	SPI_freetuptable(SPI_tuptable);
	return n;
}

int
FlowPlaceRateLeft(const FlowLimitRow *limit, const char *key,
				  TimestampTz *next_at)
{
	Datum		args[2] = {CStringGetTextDatum(limit->name), CStringGetTextDatum(key)};
	int			left = limit->rate;

	*next_at = DT_NOEND;
	if (FlowStatementExecute(&rate_left, args, NULL) == 1)
	{
		left -= FlowRowInt32(SPI_tuptable->vals[0], 1);
		if (!FlowRowIsNull(SPI_tuptable->vals[0], 2))
			*next_at = (TimestampTz) FlowRowInt64(SPI_tuptable->vals[0], 2);
	}
	SPI_freetuptable(SPI_tuptable);
	return Max(left, 0);
}

void
FlowPlaceNoteStart(const char *name, const char *key, const FlowStepKey *step)
{
	Datum		args[5];

	args[0] = CStringGetTextDatum(name);
	args[1] = CStringGetTextDatum(key);
	args[2] = Int64GetDatum(step->run_id);
	args[3] = Int32GetDatum(step->step_no);
	args[4] = Int32GetDatum(step->item_no);
	FlowStatementExecute(&note_start, args, NULL);
}

void
FlowPlaceForgetStarts(void)
{
	FlowStatementExecute(&forget_starts, NULL, NULL);
}
