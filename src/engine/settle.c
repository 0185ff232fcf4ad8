/*-------------------------------------------------------------------------
 * settle.c
 *	  What the steps of a batch mean for their run.
 *
 * Called by the flush with the run's row locked, so that of two workers that
 * meet at a join, or at the end of a run, the second sees what the first has
 * done.  Decides only; changes.c writes.
 *
 * Which of the others may run, or never will, follows from how the steps of
 * this batch have ended (ready.c); what was skipped leads on to the next, until
 * nothing more follows.  How a run comes to a bad end is in wind.c, what a step
 * leaves behind for which the first was enough in overtaken.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "engine/claim.h"
#include "engine/control.h"
#include "engine/deadline.h"
#include "engine/emission.h"
#include "engine/finish.h"
#include "engine/hook.h"
#include "engine/limit.h"
#include "engine/map.h"
#include "engine/overtaken.h"
#include "engine/run.h"
#include "engine/settle.h"
#include "engine/subflow.h"
#include "engine/total.h"
#include "engine/undo.h"
#include "engine/waiting.h"
#include "engine/wind.h"
#include "shmem/wake.h"

static void add_end(FlowItem *item, FlowChanges *changes);
static void judge(FlowItem *item);
static void pause_for(FlowItem *item);
static void add_outcome(const FlowItem *item, FlowChanges *changes);
static void add_attempt(const FlowItem *item, FlowChanges *changes);
static void add_sleep(const FlowItem *item, FlowChanges *changes);
static void add_waiting(const FlowItem *item, FlowChanges *changes);
static void start_run(FlowItem *item, FlowChanges *changes);
static bool decides_alone(const FlowRunRef *run, const FlowStepDef *next);
static void settle_all(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes);
static void follow(FlowBatch *batch, FlowRunRef *run, const int *from, int n,
				   FlowChanges *changes);
static void skip(FlowRunRef *run, const FlowStepDef *step, FlowChanges *changes);
static void pause_run(FlowRunRef *run, FlowChanges *changes);

void
FlowSettleItem(FlowBatch *batch, FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;

	if (item->step == NULL && FlowWaitingIsLook(&item->key))
	{
		FlowWaitingLook(batch, item, changes);
		return;
	}
	if (FlowDeadlineIs(&item->key))
	{
		FlowDeadlinePass(item, changes);
		return;
	}
	if (item->step == NULL)
	{
		start_run(item, changes);
		return;
	}
	if (item->status == FLOW_STEP_HELD)
	{
		FlowRowsAdd(&changes->holds, &item->tid);
		return;
	}
	if (item->overtaken)
	{
		FlowRowsAdd(&changes->deletes, &item->tid);
		return;
	}
	if (FlowWaitingIsParked(item) || item->status == FLOW_STEP_RUNNING)
	{
		if (FlowRunLets(run, item->step))
		{
			if (item->status == FLOW_STEP_RUNNING)
				FlowMapPark(item);
			else
				FlowWaitingPark(item, changes);
			return;
		}
		item->status = FLOW_STEP_CANCELLED;
		item->reason = "the run failed";
	}
	if (item->failure != NULL)
	{
		if (item->status == FLOW_STEP_SLEEPING && !FlowRunLets(run, item->step))
		{
			item->status = FLOW_STEP_FAILED;
			item->next_at = DT_NOBEGIN;
		}
		if (item->step->items == 0 || !item->ended)
			add_attempt(item, changes); /* else: that of an item is there */
	}
	if (item->status == FLOW_STEP_FAILED)
		judge(item);
	if (item->status == FLOW_STEP_WAITING)
	{
		add_waiting(item, changes);
		return;
	}
	if (item->status == FLOW_STEP_SLEEPING)
	{
		if (FlowItemIsStep(item))
			FlowEndsTakeBack(&run->ends, item->key.step_no);
		add_sleep(item, changes);
		return;
	}
	add_end(item, changes);
}

