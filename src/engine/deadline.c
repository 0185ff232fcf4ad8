/*-------------------------------------------------------------------------
 * deadline.c
 *	  The time limit of a run as a whole.
 *
 * A row in task that stands for the run sleeps until then.  When it is executed
 * and the run has not ended, the run fails as it would by a step (wind.c); a
 * paused run does so when it is resumed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "catalog/cat_live.h"
#include "catalog/cat_task.h"
#include "engine/deadline.h"
#include "engine/run.h"
#include "error.h"
#include "shmem/wake.h"

bool
FlowDeadlineIs(const FlowStepKey *key)
{
	return key->step_no == FLOW_STEP_RUN && key->item_no == FLOW_ITEM_DEADLINE;
}

void
FlowDeadlineSet(int64 run_id, Oid owner, const FlowDefinition *definition)
{
	FlowTaskNew row;

	if (definition->timeout == 0)
		return;
	memset(&row, 0, sizeof(row));
	row.key.run_id = run_id;
	row.key.step_no = FLOW_STEP_RUN;
	row.key.item_no = FLOW_ITEM_DEADLINE;
	row.owner = owner;
	row.workflow_id = definition->workflow_id;
	row.definition_id = definition->id;
	row.status = FLOW_STEP_SLEEPING;
	row.due_at = GetCurrentTimestamp() + definition->timeout;
	FlowTaskInsertMissing(&row, 1);
	FlowWakeNoteDue(&row.key, row.due_at);
}

void
FlowDeadlineClear(const FlowRunRef *run)
{
	FlowStepKey key = {run->id, FLOW_STEP_RUN, FLOW_ITEM_DEADLINE};

	if (run->definition->timeout > 0)
		FlowTaskDeleteFree(&key);
}

void
FlowDeadlinePass(FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;

	item->status = FLOW_STEP_COMPLETED;
	if (run->status == FLOW_RUN_PAUSED || run->status == FLOW_RUN_HELD)
		return;					/* it stays until the run goes on */
	FlowRowsAdd(&changes->deletes, &item->tid);
	if (run->status == FLOW_RUN_RUNNING && !run->failing)
		run->overdue = true;
}

Datum
FlowDeadlineError(const FlowRunRef *run)
{
	FlowFailure failure;

	memset(&failure, 0, sizeof(failure));
	strlcpy(failure.sqlstate, unpack_sql_state(ERRCODE_FLOW_STEP_TIMEOUT),
			sizeof(failure.sqlstate));
	failure.message = "the run took longer than its time limit";
	failure.detail = psprintf("The limit is %g s.", run->definition->timeout / 1e6);
	failure.hint = "Give the workflow a longer \"timeout\".";
	return FlowRunErrorJson(NULL, 0, &failure);
}
