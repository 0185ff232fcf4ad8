/*-------------------------------------------------------------------------
 * cat_live.c
 *	  The live steps of one run: listed, locked and taken away.
 *
 * By whoever holds the run, and so without waiting for who has locked a step.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/spi.h"
#include "catalog/cat_live.h"
#include "catalog/catalog.h"
#include "catalog/stepkey.h"

static FlowStatement delete_free = {
	.sql = "DELETE FROM flow_internal.task WHERE (run_id, step_no, item_no) IN ("
	"SELECT t.run_id, t.step_no, t.item_no FROM flow_internal.task t"
	" WHERE t.run_id = $1 AND t.step_no = $2 AND t.item_no = $3"
	" AND NOT " FLOW_TASK_IS_COMMAND("t") " FOR UPDATE SKIP LOCKED)",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

/* A command that has ended is left, too, to whoever settles it. */
#define HAS_ENDED	"ended OR (finished_at IS NOT NULL AND status = 'ready')"

static FlowStatement lock_of = {
	.sql = "SELECT run_id, step_no, item_no, ctid, attempt, " HAS_ENDED ","
	" status IS NOT DISTINCT FROM 'waiting' FROM flow_internal.task"
	" WHERE run_id = $1 AND NOT " FLOW_TASK_IS_COMMAND("task")
	" ORDER BY step_no, item_no FOR NO KEY UPDATE SKIP LOCKED",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement lock_one = {
	.sql = "SELECT run_id, step_no, item_no, ctid, attempt, " HAS_ENDED ","
	" status IS NOT DISTINCT FROM 'waiting' FROM flow_internal.task"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3 AND status = $4"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.expect = SPI_OK_SELECT,
	.nargs = 4,
	.argtypes = {INT8OID, INT4OID, INT4OID, TEXTOID}
};

static FlowStatement is_there = {
	.sql = "SELECT FROM flow_internal.task"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3 AND status = $4",
	.expect = SPI_OK_SELECT,
	.nargs = 4,
	.argtypes = {INT8OID, INT4OID, INT4OID, TEXTOID}
};

static FlowStatement list_of = {
	.sql = "SELECT run_id, step_no, item_no, ctid, attempt, " HAS_ENDED ","
	" status IS NOT DISTINCT FROM 'waiting' FROM flow_internal.task"
	" WHERE run_id = $1 ORDER BY step_no, item_no",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement last_item = {
	.sql = "SELECT GREATEST((SELECT pg_catalog.max(t.item_no) FROM flow_internal.task t"
	" WHERE t.run_id = $1 AND t.step_no = $2),"
	" (SELECT pg_catalog.max(o.item_no) FROM flow_internal.outcome o"
	" WHERE o.run_id = $1 AND o.step_no = $2), 0)",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID}
};

static FlowStatement asked = {
	.sql = "SELECT asked FROM flow_internal.task"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static List *read_brief(void);

void
FlowTaskDeleteFree(const FlowStepKey *key)
{
	Datum		args[3];

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(&delete_free, args, NULL);
}

FlowHold
FlowTaskLock(const FlowStepKey *key, FlowStepStatus status, FlowTaskRow *task)
{
	Datum		args[4];
	List	   *found;
	bool		there;

	FlowStepKeyWrite(key, args);
	args[3] = CStringGetTextDatum(FlowStepStatusName(status));
	FlowStatementExecute(&lock_one, args, NULL);
	found = read_brief();
	if (found != NIL)
	{
		*task = *(FlowTaskRow *) linitial(found);
		return FLOW_HOLD_TAKEN;
	}
	there = FlowStatementExecute(&is_there, args, NULL) == 1;
	SPI_freetuptable(SPI_tuptable);
	return there ? FLOW_HOLD_BUSY : FLOW_HOLD_GONE;
}

List *
FlowTaskLockOf(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&lock_of, args, NULL);
	return read_brief();
}

List *
FlowTaskListOf(int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};

	FlowStatementExecute(&list_of, args, NULL);
	return read_brief();
}

static List *
read_brief(void)
{
	List	   *result = NIL;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		FlowTaskRow *task = palloc0(sizeof(FlowTaskRow));

		FlowStepKeyRead(row, &task->key);
		FlowRowTid(row, 4, &task->tid);
		task->attempt = FlowRowInt32(row, 5);
		task->ended = FlowRowBool(row, 6);
		task->waits = FlowRowBool(row, 7);
		result = lappend(result, task);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

int32
FlowTaskLastItem(int64 run_id, int32 step_no)
{
	Datum		args[2] = {Int64GetDatum(run_id), Int32GetDatum(step_no)};
	int32		item;

	FlowStatementExecute(&last_item, args, NULL);
	item = FlowRowInt32(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return item;
}

bool
FlowTaskAsked(const FlowStepKey *key, Datum *value)
{
	Datum		args[3];
	bool		isnull = true;

	FlowStepKeyWrite(key, args);
	if (FlowStatementRead(&asked, args, NULL) == 1)
		*value = FlowRowDatum(SPI_tuptable->vals[0], 1, &isnull);
	SPI_freetuptable(SPI_tuptable);
	return !isnull;
}
