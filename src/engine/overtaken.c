/*-------------------------------------------------------------------------
 * overtaken.c
 *	  What a step leaves behind for which the first of several was enough.
 *
 * A step that "needs" the first of those it comes after does not wait for the
 * others: those that have not run end as cancelled.  Called by settle.c with
 * the run's row locked.  Tasks are taken with SKIP LOCKED only: a locked one
 * belongs to a worker, which finds that the step has an end, and drops it.
 *
 * A step that has ended with a commit of its own, and is only not settled yet,
 * is too late to be overtaken, and keeps its end.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "catalog/cat_live.h"
#include "engine/overtaken.h"
#include "engine/settle.h"
#include "engine/subflow.h"

static bool has_run(const FlowRunRef *run, int step_no);
static void take_away(FlowBatch *batch, FlowRunRef *run, int step_no,
					  FlowChanges *changes);

int
FlowOvertakenEnd(FlowBatch *batch, FlowRunRef *run, const FlowStepDef *step,
				 int *ended, FlowChanges *changes)
{
	int			n = 0;

	for (int i = 0; i < step->n_deps; i++)
	{
		int			no = step->deps[i];
		FlowOutcomeRow row;

		if (run->ends.status[no] != 0 || has_run(run, no))
			continue;
		take_away(batch, run, no, changes);
		if (run->definition->steps[no - 1].kind == FLOW_KIND_SUBFLOW)
			FlowSubflowTell(run->id, no, 0, FLOW_ITEM_CANCEL);
		FlowSettleInitEnd(&row, run, no, FLOW_STEP_CANCELLED);
		row.reason = psprintf("step \"%s\" did not wait for it", step->name);
		FlowRowsAdd(&changes->outcomes, &row);
		FlowEndsNote(&run->ends, no, FLOW_STEP_CANCELLED, 0);
		ended[n++] = no;
	}
	return n;
}

/* It has run in a transaction of its own, and is only not settled yet. */
static bool
has_run(const FlowRunRef *run, int step_no)
{
	ListCell   *cell;

	if (run->definition->steps[step_no - 1].isolation == XACT_READ_COMMITTED)
		return false;
	foreach(cell, FlowTaskListOf(run->id))
	{
		const FlowTaskRow *task = lfirst(cell);

		if (task->key.step_no == step_no && task->ended)
			return true;
	}
	return false;
}

/* Deletes the tasks of a step that nobody else has locked. */
static void
take_away(FlowBatch *batch, FlowRunRef *run, int step_no, FlowChanges *changes)
{
	int			items = run->definition->steps[step_no - 1].items;
	ListCell   *cell;

	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);

		if ((task->key.step_no != step_no &&
			 (items == 0 || task->key.step_no != items)) || task->ended)
			continue;
		FlowRowsAdd(&changes->deletes, &task->tid);
		if (items != 0 && task->waits)
			FlowSubflowTell(run->id, task->key.step_no, task->key.item_no,
							FLOW_ITEM_CANCEL);
	}
	if (run->items[step_no] != NULL)
		run->items[step_no]->overtaken = true;
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run == run && item->status == FLOW_STEP_READY && items != 0 &&
			item->key.step_no == items)
		{
			item->status = FLOW_STEP_CANCELLED; /* claimed, and not run */
			item->overtaken = true;
		}
	}
}
