/*-------------------------------------------------------------------------
 * cat_total.c
 *	  When the time of a step over all its attempts is over.
 *
 * Only steps with a total_timeout have a row, and only from the first time on
 * that they sleep or wait: until then it follows from when they became ready.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_total.h"
#include "catalog/catalog.h"
#include "catalog/stepkey.h"

static FlowStatement load = {
	.sql = "SELECT l.due_at, t.ready_at FROM (SELECT 1) AS one"
	" LEFT JOIN flow_internal.total l"
	" ON l.run_id = $1 AND l.step_no = $2 AND l.item_no = $3"
	" LEFT JOIN flow_internal.task t"
	" ON t.run_id = $1 AND t.step_no = $2 AND t.item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement save = {
	.sql = "INSERT INTO flow_internal.total AS l (run_id, step_no, item_no, due_at)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (run_id, step_no, item_no)"
	" DO UPDATE SET due_at = EXCLUDED.due_at"
	" WHERE 'infinity' IN (l.due_at, EXCLUDED.due_at)",
	.expect = SPI_OK_INSERT,
	.nargs = 4,
	.argtypes = {INT8OID, INT4OID, INT4OID, TIMESTAMPTZOID}
};

static FlowStatement delete = {
	.sql = "DELETE FROM flow_internal.total"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

/* What is left beyond the moment that a step sleeps or waits until, stays. */
static FlowStatement elapse = {
	.sql = "UPDATE flow_internal.total l"
	" SET due_at = pg_catalog.clock_timestamp() + (l.due_at - t.due_at)"
	" FROM flow_internal.task t"
	" WHERE t.run_id = l.run_id AND t.step_no = l.step_no AND t.item_no = l.item_no"
	" AND l.run_id IN " FLOW_RUN_TREE("$1")
	" AND l.due_at < 'infinity' AND t.due_at > pg_catalog.clock_timestamp()"
	" AND (t.limits IS NULL OR t.status <> 'waiting')"
	" AND NOT " FLOW_HAS_CHILD("l"),
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};


TimestampTz
FlowTotalLoad(const FlowStepKey *key, TimestampTz *ready_at)
{
	TimestampTz due_at = DT_NOBEGIN;
	Datum		args[3];
	HeapTuple	row;

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&load, args, NULL);
	row = SPI_tuptable->vals[0];
	if (!FlowRowIsNull(row, 1))
		due_at = (TimestampTz) FlowRowInt64(row, 1);
	*ready_at = FlowRowIsNull(row, 2) ? GetCurrentTimestamp()
		: (TimestampTz) FlowRowInt64(row, 2);
	SPI_freetuptable(SPI_tuptable);
	return due_at;
}

void
FlowTotalSave(const FlowStepKey *key, TimestampTz due_at)
{
	Datum		args[4];

	FlowStepKeyWrite(key, args);
	args[3] = TimestampTzGetDatum(due_at);
	FlowStatementExecute(&save, args, NULL);
}

void
FlowTotalDelete(const FlowStepKey *key)
{
	Datum		args[3];

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&delete, args, NULL);
}

void
FlowTotalElapse(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&elapse, args, NULL);
}
