/*-------------------------------------------------------------------------
 * cat_child.c
 *	  Runs that are steps of other runs.
 *
 * Nobody who holds one run locks another that belongs to it: what has to
 * reach a parent or a child is a row in task that stands for that run, and
 * whoever claims it acts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_child.h"

static FlowStatement child_of = {
	.sql = "SELECT id, status, created_at, output, error FROM flow_internal.run"
	" WHERE parent_run = $1 AND parent_step = $2 AND parent_item = $3"
	" ORDER BY id DESC LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement list_of = {
	.sql = "SELECT id FROM flow_internal.run WHERE parent_run = $1"
	" AND ($2 = 0 OR parent_step = $2) AND ($3 = 0 OR parent_item = $3)"
	" AND (finished_at IS NOT NULL) = $4 ORDER BY id",
	.expect = SPI_OK_SELECT,
	.nargs = 4,
	.argtypes = {INT8OID, INT4OID, INT4OID, BOOLOID}
};

static FlowStatement tell = {
	.sql = "INSERT INTO flow_internal.task (run_id, step_no, item_no, home, owner,"
	" workflow_id, definition_id, priority, status, ready_at)"
	" SELECT r.id, 0, $2, r.home, r.owner, r.workflow_id, r.definition_id, r.priority,"
	" 'ready', pg_catalog.clock_timestamp() FROM flow_internal.run r"
	" WHERE r.id = $1 AND r.home = $3 ON CONFLICT DO NOTHING"
	" RETURNING owner, workflow_id, definition_id, priority",
	.expect = SPI_OK_INSERT_RETURNING,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT8OID}
};

bool
FlowChildOf(const FlowStepKey *parent, FlowChildRow *child)
{
	Datum		args[3] = {Int64GetDatum(parent->run_id), Int32GetDatum(parent->step_no)};
	bool		found;

	args[2] = Int32GetDatum(parent->item_no);
	found = FlowStatementExecute(&child_of, args, NULL) == 1;
	if (found)
	{
		HeapTuple	row = SPI_tuptable->vals[0];

		child->id = FlowRowInt64(row, 1);
		child->status = FlowRunStatusParse(FlowRowText(row, 2));
		child->created_at = (TimestampTz) FlowRowInt64(row, 3);
		child->output.value = FlowRowDatum(row, 4, &child->output.isnull);
		child->error.value = FlowRowDatum(row, 5, &child->error.isnull);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

List *
FlowChildListOf(const FlowStepKey *parent, bool finished)
{
	Datum		args[4] = {Int64GetDatum(parent->run_id), Int32GetDatum(parent->step_no)};
	List	   *result = NIL;

	args[2] = Int32GetDatum(parent->item_no);
	args[3] = BoolGetDatum(finished);
	FlowStatementExecute(&list_of, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int64	   *id = palloc(sizeof(int64));

		*id = FlowRowInt64(SPI_tuptable->vals[i], 1);
		result = lappend(result, id);
	}
	SPI_freetuptable(SPI_tuptable);
	return result;
}

bool
FlowChildTell(int64 run_id, int32 item_no, Oid *owner, FlowReady *ready)
{
	Datum		args[3] = {Int64GetDatum(run_id), Int32GetDatum(item_no)};
	bool		told;

	args[2] = Int64GetDatum(FlowInstallRequire()->home);
	told = FlowStatementExecute(&tell, args, NULL) == 1;
	if (told)
	{
		HeapTuple	row = SPI_tuptable->vals[0];

		memset(ready, 0, sizeof(FlowReady));
		ready->key.run_id = run_id;
		ready->key.step_no = FLOW_STEP_RUN;
		ready->key.item_no = item_no;
		*owner = FlowRowOid(row, 1);
		ready->workflow_id = FlowRowInt32(row, 2);
		ready->definition_id = FlowRowInt32(row, 3);
		ready->priority = FlowRowInt32(row, 4);
	}
	SPI_freetuptable(SPI_tuptable);
	return told;
}
