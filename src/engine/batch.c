/*-------------------------------------------------------------------------
 * batch.c
 *	  Steps that share one transaction.
 *
 * A try claims the steps of its plan, runs them one after the other without
 * savepoints, and flushes.  A step that becomes ready meanwhile because all
 * it depends on has completed is run at once, so that a chain of short steps
 * never goes back to the queue.  What makes a batch end is time, number, a
 * step that wants to be alone, or one that must not hold its locks longer.
 *
 * When something fails the whole try is rolled back, and redo.c says what to
 * do instead.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "define/limited.h"
#include "engine/batch.h"
#include "engine/claim.h"
#include "engine/command.h"
#include "engine/context.h"
#include "engine/control.h"
#include "engine/emission.h"
#include "engine/execute.h"
#include "engine/flush.h"
#include "engine/isolated.h"
#include "engine/limit.h"
#include "engine/ready.h"
#include "engine/redo.h"
#include "engine/session.h"
#include "engine/suspect.h"
#include "engine/waiting.h"
#include "engine/watch.h"
#include "guc.h"
#include "shmem/aside.h"
#include "shmem/average.h"
#include "shmem/facts.h"
#include "shmem/recorder.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"

static void stand_back(FlowBatch *batch);
static void forget_cancel(FlowBatch *batch);
static ErrorData *try_plan(FlowBatch *batch);
static ErrorData *attempt(FlowBatch *batch, FlowGuardScope scope,
						  FlowGuardBody body);
static void reset_try(FlowBatch *batch);
static void do_try(void *arg);
static void run_items(FlowBatch *batch);
static FlowItem *next_item(FlowBatch *batch, int *next);
static bool has_ended_well(const FlowItem *item);
static void note_ended(FlowBatch *batch, FlowItem *item);
static void offer_dependents(FlowBatch *batch, FlowItem *item);
static void learn_for(FlowBatch *batch, const FlowItem *item);
static List *decide_dependents(FlowBatch *batch, const FlowItem *item);
static bool is_offered(const FlowBatch *batch, const FlowRunRef *run,
					   const FlowStepDef *step);
static bool may_inline(FlowBatch *batch, FlowRunRef *run, FlowStepDef *step,
					   bool hides);
static bool is_excluded(const FlowPlan *plan, int64 run_id, int step_no);
static bool is_full(FlowBatch *batch, const FlowItem *item);
static void record_failure(FlowBatch *batch);

void
FlowBatchDo(FlowBatch *batch, FlowPlan *plan)
{
	List	   *plans = list_make1(plan);

	while (plans != NIL)
	{
		int			n_done = batch->n_done;
		int			n_settled = batch->n_settled;
		ErrorData  *error;

		forget_cancel(batch);
		CHECK_FOR_INTERRUPTS();
		batch->plan = linitial(plans);
		plans = list_delete_first(plans);
		if (batch->plan->repeats > 1)
			stand_back(batch);
		error = try_plan(batch);
		if (error == NULL && batch->command != NULL)
			FlowCommandRun(batch);
		if (error == NULL && batch->isolated != NULL)
		{
			error = attempt(batch, FlowIsolatedScope(batch), FlowIsolatedRun);
			if (error != NULL)
				FlowIsolatedCharge(batch, error);
		}
		if (error != NULL)
		{
			/* counted in the flush; then the commit failed */
			batch->n_done = n_done;
			batch->n_settled = n_settled;
			plans = FlowRedoPlans(batch, error, plans);
		}
		else
			plans = FlowSuspectPlans(batch, FlowIsolatedPlans(batch, FlowCommandPlans(batch, plans)));
		if (plans != NIL && batch->release != NULL)
			batch->release(batch);
		MemoryContextDelete(batch->context);
		batch->context = NULL;
	}
}

/*
 * A step that has met the same conflict twice waits for a random moment, so
 * that it does not meet the same partner again.  No transaction is open in a
 * worker, and in a client none that the step has locked anything in.
 */
