/*-------------------------------------------------------------------------
 * schedulefuncs.c
 *	  The SQL functions of schedules.
 *
 * Arguments in, one call, result out, connected to SPI and with the right to be
 * here asked for first.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "define/access.h"
#include "report/cron.h"
#include "report/cronspec.h"
#include "report/schedule.h"

PG_FUNCTION_INFO_V1(flow_schedule);
PG_FUNCTION_INFO_V1(flow_unschedule);
PG_FUNCTION_INFO_V1(flow_fire);
PG_FUNCTION_INFO_V1(flow_cron_job_is_active);
PG_FUNCTION_INFO_V1(flow_cron_timezone);
PG_FUNCTION_INFO_V1(flow_cron_next);

static char *text_argument(FunctionCallInfo fcinfo, int argument,
						   const char *name);

Datum
flow_schedule(PG_FUNCTION_ARGS)
{
	FlowScheduleSpec spec = {
		.name = text_argument(fcinfo, 0, "name"),
		.cron = text_argument(fcinfo, 1, "cron"),
		.workflow = text_argument(fcinfo, 2, "workflow"),
		.overlap = text_argument(fcinfo, 4, "overlap"),
		.catchup = text_argument(fcinfo, 5, "catchup")
	};
	int64		job_id;

	if (PG_ARGISNULL(3))
		spec.input = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	else
		spec.input = PointerGetDatum(PG_GETARG_JSONB_P(3));
	if (!PG_ARGISNULL(6))
		spec.condition = text_to_cstring(PG_GETARG_TEXT_PP(6));
	FlowAccessRequireCreate();
	SPI_connect();
	job_id = FlowScheduleCreate(&spec);
	SPI_finish();
	PG_RETURN_INT64(job_id);
}

Datum
flow_unschedule(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0, "name");
	bool		dropped;

	FlowAccessRequireUse();
	SPI_connect();
	dropped = FlowScheduleDrop(name);
	SPI_finish();
	PG_RETURN_BOOL(dropped);
}

Datum
flow_fire(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0, "schedule");
	int64		run_id;

	FlowAccessRequireUse();
	SPI_connect();
	run_id = FlowScheduleFire(name);
	SPI_finish();
	if (run_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(run_id);
}

Datum
flow_cron_job_is_active(PG_FUNCTION_ARGS)
{
	char	   *schedule = text_to_cstring(PG_GETARG_TEXT_PP(1));

	PG_RETURN_BOOL(FlowCronJobIsActive(PG_GETARG_INT64(0),
									   FlowScheduleJobName(schedule)));
}

Datum
flow_cron_timezone(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(FlowCronTimezone()));
}

Datum
flow_cron_next(PG_FUNCTION_ARGS)
{
	char	   *cron = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *zone_name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	pg_tz	   *zone = pg_tzset(zone_name);
	TimestampTz next = DT_NOEND;

	if (zone != NULL)
		next = FlowCronspecComputeNext(cron, zone, PG_GETARG_TIMESTAMPTZ(2));
	if (TIMESTAMP_IS_NOEND(next))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}

static char *
text_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errdetail("There is nothing that null could mean here."),
				 errhint("Give a value for it.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}
