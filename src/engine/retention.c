/*-------------------------------------------------------------------------
 * retention.c
 *	  Finished runs are pruned, their payloads erased.
 *
 * By whoever asks (flow_prune, flow_delete_data), in the caller's transaction,
 * and by the scheduler (worker/prune.c), for workflows that say how long they
 * keep what has run.  Both go through the runs of one workflow in order of
 * their ids, until one was created too late to have ended early enough; so the
 * cost is that of the runs that are older, and nobody else's are read.
 *
 * Only runs that have ended are touched, and only if nobody has them locked.
 * So it is safe inside a step too, although nothing else locks a run before
 * the flush: whoever waits for such a run holds it up no longer than its batch
 * takes, and the batch itself waits for none.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/install.h"
#include "catalog/cat_child.h"
#include "catalog/cat_live.h"
#include "define/access.h"
#include "define/workflow.h"
#include "engine/control.h"
#include "engine/retention.h"
#include "error.h"
#include "shmem/testpoint.h"

#define RETENTION_CHUNK	200		/* runs looked at by one call */
#define MAX_YEARS		1000	/* an interval may be so long */

static bool is_due(FlowRetention *retention, const FlowPruneCandidate *run);
static void go_on(FlowRetention *retention);
static TimestampTz compute_before(const Interval *older_than);
static List *list_operable(int64 home, const char *name);
static void erase_children(int64 run_id);
static void require_finished(const FlowRunRow *run);
static void require_no_tasks(int64 run_id);

void
FlowRetentionInit(FlowRetention *retention, int64 home, int32 workflow_id,
				  TimestampTz before)
{
	memset(retention, 0, sizeof(FlowRetention));
	retention->home = home;
	retention->place.workflow_id = workflow_id;
	retention->before = before;
	retention->next = DT_NOEND;
}

void
FlowRetentionRun(FlowRetention *retention)
{
	FlowPruneCandidate runs[RETENTION_CHUNK];
	int64		due[RETENTION_CHUNK];
	int			n_due = 0;
	int			n_done = 0;
	int			n = FlowPruneRead(retention->home, &retention->place, runs,
								  RETENTION_CHUNK);
	bool		at_end = n < RETENTION_CHUNK;

	for (int i = 0; i < n; i++)
	{
		if (is_due(retention, &runs[i]))
			due[n_due++] = runs[i].id;
		if (runs[i].created_at > retention->before)
		{
			at_end = true;
			break;
		}
		retention->place.after = runs[i].id;
	}
	FLOW_TEST_POINT("retention-read");
	if (n_due > 0 && retention->erases)
		n_done = FlowPruneErase(due, n_due, retention->before);
	else if (n_due > 0)
		n_done = FlowPruneDelete(due, n_due, retention->before);
	retention->n_done += n_done;
	retention->n_held += n_due - n_done;
	if (at_end)
		go_on(retention);
}

/* Notes, too, how early a run that stays may be due. */
static bool
is_due(FlowRetention *retention, const FlowPruneCandidate *run)
{
	if (run->created_at > retention->before)
		retention->next = Min(retention->next, run->created_at);
	else if (run->finished_at <= retention->before)
		return true;
	else if (!TIMESTAMP_IS_NOEND(run->finished_at))
		retention->next = Min(retention->next, run->finished_at);
	return false;
}

/* Whole runs go whatever they have lost before; payloads go once. */
static void
go_on(FlowRetention *retention)
{
	if (retention->erases || retention->place.erased == FLOW_ERASED_KEY)
	{
		retention->is_over = true;
		return;
	}
	retention->place.erased++;
	retention->place.after = 0;
}

