/*-------------------------------------------------------------------------
 * execute.c
 *	  Executes one step.
 *
 * The step runs in the transaction of its batch, without a savepoint, in a
 * GUC nest of its own that ends by restoring everything: a nest that ended as
 * at commit would let a plain SET survive.  Whether it was interrupted is
 * asked by flag after it returned, however it returned.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "engine/context.h"
#include "engine/execute.h"
#include "engine/kinds/kind.h"
#include "engine/session.h"
#include "engine/watch.h"
#include "error.h"
#include "guc.h"
#include "shmem/average.h"
#include "shmem/recorder.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"

/* A step that shares a batch may take so many times flow.batch_time */
#define OVERRUN_FACTOR	3

static void begin(FlowBatch *batch, FlowItem *item);
static void check_limits(FlowBatch *batch, FlowItem *item);
static int64 limit_of(const FlowBatch *batch, const FlowStepDef *step);
static int64 overrun_of(const FlowBatch *batch);
static void end(FlowBatch *batch, FlowItem *item);
static void set_path(const FlowDefinition *definition);
static void describe(void *arg);

void
FlowExecuteItem(FlowBatch *batch, FlowItem *item)
{
	ErrorContextCallback callback;
	int			nest;

	begin(batch, item);
	callback.callback = describe;
	callback.arg = item;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	set_path(item->step->definition);
	nest = NewGUCNestLevel();
	FlowWatchBegin(limit_of(batch, item->step), overrun_of(batch));
	FlowKindExecuteOf(item->step->kind) (batch, item);
	FLOW_TEST_POINT("execute-end");
	if (batch->scope == FLOW_GUARD_TRANSACTION)
		AfterTriggerFireDeferred();
	check_limits(batch, item);
	AtEOXact_GUC(false, nest);

	error_context_stack = callback.previous;
	end(batch, item);
}

/*
 * The slot is published before the cancels are looked at, so that a cancel
 * is seen either here or as an interrupt.
 */
static void
begin(FlowBatch *batch, FlowItem *item)
{
	FlowRunRef *run = item->run;

	CHECK_FOR_INTERRUPTS();
	batch->current = item;
	item->started_at = GetCurrentTimestamp();
	FlowSlotBegin(&item->key, run->definition->id, run->epoch, item->attempt,
				  item->started_at);
	FLOW_TEST_POINT("execute-publish");
	if (FlowSlotIsCancelled(run->id, run->epoch, batch->cancel_generation))
		FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
	FlowRecorderBeginStep(&item->key, run->definition->id, batch->plan->careful);
	FlowContextEnter(batch, item);
	FlowSessionBegin(batch->scope == FLOW_GUARD_SUBTRANSACTION);
	FLOW_TEST_POINT("execute-begin");
}

static void
check_limits(FlowBatch *batch, FlowItem *item)
{
	FlowWatchCause cause = FlowWatchTake();

	if (cause == FLOW_WATCH_NONE)
		return;
	QueryCancelPending = false;
	if (cause == FLOW_WATCH_OVERRUN)
		FlowBatchAbandon(batch, FLOW_VERDICT_OVERRUN);
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_STEP_TIMEOUT),
			 errmsg("step \"%s\" took longer than its time limit", item->step->name),
			 errdetail("The limit is %g ms.", FlowWatchLimit()),
			 errhint("Give the step a longer timeout, or look at flow.step_timeout and the owner's statement_timeout.")));
}

/* Microseconds; the least of the step's, the owner's and the server's. */
static int64
limit_of(const FlowBatch *batch, const FlowStepDef *step)
{
	int64		limit = step->timeout;
	int64		owner = (int64) StatementTimeout * 1000;
	int64		ceiling = (int64) FlowStepTimeout * 1000;

	if (batch->scope == FLOW_GUARD_TRANSACTION && owner > 0)
		limit = limit > 0 ? Min(limit, owner) : owner;
	if (ceiling > 0)
		limit = limit > 0 ? Min(limit, ceiling) : ceiling;
	return limit;
}

/* Only a step that holds up others can overrun. */
static int64
overrun_of(const FlowBatch *batch)
{
	if (batch->scope != FLOW_GUARD_TRANSACTION || batch->plan->alone)
		return 0;
	if (batch->n_executed == 0 && batch->n_claimed <= 1)
		return 0;
	return (int64) OVERRUN_FACTOR * Max(FlowBatchTime, 1) * 1000;
}

static void
end(FlowBatch *batch, FlowItem *item)
{
	int64		usec;

	FlowContextEnter(NULL, NULL);
	if (FlowSessionEnd())
		batch->dirty = batch->ends = true;
	item->finished_at = GetCurrentTimestamp();
	item->executed = true;
	item->status = FLOW_STEP_COMPLETED;
	batch->n_executed++;
	batch->current = NULL;
	FlowSlotEnd();
	FlowRecorderEndStep();

	usec = item->finished_at - item->started_at;
	FlowAverageNoteRun(item->step->definition->id, item->step->no, usec, false);
	if (!item->step->batch)
		FlowAverageNoteAlone(item->step->definition->id, item->step->no);
}

/*
 * Touches search_path only when the workflow changes: every change makes the
 * server look up the schemas again.  The setting lasts as long as the GUC nest
 * of the batch.
 */
static void
set_path(const FlowDefinition *definition)
{
	if (strcmp(definition->search_path, namespace_search_path) != 0)
		(void) set_config_option("search_path", definition->search_path,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

static void
describe(void *arg)
{
	FlowItem   *item = arg;

	errcontext("workflow \"%s\", run " INT64_FORMAT ", step \"%s\", attempt %d",
			   item->step->definition->workflow, item->key.run_id,
			   item->step->name, item->attempt);
}
