/*-------------------------------------------------------------------------
 * override.c
 *	  End a step by hand: flow_skip and flow_finish.
 *
 * The step may be ready, asleep, or not even have its turn: then it has ended
 * early, and the run is marked, so that whoever runs other steps of it looks
 * which have ended before it decides what comes next.  What follows from the
 * end is settled by a worker, by the row that stands for the run.
 *
 * Like any other control function it holds the run's row until the client
 * commits, and leaves a task that is locked to the worker that runs it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_item.h"
#include "catalog/cat_live.h"
#include "catalog/cat_outcome.h"
#include "catalog/cat_run.h"
#include "catalog/cat_task.h"
#include "define/access.h"
#include "define/beside.h"
#include "define/item.h"
#include "define/plan.h"
#include "engine/context.h"
#include "engine/control.h"
#include "engine/limit.h"
#include "engine/override.h"
#include "engine/run.h"
#include "engine/subflow.h"
#include "error.h"

static void refuse_inside_step(const FlowOverride *request);
static bool apply(const FlowOverride *request);
static void require_live(const FlowRunRow *run, const FlowOverride *request);
static void require_open(const FlowRunRow *run, const FlowOverride *request,
						 FlowStepStatus status);
static FlowStepStatus end_above(const FlowRunRow *run, const FlowStepDef *step,
								const FlowStepKey *key);
static void count_item(const FlowRunRow *run, const FlowStepDef *step,
					   bool was_live);
static int	take_tasks(const FlowRunRow *run, const FlowStepDef *step,
					   const FlowStepKey *key);
static bool is_meant(const FlowStepDef *step, const FlowStepKey *key,
					 const FlowStepKey *task);
static void raise_running(const FlowRunRow *run, const FlowStepDef *step) pg_attribute_noreturn();
static void insert_end(const FlowOverride *request, const FlowStepKey *key,
					   int attempts);
static const char *participle(const FlowOverride *request);

bool
FlowOverrideStep(const FlowOverride *request)
{
	FlowIdentity identity;
	bool		changed;

	FlowAccessRequireUse();
	refuse_inside_step(request);
	FlowControlRequireOperator(request->run_id);
	FlowIdentityRaise(&identity);
	changed = apply(request);
	FlowIdentityRestore(&identity);
	return changed;
}

/* The flush of the step's batch may decide about the same step. */
static void
refuse_inside_step(const FlowOverride *request)
{
	if (FlowContextItem() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a step cannot be %s by another step", participle(request)),
				 errdetail("What one step says about another is decided by dependencies and conditions."),
				 errhint("Use \"condition\", or an event by flow_emit().")));
}

static bool
apply(const FlowOverride *request)
{
	FlowRunRow *run;
	FlowStepDef *step;
	FlowStepKey key;
	FlowStepStatus status;
	int			attempts;

	if (FlowRunLock(&request->run_id, 1, false, &run) == 0)
		return false;
	step = FlowControlFindStep(run, request->step);
	FlowBesideRefuse(step);
	key = FlowControlFindItem(run, step, request->item_no);
	status = FlowOutcomeStatus(&key);
	if (status == request->status)
		return false;
	require_live(run, request);
	require_open(run, request, status);
	require_open(run, request, end_above(run, step, &key));
	attempts = take_tasks(run, step, &key);
	insert_end(request, &key, Max(attempts, 0));
	if (key.item_no != 0)
		count_item(run, step, attempts >= 0);
	FlowRunSetEarly(run->id);
	FlowControlLookAgain(run);
	FlowLimitNoteFreedBy(run);
	return true;
}

/* An item has its turn only as long as its step has not ended. */
static FlowStepStatus
end_above(const FlowRunRow *run, const FlowStepDef *step, const FlowStepKey *key)
{
	FlowStepKey above = {run->id, step->no, 0};

	return key->item_no == 0 ? 0 : FlowOutcomeStatus(&above);
}

