/*-------------------------------------------------------------------------
 * cancelrun.c
 *	  A run is cancelled.
 *
 * What has ended stays; of the others those that nobody runs end as cancelled.
 * Steps that always run are left, and what can be undone; a worker starts them
 * when none of the others runs any more.
 *
 * Called by control.c with the run locked.  Of its tasks only those are taken
 * that nobody has locked: a locked one belongs to a worker, whose flush finds
 * the run cancelled.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "catalog/cat_item.h"
#include "catalog/cat_key.h"
#include "catalog/cat_live.h"
#include "catalog/cat_outcome.h"
#include "define/item.h"
#include "define/plan.h"
#include "engine/cancelrun.h"
#include "engine/changes.h"
#include "engine/hook.h"
#include "engine/subflow.h"
#include "engine/undo.h"
#include "shmem/wake.h"

static bool spare_ended(const FlowRunRow *run, FlowOutcomeRow *rest);
static const FlowStepDef *course_of(const FlowDefinition *definition, int step_no);
static bool spare_last_steps(const FlowRunRow *run, FlowOutcomeRow *rest);
static void cancel_tasks(const FlowRunRow *run, FlowChanges *changes,
						 FlowOutcomeRow *rest);
static bool stays(const FlowRunRow *run, int step_no);

void
FlowCancelRun(FlowRunRow *run, const FlowControl *control)
{
	FlowDefinition *definition = FlowPlanLookup(run->definition_id);
	FlowOutcomeRow *rest = palloc0(sizeof(FlowOutcomeRow) * (definition->n_all + 1));
	FlowChanges changes;
	bool		at_once;
	bool		undo;

	FlowChangesInit(&changes);
	for (int no = 1; no <= definition->n_steps; no++)
	{
		if (definition->steps[no - 1].part != FLOW_PART_COURSE)
			continue;
		rest[no].key.run_id = run->id;
		rest[no].key.step_no = no;
		rest[no].status = FLOW_STEP_CANCELLED;
		rest[no].started_at = DT_NOBEGIN;
		rest[no].finished_at = GetCurrentTimestamp();
		rest[no].reason = "the run was cancelled";
	}
	undo = spare_ended(run, rest) && run->started && !control->plain;
	at_once = !spare_last_steps(run, rest) && !undo;
	cancel_tasks(run, &changes, rest);
	for (int no = 1; no <= definition->n_steps; no++)
		if (rest[no].key.run_id != 0)
			FlowRowsAdd(&changes.outcomes, &rest[no]);
	if (run->key != NULL)
		FlowRunKeyRelease(run->workflow_id, run->key, run->id);
	if (!at_once)
		FlowControlAddTask(run, FLOW_STEP_RUN, 0, &changes);
	FlowRunSetCancelled(run->id, at_once, undo, control->reason);
	if (at_once)
		FlowHookRaiseRow(run, FLOW_RUN_CANCELLED, control->reason, &changes);
	FlowChangesWrite(&changes);
	FlowWakeNoteCancel(run->id, run->epoch + 1);
	run->status = at_once ? FLOW_RUN_CANCELLED : FLOW_RUN_COMPENSATING;
	if (at_once && run->parent.run_id != 0)
		FlowSubflowTellEnd(&run->parent);
	if (at_once)
		FlowWakeNoteEnded(run->id);
	else
		FlowControlAnnounce(run);
}

/*
 * Takes the steps that have ended from those to be ended; true if any of them
 * is to be undone.  One that has ended and is not yet settled is one of those.
 */
static bool
spare_ended(const FlowRunRow *run, FlowOutcomeRow *rest)
{
	FlowDefinition *definition = FlowPlanLookup(run->definition_id);
	bool		undo = false;
	int32		probes = FlowItemProbes(definition);
	ListCell   *cell;

	foreach(cell, FlowOutcomeListOf(&run->id, &probes, 1))
	{
		FlowOutcomeRow *row = lfirst(cell);

		memset(&rest[row->key.step_no], 0, sizeof(FlowOutcomeRow));
		undo = undo || FlowUndoIsDue(&definition->steps[row->key.step_no - 1],
									 row->status);
	}
	if (!definition->has_undo)
		return false;
	for (int i = 0; i < definition->n_steps && !undo; i++)
		undo = definition->steps[i].items != 0 && definition->steps[i].undo != 0 &&
			FlowItemAnyDone(run->id, definition->steps[i].items);
	foreach(cell, FlowTaskListOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);

		if (task->ended)
			undo = undo || FlowUndoIsDue(course_of(definition, task->key.step_no),
										 FLOW_STEP_COMPLETED);
	}
	return undo;
}

/* The step in the graph to which the one of that number belongs */
static const FlowStepDef *
course_of(const FlowDefinition *definition, int step_no)
{
	const FlowStepDef *step = &definition->steps[step_no - 1];

	return step->maps ? &definition->steps[step->maps - 1] : step;
}

/*
 * Takes the steps that always run, and have not, from those to be ended; true
 * if there are any.  A run that never began needs none of them.
 */
static bool
spare_last_steps(const FlowRunRow *run, FlowOutcomeRow *rest)
{
	FlowDefinition *definition = FlowPlanLookup(run->definition_id);
	bool		found = false;

	for (int no = 1; no <= definition->n_steps; no++)
		if (run->started && rest[no].key.run_id != 0 &&
			definition->steps[no - 1].needs == FLOW_NEEDS_ALWAYS)
		{
			rest[no].key.run_id = 0;
			found = true;
		}
	return found;
}

/*
 * Steps that are running right now are left to their worker; so are those that
 * have ended with a commit of their own, whose outcome is known already.
 */
static void
cancel_tasks(const FlowRunRow *run, FlowChanges *changes, FlowOutcomeRow *rest)
{
	ListCell   *cell;

	foreach(cell, FlowTaskListOf(run->id))
		rest[((FlowTaskRow *) lfirst(cell))->key.step_no].key.run_id = 0;
	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);

		if (task->ended || stays(run, task->key.step_no))
			continue;
		FlowRowsAdd(&changes->deletes, &task->tid);
		if (rest[task->key.step_no].status == 0)
			continue;			/* it was overtaken, and has its end; or an
								 * item */
		rest[task->key.step_no].key.run_id = run->id;
		rest[task->key.step_no].attempt = task->attempt;
	}
}

/* Hooks of what has happened, and steps that always run */
static bool
stays(const FlowRunRow *run, int step_no)
{
	const FlowStepDef *step;

	if (step_no == FLOW_STEP_RUN)
		return false;
	step = &FlowPlanLookup(run->definition_id)->steps[step_no - 1];
	return step->part == FLOW_PART_HOOK ||
		(run->started && step->needs == FLOW_NEEDS_ALWAYS);
}
