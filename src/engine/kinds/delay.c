/*-------------------------------------------------------------------------
 * delay.c
 *	  Steps of kind "delay": nothing but time.
 *
 * When its time comes is decided once, by the first execution, and kept; the
 * second one, when a timer has made the step ready again, ends it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "engine/context.h"
#include "engine/kinds/kind.h"
#include "engine/statement.h"
#include "engine/total.h"
#include "engine/waiting.h"

static TimestampTz due_time(FlowBatch *batch, FlowItem *item);
static TimestampTz until(FlowBatch *batch, FlowItem *item);

void
FlowKindDelayExecute(FlowBatch *batch, FlowItem *item)
{
	FlowWaiting *waiting = item->waiting;

	if (!waiting->begun)
		waiting->due_at = due_time(batch, item);
	if (FlowTotalIsOver(item) && FlowTotalDue(item) < waiting->due_at)
		FlowTotalFail(item);
	else if (waiting->due_at > GetCurrentTimestamp())
		item->status = FLOW_STEP_SLEEPING;
}

static TimestampTz
due_time(FlowBatch *batch, FlowItem *item)
{
	if (item->step->sql[FLOW_SQL_STEP].text == NULL)
		return item->waiting->since + item->step->delay;
	return until(batch, item);
}

static TimestampTz
until(FlowBatch *batch, FlowItem *item)
{
	ParamListInfo params = FlowContextParams(item->step->definition);
	JsonbValue	value;
	TimestampTz due_at;
	Datum		result;
	bool		isnull;

	result = FlowStatementsRun(item->step, FLOW_SQL_STEP, params, batch->context,
							   &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"until\" of step \"%s\" is null", item->step->name),
				 errdetail("It is the time at which the step ends."),
				 errhint("Use coalesce(), or \"condition\" to skip the step.")));
	if (!JsonbExtractScalar(&DatumGetJsonbP(result)->root, &value) ||
		value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"until\" of step \"%s\" is not of type timestamp with time zone",
						item->step->name),
				 errdetail("It is the time at which the step ends."),
				 errhint("Cast it, such as (input->>'at')::timestamptz.")));
	due_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													 CStringGetDatum(pnstrdup(value.val.string.val,
																			  value.val.string.len)),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	if (TIMESTAMP_IS_NOEND(due_at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"until\" of step \"%s\" is infinity", item->step->name),
				 errdetail("The step would never end."),
				 errhint("Use flow_wait() for a step that waits until it is told.")));
	return due_at;
}
