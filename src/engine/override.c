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
#include "catalog/cat_outcome.h"
#include "catalog/cat_run.h"
#include "catalog/cat_task.h"
#include "define/access.h"
#include "define/plan.h"
#include "engine/context.h"
#include "engine/control.h"
#include "engine/override.h"
#include "engine/run.h"
#include "engine/subflow.h"
#include "error.h"

static void refuse_inside_step(const FlowOverride *request);
static bool apply(const FlowOverride *request);
static void require_live(const FlowRunRow *run, const FlowOverride *request);
static FlowStepStatus status_of(int64 run_id, int step_no);
static void require_open(const FlowRunRow *run, const FlowOverride *request,
						 FlowStepStatus status);
static int	take_task(const FlowRunRow *run, const FlowStepDef *step);
static void insert_end(const FlowOverride *request, const FlowStepDef *step,
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
	FlowStepStatus status;
	int			attempts;

	if (FlowRunLock(&request->run_id, 1, false, &run) == 0)
		return false;
	step = FlowControlFindStep(run, request->step);
	status = status_of(run->id, step->no);
	if (status == request->status)
		return false;
	require_live(run, request);
	require_open(run, request, status);
	attempts = take_task(run, step);
	insert_end(request, step, attempts);
	FlowRunSetEarly(run->id);
	FlowControlLookAgain(run);
	return true;
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

/* 0 if it has not ended. */
static FlowStepStatus
status_of(int64 run_id, int step_no)
{
	ListCell   *cell;

	foreach(cell, FlowOutcomeListOf(&run_id, 1))
	{
		const FlowOutcomeRow *row = lfirst(cell);

		if (row->key.step_no == step_no && row->key.item_no == 0)
			return row->status;
	}
	return 0;
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

/* Removes its task, if it has one; returns how often it was tried. */
static int
take_task(const FlowRunRow *run, const FlowStepDef *step)
{
	ListCell   *cell;

	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);

		if (task->key.step_no != step->no || task->ended)
			continue;
		FlowTaskDelete(&task->tid, 1);
		if (step->kind == FLOW_KIND_SUBFLOW)
			FlowSubflowTell(run->id, step->no, FLOW_ITEM_CANCEL);
		return task->attempt;
	}
	foreach(cell, FlowTaskListOf(run->id))
		if (((FlowTaskRow *) lfirst(cell))->key.step_no == step->no)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("step \"%s\" of run " INT64_FORMAT " is running", step->name,
						run->id),
				 errdetail("A worker has it, and will record how it ends."),
				 errhint("Wait for its end, or use flow_cancel() for the run.")));
	return 0;
}

static void
insert_end(const FlowOverride *request, const FlowStepDef *step, int attempts)
{
	FlowOutcomeRow row;

	memset(&row, 0, sizeof(row));
	row.key.run_id = request->run_id;
	row.key.step_no = step->no;
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
