/*-------------------------------------------------------------------------
 * runfuncs.c
 *	  SQL functions that start, steer and await runs.
 *
 * They turn arguments into values and call one function of the engine each.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/spi.h"
#include "catalog/cat_look.h"
#include "catalog/cat_run.h"
#include "define/access.h"
#include "define/workflow.h"
#include "engine/await.h"
#include "engine/control.h"
#include "engine/drain.h"
#include "engine/override.h"
#include "engine/release.h"
#include "engine/rerun.h"
#include "engine/start.h"
#include "engine/whole.h"

PG_FUNCTION_INFO_V1(flow_start);
PG_FUNCTION_INFO_V1(flow_find);
PG_FUNCTION_INFO_V1(flow_pause);
PG_FUNCTION_INFO_V1(flow_resume);
PG_FUNCTION_INFO_V1(flow_cancel);
PG_FUNCTION_INFO_V1(flow_retry);
PG_FUNCTION_INFO_V1(flow_skip);
PG_FUNCTION_INFO_V1(flow_finish);
PG_FUNCTION_INFO_V1(flow_rerun);
PG_FUNCTION_INFO_V1(flow_execute);
PG_FUNCTION_INFO_V1(flow_await);
PG_FUNCTION_INFO_V1(flow_drain);
PG_FUNCTION_INFO_V1(flow_drop);
PG_FUNCTION_INFO_V1(flow_release_all);

static void require_arg(FunctionCallInfo fcinfo, int arg, const char *name);
static char *text_arg(FunctionCallInfo fcinfo, int arg);
static TimestampTz time_arg(FunctionCallInfo fcinfo, int arg, const char *name);
static void require_no_options(FunctionCallInfo fcinfo, int arg);
static int32 item_arg(FunctionCallInfo fcinfo, int arg);
static Datum control(FunctionCallInfo fcinfo, FlowControlVerb verb,
					 const char *reason);
static Datum override(FunctionCallInfo fcinfo, FlowOverride *request, int item);
static void cancel_for_drop(int64 run_id);

Datum
flow_start(PG_FUNCTION_ARGS)
{
	FlowStart	start;
	int64		run_id;

	require_arg(fcinfo, 0, "workflow");
	require_no_options(fcinfo, 9);
	memset(&start, 0, sizeof(start));
	start.workflow = text_arg(fcinfo, 0);
	start.input = PG_ARGISNULL(1)
		? DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) : PG_GETARG_DATUM(1);
	start.key = text_arg(fcinfo, 2);
	start.on_conflict = PG_ARGISNULL(3) ? "return" : text_arg(fcinfo, 3);
	start.start_at = time_arg(fcinfo, 4, "start_at");
	start.priority = PG_ARGISNULL(5) ? 0 : PG_GETARG_INT32(5);
	start.version = PG_ARGISNULL(6) ? 0 : PG_GETARG_INT32(6);
	start.once = !PG_ARGISNULL(7) && PG_GETARG_BOOL(7);
	start.slot = time_arg(fcinfo, 8, "slot");
	if (!PG_ARGISNULL(6) && start.version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for version: %d", start.version),
				 errdetail("Versions count from 1."),
				 errhint("Leave it out for the newest version.")));

	SPI_connect();
	run_id = FlowRunStart(&start);
	SPI_finish();
	if (run_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(run_id);
}

Datum
flow_find(PG_FUNCTION_ARGS)
{
	int64		run_id;

	SPI_connect();
	run_id = FlowRunFind(text_arg(fcinfo, 0), text_arg(fcinfo, 1));
	SPI_finish();
	if (run_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(run_id);
}

Datum
flow_pause(PG_FUNCTION_ARGS)
{
	return control(fcinfo, FLOW_CONTROL_PAUSE, text_arg(fcinfo, 1));
}

Datum
flow_resume(PG_FUNCTION_ARGS)
{
	return control(fcinfo, FLOW_CONTROL_RESUME, NULL);
}

Datum
flow_cancel(PG_FUNCTION_ARGS)
{
	return control(fcinfo, FLOW_CONTROL_CANCEL, text_arg(fcinfo, 1));
}

Datum
flow_retry(PG_FUNCTION_ARGS)
{
	int32		item_no = item_arg(fcinfo, 2);
	bool		changed;

	require_arg(fcinfo, 0, "run");
	if (item_no != 0)
		require_arg(fcinfo, 1, "step");
	SPI_connect();
	changed = FlowControlRequest(FLOW_CONTROL_RETRY, PG_GETARG_INT64(0), NULL,
								 text_arg(fcinfo, 1), item_no);
	SPI_finish();
	PG_RETURN_BOOL(changed);
}

static Datum
control(FunctionCallInfo fcinfo, FlowControlVerb verb, const char *reason)
{
	bool		changed;

	require_arg(fcinfo, 0, "run");
	SPI_connect();
	changed = FlowControlRequest(verb, PG_GETARG_INT64(0), reason, NULL, 0);
	SPI_finish();
	PG_RETURN_BOOL(changed);
}

Datum
flow_skip(PG_FUNCTION_ARGS)
{
	FlowOverride request = {.status = FLOW_STEP_SKIPPED,.output = {0, true}};

	request.reason = text_arg(fcinfo, 3);
	return override(fcinfo, &request, 2);
}

Datum
flow_finish(PG_FUNCTION_ARGS)
{
	FlowOverride request = {.status = FLOW_STEP_COMPLETED};

	request.output.isnull = PG_ARGISNULL(2);
	if (!PG_ARGISNULL(2))
		request.output.value = PG_GETARG_DATUM(2);
	request.reason = text_arg(fcinfo, 4);
	return override(fcinfo, &request, 3);
}

static Datum
override(FunctionCallInfo fcinfo, FlowOverride *request, int item)
{
	bool		changed;

	require_arg(fcinfo, 0, "run");
	require_arg(fcinfo, 1, "step");
	request->item_no = item_arg(fcinfo, item);
	request->run_id = PG_GETARG_INT64(0);
	request->step = text_arg(fcinfo, 1);
	SPI_connect();
	changed = FlowOverrideStep(request);
	SPI_finish();
	PG_RETURN_BOOL(changed);
}

Datum
flow_rerun(PG_FUNCTION_ARGS)
{
	NullableDatum input = {0, true};
	int64		run_id;

	require_arg(fcinfo, 0, "run");
	input.isnull = PG_ARGISNULL(2);
	if (!input.isnull)
		input.value = PG_GETARG_DATUM(2);
	SPI_connect();
	run_id = FlowRunAgain(PG_GETARG_INT64(0), text_arg(fcinfo, 1), input);
	SPI_finish();
	PG_RETURN_INT64(run_id);
}

Datum
flow_execute(PG_FUNCTION_ARGS)
{
	Datum		input;
	Datum		output;
	bool		isnull;

	require_arg(fcinfo, 0, "workflow");
	input = PG_ARGISNULL(1)
		? DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) : PG_GETARG_DATUM(1);
	SPI_connect();
	output = FlowWholeExecute(text_arg(fcinfo, 0), input, &isnull);
	if (!isnull)
		output = SPI_datumTransfer(output, false, -1);
	SPI_finish();
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(output);
}

/*
 * Returns the row of flow.run, as the caller may see it; a run that it may
 * not see is an error before anything is waited for.
 */
