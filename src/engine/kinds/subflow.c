/*-------------------------------------------------------------------------
 * subflow.c
 *	  Steps of kind "subflow": another run, which the step waits for.
 *
 * The run is started in the transaction of the step, so there is one if and
 * only if the step waits.  How it ends is settled by engine/subflow.c; one
 * with a time limit is executed again when that has passed, and one with
 * on_result when its run has completed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "engine/context.h"
#include "engine/kinds/kind.h"
#include "engine/start.h"
#include "engine/statement.h"
#include "engine/subflow.h"
#include "engine/waiting.h"

static void wait_on(FlowItem *item);
static Datum input_of(FlowBatch *batch, FlowItem *item);

void
FlowKindSubflowExecute(FlowBatch *batch, FlowItem *item)
{
	FlowStart	start;

	if (item->waiting != NULL && item->waiting->begun)
	{
		wait_on(item);
		return;
	}
	FlowSubflowCheckItem(item);
	memset(&start, 0, sizeof(start));
	start.workflow = item->step->workflow;
	start.input = input_of(batch, item);
	start.on_conflict = "return";
	start.start_at = DT_NOBEGIN;
	start.priority = item->run->priority;
	start.slot = item->run->slot;
	start.parent = item->key;
	(void) FlowRunStart(&start);
	item->status = FLOW_STEP_WAITING;
}

/* It has been woken by the end of its time, or of the run that it waits for. */
static void
wait_on(FlowItem *item)
{
	if (FlowSubflowRecall(item))
		return;
	FlowWaitingGoOn(item);
	if (item->status == FLOW_STEP_FAILED)
		FlowSubflowLeave(item);
}

/* Without an expression, and for one that is null, what the run itself was given. */
static Datum
input_of(FlowBatch *batch, FlowItem *item)
{
	bool		isnull;
	Datum		input;

	if (item->step->sql[FLOW_SQL_INPUT].text == NULL)
		return item->run->input;
	input = FlowStatementsRun(item->step, FLOW_SQL_INPUT,
							  FlowContextParams(item->step->definition),
							  batch->context, &isnull);
	return isnull ? item->run->input : input;
}
