/*-------------------------------------------------------------------------
 * claim.c
 *	  From keys to locked steps and their runs.
 *
 * All the steps of a batch are claimed as of one snapshot, without waiting.
 * A key that is not returned is gone, or locked by somebody: the latter is
 * remembered, so that the step is looked at again and not forgotten.  Steps of
 * a run that is over, or failing, become items that the flush cleans up.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/identity.h"
#include "base/install.h"
#include "catalog/cat_outcome.h"
#include "catalog/cat_task.h"
#include "define/item.h"
#include "engine/claim.h"
#include "engine/command.h"
#include "engine/control.h"
#include "engine/deadline.h"
#include "engine/emission.h"
#include "engine/isolated.h"
#include "engine/limit.h"
#include "engine/map.h"
#include "engine/waiting.h"
#include "shmem/testpoint.h"

static void add_item(FlowBatch *batch, const FlowTaskRow *row);
static void obey(FlowBatch *batch, const FlowTaskRow *row);
static bool is_hook(const FlowTaskRow *row);
static FlowRunRef *run_of(FlowBatch *batch, const FlowTaskRow *row);
static FlowRunRef *make_run(const FlowTaskRow *row);
static void note_whole(FlowRunRef *run);
static void note_unclaimed(FlowBatch *batch, Oid owner, const FlowTaskRow *rows,
						   int n);
static void forget_ends(FlowBatch *batch, FlowRunRef *run);
static void note_ends(FlowBatch *batch, List *outcomes);
static void note_tried(FlowBatch *batch, const int64 *ids, int n);

void
FlowClaimKeys(FlowBatch *batch)
{
	FlowPlan   *plan = batch->plan;
	const FlowInstall *install;
	FlowIdentity identity;
	Oid			owner = GetUserId();
	FlowTaskRow *rows;
	ListCell   *cell;
	int			n;

	FLOW_TEST_POINT("claim-begin");
	install = FlowInstallGet();
	if (install == NULL || !install->is_current)
		return;					/* dropped since they were queued, or not ours
								 * to run; the worker ends */
	FlowIdentityRaise(&identity);
	n = FlowTaskClaim(plan->keys, plan->n_keys, owner, &rows);
	if (n < plan->n_keys)
		note_unclaimed(batch, owner, rows, n);
	FlowIdentityRestore(&identity);
	FLOW_TEST_POINT("claim-end");
	for (int i = 0; i < n; i++)
		add_item(batch, &rows[i]);
	FlowMapReadItems(batch);
	foreach(cell, batch->runs)
	{
		FlowRunRef *run = lfirst(cell);

		note_whole(run);
		if (FlowRunMayOvertake(run))
			FlowClaimLearnEnds(batch, run);
	}
}

static void
add_item(FlowBatch *batch, const FlowTaskRow *row)
{
	FlowItem   *item;
	FlowRunRef *run;

	if (row->key.step_no == FLOW_STEP_RUN && row->key.item_no > 0 &&
		!FlowWaitingIsLook(&row->key) && !FlowDeadlineIs(&row->key))
		obey(batch, row);
	else if (batch->plan->failure == NULL &&
			 ((row->run->row.status == FLOW_RUN_PAUSED && !row->ended && !row->has_result &&
			   !is_hook(row)) ||
			  row->run->row.status == FLOW_RUN_HELD))
		return;					/* resuming it makes the step known again */
	if (row->run->row.status == FLOW_RUN_PENDING &&
		row->key.step_no != FLOW_STEP_RUN && !is_hook(row))
		return;					/* nor before it starts */

	run = run_of(batch, row);
	item = palloc0(sizeof(FlowItem));
	item->key = row->key;
	item->run = run;
	item->has_task = true;
	item->tid = row->tid;
	item->attempt = row->attempt + 1;
	item->attempt_base = row->attempt_base;
	item->admitted = row->admitted;
	item->status = FLOW_STEP_READY;
	if (row->key.step_no != FLOW_STEP_RUN)
	{
		item->step = &run->definition->steps[row->key.step_no - 1];
		if (FlowItemIsStep(item))
			run->items[row->key.step_no] = item;
		if (row->ended)
			FlowIsolatedRecall(batch, item, &row->end);
		else if (row->has_result)
			FlowCommandNoteRun(item, &row->end);
		else if (!FlowRunLets(run, item->step))
			item->status = FLOW_STEP_CANCELLED;
		if (item->status == FLOW_STEP_CANCELLED &&
			memcmp(&item->key, &batch->plan->interrupted, sizeof(FlowStepKey)) == 0)
			item->started_at = batch->plan->interrupted_start;
		item->wants_place = !row->has_result && FlowLimitWants(batch, item);
	}
	batch->items = lappend(batch->items, item);
	batch->n_claimed++;
}