int64
FlowRetentionPrune(const Interval *older_than, const char *workflow)
{
	int64		home = FlowInstallRequire()->home;
	int64		pruned = 0;
	TimestampTz before;
	FlowIdentity identity;
	List	   *operable;
	ListCell   *cell;

	FlowAccessRequireUse();
	before = compute_before(older_than);
	operable = list_operable(home, workflow);
	FlowIdentityRaise(&identity);
	foreach(cell, operable)
	{
		FlowPruneWorkflow *found = lfirst(cell);
		FlowRetention retention;

		FlowRetentionInit(&retention, home, found->id, before);
		while (!retention.is_over)
		{
			CHECK_FOR_INTERRUPTS();
			FlowRetentionRun(&retention);
		}
		pruned += retention.n_done;
	}
	FlowIdentityRestore(&identity);
	return pruned;
}

static TimestampTz
compute_before(const Interval *older_than)
{
	double		days = older_than->time / (double) USECS_PER_DAY +
	older_than->day + older_than->month * (double) DAYS_PER_MONTH;

	if (days < 0 || days > MAX_YEARS * 366.0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value for older_than is out of range"),
				 errdetail("Expected an interval from 0 to %d years.", MAX_YEARS),
				 errhint("Use '30 days', for instance.")));
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   IntervalPGetDatum(older_than)));
}

/*
 * Those of a name are the one there is and those that were dropped.  One that
 * may not be seen, or not be operated, is an error only if it was asked for.
 */
static List *
list_operable(int64 home, const char *name)
{
	List	   *operable = NIL;
	List	   *all;
	FlowIdentity identity;
	FlowWorkflow workflow;
	ListCell   *cell;

	FlowIdentityRaise(&identity);
	all = FlowPruneListNamed(home, name);
	FlowIdentityRestore(&identity);
	foreach(cell, all)
	{
		FlowPruneWorkflow *found = lfirst(cell);

		if (FlowAccessIsMember(found->owner) ||
			FlowWorkflowHasGrant(found->id, "operate"))
			operable = lappend(operable, found);
	}
	if (name != NULL && operable == NIL)
	{
		FlowWorkflowRequire(name, &workflow);
		FlowAccessRequireMember(&workflow);
	}
	return operable;
}

bool
FlowRetentionErase(int64 run_id, bool with_key)
{
	FlowIdentity identity;
	FlowRunRow	seen;
	FlowRunRow *run;
	bool		changes = false;

	FlowAccessRequireUse();
	FlowControlLoad(run_id, &seen);
	FlowControlRequireRightTo(&seen, "erased");
	require_finished(&seen);

	FlowIdentityRaise(&identity);
	if (FlowRunLock(&run_id, 1, false, &run) > 0)
	{
		require_finished(run);
		with_key = with_key && run->key != NULL &&
			run->erased != FLOW_ERASED_KEY;
		changes = with_key || run->erased == FLOW_ERASED_NOTHING;
		require_no_tasks(run_id);
		if (changes)
			FlowPruneEraseRun(run_id, with_key);
		erase_children(run_id);
	}
	FlowIdentityRestore(&identity);
	return changes;
}

/* What the steps of a run have started was given its data, and has made more. */
static void
erase_children(int64 run_id)
{
	FlowStepKey parent = {run_id};
	ListCell   *cell;

	foreach(cell, FlowChildListOf(&parent, true))
	{
		int64		child = *(int64 *) lfirst(cell);
		FlowRunRow *run;

		check_stack_depth();
		if (FlowRunLock(&child, 1, false, &run) == 0)
			continue;
		if (run->erased == FLOW_ERASED_NOTHING)
			FlowPruneEraseRun(child, false);
		erase_children(child);
	}
}

static void
require_finished(const FlowRunRow *run)
{
	if (!FlowRunStatusIsFinal(run->status))
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("run " INT64_FORMAT " is %s and its data cannot be deleted",
						run->id, FlowRunStatusName(run->status)),
				 errdetail("Only the data of a run that has completed, failed or been cancelled can be."),
				 errhint("Wait until it has finished, or use flow_cancel() first.")));
}

/* Whoever has the step may have something to say about it yet. */
static void
require_no_tasks(int64 run_id)
{
	if (FlowTaskListOf(run_id) != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a step of run " INT64_FORMAT " is still being stopped",
						run_id),
				 errdetail("The run was cancelled, and the worker of the step has not noticed yet."),
				 errhint("Try again in a moment.")));
}
