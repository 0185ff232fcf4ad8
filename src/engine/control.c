/*-------------------------------------------------------------------------
 * control.c
 *	  Pause and resume a run; what all calls that steer it share.
 *
 * A client's call takes the run's row and holds it until the client commits;
 * of the tasks it touches only those that nobody has locked, since a locked
 * one belongs to a worker, whose flush finds out and cleans up.  Inside a
 * step nothing is locked before the flush, so a call there is remembered and
 * done by the flush, in the order of the runs' ids; a step that cancels its
 * own run keeps its effects.  What a cancel does is in cancelrun.c, what a retry
 * does in retryrun.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_item.h"
#include "catalog/cat_live.h"
#include "catalog/cat_look.h"
#include "catalog/cat_release.h"
#include "define/access.h"
#include "engine/cancelrun.h"
#include "engine/changes.h"
#include "engine/command.h"
#include "engine/context.h"
#include "engine/control.h"
#include "engine/deadline.h"
#include "engine/hook.h"
#include "engine/limit.h"
#include "engine/retryrun.h"
#include "engine/run.h"
#include "engine/subflow.h"
#include "error.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"

/* What each verb makes of a run */
typedef struct Verb
{
	FlowRunStatus target;
	const char *participle;
	const char *event;
} Verb;

static const Verb verbs[] = {
	[FLOW_CONTROL_PAUSE] = {FLOW_RUN_PAUSED, "paused", "paused"},
	[FLOW_CONTROL_RESUME] = {FLOW_RUN_RUNNING, "resumed", "resumed"},
	[FLOW_CONTROL_CANCEL] = {FLOW_RUN_CANCELLED, "cancelled", "cancelled"},
	[FLOW_CONTROL_RETRY] = {FLOW_RUN_RUNNING, "retried", "resumed"},
};

static bool request(FlowControl *control);
static void raise_held(int64 run_id);
static void require_right(const FlowRunRow *run, FlowControlVerb verb);
static void raise_no_right(const FlowRunRow *run, const char *participle);
static bool is_there(const FlowRunRow *run, FlowControlVerb verb);
static bool is_legal(const FlowRunRow *run, FlowControlVerb verb);
static const char *function_of(FlowControlVerb verb);
static bool remember(const FlowControl *control, FlowRunRow *run);
static void require_legal(const FlowRunRow *run, FlowControlVerb verb);
static void pass_down(const FlowRunRow *run, FlowControlVerb verb);
static void pause_run(const FlowRunRow *run, const char *reason);
static void resume_run(const FlowRunRow *run);
static void raise_compensated(const FlowRunRow *run) pg_attribute_noreturn();
static void add_event(const FlowRunRow *run, const FlowControl *control);

bool
FlowControlRequest(FlowControlVerb verb, int64 run_id, const char *reason,
				   const char *step, int32 item_no)
{
	FlowControl control;

	memset(&control, 0, sizeof(control));
	control.verb = verb;
	control.run_id = run_id;
	control.reason = unconstify(char *, reason);
	control.step = unconstify(char *, step);
	control.item_no = item_no;
	return request(&control);
}

bool
FlowControlDrop(int64 run_id)
{
	FlowControl control;

	memset(&control, 0, sizeof(control));
	control.verb = FLOW_CONTROL_CANCEL;
	control.run_id = run_id;
	control.reason = "its workflow was dropped";
	control.plain = true;
	return request(&control);
}

static bool
request(FlowControl *control)
{
	FlowIdentity identity;
	FlowRunRow	run;
	bool		changed;

	FlowAccessRequireUse();
	FlowControlLoad(control->run_id, &run);
	require_right(&run, control->verb);
	if (control->step != NULL)
		(void) FlowControlFindStep(&run, control->step);
	control->by = GetUserId();
	if (control->plain && run.status == FLOW_RUN_COMPENSATING)
		return false;
	if (FlowContextItem() != NULL)
		return remember(control, &run);

	FlowIdentityRaise(&identity);
	changed = FlowControlApply(control, control->plain);
	FlowIdentityRestore(&identity);
	return changed;
}

void
FlowControlRequireRight(FlowControlVerb verb, int64 run_id)
{
	FlowIdentity identity;
	FlowRunRow	run;
	bool		found;

	FlowIdentityRaise(&identity);
	found = FlowRunLoad(run_id, &run);
	FlowIdentityRestore(&identity);
	if (found)
		require_right(&run, verb);
}

void
FlowControlRequireOperator(int64 run_id)
{
	FlowRunRow	run;

	FlowControlLoad(run_id, &run);
	require_right(&run, FLOW_CONTROL_PAUSE);
}

