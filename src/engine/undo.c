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

#include "engine/run.h"
#include "engine/settle.h"
#include "engine/undo.h"

static bool may_undo(const FlowRunRef *run);
static bool *live_steps(const FlowRunRef *run);
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
	live = live_steps(run);
	copied = FlowOutcomeCopied(run->id);
	for (int i = definition->n_steps - 1; i >= 0; i--)
	{
		FlowStepDef *step = &definition->steps[definition->order[i] - 1];
		bool		due = FlowUndoIsDue(step, run->ends.status[step->no]) &&
		run->ends.status[step->undo] == 0 &&
		!list_member_int(copied, step->no);
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
			FlowSettleReady(run, &definition->steps[step->undo - 1], changes);
	}
	if (!left)
		conclude(run);
	return left;
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
live_steps(const FlowRunRef *run)
{
	bool	   *live = palloc0(sizeof(bool) * (run->definition->n_all + 1));
	ListCell   *cell;

	foreach(cell, FlowTaskListOf(run->id))
		live[((FlowTaskRow *) lfirst(cell))->key.step_no] = true;
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
