/*-------------------------------------------------------------------------
 * cat_look.c
 *	  Rows of the views, as the caller may see them.
 *
 * The only statements of ours that run as the caller; their names are
 * qualified, so the caller's search_path does not matter.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/snapmgr.h"

#include "base/spi.h"
#include "catalog/cat_look.h"

static FlowStatement see_run = {
	.sql = "SELECT 1 FROM flow.run WHERE id OPERATOR(pg_catalog.=) $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement look_run = {
	.sql = "SELECT * FROM flow.run WHERE id OPERATOR(pg_catalog.=) $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static uint64 read_latest(FlowStatement *statement, int64 run_id);
static void no_such_run(int64 run_id);

void
FlowLookRequireRun(int64 run_id)
{
	if (read_latest(&see_run, run_id) == 0)
		no_such_run(run_id);
	SPI_freetuptable(SPI_tuptable);
}

HeapTuple
FlowLookRun(int64 run_id)
{
	if (read_latest(&look_run, run_id) == 0)
		no_such_run(run_id);
	return SPI_copytuple(SPI_tuptable->vals[0]);
}

static uint64
read_latest(FlowStatement *statement, int64 run_id)
{
	Datum		args[1] = {Int64GetDatum(run_id)};
	uint64		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = FlowStatementRead(statement, args, NULL);
	PopActiveSnapshot();
	return found;
}

static void
no_such_run(int64 run_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("run " INT64_FORMAT " does not exist", run_id),
			 errdetail("There is no such run, or you may not see it."),
			 errhint("Look at flow.run for the runs you may see.")));
}