/* An item that was not run has no end: flow_retry finds it by that. */
static void
add_end(FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;

	if (item->step->maps == 0 || item->status != FLOW_STEP_CANCELLED)
		add_outcome(item, changes);
	if (item->step->part == FLOW_PART_UNDO)
		FlowUndoNote(item);
	FlowHookRaiseStep(item, changes);
	if (item->has_task)
		FlowRowsAdd(&changes->deletes, &item->tid);
	if (item->status == FLOW_STEP_CANCELLED && item->step->kind == FLOW_KIND_SUBFLOW)
		FlowSubflowTell(run->id, item->step->no, item->key.item_no, FLOW_ITEM_CANCEL);
	if (item->step->maps != 0)
		FlowMapNoteEnd(item);
	if (item->step->items != 0 && item->status == FLOW_STEP_COMPLETED &&
		!item->ended && run->early)
		FlowItemForgetBeyond(run->id, item->step->items, 0);	/* it has none */
	if (FlowItemIsStep(item))
		FlowEndsNote(&run->ends, item->key.step_no, item->status,
					 FlowEmissionMask(item));
}

/*
 * What a failure for good means: somebody handles it, or the step's own mode
 * says.  In a run that comes to a bad end anyway there is nothing to pause for.
 */
static void
judge(FlowItem *item)
{
	FlowRunRef *run = item->run;

	if (item->step->maps != 0 && !item->step->collects &&
		item->step->on_error == FLOW_ON_ERROR_PAUSE && !FlowRunIsWinding(run))
		pause_for(item);		/* so that this item is tried again */
	if (item->step->part != FLOW_PART_COURSE)
		return;
	FlowEmissionNoteFailure(item);
	item->handled = FlowReadyIsHandled(item->step, FlowEmissionMask(item));
	if (item->handled)
		return;
	switch (item->step->on_error)
	{
		case FLOW_ON_ERROR_FAIL:
			if (run->fails == NULL || item->finished_at < run->fails->finished_at)
				run->fails = item;
			break;
		case FLOW_ON_ERROR_ISOLATE:
			if (run->isolated == NULL || item->finished_at < run->isolated->finished_at)
				run->isolated = item;
			break;
		case FLOW_ON_ERROR_CONTINUE:
			break;
		case FLOW_ON_ERROR_SKIP:
			item->status = FLOW_STEP_SKIPPED;
			item->reason = "its failure counts as skipped";
			break;
		case FLOW_ON_ERROR_PAUSE:
			if (FlowRunIsWinding(run))
			{
				run->fails = item;
				break;
			}
			pause_for(item);
			break;
	}
}

static void
pause_for(FlowItem *item)
{
	if (item->run->pauses == NULL)
		item->run->pauses = item;
	item->status = FLOW_STEP_SLEEPING;
	item->next_at = DT_NOBEGIN;
	item->attempt_base = item->attempt;
	FlowTotalRestart(item);
}

static void
add_outcome(const FlowItem *item, FlowChanges *changes)
{
	bool		tried = item->started_at != 0 &&
	(item->status != FLOW_STEP_SKIPPED || item->failure != NULL);
	FlowOutcomeRow row;

	memset(&row, 0, sizeof(row));
	row.key = item->key;
	row.status = item->status;
	row.attempt = tried ? item->attempt : item->attempt - 1;
	row.started_at = tried ? item->started_at : DT_NOBEGIN;
	row.finished_at = item->finished_at ? item->finished_at : GetCurrentTimestamp();
	row.output = item->output;
	row.has_output = item->has_output;
	row.reason = item->reason;
	row.worker = item->worker;
	row.handled = item->handled;
	row.has_emits = item->emissions != NIL;
	if (row.has_emits)
		row.emits = FlowEmissionsToJsonb(item->emissions);
	if (item->failure != NULL)
	{
		row.error = FlowRunErrorJson(item->step->name, item->attempt,
									 item->failure);
		row.has_error = true;
	}
	FlowRowsAdd(&changes->outcomes, &row);
}