/* A run that one may not see does not exist for one. */
void
FlowControlLoad(int64 run_id, FlowRunRow *run)
{
	FlowIdentity identity;
	bool		found;

	FlowIdentityRaise(&identity);
	found = FlowRunLoad(run_id, run);
	FlowIdentityRestore(&identity);
	if (found && FlowAccessMaySeeRun(run->owner, run->started_by,
									 run->workflow_id))
		return;
	if (!found && FlowReleaseIsHeld(run_id))
		raise_held(run_id);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("run " INT64_FORMAT " does not exist", run_id),
			 errdetail("There is no such run, or you have no privilege on it."),
			 errhint("Look at flow.run for the runs you may see.")));
}

/* For whoever may see it; for others it does not exist. */
static void
raise_held(int64 run_id)
{
	FlowLookRequireRun(run_id);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("run " INT64_FORMAT " was restored from another database", run_id),
			 errdetail("It is held until it is released."),
			 errhint("Use: SELECT flow_release_all()")));
}

/* Who started a run may cancel it. */
static void
require_right(const FlowRunRow *run, FlowControlVerb verb)
{
	if (FlowAccessOwnsRun(run->owner, run->workflow_id) ||
		FlowWorkflowHasGrant(run->workflow_id, "operate"))
		return;
	if (verb == FLOW_CONTROL_CANCEL && FlowAccessIsMember(run->started_by))
		return;
	raise_no_right(run, verbs[verb].participle);
}

void
FlowControlRequireRightTo(const FlowRunRow *run, const char *participle)
{
	if (!FlowAccessOwnsRun(run->owner, run->workflow_id) &&
		!FlowWorkflowHasGrant(run->workflow_id, "operate"))
		raise_no_right(run, participle);
}

static void
raise_no_right(const FlowRunRow *run, const char *participle)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for run " INT64_FORMAT, run->id),
			 errdetail("A run is %s by members of the role that owns its workflow, and by roles with the privilege \"operate\".",
					   participle),
			 errhint("Ask a member of role \"%s\".",
					 GetUserNameFromId(run->owner, true))));
}

/* Asking for the state a run is in is no error. */
static bool
is_there(const FlowRunRow *run, FlowControlVerb verb)
{
	if (verb == FLOW_CONTROL_RESUME && run->status == FLOW_RUN_PENDING)
		return true;
	if (verb == FLOW_CONTROL_CANCEL && run->status == FLOW_RUN_COMPENSATING)
		return !run->failing;
	return run->status == verbs[verb].target;
}

static bool
is_legal(const FlowRunRow *run, FlowControlVerb verb)
{
	bool		over = FlowRunStatusIsFinal(run->status);

	if (!FlowRunMayBecome(run->status, verbs[verb].target))
		return false;
	if (verb == FLOW_CONTROL_RESUME)
		return !over && run->status != FLOW_RUN_PENDING;
	if (verb == FLOW_CONTROL_RETRY)
		return over;
	if (verb == FLOW_CONTROL_CANCEL)
		return run->status != FLOW_RUN_COMPENSATING;
	return true;
}

static void
require_legal(const FlowRunRow *run, FlowControlVerb verb)
{
	FlowRunRequire(run->id, run->status, verbs[verb].target,
				   verbs[verb].participle);
	if (verb == FLOW_CONTROL_CANCEL && !is_legal(run, verb))
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("run " INT64_FORMAT " is compensating and cannot be cancelled",
						run->id),
				 errdetail("It has failed, and what it has done is being undone."),
				 errhint("Wait until it has ended; flow.step shows how far it is.")));
	if (!is_legal(run, verb))
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("run " INT64_FORMAT " is %s and cannot be %s", run->id,
						FlowRunStatusName(run->status), verbs[verb].participle),
				 verb == FLOW_CONTROL_RETRY
				 ? errdetail("Only a run that has failed or was cancelled can be retried.")
				 : errdetail("Only a run that is paused can be resumed."),
				 verb == FLOW_CONTROL_RETRY
				 ? errhint("Use flow_resume() for a run that is paused.")
				 : errhint("Use flow_retry() for a run that has failed or was cancelled.")));
}

static const char *
function_of(FlowControlVerb verb)
{
	static const char *const names[] = {
		[FLOW_CONTROL_PAUSE] = "flow_pause",
		[FLOW_CONTROL_RESUME] = "flow_resume",
		[FLOW_CONTROL_CANCEL] = "flow_cancel",
		[FLOW_CONTROL_RETRY] = "flow_retry",
	};

	return names[verb];
}

