/*-------------------------------------------------------------------------
 * cat_item.c
 *	  Items of steps that run once for each.
 *
 * Items are written once and never change.  How far a map is stands in one row
 * of its own, so that no flush has to count; it is changed once per flush, with
 * the run locked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/table.h"
#include "base/spi.h"
#include "catalog/cat_item.h"

/* Columns of flow_internal.item */
#define ITEM_COLUMNS	4

static FlowTable items = {.name = "item",.columns = ITEM_COLUMNS};

static FlowStatement load = {
	.sql = "SELECT total, next, live, done, failed, started_at FROM flow_internal.map"
	" WHERE run_id = $1 AND step_no = $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

#define MAP_TYPES	INT8OID, INT4OID, INT4OID, INT4OID, INT4OID, INT4OID, INT4OID

static FlowStatement insert = {
	.sql = "INSERT INTO flow_internal.map (run_id, step_no, total, next, live, done, failed,"
	" started_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
	.expect = SPI_OK_INSERT,
	.nargs = 8,
	.argtypes = {MAP_TYPES, TIMESTAMPTZOID}
};

static FlowStatement update = {
	.sql = "UPDATE flow_internal.map SET total = $3, next = $4, live = $5, done = $6,"
	" failed = $7 WHERE run_id = $1 AND step_no = $2",
	.expect = SPI_OK_UPDATE,
	.nargs = 7,
	.argtypes = {MAP_TYPES}
};

/* There is one way to plan it; see cat_task.c. */
static FlowStatement read_items = {
	.sql = "SELECT i.item FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
	" pg_catalog.unnest($3)) WITH ORDINALITY AS k(run_id, step_no, item_no, place)"
	" LEFT JOIN LATERAL (SELECT * FROM flow_internal.item i WHERE i.run_id = k.run_id"
	" AND i.step_no = k.step_no AND i.item_no = k.item_no OFFSET 0) i ON true"
	" ORDER BY k.place",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID}
};

