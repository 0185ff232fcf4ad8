/*-------------------------------------------------------------------------
 * undo.c
 *	  Compensation: what a run has done is undone when it comes to a bad end.
 *
 * When all steps of a failed or cancelled run have ended, those that always
 * run included, the completed ones that say how are undone: each when all that
 * have come after it are undone, and each in a transaction of its own.  What
 * undoes a step is a step itself (define/beside.c), so that it is claimed,
 * retried and recorded like any other.  One that fails for good stops no
 * other.  What flow_rerun has taken over from another run is that run's.
 *
 * That the run is "compensating" is committed before the first of them is
 * ready, and by a flush that has seen that no step of the run is left; from
 * then on a flush drops whatever else has run for it (flush.c), so that no
 * effect escapes its compensation.
 *
 * Called by the flush with the run's row locked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/cat_item.h"
#include "catalog/cat_live.h"
#include "define/item.h"
#include "engine/claim.h"
#include "engine/run.h"
#include "engine/settle.h"
#include "engine/undo.h"

static bool is_due(FlowRunRef *run, const FlowStepDef *step,
				   FlowChanges *changes);
static void start_undo(FlowRunRef *run, const FlowStepDef *step,
					   FlowChanges *changes);
static void end_items(FlowRunRef *run, const FlowStepDef *step,
					  FlowChanges *changes);
static bool may_undo(const FlowRunRef *run);
static bool *live_steps(const FlowRunRef *run, const FlowChanges *changes);
static void begin(FlowRunRef *run, FlowChanges *changes);
static void conclude(FlowRunRef *run);

bool
FlowUndoGoesOn(FlowRunRef *run, FlowChanges *changes)
{
	FlowDefinition *definition = run->definition;
	bool	   *open;
	bool	   *live;
	List	   *copied;
	bool		left = false;

	if (!definition->has_undo || !may_undo(run))
		return false;
	open = palloc0(sizeof(bool) * (definition->n_steps + 1));
	live = live_steps(run, changes);
	copied = run->early ? FlowOutcomeCopied(run->id) : NIL;
	for (int i = definition->n_steps - 1; i >= 0; i--)
	{
		FlowStepDef *step = &definition->steps[definition->order[i] - 1];
		bool		due = !list_member_int(copied, step->no) && is_due(run, step, changes);
		bool		behind = false;

		for (int d = 0; d < step->n_dependents; d++)
			behind = behind || open[step->dependents[d]];
		open[step->no] = due || behind;
		if (!due)
			continue;
		if (!left)
			begin(run, changes);
		left = true;
		if (!behind && !live[step->undo])
			start_undo(run, step, changes);
	}
	if (!left)
		conclude(run);
	return left;
}

/* Of a step with items, those that have completed, whatever the step has. */
static bool
is_due(FlowRunRef *run, const FlowStepDef *step, FlowChanges *changes)
{
	FlowStepStatus status = run->ends.status[step->no];

	if (step->undo == 0 || status == 0 || run->ends.status[step->undo] != 0)
		return false;
	if (FlowItemIsSeen(&run->definition->steps[step->undo - 1]))
	{
		if (FlowItemLastDone(run->id, step->items, step->undo) > 0)
			return true;
		end_items(run, step, changes);
		return false;
	}
	return FlowUndoIsDue(step, status) ||
		(step->items != 0 && FlowItemAnyDone(run->id, step->items));
}

/* Items are undone one after the other, the last first. */
static void
start_undo(FlowRunRef *run, const FlowStepDef *step, FlowChanges *changes)
{
	FlowStepDef *undo = &run->definition->steps[step->undo - 1];
	FlowItemNext next = {0, FlowRunTried(run, undo)};

	if (FlowItemIsSeen(undo))
		next.item_no = FlowItemLastDone(run->id, step->items, undo->no);
	FlowSettleReadyItem(run, undo, &next, changes);
}