/*
 * Inside a step: what the function returns takes into account what the steps
 * of this batch have asked for before.
 */
static bool
remember(const FlowControl *control, FlowRunRow *run)
{
	FlowBatch  *batch = FlowBatchCurrent();
	MemoryContext caller;
	FlowControl *copy;
	ListCell   *cell;

	FlowCommandRefuse(FlowContextItem(), function_of(control->verb));
	foreach(cell, batch->controls)
	{
		FlowControl *earlier = lfirst(cell);

		if (earlier->run_id == run->id)
			run->status = verbs[earlier->verb].target;
	}
	if (is_there(run, control->verb))
		return false;
	require_legal(run, control->verb);

	caller = MemoryContextSwitchTo(batch->context);
	copy = palloc(sizeof(FlowControl));
	*copy = *control;
	copy->level = GetCurrentTransactionNestLevel();
	copy->asked_in = FlowContextItem()->key;
	copy->reason = control->reason ? pstrdup(control->reason) : NULL;
	copy->step = control->step ? pstrdup(control->step) : NULL;
	batch->controls = lappend(batch->controls, copy);
	MemoryContextSwitchTo(caller);
	batch->ends = true;			/* the flush does it, soon */
	return true;
}

/* A run that one of its own steps stops goes no further in this batch. */
bool
FlowControlStops(const FlowBatch *batch, int64 run_id)
{
	ListCell   *cell;

	foreach(cell, batch->controls)
	{
		FlowControl *control = lfirst(cell);

		if (control->run_id == run_id &&
			(control->verb == FLOW_CONTROL_PAUSE ||
			 control->verb == FLOW_CONTROL_CANCEL))
			return true;
	}
	return false;
}

bool
FlowControlApply(const FlowControl *control, bool lenient)
{
	FlowRunRow *run;

	if (FlowRunLock(&control->run_id, 1, false, &run) == 0)
		return false;
	FLOW_TEST_POINT("control-locked");
	if (is_there(run, control->verb))
		return false;
	if (lenient && !is_legal(run, control->verb))
		return false;
	require_legal(run, control->verb);
	if (control->verb == FLOW_CONTROL_RETRY && FlowRunIsCompensated(run->id))
	{
		if (lenient)
			return false;
		raise_compensated(run);
	}

	switch (control->verb)
	{
		case FLOW_CONTROL_PAUSE:
			pause_run(run, control->reason);
			break;
		case FLOW_CONTROL_RESUME:
			resume_run(run);
			break;
		case FLOW_CONTROL_CANCEL:
			FlowCancelRun(run, control);
			break;
		case FLOW_CONTROL_RETRY:
			FlowRetryRun(run, control->step, control->item_no);
			break;
	}
	pass_down(run, control->verb);
	add_event(run, control);
	FlowLimitNoteFreedBy(run);
	return true;
}

/* What its steps have started does as the run does; flow_retry starts anew. */
static void
pass_down(const FlowRunRow *run, FlowControlVerb verb)
{
	static const int items[] = {
		[FLOW_CONTROL_PAUSE] = FLOW_ITEM_PAUSE,
		[FLOW_CONTROL_RESUME] = FLOW_ITEM_RESUME,
		[FLOW_CONTROL_CANCEL] = FLOW_ITEM_CANCEL,
	};

	if (verb != FLOW_CONTROL_RETRY &&
		FlowPlanLookup(run->definition_id)->has_subflow)
		FlowSubflowTell(run->id, 0, 0, items[verb]);
}

static void
raise_compensated(const FlowRunRow *run)
{
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
			 errmsg("run " INT64_FORMAT " was compensated and cannot be retried",
					run->id),
			 errdetail("What it has done has been undone, so it cannot go on from there."),
			 errhint("Use flow_start() for a new run.")));
}

/*
 * The row that stands for the run stays until it is resumed, so that a paused run
 * is known to be unfinished even when its last step has ended.
 */
static void
pause_run(const FlowRunRow *run, const char *reason)
{
	FlowChanges changes;

	FlowRunSetStatus(run->id, FLOW_RUN_PAUSED, reason);
	FlowChangesInit(&changes);
	FlowHookRaiseRow(run, FLOW_RUN_PAUSED, reason, &changes);
	FlowControlAddTask(run, FLOW_STEP_RUN, 0, &changes);
	FlowChangesWrite(&changes);
}