/* The step itself is settled by the worker that looks at the run. */
static void
count_item(const FlowRunRow *run, const FlowStepDef *step, bool was_live)
{
	FlowMapRow	map;

	if (!FlowMapLoad(run->id, step->no, &map))
		return;					/* its items are not known yet */
	map.done++;
	if (was_live)
		map.live--;
	FlowMapUpdate(&map);
}

static void
require_live(const FlowRunRow *run, const FlowOverride *request)
{
	if (run->status == FLOW_RUN_RUNNING && !run->failing)
		return;
	if (run->status == FLOW_RUN_PENDING || run->status == FLOW_RUN_PAUSED)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
			 errmsg("step \"%s\" of run " INT64_FORMAT " cannot be %s",
					request->step, run->id, participle(request)),
			 run->failing ? errdetail("The run is failing.")
			 : errdetail("The run is %s.", FlowRunStatusName(run->status)),
			 errhint("Only steps of a run that is pending, running or paused can be.")));
}

static void
require_open(const FlowRunRow *run, const FlowOverride *request,
			 FlowStepStatus status)
{
	if (status == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
			 errmsg("step \"%s\" of run " INT64_FORMAT " is %s and cannot be %s",
					request->step, run->id, FlowStepStatusName(status),
					participle(request)),
			 errdetail("A step ends once."),
			 errhint("Use flow_retry() or flow_rerun() to run steps again.")));
}

/*
 * Removes its task, if it has one, and those of its items; returns how often it
 * was tried, or -1 if it had none.
 */
static int
take_tasks(const FlowRunRow *run, const FlowStepDef *step, const FlowStepKey *key)
{
	int			attempts = -1;
	int			taken = 0;
	int			all = 0;
	ListCell   *cell;

	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);

		if (task->ended || !is_meant(step, key, &task->key))
			continue;
		FlowTaskDelete(&task->tid, 1);
		taken++;
		if (task->key.step_no == key->step_no)
			attempts = task->attempt;
	}
	foreach(cell, FlowTaskListOf(run->id))
		if (is_meant(step, key, &((FlowTaskRow *) lfirst(cell))->key))
		all++;
	if (all > 0)				/* what was taken is not seen any more */
		raise_running(run, step);
	if (taken > 0 && step->definition->has_subflow &&
		FlowItemKind(step) == FLOW_KIND_SUBFLOW)
		FlowSubflowTell(run->id, step->items ? step->items : step->no,
						key->item_no, FLOW_ITEM_CANCEL);
	return attempts;
}

/* The key is that of the step, with all its items, or of one of them. */
static bool
is_meant(const FlowStepDef *step, const FlowStepKey *key, const FlowStepKey *task)
{
	if (key->item_no != 0)
		return task->step_no == key->step_no && task->item_no == key->item_no;
	return task->step_no == step->no ||
		(step->items != 0 && task->step_no == step->items);
}

static void
raise_running(const FlowRunRow *run, const FlowStepDef *step)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("step \"%s\" of run " INT64_FORMAT " is running", step->name,
					run->id),
			 errdetail("A worker has it, and will record how it ends."),
			 errhint("Wait for its end, or use flow_cancel() for the run.")));
}

static void
insert_end(const FlowOverride *request, const FlowStepKey *key, int attempts)
{
	FlowOutcomeRow row;

	memset(&row, 0, sizeof(row));
	row.key = *key;
	row.status = request->status;
	row.attempt = attempts;
	row.started_at = DT_NOBEGIN;
	row.finished_at = GetCurrentTimestamp();
	row.output = request->output.value;
	row.has_output = !request->output.isnull;
	row.reason = request->reason ? request->reason :
		psprintf("%s by hand", participle(request));
	FlowOutcomeInsert(&row, 1);
}

static const char *
participle(const FlowOverride *request)
{
	return request->status == FLOW_STEP_SKIPPED ? "skipped" : "finished";
}
