/*-------------------------------------------------------------------------
 * retentionfuncs.c
 *	  SQL functions that delete finished runs or their payloads.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "engine/retention.h"

PG_FUNCTION_INFO_V1(flow_delete_data);
PG_FUNCTION_INFO_V1(flow_prune);

static void require_arg(FunctionCallInfo fcinfo, int arg, const char *name,
						const char *hint);

Datum
flow_delete_data(PG_FUNCTION_ARGS)
{
	bool		with_key = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	bool		changed;

	require_arg(fcinfo, 0, "run", "Give the id of a run.");
	SPI_connect();
	changed = FlowRetentionErase(PG_GETARG_INT64(0), with_key);
	SPI_finish();
	PG_RETURN_BOOL(changed);
}

Datum
flow_prune(PG_FUNCTION_ARGS)
{
	char	   *workflow = PG_ARGISNULL(1) ? NULL :
	text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		pruned;

	require_arg(fcinfo, 0, "older_than", "Use '30 days', for instance.");
	SPI_connect();
	pruned = FlowRetentionPrune(PG_GETARG_INTERVAL_P(0), workflow);
	SPI_finish();
	PG_RETURN_INT64(pruned);
}

static void
require_arg(FunctionCallInfo fcinfo, int arg, const char *name,
			const char *hint)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errdetail("There is nothing that null could mean here."),
				 errhint("%s", hint)));
}