static void
stand_back(FlowBatch *batch)
{
	int			most = Min(200, 5 << Min(batch->plan->repeats, 6));

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 1 + (long) (FlowRedoChance() * most),
					 FlowWaitEvent("FlowStandBack"));
	ResetLatch(MyLatch);
	forget_cancel(batch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * An interrupt that comes while no step runs was meant for one that is over.
 * In a client it is the client's.
 */
static void
forget_cancel(FlowBatch *batch)
{
	if (batch->scope == FLOW_GUARD_TRANSACTION)
		QueryCancelPending = false;
}

/*
 * One try of the plan: claims its steps, runs them, flushes, commits.  Returns
 * NULL, or what went wrong, after which nothing of it has happened; what the
 * batch knows stays until the next try.
 */
static ErrorData *
try_plan(FlowBatch *batch)
{
	reset_try(batch);
	return attempt(batch, batch->scope, do_try);
}

/* Whatever becomes of it, the session is clean after it. */
static ErrorData *
attempt(FlowBatch *batch, FlowGuardScope scope, FlowGuardBody body)
{
	ErrorData  *error;

	FlowRecorderBegin();
	error = scope == FLOW_GUARD_TRANSACTION ?
		FlowGuardRunNoting(scope, body, FlowExecuteNote, batch) :
		FlowGuardRun(scope, body, batch);
	FlowRecorderEnd(error == NULL && batch->n_settled > 0);
	if (error != NULL)
	{
		FlowContextEnter(NULL, NULL);
		FlowSlotEnd();
		(void) FlowSessionEnd();
	}
	if (batch->scope == FLOW_GUARD_TRANSACTION)
		FlowSessionClean();
	return error;
}

static void
reset_try(FlowBatch *batch)
{
	batch->context = AllocSetContextCreate(batch->plan_context, "flow batch",
										   ALLOCSET_DEFAULT_SIZES);
	batch->runs = NIL;
	batch->items = NIL;
	batch->inlined = NIL;
	batch->controls = NIL;
	batch->current = NULL;
	batch->isolated = NULL;
	batch->command = NULL;
	batch->n_claimed = 0;
	batch->n_executed = 0;
	batch->ends = false;
	batch->dirty = false;
	batch->began = GetCurrentTimestamp();
	batch->verdict = FLOW_VERDICT_ERROR;
	batch->blocked = NIL;
	batch->apart = NIL;
}

static void
do_try(void *arg)
{
	FlowBatch  *batch = arg;
	int			nest = NewGUCNestLevel();

	MemoryContextSwitchTo(batch->context);
	batch->cancel_generation = FlowSlotCancelGeneration();
	if (batch->plan->failure != NULL)
		FLOW_TEST_POINT("record-begin");
	FlowClaimKeys(batch);
	FlowSuspectSort(batch);
	if (batch->plan->failure != NULL)
		record_failure(batch);
	else
	{
		FlowLimitClassify(batch);
		run_items(batch);
	}
	AtEOXact_GUC(false, nest);
	if (!FlowCommandPrepare(batch) && !FlowIsolatedPrepare(batch))
		FlowFlush(batch);
}

static void
run_items(FlowBatch *batch)
{
	int			next = 0;
	FlowItem   *item;

	while ((item = next_item(batch, &next)) != NULL)
	{
		FlowExecuteItem(batch, item);
		note_ended(batch, item);
		if (item->failure != NULL || is_full(batch, item))
			break;
		offer_dependents(batch, item);
	}
	batch->n_cut = list_length(batch->inlined);
}

/* What has just become ready comes first, then what was claimed. */
static FlowItem *
next_item(FlowBatch *batch, int *next)
{
	if (batch->inlined != NIL)
	{
		FlowItem   *item = linitial(batch->inlined);

		batch->inlined = list_delete_first(batch->inlined);
		return item;
	}
	while (*next < batch->n_claimed)
	{
		FlowItem   *item = list_nth(batch->items, (*next)++);

		if (item->step == NULL || item->status != FLOW_STEP_READY ||
			item->apart || FlowIsolatedIs(item) ||
			(FlowCommandIs(item) && !FlowCommandMayRun(batch)) ||
			FlowControlStops(batch, item->run->id))
			continue;
		if (item->step->batch || batch->n_executed == 0)
			return item;
	}
	return NULL;
}

/* What a failure means, and that a step waits, is for the flush. */
static bool
has_ended_well(const FlowItem *item)
{
	return item->failure == NULL && item->status != FLOW_STEP_SLEEPING &&
		item->status != FLOW_STEP_WAITING && item->status != FLOW_STEP_RUNNING;
}

static void
note_ended(FlowBatch *batch, FlowItem *item)
{
	FlowRunRef *run = item->run;

	if (!item->has_task)
		batch->items = lappend(batch->items, item);
	if (!FlowItemIsStep(item))
		return;
	run->items[item->key.step_no] = item;
	if (!has_ended_well(item))
		return;
	FlowEndsNote(&run->ends, item->key.step_no, item->status,
				 FlowEmissionMask(item));
}

/*
 * Puts on the batch's own list what the item has made ready.  A step of which
 * nothing is known, or that is slow, is not run here if other work would wait
 * behind it meanwhile.
 */
static void
offer_dependents(FlowBatch *batch, FlowItem *item)
{
	FlowRunRef *run = item->run;
	List	   *ready;
	List	   *offered = NIL;
	ListCell   *cell;
	bool		others;

	if (FlowRunIsWinding(run) || item->step->n_dependents == 0 ||
		!has_ended_well(item))
		return;
	learn_for(batch, item);
	ready = decide_dependents(batch, item);
	others = list_length(ready) + list_length(batch->inlined) > 1 ||
		batch->n_executed < batch->n_claimed;
	foreach(cell, ready)
		if (may_inline(batch, run, lfirst(cell), others))
		offered = lappend(offered, FlowClaimInline(run, lfirst(cell)));
	batch->inlined = list_concat(offered, batch->inlined);
}

/*
 * A join whose other branches ended elsewhere needs a look at the table; a
 * step that has ended stays so, whoever ended it.
 */
static void
learn_for(FlowBatch *batch, const FlowItem *item)
{
	FlowRunRef *run = item->run;

	for (int i = 0; i < item->step->n_dependents && !run->ended_known; i++)
	{
		const FlowStepDef *next = &run->definition->steps[item->step->dependents[i] - 1];

		if (next->n_deps > 1 && FlowReadyIsOpen(next, &run->ends))
			FlowClaimLearnEnds(batch, run);
	}
}

/*
 * Steps that may run now that the item has ended; what is skipped becomes an
 * item that has ended.  Without the lock on the run only what cannot be
 * decided elsewhere is decided: joins of which this batch has seen the last
 * branch end, or any join if nobody else has a step of the run.  One that
 * cancels what is behind it is left to the flush.
 */
static List *
decide_dependents(FlowBatch *batch, const FlowItem *item)
{
	FlowRunRef *run = item->run;
	FlowDefinition *definition = run->definition;
	int		   *decided = palloc(sizeof(int) * (definition->n_steps + 1));
	bool		closed = !run->whole || definition->has_first;
	List	   *ready = NIL;
	int			n;

	n = FlowReadySpread(definition, &run->ends, &item->key.step_no, 1, closed,
						decided);
	for (int i = 0; i < n; i++)
	{
		FlowStepDef *step = &definition->steps[decided[i] - 1];

		if (run->ends.status[step->no] == FLOW_STEP_SKIPPED)
			FlowClaimSkip(batch, run, step);
		else if (run->items[step->no] == NULL && !is_offered(batch, run, step))
			ready = lappend(ready, step);
	}
	pfree(decided);
	return ready;
}

/* A join that does not wait for all may have been made ready before. */
static bool
is_offered(const FlowBatch *batch, const FlowRunRef *run,
		   const FlowStepDef *step)
{
	ListCell   *cell;

	foreach(cell, batch->inlined)
	{
		const FlowItem *item = lfirst(cell);

		if (item->run == run && item->step == step)
			return true;
	}
	return false;
}

static bool
may_inline(FlowBatch *batch, FlowRunRef *run, FlowStepDef *step, bool hides)
{
	FlowAverage average;

	if (!step->batch || FlowWaitingIs(step) || step->kind == FLOW_KIND_SUBFLOW ||
		step->total_timeout > 0 || step->sql[FLOW_SQL_AGAIN].text !=NULL || is_excluded(batch->plan, run->id, step->no) ||
		FlowSuspectIs(batch, run->id, step))
		return false;
	if (batch->scope == FLOW_GUARD_SUBTRANSACTION)
		return true;
	if (step->definition->has_limits && FlowLimitedIs(step))
		return false;
	if (FlowAsideIsClosed(batch->lane, run->definition->id, step->no))
		return false;
	average = FlowAverageGet(run->definition->id, step->no);
	if (average.runs == 0)
		return !hides && !FlowDatabaseIsPromoted(MyDatabaseId);
	if (FlowAverageTakesTurns(average) && !batch->in_turn)
		batch->in_turn = FlowQueueTakeTurn(batch->lane);
	if (FlowAverageTakesTurns(average) && !batch->in_turn)
		return false;
	return average.usec <= FlowBatchTime * 1000.0;
}

static bool
is_excluded(const FlowPlan *plan, int64 run_id, int step_no)
{
	ListCell   *cell;

	foreach(cell, plan->excluded)
	{
		FlowStepKey *key = lfirst(cell);

		if (key->run_id == run_id && key->step_no == step_no)
			return true;
	}
	return false;
}

/* A client's batch is not limited in time: nobody waits behind it. */
static bool
is_full(FlowBatch *batch, const FlowItem *item)
{
	const FlowPlan *plan = batch->plan;
	FlowAverage average;

	if (plan->alone || batch->ends || !item->step->batch ||
		batch->n_executed >= plan->max_steps)
		return true;
	if (batch->scope == FLOW_GUARD_SUBTRANSACTION)
		return false;
	if (item->finished_at - batch->began >= (int64) FlowBatchTime * 1000)
		return true;
	average = FlowAverageGet(item->run->definition->id, item->step->no);
	return average.penalty > 0 && !(batch->in_turn && FlowAverageTakesTurns(average));
}

/*
 * The step of the plan has failed, alone; its attempt is recorded if nobody
 * has taken the step since.
 */
static void
record_failure(FlowBatch *batch)
{
	FlowPlan   *plan = batch->plan;
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->step == NULL ||
			(FlowRunStatusIsFinal(item->run->status) &&
			 item->step->part != FLOW_PART_HOOK) ||
			item->attempt != plan->failed_attempt || item->ended)
			continue;
		FlowRedoFail(item, plan->failure, plan->failed_start);
	}
}

void
FlowBatchAbandon(FlowBatch *batch, FlowVerdict verdict)
{
	batch->verdict = verdict;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("a batch of flow was given up"),
			 errdetail("Its steps are done again."),
			 errhint("If that does not end, look for a client that holds a run in an open transaction.")));
}