static bool
is_hook(const FlowTaskRow *row)
{
	return row->key.step_no != FLOW_STEP_RUN &&
		FlowPlanLookup(row->run->row.definition_id)->steps[row->key.step_no - 1].part == FLOW_PART_HOOK;
}

FlowItem *
FlowClaimInline(FlowRunRef *run, FlowStepDef *step)
{
	FlowItem   *item = MemoryContextAllocZero(GetMemoryChunkContext(run),
											  sizeof(FlowItem));

	item->key.run_id = run->id;
	item->key.step_no = step->no;
	item->run = run;
	item->step = step;
	item->attempt_base = FlowRunTried(run, step);
	item->attempt = item->attempt_base + 1;
	item->status = FLOW_STEP_READY;
	return item;
}

void
FlowClaimSkip(FlowBatch *batch, FlowRunRef *run, FlowStepDef *step)
{
	FlowItem   *item = FlowClaimInline(run, step);
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(run));

	item->status = FLOW_STEP_SKIPPED;
	item->reason = FlowReadyReason(step, &run->ends);
	batch->items = lappend(batch->items, item);
	run->items[step->no] = item;
	MemoryContextSwitchTo(caller);
}

bool
FlowRunMayOvertake(const FlowRunRef *run)
{
	return run->early || (run->definition->has_first && !run->whole);
}

bool
FlowRunIsWinding(const FlowRunRef *run)
{
	return run->failing || run->status == FLOW_RUN_COMPENSATING;
}

bool
FlowRunLets(const FlowRunRef *run, const FlowStepDef *step)
{
	if (step->part == FLOW_PART_HOOK)
		return true;
	if (FlowRunStatusIsFinal(run->status))
		return false;
	if (step->part == FLOW_PART_UNDO)
		return run->status == FLOW_RUN_COMPENSATING;
	return !FlowRunIsWinding(run) || step->needs == FLOW_NEEDS_ALWAYS;
}

FlowRunRef *
FlowBatchFindRun(FlowBatch *batch, int64 run_id)
{
	for (int i = list_length(batch->runs) - 1; i >= 0; i--)
	{
		FlowRunRef *run = list_nth(batch->runs, i);

		if (run->id == run_id)
			return run;
	}
	return NULL;
}

/*
 * The row stands for a timer that resumes the run, or for what was done to the
 * run it belongs to.  The flush does it, whatever the run is then.
 */
static void
obey(FlowBatch *batch, const FlowTaskRow *row)
{
	FlowControl *control = palloc0(sizeof(FlowControl));

	control->verb = row->key.item_no == FLOW_ITEM_CANCEL ? FLOW_CONTROL_CANCEL :
		row->key.item_no == FLOW_ITEM_PAUSE ? FLOW_CONTROL_PAUSE :
		FLOW_CONTROL_RESUME;
	control->run_id = row->key.run_id;
	control->level = GetCurrentTransactionNestLevel();
	control->asked_in = row->key;
	batch->controls = lappend(batch->controls, control);
}

static FlowRunRef *
run_of(FlowBatch *batch, const FlowTaskRow *row)
{
	FlowRunRef *run = FlowBatchFindRun(batch, row->key.run_id);

	if (run == NULL)
	{
		run = make_run(row);
		batch->runs = lappend(batch->runs, run);
	}
	return run;
}

static FlowRunRef *
make_run(const FlowTaskRow *row)
{
	FlowRunRef *run = palloc0(sizeof(FlowRunRef));
	const FlowRunRow *found = &row->run->row;
	FlowDefinition *definition = FlowPlanLookup(found->definition_id);
	int			n = definition->n_all + 1;

	run->id = row->key.run_id;
	run->epoch = found->epoch;
	run->status = found->status;
	run->failing = found->failing;
	run->early = found->early;
	run->definition = definition;
	run->workflow_id = found->workflow_id;
	run->owner = GetUserId();
	run->priority = found->priority;
	run->notify = found->notify;
	run->key = found->key;
	run->slot = row->run->slot;
	run->input = row->run->input;
	FlowEndsInit(&run->ends, definition);
	run->items = palloc0(sizeof(FlowItem *) * n);
	run->outputs = palloc0(sizeof(Datum) * n);
	run->outputs_state = palloc0(sizeof(uint8) * n);
	return run;
}

/*
 * At the start of a run there is nothing to read, and if all its first steps
 * are in this batch nobody else can end any step of it.
 */
static void
note_whole(FlowRunRef *run)
{
	FlowDefinition *definition = run->definition;
	int			held = 0;

	for (int i = 0; i < definition->n_roots; i++)
		if (run->items[definition->roots[i]] != NULL)
			held++;
	run->whole = !run->early &&
		(run->status == FLOW_RUN_PENDING ||
		 (held > 0 && held == definition->n_roots));
	run->ended_known = run->whole;
}

