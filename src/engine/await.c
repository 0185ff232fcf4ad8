/*-------------------------------------------------------------------------
 * await.c
 *	  Wait until a run has finished.
 *
 * Sleeps on a condition variable in shared memory that whoever ends the run
 * wakes after the commit; no table is polled.  A transaction that has done
 * anything the run could need, or could never see the run's end, is refused
 * rather than left to wait for itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_run.h"
#include "catalog/cat_workflow.h"
#include "compat.h"
#include "define/plan.h"
#include "engine/await.h"
#include "engine/context.h"
#include "shmem/waiters.h"
#include "shmem/wake.h"

/* Milliseconds after which a vanished client is noticed */
#define CHECK_CLIENT_AFTER	5000

static void require_waitable(int64 run_id);
static void refuse_command(int64 run_id);
static const char *find_command(FlowDefinition *definition, List **seen);
static void refuse(int64 run_id, const char *detail);
static bool holds_strong_lock(void);
static bool is_over(int64 run_id);
static void sleep_until(ConditionVariable *waiters, TimestampTz until);
static void check_client(void);

void
FlowAwait(int64 run_id, TimestampTz until)
{
	ConditionVariable *waiters = FlowWaitersOf(run_id);
	TimestampTz checked_at = GetCurrentTimestamp();

	if (FlowContextItem() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("flow_await cannot be called inside a step"),
				 errdetail("The step's worker may be the one that has to run what it waits for."),
				 errhint("Let the caller wait, or start that run from a later step.")));
	if (waiters != NULL)
		ConditionVariablePrepareToSleep(waiters);
	if (!is_over(run_id))
		require_waitable(run_id);
	while (!is_over(run_id) && GetCurrentTimestamp() < until)
	{
		sleep_until(waiters, until);
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(checked_at, GetCurrentTimestamp(),
									   CHECK_CLIENT_AFTER))
		{
			check_client();
			checked_at = GetCurrentTimestamp();
		}
	}
	if (waiters != NULL)
		ConditionVariableCancelSleep();
}

static void
require_waitable(int64 run_id)
{
	if (FlowWakeHasReady())
		refuse(run_id, "This transaction has started a run, which begins when it commits.");
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		refuse(run_id, "This transaction has written or holds a lock, and a step could wait for it.");
	if (IsolationUsesXactSnapshot())
		refuse(run_id, "This transaction reads with one snapshot, which cannot see the end of the run.");
	if (holds_strong_lock())
		refuse(run_id, "This transaction holds a lock that a step could wait for.");
	refuse_command(run_id);
}

/*
 * Who waits in a SELECT holds a snapshot, and a command may wait for that to go,
 * as CREATE INDEX CONCURRENTLY does.
 */
static void
refuse_command(int64 run_id)
{
	FlowIdentity identity;
	const char *step = NULL;
	List	   *seen = NIL;
	FlowRunRow	run;

	FlowIdentityRaise(&identity);
	if (FlowRunLoad(run_id, &run))
		step = find_command(FlowPlanLookup(run.definition_id), &seen);
	FlowIdentityRestore(&identity);
	if (step == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot wait for run " INT64_FORMAT ", which has commands", run_id),
			 errdetail("Step \"%s\" could wait for the transaction that waits for it.", step),
			 errhint("Use LISTEN flow, or look at flow.run between transactions.")));
}

/* The name of a step of the definition, or of what it starts; NULL: none. */
static const char *
find_command(FlowDefinition *definition, List **seen)
{
	const char *found = NULL;

	CHECK_FOR_INTERRUPTS();
	if (list_member_int(*seen, definition->id))
		return NULL;
	*seen = lappend_int(*seen, definition->id);
	for (int i = 0; i < definition->n_all && found == NULL; i++)
	{
		FlowStepDef *step = &definition->steps[i];
		FlowWorkflow workflow;

		if (step->kind == FLOW_KIND_COMMAND)
			return step->name;
		if (step->kind == FLOW_KIND_SUBFLOW &&
			FlowWorkflowLoad(step->workflow, &workflow))
			found = find_command(FlowPlanLookup(workflow.definition_id), seen);
	}
	return found;
}

static void
refuse(int64 run_id, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot wait for run " INT64_FORMAT " in this transaction", run_id),
			 errdetail("%s", detail),
			 errhint("Use two statements, each a transaction of its own: SELECT flow_start(...); then SELECT * FROM flow_await(" INT64_FORMAT ");",
					 run_id)));
}

/* A lock on a table that could stop a step: anything above reading. */
static bool
holds_strong_lock(void)
{
	LockData   *locks = GetLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		LockInstanceData *lock = &locks->locks[i];
		LOCKMASK	strong = ~(LOCKBIT_ON(AccessShareLock) | 1);

		if (lock->pid == MyProcPid &&
			lock->locktag.locktag_type == LOCKTAG_RELATION &&
			(lock->holdMask & strong) != 0)
			return true;
	}
	return false;
}

static bool
is_over(int64 run_id)
{
	FlowIdentity identity;
	bool		over;

	FlowIdentityRaise(&identity);
	over = FlowRunIsOver(run_id);
	FlowIdentityRestore(&identity);
	return over;
}

/*
 * Without the library preloaded there is nothing to sleep on but the clock.
 * The ends of other runs may wake us all the time.
 */
static void
sleep_until(ConditionVariable *waiters, TimestampTz until)
{
	long		timeout = CHECK_CLIENT_AFTER;

	if (!TIMESTAMP_IS_NOEND(until))
		timeout = Min(timeout, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until));
	timeout = Max(timeout, 1);
	if (waiters != NULL)
		(void) ConditionVariableTimedSleep(waiters, timeout, FlowWaitEvent("FlowAwait"));
	else
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(timeout, 1000), FlowWaitEvent("FlowAwait"));
		ResetLatch(MyLatch);
	}
}

static void
check_client(void)
{
	if (MyProcPort != NULL && !pq_check_connection())
		ereport(FATAL,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to client lost while it waited for a run"),
				 errdetail("The run goes on without it."),
				 errhint("If the client is still there, have tcp_keepalives_idle keep its connection alive.")));
}