static void
add_attempt(const FlowItem *item, FlowChanges *changes)
{
	FlowAttemptRow row;

	memset(&row, 0, sizeof(row));
	row.key = item->key;
	row.attempt = item->attempt;
	row.started_at = item->started_at;
	row.finished_at = item->finished_at;
	row.sqlstate = item->failure->sqlstate;
	row.message = item->failure->message;
	row.detail = item->failure->detail;
	row.hint = item->failure->hint;
	row.context = item->failure->context;
	row.next_at = item->status == FLOW_STEP_SLEEPING ? item->next_at : DT_NOBEGIN;
	FlowRowsAdd(&changes->attempts, &row);
}

/* A step that paused its run is ready again when the run goes on. */
static void
add_sleep(const FlowItem *item, FlowChanges *changes)
{
	FlowTaskNew row;

	memset(&row, 0, sizeof(row));
	row.key = item->key;
	row.status = TIMESTAMP_IS_NOBEGIN(item->next_at)
		? FLOW_STEP_READY : FLOW_STEP_SLEEPING;
	row.attempt = item->attempt;
	row.attempt_base = item->attempt_base;
	row.due_at = item->next_at;
	FlowRowsAdd(&changes->sleeps, &row);
}

/* One that has run right behind another has no row yet. */
static void
add_waiting(const FlowItem *item, FlowChanges *changes)
{
	FlowTaskNew row;

	FlowSettleInitTask(&row, item, FLOW_STEP_WAITING);
	FlowRowsAdd(item->has_task ? &changes->sleeps : &changes->inserts, &row);
}

void
FlowSettleInitTask(FlowTaskNew *row, const FlowItem *item, FlowStepStatus status)
{
	const FlowRunRef *run = item->run;

	memset(row, 0, sizeof(*row));
	row->key = item->key;
	row->owner = run->owner;
	row->workflow_id = run->workflow_id;
	row->definition_id = run->definition->id;
	row->priority = FlowPlanPriority(item->step, run->priority);
	row->status = status;
	row->attempt = item->attempt;
	row->attempt_base = item->attempt_base;
	row->due_at = DT_NOBEGIN;
}

/*
 * The row that stands for the run as a whole: it starts a pending run; of a
 * running one it only asks for a look at what may run.
 */
static void
start_run(FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;
	FlowEventRow event;

	item->status = FLOW_STEP_COMPLETED;
	run->settling = true;
	if (run->status == FLOW_RUN_PENDING && item->limit_key != NULL)
	{
		FlowLimitPutRun(item);
		return;
	}
	FlowRowsAdd(&changes->deletes, &item->tid);
	if (run->status != FLOW_RUN_PENDING || item->key.item_no != 0)
		return;
	FlowRunSetStarted(run->id, &run->tid);
	run->status = FLOW_RUN_RUNNING;
	FlowDeadlineSet(run->id, run->owner, run->definition);
	if (!run->notify)
		return;
	event = FlowRunEvent(run->id, run->workflow_id, run->key, "started",
						 InvalidOid);
	FlowRowsAdd(&changes->events, &event);
}

bool
FlowSettleNeedsEnds(const FlowBatch *batch, const FlowRunRef *run)
{
	int			ready = 0;
	bool		steps = false;
	ListCell   *cell;

	if (run->whole || FlowRunStatusIsFinal(run->status))
		return false;
	if (FlowRunIsWinding(run) || run->fails != NULL || run->isolated != NULL)
		return true;
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run != run || item->status == FLOW_STEP_READY)
			continue;
		if (item->step == NULL)
			return true;
		if (item->step->maps != 0 || item->status == FLOW_STEP_RUNNING)
			continue;			/* of the step they belong to, map.c knows */
		steps = true;
		if (item->status == FLOW_STEP_HELD || item->status == FLOW_STEP_SLEEPING ||
			item->status == FLOW_STEP_WAITING)
			continue;
		for (int i = 0; i < item->step->n_dependents; i++)
		{
			FlowStepDef *next = &run->definition->steps[item->step->dependents[i] - 1];

			if (run->ends.status[next->no] != 0)
				continue;
			if (!decides_alone(run, next))
				return true;
			ready++;
		}
	}
	return steps && ready == 0;
}

