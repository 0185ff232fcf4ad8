/*-------------------------------------------------------------------------
 * flush.c
 *	  Writes what a batch decided.
 *
 * Phases: lock the runs, in id order; look at them again; settle; write; do
 * what control functions inside the steps asked for.  The locks are held only
 * until the commit that follows at once.  Whatever two workers could decide
 * at the same time (a join, the end of a run) is decided here and nowhere
 * else.
 *
 * A run that a client holds is not waited for beyond a moment, since the
 * other steps of the batch hold locks of their own: the batch is given up,
 * and done again without that run.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/identity.h"
#include "catalog/cat_event.h"
#include "catalog/cat_run.h"
#include "catalog/catalog.h"
#include "engine/changes.h"
#include "engine/claim.h"
#include "engine/command.h"
#include "engine/context.h"
#include "engine/control.h"
#include "engine/flush.h"
#include "engine/isolated.h"
#include "engine/limit.h"
#include "engine/map.h"
#include "engine/settle.h"
#include "engine/subflow.h"
#include "engine/suspect.h"
#include "engine/waiting.h"
#include "shmem/testpoint.h"

static bool is_touched(const FlowItem *item);
static int64 *touched_runs(FlowBatch *batch, int *n);
static int	compare_ids(const void *a, const void *b);
static void lock_runs(FlowBatch *batch, int64 *ids, int n);
static void take_locked(FlowBatch *batch, const FlowRunRow *rows, int n);
static void wait_for_missing(FlowBatch *batch, const int64 *ids, int n);
static void look_again(FlowBatch *batch, FlowRunRef *run, const FlowRunRow *row);
static bool has_turned(FlowRunStatus from, FlowRunStatus to);
static bool has_executed(const FlowBatch *batch, const FlowRunRef *run,
						 bool late);
static void learn_ends(FlowBatch *batch);
static void settle(FlowBatch *batch, FlowChanges *changes);
static void save_data(FlowBatch *batch);
static void apply_controls(FlowBatch *batch);
static void note_done(FlowBatch *batch);

void
FlowFlush(FlowBatch *batch)
{
	FlowIdentity identity;
	FlowChanges changes;
	int64	   *ids;
	int			n;

	CHECK_FOR_INTERRUPTS();
	ids = touched_runs(batch, &n);
	if (n > 0)
	{
		FLOW_TEST_POINT("flush-begin");
		FlowIdentityRaise(&identity);
		FlowChangesInit(&changes);
		lock_runs(batch, ids, n);
		FLOW_TEST_POINT("flush-locked");
		settle(batch, &changes);
		save_data(batch);
		FlowChangesWrite(&changes);
		FlowLimitNoteFreed(batch);
		FlowSuspectSettle(batch);
		apply_controls(batch);
		FlowIdentityRestore(&identity);
		FLOW_TEST_POINT("flush-written");
	}
	note_done(batch);
}

static bool
is_touched(const FlowItem *item)
{
	return item->status != FLOW_STEP_READY || item->step == NULL;
}

/* The runs to lock: those of which a step has ended, and those to control. */
static int64 *
touched_runs(FlowBatch *batch, int *n)
{
	int64	   *ids = palloc(sizeof(int64) * (list_length(batch->items) +
											  list_length(batch->controls) + 1));
	int			count = 0;
	int			unique = 0;
	ListCell   *cell;

	foreach(cell, batch->items)
		if (is_touched(lfirst(cell)))
		ids[count++] = ((FlowItem *) lfirst(cell))->key.run_id;
	foreach(cell, batch->controls)
		ids[count++] = ((FlowControl *) lfirst(cell))->run_id;

	qsort(ids, count, sizeof(int64), compare_ids);
	for (int i = 0; i < count; i++)
		if (i == 0 || ids[i] != ids[i - 1])
			ids[unique++] = ids[i];
	*n = unique;
	return ids;
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * First whatever is free; then the others in id order, a moment each.
 */
static void
lock_runs(FlowBatch *batch, int64 *ids, int n)
{
	FlowRunRow *rows;
	int			found = FlowRunLock(ids, n, true, &rows);

	take_locked(batch, rows, found);
	if (found < n)
	{
		int			missing = 0;
		int			at = 0;

		for (int i = 0; i < n; i++)
		{
			if (at < found && rows[at].id == ids[i])
				at++;
			else
				ids[missing++] = ids[i];
		}
		wait_for_missing(batch, ids, missing);
	}
}

static void
wait_for_missing(FlowBatch *batch, const int64 *ids, int n)
{
	MemoryContext caller = MemoryContextSwitchTo(batch->plan_context);
	char		wait[32];
	FlowRunRow *rows;

	batch->verdict = FLOW_VERDICT_BLOCKED;
	for (int i = 0; i < n; i++)
	{
		int64	   *id = palloc(sizeof(int64));

		*id = ids[i];
		batch->blocked = lappend(batch->blocked, id);
	}
	MemoryContextSwitchTo(caller);

	snprintf(wait, sizeof(wait), "%dms", FLOW_RUN_LOCK_WAIT);
	(void) set_config_option("lock_timeout", wait, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	n = FlowRunLock(ids, n, false, &rows);
	take_locked(batch, rows, n);
	(void) set_config_option("lock_timeout", "0", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	batch->verdict = FLOW_VERDICT_ERROR;
	batch->blocked = NIL;
}

static void
take_locked(FlowBatch *batch, const FlowRunRow *rows, int n)
{
	for (int i = 0; i < n; i++)
	{
		FlowRunRef *run = FlowBatchFindRun(batch, rows[i].id);

		if (run != NULL)
			look_again(batch, run, &rows[i]);
	}
}

/*
 * The run as it is now that nobody else can change it.  What ran for a run
 * that has been cancelled since must not be committed, nor what would escape
 * the compensation of its run.
 */
static void
look_again(FlowBatch *batch, FlowRunRef *run, const FlowRunRow *row)
{
	ListCell   *cell;

	run->locked = true;
	run->tid = row->tid;
	if (has_turned(run->status, row->status) || (row->early && !run->early) ||
		(run->failing && row->epoch != run->epoch))
		FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
	if (row->epoch != run->epoch && has_executed(batch, run, false))
		FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
	run->status = row->status;
	run->failing = row->failing;
	run->epoch = row->epoch;
	run->parent = row->parent;
	run->notify = row->notify;
	if (FlowRunIsWinding(run))
		run->whole = false;		/* whoever cancelled it has ended steps */
	if (!FlowRunStatusIsFinal(run->status) &&
		run->status != FLOW_RUN_COMPENSATING)
		return;
	if (has_executed(batch, run, true))
		FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run == run && item->step != NULL && !item->ended &&
			!FlowRunLets(run, item->step))
		{
			item->status = FLOW_STEP_CANCELLED;
			item->failure = NULL;
			item->reason = run->failing ? "the run failed"
				: "the run was cancelled";
		}
	}
}

/*
 * Between the claim and now the run has been retried, or stopped before it
 * began: what was made of its steps then is not what should be made of them.
 */
static bool
has_turned(FlowRunStatus from, FlowRunStatus to)
{
	if (FlowRunStatusIsFinal(from))
		return !FlowRunStatusIsFinal(to);
	return from == FLOW_RUN_PENDING &&
		(to == FLOW_RUN_PAUSED || to == FLOW_RUN_HELD);
}

/* late: something that the run does not run any more */
static bool
has_executed(const FlowBatch *batch, const FlowRunRef *run, bool late)
{
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run == run && item->executed &&
			(!late || !FlowRunLets(run, item->step)))
			return true;
	}
	return false;
}

