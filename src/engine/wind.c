/*-------------------------------------------------------------------------
 * wind.c
 *	  How a run comes to a bad end.
 *
 * A run fails in several moments.  When its first step fails for good it is
 * "failing": nothing new starts, and what is not running is taken away.  When
 * the last step that was running has ended, the steps that will never run are
 * given an end, and those that always run are started.  When they have ended
 * too, what can be undone is (undo.c).  Whoever flushes the last of all ends
 * the run.
 *
 * A run that is cancelled while it has steps that always run, or something to
 * undo, is "compensating", and goes the same way.
 *
 * Called by the flush with the run's row locked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/cat_live.h"
#include "catalog/cat_run.h"
#include "engine/claim.h"
#include "engine/deadline.h"
#include "engine/finish.h"
#include "engine/run.h"
#include "engine/settle.h"
#include "engine/undo.h"
#include "engine/waiting.h"
#include "engine/wind.h"

static void set_failing(FlowRunRef *run);
static bool take_away_tasks(FlowBatch *batch, FlowRunRef *run,
							FlowChanges *changes);
static bool is_map(const FlowRunRef *run, const FlowTaskRow *task);
static void take_away(FlowBatch *batch, FlowRunRef *run, const FlowTaskRow *task,
					  FlowItem *item, FlowChanges *changes);
static bool is_beside(const FlowRunRef *run, const FlowTaskRow *task);
static int	count_tasks(const FlowRunRef *run, int *waiting);
static FlowItem *item_of(FlowBatch *batch, const FlowStepKey *key);
static bool always_runs(const FlowRunRef *run, const FlowTaskRow *task);
static const char *reason_of(const FlowRunRef *run);
static void end_rest(FlowRunRef *run, FlowChanges *changes);
static bool start_last_steps(FlowRunRef *run, FlowChanges *changes);
static bool has_failed(const FlowRunRef *run);

void
FlowWindDown(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	if (run->fails != NULL || run->overdue)
		set_failing(run);
	if (take_away_tasks(batch, run, changes) ||
		run->status == FLOW_RUN_PAUSED || run->status == FLOW_RUN_HELD)
		return;
	end_rest(run, changes);
	if (start_last_steps(run, changes) || FlowUndoGoesOn(run, changes))
		return;
	FlowFinishRun(run, run->failing ? FLOW_RUN_FAILED : FLOW_RUN_CANCELLED,
				  changes);
}

/* What a step that always runs has failed with does not replace the cause. */
static void
set_failing(FlowRunRef *run)
{
	if (FlowRunIsWinding(run))
		return;
	FlowRunSetFailing(run->id, run->fails == NULL ? FlowDeadlineError(run)
					  : FlowRunErrorJson(run->fails->step->name,
										 run->fails->attempt,
										 run->fails->failure), &run->tid);
	run->failing = true;
}

/*
 * Takes away the tasks of a failing run that nobody is running.  Returns true
 * if there are others: steps that run right now, or have ended and are not yet
 * settled, whose worker will come here.  For one that waits nobody would: who
 * has locked it has claimed it by an old entry of the queue, and is waited for.
 */
static bool
take_away_tasks(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	int			mine = 0;
	int			all;
	int			waiting;
	int			locked = 0;		/* of those that wait, by this batch */
	List	   *maps = NIL;
	ListCell   *cell;

	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);
		FlowItem   *item = item_of(batch, &task->key);

		if ((item == NULL && (task->ended || FlowWaitingIsLook(&task->key))) ||
			is_beside(run, task))
			continue;
		mine++;
		locked += task->waits;
		if (FlowChangesDeletes(changes, &task->tid))
			continue;			/* it goes already */
		if (item != NULL && item->status == FLOW_STEP_SLEEPING)
			item->failure = NULL;	/* recorded; it is not tried again */
		else if (item != NULL && item->status != FLOW_STEP_READY &&
				 item->status != FLOW_STEP_HELD &&
				 item->status != FLOW_STEP_WAITING &&
				 item->status != FLOW_STEP_RUNNING)
			continue;			/* settled already */
		if (task->key.step_no == FLOW_STEP_RUN && run->status != FLOW_RUN_RUNNING)
			continue;			/* a paused run keeps it */
		if (item == NULL && task->key.step_no != FLOW_STEP_RUN &&
			run->ends.status[task->key.step_no] != 0)
		{
			FlowRowsAdd(&changes->deletes, &task->tid); /* it was overtaken */
			continue;
		}
		if (always_runs(run, task))
		{
			mine--;
			continue;
		}
		if (is_map(run, task))
			maps = lappend(maps, task);
		else
			take_away(batch, run, task, item, changes);
	}
	all = count_tasks(run, &waiting);
	if (waiting > locked)
		FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
	if (all > mine)
		return true;
	foreach(cell, maps)
		take_away(batch, run, lfirst(cell), NULL, changes);
	return false;
}