/*
 * Whether what is known of this batch alone says what becomes of the step: it
 * depends on one step, or on steps of this batch that have all completed.
 */
static bool
decides_alone(const FlowRunRef *run, const FlowStepDef *next)
{
	return next->needs != FLOW_NEEDS_ANY && next->needs != FLOW_NEEDS_FIRST &&
		FlowReadyCompute(next, &run->ends) == FLOW_READY_RUN &&
		!FlowReadyIsOpen(next, &run->ends);
}

void
FlowSettleRun(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	if (FlowRunStatusIsFinal(run->status) || run->status == FLOW_RUN_PENDING ||
		FlowControlStops(batch, run->id))
		return;					/* whoever starts or resumes it looks again */
	if (FlowRunIsWinding(run) || run->fails != NULL ||
		(run->overdue && run->ends.n < run->definition->n_steps))
	{
		FlowWindDown(batch, run, changes);
		return;
	}
	if (run->isolated != NULL)
		FlowRunSetError(run->id,
						FlowRunErrorJson(run->isolated->step->name,
										 run->isolated->attempt,
										 run->isolated->failure), &run->tid);
	settle_all(batch, run, changes);
	if (run->status != FLOW_RUN_RUNNING)
		return;
	if (run->ends.n == run->definition->n_course)
		FlowWindEnd(run, changes);
	else if (run->pauses != NULL)
		pause_run(run, changes);
}

/*
 * What follows from the items of the batch; for the row of the run itself,
 * from whatever has ended.
 */
static void
settle_all(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	FlowDefinition *definition = run->definition;
	int		   *from = palloc(sizeof(int) * (list_length(batch->items) + definition->n_steps + 1));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run != run || item->status == FLOW_STEP_READY ||
			item->overtaken || FlowWaitingIsLook(&item->key) ||
			FlowDeadlineIs(&item->key))
			continue;			/* what follows was decided with its end */
		if (item->step != NULL)
		{
			if (FlowItemIsStep(item) && run->ends.status[item->key.step_no] != 0)
				from[n++] = item->key.step_no;
			continue;
		}
		n = 0;
		for (int no = 1; no <= definition->n_steps; no++)
		{
			FlowStepDef *step = &definition->steps[no - 1];

			if (step->part != FLOW_PART_COURSE)
				continue;
			if (step->n_deps == 0 && run->ends.status[no] == 0)
				FlowSettleReady(run, step, changes);
			if (run->ends.status[no] != 0)
				from[n++] = no;
		}
		break;
	}
	follow(batch, run, from, n, changes);
	pfree(from);
}

/* A step that is first ends those it leaves behind, and more follows from that. */
static void
follow(FlowBatch *batch, FlowRunRef *run, const int *from, int n,
	   FlowChanges *changes)
{
	FlowDefinition *definition = run->definition;
	int		   *decided = palloc(sizeof(int) * (definition->n_steps + 1));
	int		   *ended = palloc(sizeof(int) * (definition->n_steps + 1));
	int			n_ended = 0;

	n = FlowReadySpread(definition, &run->ends, from, n, false, decided);
	for (int i = 0; i < n; i++)
	{
		FlowStepDef *step = &definition->steps[decided[i] - 1];

		if (run->ends.status[step->no] == FLOW_STEP_SKIPPED)
		{
			skip(run, step, changes);
			continue;
		}
		FlowSettleReady(run, step, changes);
		if (step->needs == FLOW_NEEDS_FIRST)
			n_ended += FlowOvertakenEnd(batch, run, step, ended + n_ended,
										changes);
	}
	if (n_ended > 0)
		follow(batch, run, ended, n_ended, changes);
	pfree(decided);
	pfree(ended);
}

static void
skip(FlowRunRef *run, const FlowStepDef *step, FlowChanges *changes)
{
	FlowOutcomeRow row;

	FlowSettleInitEnd(&row, run, step->no, FLOW_STEP_SKIPPED);
	row.reason = FlowReadyReason(step, &run->ends);
	FlowRowsAdd(&changes->outcomes, &row);
}