/*
 * A run whose row has gone was deleted with all that belongs to it; that a
 * step of it ran is undone with the batch.  Steps that another one may have
 * overtaken are looked at before anything of them is written.
 */
static void
settle(FlowBatch *batch, FlowChanges *changes)
{
	ListCell   *cell;

	foreach(cell, batch->runs)
	{
		FlowRunRef *run = lfirst(cell);

		if (!run->locked || !FlowRunMayOvertake(run))
			continue;
		run->ended_known = false;
		FlowClaimLearnEnds(batch, run);
	}
	FlowSubflowSettle(batch);
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (!is_touched(item))
			continue;
		if (!item->run->locked)
			FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
		if (item->waiting != NULL)
			FlowWaitingEnd(batch, item);
		FlowSettleItem(batch, item, changes);
	}
	FlowMapSettle(batch, changes);
	learn_ends(batch);
	foreach(cell, batch->runs)
	{
		FlowRunRef *run = lfirst(cell);

		if (run->locked)
			FlowSettleRun(batch, run, changes);
	}
}

/*
 * Only now, with the rows locked, is it settled which steps have ended; what
 * was read before the lock may be old.
 */
static void
learn_ends(FlowBatch *batch)
{
	ListCell   *cell;

	foreach(cell, batch->runs)
	{
		FlowRunRef *run = lfirst(cell);

		run->ended_known = !run->locked ||
			FlowRunMayOvertake(run) ||
			!FlowSettleNeedsEnds(batch, run);
	}
	FlowClaimLearnEnds(batch, NULL);
}

static void
save_data(FlowBatch *batch)
{
	ListCell   *cell;
	ListCell   *inner;

	foreach(cell, batch->runs)
	{
		FlowRunRef *run = lfirst(cell);

		foreach(inner, run->data)
		{
			FlowDatum  *set = lfirst(inner);

			if (set->isnull)
				FlowDataRemove(run->id, set->key);
			else
				FlowDataSave(run->id, set->key, set->value);
		}
	}
}

/* Rights were checked when the function was called in the step. */
static void
apply_controls(FlowBatch *batch)
{
	ListCell   *cell;

	foreach(cell, batch->controls)
		(void) FlowControlApply(lfirst(cell), true);
}

/*
 * What was recorded is counted; steps that were claimed and not run are
 * somebody's work again.  In a worker, a commit that fails after this makes
 * the count, and what is given back, no more than hints.
 */
static void
note_done(FlowBatch *batch)
{
	MemoryContext caller = MemoryContextSwitchTo(batch->plan_context);
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);
		FlowReady  *ready;

		if (is_touched(item))
		{
			batch->n_settled++;
			if ((item->executed && (item->again || !FlowWaitingIsParked(item))) ||
				item->failure != NULL)
				batch->n_done++;
			continue;
		}
		if (item->apart || FlowIsolatedIs(item) || FlowCommandIs(item))
			continue;			/* it comes next, or is passed over */
		ready = palloc0(sizeof(FlowReady));
		ready->key = item->key;
		ready->workflow_id = item->run->workflow_id;
		ready->definition_id = item->run->definition->id;
		ready->priority = FlowPlanPriority(item->step, item->run->priority);
		batch->left = lappend(batch->left, ready);
		batch->n_left++;
	}
	MemoryContextSwitchTo(caller);
}