/* Ended by hand before it was known that there are not so many */
static FlowStatement forget_beyond = {
	.sql = "DELETE FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no > $3",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement count_ends = {
	.sql = "SELECT pg_catalog.count(*) FILTER (WHERE status <> 'failed'),"
	" pg_catalog.count(*) FILTER (WHERE status = 'failed') FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no BETWEEN 1 AND $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement count_undone = {
	.sql = "SELECT pg_catalog.count(*) FILTER (WHERE status = 'compensated'),"
	" pg_catalog.count(*) FILTER (WHERE status = 'compensation_failed')"
	" FROM flow_internal.outcome WHERE run_id = $1 AND step_no = $2 AND item_no > 0",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement find = {
	.sql = "SELECT i.item_no, COALESCE((SELECT pg_catalog.max(a.attempt)"
	"  FROM flow_internal.attempt a WHERE a.run_id = $1 AND a.step_no = $3"
	"  AND a.item_no = i.item_no), 0)"
	" FROM flow_internal.item i WHERE i.run_id = $1 AND i.step_no = $2 AND i.item_no >= $4"
	" AND NOT EXISTS (SELECT FROM flow_internal.outcome o WHERE o.run_id = $1"
	"  AND o.step_no = $3 AND o.item_no = i.item_no)"
	" AND NOT EXISTS (SELECT FROM flow_internal.task t WHERE t.run_id = $1"
	"  AND t.step_no = $3 AND t.item_no = i.item_no)"
	" ORDER BY i.item_no LIMIT $5",
	.expect = SPI_OK_SELECT,
	.nargs = 5,
	.argtypes = {INT8OID, INT4OID, INT4OID, INT4OID, INT4OID}
};

#define END_COLUMNS	"item_no, status, attempt, output, emits, error"

static FlowStatement list_ends = {
	.sql = "SELECT " END_COLUMNS " FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no > 0 ORDER BY item_no",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement list_all = {
	.sql = "SELECT i.item_no, i.item, COALESCE(o.status, 'cancelled'), o.output,"
	" o.error->>'sqlstate', o.error->>'message'"
	" FROM flow_internal.item i LEFT JOIN flow_internal.outcome o ON o.run_id = $1"
	" AND o.step_no = $3 AND o.item_no = i.item_no"
	" WHERE i.run_id = $1 AND i.step_no = $2 ORDER BY i.item_no",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement failure = {
	.sql = "SELECT " END_COLUMNS " FROM flow_internal.outcome"
	" WHERE run_id = $1 AND step_no = $2 AND item_no > 0 AND status = 'failed'"
	" ORDER BY finished_at, item_no LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement last_done = {
	.sql = "SELECT pg_catalog.max(o.item_no) FROM flow_internal.outcome o"
	" WHERE o.run_id = $1 AND o.step_no = $2 AND o.status = 'completed' AND o.item_no > 0"
	" AND o.item_no < COALESCE((SELECT pg_catalog.min(u.item_no) FROM flow_internal.outcome u"
	"  WHERE u.run_id = $1 AND u.step_no = $3 AND u.item_no > 0), 2147483647)",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement any_done = {
	.sql = "SELECT FROM flow_internal.outcome WHERE run_id = $1 AND step_no = $2"
	" AND item_no > 0 AND status = 'completed' LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

#define FORGET(table, condition) \
	{ \
		.sql = "DELETE FROM flow_internal." table " WHERE run_id = $1 AND step_no = $2" \
		" AND item_no > 0 AND ($3 = 0 OR item_no = $3)" condition, \
		.expect = SPI_OK_DELETE, \
		.nargs = 4, \
		.argtypes = {INT8OID, INT4OID, INT4OID, BOOLOID} \
	}

static FlowStatement forgets[] = {
	FORGET("waiting", " AND $4 IS NOT NULL"),
	FORGET("decision", " AND $4 IS NOT NULL"),
	FORGET("total", " AND $4 IS NOT NULL"),
	FORGET("round", " AND ($4 OR EXISTS (SELECT FROM flow_internal.outcome o"
		   " WHERE o.run_id = $1 AND o.step_no = $2 AND o.item_no = round.item_no"
		   " AND o.status IN ('failed', 'skipped', 'cancelled')))"),
	FORGET("outcome", " AND ($4 OR status IN ('failed', 'skipped', 'cancelled'))")
};

static FlowStatement delete_map = {
	.sql = "DELETE FROM flow_internal.map WHERE run_id = $1 AND step_no = $2",
	.expect = SPI_OK_DELETE,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement delete_items = {
	.sql = "DELETE FROM flow_internal.item WHERE run_id = $1 AND step_no = $2",
	.expect = SPI_OK_DELETE,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement copy_maps = {
	.sql = "INSERT INTO flow_internal.map (run_id, step_no, total, next, live, done, failed,"
	" started_at) SELECT $2, step_no, total, next, live, done, failed, started_at"
	" FROM flow_internal.map WHERE run_id = $1 AND step_no = ANY ($3)",
	.expect = SPI_OK_INSERT,
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, INT4ARRAYOID}
};

static FlowStatement copy_items = {
	.sql = "INSERT INTO flow_internal.item (run_id, step_no, item_no, item)"
	" SELECT $2, step_no, item_no, item FROM flow_internal.item"
	" WHERE run_id = $1 AND step_no = ANY ($3)",
	.expect = SPI_OK_INSERT,
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, INT4ARRAYOID}
};

static void write_map(const FlowMapRow *map, Datum *args);
static void read_end(HeapTuple row, FlowItemEnd *end);

bool
FlowMapLoad(int64 run_id, int32 step_no, FlowMapRow *map)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};
	bool		found = FlowStatementExecute(&load, args, NULL) == 1;

	if (found)
	{
		HeapTuple	row = SPI_tuptable->vals[0];

		map->run_id = run_id;
		map->step_no = step_no;
		map->total = FlowRowInt32(row, 1);
		map->next = FlowRowInt32(row, 2);
		map->live = FlowRowInt32(row, 3);
		map->done = FlowRowInt32(row, 4);
		map->failed = FlowRowInt32(row, 5);
		map->started_at = (TimestampTz) FlowRowInt64(row, 6);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

static void
write_map(const FlowMapRow *map, Datum *args)
{
	args[0] = Int64GetDatum(map->run_id);
	args[1] = Int32GetDatum(map->step_no);
	args[2] = Int32GetDatum(map->total);
	args[3] = Int32GetDatum(map->next);
	args[4] = Int32GetDatum(map->live);
	args[5] = Int32GetDatum(map->done);
	args[6] = Int32GetDatum(map->failed);
}

void
FlowMapInsert(const FlowMapRow *map)
{
	Datum		args[8];

	write_map(map, args);
	args[7] = TimestampTzGetDatum(map->started_at);
	FlowStatementExecute(&insert, args, NULL);
}

void
FlowMapUpdate(const FlowMapRow *map)
{
	Datum		args[7];

	write_map(map, args);
	FlowStatementExecute(&update, args, NULL);
}

void
FlowItemInsert(int64 run_id, int32 step_no, const Datum *values, int n)
{
	Datum	   *columns = palloc(sizeof(Datum) * ITEM_COLUMNS * Max(n, 1));
	bool	   *nulls = palloc0(sizeof(bool) * ITEM_COLUMNS * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		Datum	   *row = columns + i * ITEM_COLUMNS;

		row[0] = Int64GetDatum(run_id);
		row[1] = Int32GetDatum(step_no);
		row[2] = Int32GetDatum(i + 1);
		row[3] = values[i];
	}
	FlowTableInsert(&items, columns, nulls, n);
	pfree(columns);
	pfree(nulls);
}

void
FlowItemRead(const FlowStepKey *keys, const int32 *steps, int n,
			 NullableDatum *result)
{
	Datum	   *columns = palloc(sizeof(Datum) * 3 * Max(n, 1));
	Datum		args[3];

	for (int i = 0; i < n; i++)
	{
		columns[i] = Int64GetDatum(keys[i].run_id);
		columns[n + i] = Int32GetDatum(steps[i]);
		columns[2 * n + i] = Int32GetDatum(keys[i].item_no);
	}
	args[0] = FlowArray(INT8OID, columns, NULL, n);
	args[1] = FlowArray(INT4OID, columns + n, NULL, n);
	args[2] = FlowArray(INT4OID, columns + 2 * n, NULL, n);
	FlowStatementExecute(&read_items, args, NULL);
	for (int i = 0; i < n; i++)
		result[i].value = FlowRowDatum(SPI_tuptable->vals[i], 1, &result[i].isnull);
	SPI_freetuptable(SPI_tuptable);
	pfree(columns);
}

void
FlowItemForgetBeyond(int64 run_id, int32 step_no, int32 total)
{
	Datum		args[3] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};

	args[2] = Int32GetDatum(total);
	FlowStatementExecute(&forget_beyond, args, NULL);
}

void
FlowItemCount(int64 run_id, int32 step_no, int32 total, int32 *done,
			  int32 *failed)
{
	Datum		args[3] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};

	args[2] = Int32GetDatum(total);
	FlowStatementExecute(&count_ends, args, NULL);
	*done = (int32) FlowRowInt64(SPI_tuptable->vals[0], 1);
	*failed = (int32) FlowRowInt64(SPI_tuptable->vals[0], 2);
	SPI_freetuptable(SPI_tuptable);
}

void
FlowItemCountUndone(int64 run_id, int32 step_no, int32 *undone, int32 *failed)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};

	FlowStatementExecute(&count_undone, args, NULL);
	*undone = (int32) FlowRowInt64(SPI_tuptable->vals[0], 1);
	*failed = (int32) FlowRowInt64(SPI_tuptable->vals[0], 2);
	SPI_freetuptable(SPI_tuptable);
}

int
FlowItemFind(const FlowMapRow *map, int32 step_no, int n, FlowItemNext *next)
{
	Datum		args[5] = {Int64GetDatum(map->run_id), Int32GetDatum(map->step_no)};
	uint64		found;

	args[2] = Int32GetDatum(step_no);
	args[3] = Int32GetDatum(map->next);
	args[4] = Int32GetDatum(n);
	found = FlowStatementExecute(&find, args, NULL);
	for (uint64 i = 0; i < found; i++)
	{
		next[i].item_no = FlowRowInt32(SPI_tuptable->vals[i], 1);
		next[i].attempt = FlowRowInt32(SPI_tuptable->vals[i], 2);
	}
	SPI_freetuptable(SPI_tuptable);
	return (int) found;
}

List *
FlowItemListEnds(int64 run_id, int32 step_no)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};
	List	   *ends = NIL;
	uint64		n = FlowStatementExecute(&list_ends, args, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		FlowItemEnd *end = palloc(sizeof(FlowItemEnd));

		read_end(SPI_tuptable->vals[i], end);
		ends = lappend(ends, end);
	}
	SPI_freetuptable(SPI_tuptable);
	return ends;
}

