/*-------------------------------------------------------------------------
 * drain.c
 *	  Run what is ready in a client's session.
 *
 * The same batch and the same flush as in a worker, but each batch is a
 * subtransaction of the caller's: what a step did, and the locks on its run,
 * last until the caller commits.  Deferred constraints are checked at that
 * commit too, as they would be for the caller's own statements.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/identity.h"
#include "base/install.h"
#include "catalog/cat_limit.h"
#include "catalog/cat_run.h"
#include "catalog/cat_task.h"
#include "catalog/cat_total.h"
#include "catalog/cat_waiting.h"
#include "define/access.h"
#include "engine/batch.h"
#include "engine/context.h"
#include "engine/drain.h"
#include "guc.h"
#include "shmem/slot.h"

static void require_enabled(void);
static void require_run(int64 run_id);
static List *select_ready(int64 run_id, int limit, bool skip_time);
static HTAB *make_passed(void);
static void note_passed(HTAB *passed, List *keys);
static List *leave_out(List *ready, HTAB *passed);
static void run_batch(FlowBatch *batch, List *ready, int max_steps);

int
FlowDrain(int64 run_id, int max_steps, bool skip_time)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "flow drain",
												  ALLOCSET_DEFAULT_SIZES);
	HTAB	   *passed = make_passed();
	int			done = 0;

	FlowAccessRequireUse();
	if (FlowContextItem() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("flow_drain cannot be called inside a step"),
				 errdetail("The step belongs to a batch that would wait for itself."),
				 errhint("Let the workers run what the step has started.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("flow_drain needs a transaction at READ COMMITTED"),
				 errdetail("With one snapshot it could not see which other steps have ended meanwhile."),
				 errhint("Use BEGIN ISOLATION LEVEL READ COMMITTED.")));
	require_enabled();
	(void) FlowInstallRequireCurrent();
	if (run_id != 0)
		require_run(run_id);

	FlowSlotAttach(FLOW_PROCESS_DRAIN, MyDatabaseId, GetUserId());
	for (;;)
	{
		int			room = FLOW_BATCH_MAX_STEPS;
		List	   *ready = NIL;
		FlowBatch	batch;

		CHECK_FOR_INTERRUPTS();
		if (max_steps > 0)
			room = Min(room, max_steps - done);
		MemoryContextReset(scratch);
		MemoryContextSwitchTo(scratch);
		if (room > 0)
			ready = leave_out(select_ready(run_id, room + (int) hash_get_num_entries(passed),
										   skip_time), passed);
		if (ready == NIL)
			break;
		run_batch(&batch, ready, room);
		done += batch.n_done;
		note_passed(passed, batch.passed);
		if (batch.n_settled == 0 && batch.passed == NIL)
			break;				/* locked by others, or held by a client */
	}
	FlowSlotDetach();
	MemoryContextSwitchTo(caller);
	hash_destroy(passed);
	MemoryContextDelete(scratch);
	return done;
}

/* What stops the workers stops a client too. */
static void
require_enabled(void)
{
	if (!FlowEnabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("execution of workflows is switched off"),
				 errdetail("The setting \"flow.enabled\" is off."),
				 errhint("Switch it on in postgresql.conf and reload the configuration.")));
	if (superuser() && !FlowAllowSuperuser)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("workflows of superusers do not run"),
				 errdetail("The setting \"flow.allow_superuser\" is off."),
				 errhint("Let a role that is no superuser own the workflow.")));
}

static void
require_run(int64 run_id)
{
	FlowIdentity identity;
	FlowRunRow	run;
	bool		found;

	FlowIdentityRaise(&identity);
	found = FlowRunLoad(run_id, &run);
	FlowIdentityRestore(&identity);
	if (!found || !FlowAccessMaySeeRun(run.owner, run.started_by, run.workflow_id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist", run_id),
				 errdetail("There is no such run, or you have no privilege on it."),
				 errhint("Look at flow.run for the runs you may see.")));
	if (run.owner != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("run " INT64_FORMAT " can only be drained as role \"%s\"",
						run_id, GetUserNameFromId(run.owner, true)),
				 errdetail("Its steps run as the role that owned the workflow when it was started."),
				 errhint("Use SET ROLE first.")));
}

static List *
select_ready(int64 run_id, int limit, bool skip_time)
{
	FlowIdentity identity;
	Oid			owner = GetUserId();
	List	   *ready;

	FlowIdentityRaise(&identity);
	if (skip_time && run_id != 0)
	{
		FlowTotalElapse(run_id);
		FlowWaitingElapse(run_id);
	}
	FlowTaskWakeDue(owner, run_id, skip_time && run_id != 0);
	ready = FlowTaskReadyOf(owner, run_id, limit);
	if (ready == NIL && FlowLimitRelease(owner, run_id, limit) > 0)
		ready = FlowTaskReadyOf(owner, run_id, limit);
	FlowIdentityRestore(&identity);
	return ready;
}

/*
 * Steps that only a worker can run, since they need a transaction of their own
 * isolation level: once met, they are not looked at again.
 */
static HTAB *
make_passed(void)
{
	HASHCTL		info = {
		.keysize = sizeof(FlowStepKey),
		.entrysize = sizeof(FlowStepKey),
		.hcxt = CurrentMemoryContext
	};

	return hash_create("flow drain passed", 16, &info,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
note_passed(HTAB *passed, List *keys)
{
	ListCell   *cell;

	foreach(cell, keys)
		(void) hash_search(passed, lfirst(cell), HASH_ENTER, NULL);
}

static List *
leave_out(List *ready, HTAB *passed)
{
	ListCell   *cell;

	foreach(cell, ready)
		if (hash_search(passed, &((FlowReady *) lfirst(cell))->key, HASH_FIND, NULL))
		ready = foreach_delete_current(ready, cell);
	return ready;
}

static void
run_batch(FlowBatch *batch, List *ready, int max_steps)
{
	FlowPlan   *plan = palloc0(sizeof(FlowPlan));
	ListCell   *cell;

	plan->keys = palloc(sizeof(FlowStepKey) * list_length(ready));
	plan->max_steps = max_steps;
	foreach(cell, ready)
		plan->keys[plan->n_keys++] = ((FlowReady *) lfirst(cell))->key;

	memset(batch, 0, sizeof(FlowBatch));
	batch->scope = FLOW_GUARD_SUBTRANSACTION;
	batch->plan_context = CurrentMemoryContext;
	FlowBatchDo(batch, plan);
}