void
FlowSettleInitEnd(FlowOutcomeRow *row, const FlowRunRef *run, int step_no,
				  FlowStepStatus status)
{
	memset(row, 0, sizeof(*row));
	row->key.run_id = run->id;
	row->key.step_no = step_no;
	row->status = status;
	row->started_at = DT_NOBEGIN;
	row->finished_at = GetCurrentTimestamp();
}

void
FlowSettleReady(FlowRunRef *run, FlowStepDef *step, FlowChanges *changes)
{
	FlowItemNext next = {0, FlowRunTried(run, step)};

	if (run->items[step->no] != NULL && run->items[step->no]->has_task)
		return;					/* claimed by this batch, and not run */
	FlowSettleReadyItem(run, step, &next, changes);
}

void
FlowSettleReadyItem(FlowRunRef *run, FlowStepDef *step,
					const FlowItemNext *next, FlowChanges *changes)
{
	FlowTaskNew row;
	FlowReady	ready;
	bool		once = !FlowRunMayOvertake(run) && !run->settling &&
	(step->needs == FLOW_NEEDS_ALL || step->needs == FLOW_NEEDS_SOME);

	memset(&row, 0, sizeof(row));
	row.key.run_id = run->id;
	row.key.step_no = step->no;
	row.key.item_no = next->item_no;
	row.owner = run->owner;
	row.workflow_id = run->workflow_id;
	row.definition_id = run->definition->id;
	row.priority = FlowPlanPriority(step, run->priority);
	row.status = FLOW_STEP_READY;
	row.attempt = next->attempt;
	row.attempt_base = next->attempt;
	row.due_at = DT_NOBEGIN;
	FlowRowsAdd(once ? &changes->inserts : &changes->missing, &row);

	if (run->status == FLOW_RUN_PENDING || run->status == FLOW_RUN_PAUSED ||
		run->status == FLOW_RUN_HELD)
		return;
	memset(&ready, 0, sizeof(ready));
	ready.key = row.key;
	ready.workflow_id = row.workflow_id;
	ready.definition_id = row.definition_id;
	ready.priority = row.priority;
	FlowWakeNoteReady(run->owner, &ready);
}

/* As flow_pause does; with resume_after, a timer resumes it. */
static void
pause_run(FlowRunRef *run, FlowChanges *changes)
{
	const FlowItem *item = run->pauses;
	int64		after = run->definition->resume_after;
	FlowHappening what = {FLOW_HOOK_PAUSED, FLOW_RUN_PAUSED, item->step->name};
	FlowTaskNew row;

	FlowRunSetStatus(run->id, FLOW_RUN_PAUSED,
					 psprintf("step \"%s\" failed: %s", item->step->name,
							  item->failure->message));
	run->status = FLOW_RUN_PAUSED;
	what.sqlstate = item->failure->sqlstate;
	what.message = item->failure->message;
	FlowHookRaise(run, &what, changes);
	memset(&row, 0, sizeof(row));
	row.key.run_id = run->id;
	row.key.step_no = FLOW_STEP_RUN;
	row.owner = run->owner;
	row.workflow_id = run->workflow_id;
	row.definition_id = run->definition->id;
	row.priority = run->priority;
	row.status = FLOW_STEP_READY;
	row.due_at = DT_NOBEGIN;
	FlowRowsAdd(&changes->missing, &row);
	if (after > 0)
	{
		row.key.item_no = FLOW_ITEM_RESUME;
		row.status = FLOW_STEP_SLEEPING;
		row.due_at = GetCurrentTimestamp() + after;
		FlowRowsAdd(&changes->missing, &row);
		FlowWakeNoteDue(&row.key, row.due_at);
	}
	if (run->notify)
	{
		FlowEventRow event = FlowRunEvent(run->id, run->workflow_id, run->key,
										  "paused", InvalidOid);

		FlowRowsAdd(&changes->events, &event);
	}
}