static void
read_end(HeapTuple row, FlowItemEnd *end)
{
	end->item_no = FlowRowInt32(row, 1);
	end->status = FlowStepStatusParse(FlowRowText(row, 2));
	end->attempt = FlowRowInt32(row, 3);
	end->output.value = FlowRowDatum(row, 4, &end->output.isnull);
	end->emits.value = FlowRowDatum(row, 5, &end->emits.isnull);
	end->error.value = FlowRowDatum(row, 6, &end->error.isnull);
}

void
FlowItemListAll(int64 run_id, int32 map_no, int32 step_no,
				Tuplestorestate *result)
{
	Datum		args[3] = {Int64GetDatum(run_id), Int32GetDatum(map_no)};
	uint64		n;

	args[2] = Int32GetDatum(step_no);
	n = FlowStatementRead(&list_all, args, NULL);
	for (uint64 i = 0; i < n; i++)
		tuplestore_puttuple(result, SPI_tuptable->vals[i]);
	SPI_freetuptable(SPI_tuptable);
}

bool
FlowItemFailure(int64 run_id, int32 step_no, FlowItemEnd *end)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};
	bool		found = FlowStatementExecute(&failure, args, NULL) == 1;

	if (found)
		read_end(SPI_tuptable->vals[0], end);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

int32
FlowItemLastDone(int64 run_id, int32 step_no, int32 undo_no)
{
	Datum		args[3] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};
	int32		item_no;

	args[2] = Int32GetDatum(undo_no);
	FlowStatementExecute(&last_done, args, NULL);
	item_no = FlowRowInt32(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return item_no;
}

bool
FlowItemAnyDone(int64 run_id, int32 step_no)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};
	bool		found = FlowStatementExecute(&any_done, args, NULL) == 1;

	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
FlowItemForget(int64 run_id, int32 step_no, int32 item_no, bool all)
{
	Datum		args[4] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};

	args[2] = Int32GetDatum(item_no);
	args[3] = BoolGetDatum(all);
	for (int i = 0; i < lengthof(forgets); i++)
		FlowStatementExecute(&forgets[i], args, NULL);
}

void
FlowMapForget(int64 run_id, int32 step_no)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};

	FlowStatementExecute(&delete_map, args, NULL);
	FlowStatementExecute(&delete_items, args, NULL);
}

void
FlowMapCopy(int64 from_run, int64 to_run, const int *steps, int n)
{
	Datum	   *numbers = palloc(sizeof(Datum) * Max(n, 1));
	Datum		args[3] = {Int64GetDatum(from_run), Int64GetDatum(to_run)};

	for (int i = 0; i < n; i++)
		numbers[i] = Int32GetDatum(steps[i]);
	args[2] = FlowArray(INT4OID, numbers, NULL, n);
	FlowStatementExecute(&copy_maps, args, NULL);
	FlowStatementExecute(&copy_items, args, NULL);
}