/* A step whose items may still run; it ends when they have. */
static bool
is_map(const FlowRunRef *run, const FlowTaskRow *task)
{
	return task->key.step_no != FLOW_STEP_RUN &&
		run->definition->steps[task->key.step_no - 1].items != 0;
}

/* item: that of the batch, or NULL if it has none for the task */
static void
take_away(FlowBatch *batch, FlowRunRef *run, const FlowTaskRow *task,
		  FlowItem *item, FlowChanges *changes)
{
	FlowItem	foreign;

	if (item == NULL)
	{
		memset(&foreign, 0, sizeof(foreign));
		item = &foreign;
		item->key = task->key;
		item->run = run;
		item->attempt = task->attempt + 1;
		item->has_task = true;
		if (task->key.step_no != FLOW_STEP_RUN)
			item->step = &run->definition->steps[task->key.step_no - 1];
	}
	item->tid = task->tid;
	item->status = FLOW_STEP_CANCELLED;
	item->reason = reason_of(run);
	FlowSettleItem(batch, item, changes);
}

/* A compensation, which has its own order (undo.c), or a hook. */
static bool
is_beside(const FlowRunRef *run, const FlowTaskRow *task)
{
	FlowStepPart part;

	if (task->key.step_no == FLOW_STEP_RUN)
		return false;
	part = run->definition->steps[task->key.step_no - 1].part;
	return part == FLOW_PART_UNDO || part == FLOW_PART_HOOK;
}

static int
count_tasks(const FlowRunRef *run, int *waiting)
{
	int			n = 0;
	ListCell   *cell;

	*waiting = 0;
	foreach(cell, FlowTaskListOf(run->id))
	{
		const FlowTaskRow *task = lfirst(cell);

		if (is_beside(run, task))
			continue;
		n++;
		*waiting += task->waits;
	}
	return n;
}

static FlowItem *
item_of(FlowBatch *batch, const FlowStepKey *key)
{
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->has_task && item->key.run_id == key->run_id &&
			item->key.step_no == key->step_no && item->key.item_no == key->item_no)
			return item;
	}
	return NULL;
}

static bool
always_runs(const FlowRunRef *run, const FlowTaskRow *task)
{
	return task->key.step_no != FLOW_STEP_RUN &&
		run->definition->steps[task->key.step_no - 1].needs == FLOW_NEEDS_ALWAYS;
}

static const char *
reason_of(const FlowRunRef *run)
{
	return run->failing ? "the run failed" : "the run was cancelled";
}

/* The steps that the run will not execute. */
static void
end_rest(FlowRunRef *run, FlowChanges *changes)
{
	FlowDefinition *definition = run->definition;
	uint8	   *fate = palloc0(definition->n_steps + 1);
	int		   *cause = palloc0(sizeof(int) * (definition->n_steps + 1));

	FlowReadyComputeFate(definition, &run->ends, fate, cause);
	for (int no = 1; no <= definition->n_steps; no++)
	{
		FlowOutcomeRow row;

		if (fate[no] == 0)
			continue;
		FlowSettleInitEnd(&row, run, no, fate[no]);
		row.reason = cause[no] != 0
			? psprintf("step \"%s\" failed", definition->steps[cause[no] - 1].name)
			: reason_of(run);
		FlowRowsAdd(&changes->outcomes, &row);
		FlowEndsNote(&run->ends, no, fate[no], 0);
	}
}

/*
 * Only steps that always run are left, and each of them waits for others of
 * its kind at the most.  Returns false if there is none.
 */
static bool
start_last_steps(FlowRunRef *run, FlowChanges *changes)
{
	FlowDefinition *definition = run->definition;
	bool		left = false;

	for (int no = 1; no <= definition->n_steps; no++)
	{
		if (run->ends.status[no] != 0 ||
			definition->steps[no - 1].part != FLOW_PART_COURSE)
			continue;
		left = true;
		if (FlowReadyIs(&definition->steps[no - 1], &run->ends))
			FlowSettleReady(run, &definition->steps[no - 1], changes);
	}
	return left;
}

void
FlowWindEnd(FlowRunRef *run, FlowChanges *changes)
{
	run->failing = has_failed(run);
	if (!run->failing)
		FlowFinishRun(run, FLOW_RUN_COMPLETED, changes);
	else if (!FlowUndoGoesOn(run, changes))
		FlowFinishRun(run, FLOW_RUN_FAILED, changes);
}

static bool
has_failed(const FlowRunRef *run)
{
	for (int no = 1; no <= run->definition->n_steps; no++)
		if (run->definition->steps[no - 1].part == FLOW_PART_COURSE &&
			FlowReadyFailsRun(&run->definition->steps[no - 1],
							  run->ends.status[no], run->ends.events[no]))
			return true;
	return false;
}