void
FlowControlLookAgain(const FlowRunRow *run)
{
	FlowChanges changes;

	FlowChangesInit(&changes);
	if (run->status != FLOW_RUN_PENDING)
		FlowControlAddTask(run, FLOW_STEP_RUN, 0, &changes);
	FlowChangesWrite(&changes);
	if (run->status == FLOW_RUN_RUNNING)
		FlowControlAnnounce(run);
}

/*
 * A worker looks at what has ended meanwhile: the run may be over, or its next
 * steps ready.
 */
static void
resume_run(const FlowRunRow *run)
{
	FlowChanges changes;

	FlowStepKey timer = {run->id, FLOW_STEP_RUN, FLOW_ITEM_RESUME};

	FlowRunSetStatus(run->id,
					 run->started ? FLOW_RUN_RUNNING : FLOW_RUN_PENDING, NULL);
	FlowTaskDeleteFree(&timer);
	FlowChangesInit(&changes);
	FlowControlAddTask(run, FLOW_STEP_RUN, 0, &changes);
	FlowChangesWrite(&changes);
	FlowControlAnnounce(run);
}

FlowStepDef *
FlowControlFindStep(const FlowRunRow *run, const char *step)
{
	FlowDefinition *definition = FlowPlanLookup(run->definition_id);
	FlowStepDef *found = FlowPlanFindStep(definition, step);

	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("step \"%s\" does not exist in workflow \"%s\"",
						step, definition->workflow),
				 errdetail("Run " INT64_FORMAT " is of version %d of the workflow.",
						   run->id, definition->version),
				 errhint("Look at flow.step for the steps of the run.")));
	return found;
}

FlowStepKey
FlowControlFindItem(const FlowRunRow *run, const FlowStepDef *step,
					int32 item_no)
{
	FlowStepKey key = {run->id, item_no == 0 ? step->no : step->items, item_no};
	FlowMapRow	map;

	if (item_no == 0)
		return key;
	if (step->items == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step \"%s\" has no items", step->name),
				 errdetail("Only a step with \"for_each\" has."),
				 errhint("Leave out item_no.")));
	if (item_no < 1 || (FlowMapLoad(run->id, step->no, &map) && item_no > map.total))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("step \"%s\" of run " INT64_FORMAT " has no item %d",
						step->name, run->id, item_no),
				 errdetail("Items count from 1."),
				 errhint("Look at flow.item for the items of the run.")));
	return key;
}

void
FlowControlAddTask(const FlowRunRow *run, int step_no, int attempt,
				   FlowChanges *changes)
{
	FlowDefinition *definition = FlowPlanLookup(run->definition_id);
	FlowTaskNew row;

	memset(&row, 0, sizeof(row));
	row.key.run_id = run->id;
	row.key.step_no = step_no;
	row.owner = run->owner;
	row.workflow_id = run->workflow_id;
	row.definition_id = run->definition_id;
	row.priority = run->priority;
	if (step_no != FLOW_STEP_RUN)
		row.priority = FlowPlanPriority(&definition->steps[step_no - 1],
										run->priority);
	row.status = FLOW_STEP_READY;
	row.attempt = attempt;
	row.attempt_base = attempt;
	row.due_at = DT_NOBEGIN;
	FlowRowsAdd(&changes->missing, &row);
}

static void
add_event(const FlowRunRow *run, const FlowControl *control)
{
	FlowEventRow event;

	if (!run->notify)
		return;
	event = FlowRunEvent(run->id, run->workflow_id, run->key,
						 run->status == FLOW_RUN_COMPENSATING ? "compensating"
						 : verbs[control->verb].event, control->by);
	event.reason = control->reason;
	FlowEventInsert(&event, 1);
	FlowWakeNoteEvents();
}

/*
 * All live steps of the run are known to the queue again after the commit.
 * Those that sleep, too: one may become ready in this very moment, and whoever
 * takes it sees a run that is still paused, and leaves it.
 */
void
FlowControlAnnounce(const FlowRunRow *run)
{
	FlowDefinition *definition = FlowPlanLookup(run->definition_id);
	ListCell   *cell;

	foreach(cell, FlowTaskListOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);
		FlowReady	ready;

		memset(&ready, 0, sizeof(ready));
		ready.key = task->key;
		ready.workflow_id = run->workflow_id;
		ready.definition_id = run->definition_id;
		ready.priority = run->priority;
		if (task->key.step_no != FLOW_STEP_RUN)
			ready.priority = FlowPlanPriority(&definition->steps[task->key.step_no - 1],
											  run->priority);
		FlowWakeNoteReady(run->owner, &ready);
	}
}
