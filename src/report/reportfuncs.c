/*-------------------------------------------------------------------------
 * reportfuncs.c
 *	  The SQL functions that report.
 *
 * Reports are views and SQL functions over them (sql/look.sql.in), which
 * decide what a role sees.  Here is what SQL cannot do for them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "define/access.h"

PG_FUNCTION_INFO_V1(flow_raise_unknown_run);

/*
 * Says that there is no such run.  A run that may not be seen is no other, so
 * that ids tell nothing.
 */
Datum
flow_raise_unknown_run(PG_FUNCTION_ARGS)
{
	FlowAccessRequireRead();
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("run " INT64_FORMAT " does not exist", PG_GETARG_INT64(0)),
			 errdetail("There is no such run, or you have no privilege on it."),
			 errhint("The view flow.run shows the runs you may see.")));
	PG_RETURN_NULL();
}