Datum
flow_await(PG_FUNCTION_ARGS)
{
	int64		run_id;
	TimestampTz until = DT_NOEND;
	TupleDesc	tupdesc;
	HeapTuple	row;

	require_arg(fcinfo, 0, "run");
	run_id = PG_GETARG_INT64(0);
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "flow_await must return a row");
	if (!PG_ARGISNULL(1))
		until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
														TimestampTzGetDatum(GetCurrentTimestamp()),
														PG_GETARG_DATUM(1)));
	FlowAccessRequireRead();
	SPI_connect();
	FlowLookRequireRun(run_id);
	FlowAwait(run_id, until);
	row = FlowLookRun(run_id);
	SPI_finish();
	PG_RETURN_DATUM(heap_copy_tuple_as_datum(row, BlessTupleDesc(tupdesc)));
}

Datum
flow_drain(PG_FUNCTION_ARGS)
{
	int64		run_id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	int			max_steps = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	bool		skip_time = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	int			done;

	if (!PG_ARGISNULL(0) && run_id < 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist", run_id),
				 errdetail("Runs count from 1."),
				 errhint("Leave it out to run what is ready of all your runs.")));
	if (skip_time && run_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("skip_time needs a run"),
				 errdetail("It lets the delays of one run elapse."),
				 errhint("Use flow_drain(run, skip_time => true).")));
	if (!PG_ARGISNULL(1) && max_steps < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for max_steps: %d", max_steps),
				 errdetail("It is the number of steps to run at most."),
				 errhint("Use a positive number, or leave it out.")));
	SPI_connect();
	done = FlowDrain(run_id, max_steps, skip_time);
	SPI_finish();
	PG_RETURN_INT32(done);
}

Datum
flow_drop(PG_FUNCTION_ARGS)
{
	bool		dropped;

	require_arg(fcinfo, 0, "name");
	SPI_connect();
	dropped = FlowWorkflowDrop(text_arg(fcinfo, 0),
							   PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1),
							   !PG_ARGISNULL(2) && PG_GETARG_BOOL(2),
							   cancel_for_drop);
	SPI_finish();
	PG_RETURN_BOOL(dropped);
}

Datum
flow_release_all(PG_FUNCTION_ARGS)
{
	int64		runs;

	SPI_connect();
	runs = FlowReleaseAll();
	SPI_finish();
	PG_RETURN_INT64(runs);
}

static void
cancel_for_drop(int64 run_id)
{
	(void) FlowControlDrop(run_id);
}

static void
require_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errdetail("There is nothing that null could mean here."),
				 errhint("Give a value for it.")));
}

/* 0 for none */
static int32
item_arg(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return 0;
	if (PG_GETARG_INT32(arg) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for item_no: %d", PG_GETARG_INT32(arg)),
				 errdetail("Items count from 1."),
				 errhint("Leave it out for the step as a whole.")));
	return PG_GETARG_INT32(arg);
}

static char *
text_arg(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static TimestampTz
time_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		return DT_NOBEGIN;
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(arg)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a finite time", name),
				 errdetail("It is a moment, and infinity is none."),
				 errhint("Leave it out for now.")));
	return PG_GETARG_TIMESTAMPTZ(arg);
}

/* Room for later versions; this one has none. */
static void
require_no_options(FunctionCallInfo fcinfo, int arg)
{
	Jsonb	   *options = PG_ARGISNULL(arg) ? NULL : PG_GETARG_JSONB_P(arg);

	if (options != NULL && (!JB_ROOT_IS_OBJECT(options) || JB_ROOT_COUNT(options) > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option of flow_start"),
				 errdetail("This version has no options beside the arguments."),
				 errhint("Leave out options.")));
}