/* No item is left to undo: with that, what undoes the step has ended. */
static void
end_items(FlowRunRef *run, const FlowStepDef *step, FlowChanges *changes)
{
	FlowOutcomeRow row;
	int32		undone;
	int32		failed;

	FlowItemCountUndone(run->id, step->items, &undone, &failed);
	if (undone + failed == 0)
		return;
	FlowSettleInitEnd(&row, run, step->undo,
					  failed ? FLOW_STEP_FAILED : FLOW_STEP_COMPLETED);
	FlowRowsAdd(&changes->outcomes, &row);
	FlowEndsNote(&run->ends, step->undo, row.status, 0);
	if (run->ends.status[step->no] != FLOW_STEP_COMPLETED)
		return;
	row.key.step_no = step->no;
	row.status = failed ? FLOW_STEP_COMPENSATION_FAILED : FLOW_STEP_COMPENSATED;
	if (failed)
		row.reason = psprintf("%d of its items could not be undone", failed);
	FlowOutcomeSetUndone(&row);
}

/* A run that was cancelled by flow_drop is left as it is. */
static bool
may_undo(const FlowRunRef *run)
{
	return run->failing || FlowRunIsCompensated(run->id);
}

bool
FlowUndoIsDue(const FlowStepDef *step, FlowStepStatus status)
{
	return step->undo != 0 && status == FLOW_STEP_COMPLETED;
}

/* By number: steps that have a row already, such as one that is tried again. */
static bool *
live_steps(const FlowRunRef *run, const FlowChanges *changes)
{
	bool	   *live = palloc0(sizeof(bool) * (run->definition->n_all + 1));
	ListCell   *cell;

	foreach(cell, FlowTaskListOf(run->id))
	{
		const FlowTaskRow *task = lfirst(cell);

		if (!FlowChangesDeletes(changes, &task->tid))
			live[task->key.step_no] = true;
	}
	return live;
}

static void
begin(FlowRunRef *run, FlowChanges *changes)
{
	if (run->status == FLOW_RUN_COMPENSATING)
		return;
	FlowRunSetCompensating(run->id, &run->tid);
	run->status = FLOW_RUN_COMPENSATING;
	if (run->notify)
	{
		FlowEventRow event = FlowRunEvent(run->id, run->workflow_id, run->key,
										  "compensating", InvalidOid);

		FlowRowsAdd(&changes->events, &event);
	}
}

static void
conclude(FlowRunRef *run)
{
	const FlowDefinition *definition = run->definition;
	bool		any = false;
	bool		failed = false;

	for (int no = 1; no <= definition->n_steps; no++)
	{
		int			undo = definition->steps[no - 1].undo;

		if (undo == 0 || run->ends.status[undo] == 0)
			continue;
		any = true;
		failed = failed || run->ends.status[undo] == FLOW_STEP_FAILED;
	}
	if (any || run->status == FLOW_RUN_COMPENSATING)
		FlowRunSetCompensated(run->id, !any ? NULL : failed ? "partial" : "complete",
							  &run->tid);
}

void
FlowUndoNote(const FlowItem *item)
{
	const FlowStepDef *undo = item->step;
	FlowOutcomeRow row;

	memset(&row, 0, sizeof(row));
	row.key.run_id = item->key.run_id;
	row.key.step_no = undo->undoes;
	if (item->key.item_no > 0)
	{
		row.key.step_no = item->run->definition->steps[undo->undoes - 1].items;
		row.key.item_no = item->key.item_no;
	}
	row.status = FLOW_STEP_COMPENSATED;
	if (item->status == FLOW_STEP_CANCELLED)
		return;
	if (item->status == FLOW_STEP_FAILED)
	{
		row.status = FLOW_STEP_COMPENSATION_FAILED;
		row.reason = psprintf("step \"%s\" failed", undo->name);
		row.error = FlowRunErrorJson(undo->name, item->attempt, item->failure);
		row.has_error = true;
	}
	FlowOutcomeSetUndone(&row);
}