/* Both lists are in the order of the keys. */
static void
note_unclaimed(FlowBatch *batch, Oid owner, const FlowTaskRow *rows, int n)
{
	FlowPlan   *plan = batch->plan;
	FlowStepKey *missing = palloc(sizeof(FlowStepKey) * plan->n_keys);
	int			n_missing = 0;
	int			at = 0;
	MemoryContext caller;

	for (int i = 0; i < plan->n_keys; i++)
	{
		if (at < n && memcmp(&plan->keys[i], &rows[at].key, sizeof(FlowStepKey)) == 0)
			at++;
		else
			missing[n_missing++] = plan->keys[i];
	}
	caller = MemoryContextSwitchTo(batch->plan_context);
	batch->unclaimed = list_concat(batch->unclaimed,
								   FlowTaskPeek(missing, n_missing, owner));
	MemoryContextSwitchTo(caller);
}

void
FlowClaimLearnEnds(FlowBatch *batch, FlowRunRef *only)
{
	int64	   *ids = palloc(sizeof(int64) * Max(list_length(batch->runs), 1));
	int32	   *probes = palloc(sizeof(int32) * Max(list_length(batch->runs), 1));
	int			n = 0;
	FlowIdentity identity;
	ListCell   *cell;

	foreach(cell, batch->runs)
	{
		FlowRunRef *run = lfirst(cell);

		if (run->ended_known || (only != NULL && run != only))
			continue;
		probes[n] = FlowItemProbes(run->definition);
		ids[n++] = run->id;
		forget_ends(batch, run);
		run->ended_known = true;
	}
	if (n == 0)
		return;
	FlowIdentityRaise(&identity);
	note_ends(batch, FlowOutcomeListOf(ids, probes, n));
	note_tried(batch, ids, n);
	FlowIdentityRestore(&identity);
}

/* A step that is run again after a retry by hand goes on counting. */
static void
note_tried(FlowBatch *batch, const int64 *ids, int n)
{
	int64	   *early = palloc(sizeof(int64) * n);
	int			n_early = 0;
	ListCell   *cell;

	for (int i = 0; i < n; i++)
	{
		FlowRunRef *run = FlowBatchFindRun(batch, ids[i]);

		if (!run->early || run->tried != NULL)
			continue;
		run->tried = MemoryContextAllocZero(GetMemoryChunkContext(run),
											sizeof(int) * (run->definition->n_all + 1));
		early[n_early++] = ids[i];
	}
	if (n_early == 0)
		return;
	foreach(cell, FlowAttemptListOf(early, n_early))
	{
		const FlowAttemptRow *row = lfirst(cell);

		FlowBatchFindRun(batch, row->key.run_id)->tried[row->key.step_no] = row->attempt;
	}
}

int
FlowRunTried(const FlowRunRef *run, const FlowStepDef *step)
{
	return run->tried == NULL ? 0 : run->tried[step->no];
}

/* What the items of this batch have come to stays known. */
static void
forget_ends(FlowBatch *batch, FlowRunRef *run)
{
	ListCell   *cell;

	FlowEndsForget(&run->ends, run->definition);
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run != run || item->step == NULL ||
			item->status == FLOW_STEP_READY ||
			item->status == FLOW_STEP_HELD ||
			item->status == FLOW_STEP_SLEEPING ||
			item->status == FLOW_STEP_WAITING ||
			item->status == FLOW_STEP_RUNNING || !FlowItemIsStep(item))
			continue;
		FlowEndsNote(&run->ends, item->key.step_no, item->status,
					 FlowEmissionMask(item));
	}
}

/*
 * A step of this batch that has an end already was ended by another one, that
 * was first: what it did must not be committed, and there is nothing to write.
 */
static void
note_ends(FlowBatch *batch, List *outcomes)
{
	ListCell   *cell;

	foreach(cell, outcomes)
	{
		FlowOutcomeRow *row = lfirst(cell);
		FlowRunRef *run = FlowBatchFindRun(batch, row->key.run_id);

		FlowItem   *item = run->items[row->key.step_no];

		if (item != NULL && item->executed)
			FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
		if (item != NULL && item->has_task)
		{
			item->overtaken = true;
			if (item->status == FLOW_STEP_READY)
				item->status = FLOW_STEP_CANCELLED;
		}
		FlowEndsNote(&run->ends, row->key.step_no, row->status,
					 FlowEmissionStoredMask(run->definition, row));
		if (run->definition->steps[row->key.step_no - 1].items != 0 &&
			!FlowRunIsWinding(run))
			FlowMapOvertake(batch, run, row->key.step_no);
	}
}
