/*-------------------------------------------------------------------------
 * suspect.c
 *	  Steps that ran when their process died, and what is done about them.
 *
 * A step that takes the server down would do it for ever, since nothing of its
 * attempt survives but what the flight recorder has noted.  The scheduler
 * stores that before anything runs (worker/repair.c); here it is acted upon.
 * A suspect runs alone and with care: its note is flushed before it starts.
 * Twice charged it fails with WF005, whatever its retries say; charges are no
 * attempts, since a step that is killed along with another has not failed.
 *
 * A definition is charged as well.  When steps of it have been charged four
 * times and none has come to an end in between, it is quarantined: its steps
 * are held until flow_release_all(), so that a thousand runs of a bad step do
 * not cost two thousand crashes.
 *
 * All of it costs a look into shared memory per batch while nobody is under
 * suspicion, and two statements per batch as long as somebody is.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_crash.h"
#include "engine/redo.h"
#include "engine/suspect.h"
#include "error.h"
#include "shmem/facts.h"

/* Charges after which a step fails */
#define CHARGES_TO_FAIL			2

static void learn(FlowBatch *batch);
static const FlowCrashRow *find_step(const FlowBatch *batch,
									 const FlowStepKey *key);
static int	charges_of(const FlowBatch *batch, const FlowStepDef *step);
static void judge(FlowBatch *batch, FlowItem *item);
static void fail(FlowItem *item, const FlowCrashRow *row);
static void set_apart(FlowBatch *batch, FlowItem *item);

void
FlowSuspectSort(FlowBatch *batch)
{
	ListCell   *cell;

	batch->suspects = NIL;
	batch->suspect_steps = NIL;
	if (batch->runs == NIL || !FlowDatabaseIsWatched(MyDatabaseId))
		return;
	learn(batch);
	if (batch->plan->failure != NULL)
		return;
	foreach(cell, batch->items)
		judge(batch, lfirst(cell));
}

static void
learn(FlowBatch *batch)
{
	int			n = list_length(batch->runs);
	int64	   *runs = palloc(sizeof(int64) * n);
	int32	   *definitions = palloc(sizeof(int32) * n);
	FlowIdentity identity;

	for (int i = 0; i < n; i++)
	{
		FlowRunRef *run = list_nth(batch->runs, i);

		runs[i] = run->id;
		definitions[i] = run->definition->id;
	}
	FlowIdentityRaise(&identity);
	batch->suspects = FlowCrashListOf(runs, n);
	batch->suspect_steps = FlowCrashCountOf(definitions, n);
	FlowIdentityRestore(&identity);
}

static void
judge(FlowBatch *batch, FlowItem *item)
{
	const FlowCrashRow *row;

	if (item->step == NULL || item->status != FLOW_STEP_READY)
		return;
	row = find_step(batch, &item->key);
	if (row != NULL && row->charges >= CHARGES_TO_FAIL)
		fail(item, row);
	else if (charges_of(batch, item->step) >= FLOW_CRASH_QUARANTINE)
		item->status = FLOW_STEP_HELD;
	else if (row != NULL && !batch->plan->careful &&
			 batch->scope == FLOW_GUARD_TRANSACTION)
		set_apart(batch, item);
}

static const FlowCrashRow *
find_step(const FlowBatch *batch, const FlowStepKey *key)
{
	ListCell   *cell;

	foreach(cell, batch->suspects)
	{
		const FlowCrashRow *row = lfirst(cell);

		if (memcmp(&row->key, key, sizeof(FlowStepKey)) == 0)
			return row;
	}
	return NULL;
}

static int
charges_of(const FlowBatch *batch, const FlowStepDef *step)
{
	ListCell   *cell;

	foreach(cell, batch->suspect_steps)
	{
		const FlowCrashCount *count = lfirst(cell);

		if (count->definition_id == step->definition->id &&
			count->step_no == step->no)
			return count->charges;
	}
	return 0;
}

static void
fail(FlowItem *item, const FlowCrashRow *row)
{
	FlowFailure *failure = palloc0(sizeof(FlowFailure));

	strlcpy(failure->sqlstate, unpack_sql_state(ERRCODE_FLOW_STEP_CRASHED),
			sizeof(failure->sqlstate));
	failure->message = psprintf("the server or its worker went down while it ran step \"%s\"",
								item->step->name);
	failure->detail = psprintf("This has happened %d times to this step of the run.",
							   row->charges);
	failure->hint = pstrdup("Look at the server's log for the cause; flow_retry() tries the step again.");
	item->failure = failure;
	item->status = FLOW_STEP_FAILED;
	item->started_at = row->at;
	item->finished_at = GetCurrentTimestamp();
	ereport(LOG,
			(errmsg("step \"%s\" of run " INT64_FORMAT " failed: %s",
					item->step->name, item->key.run_id, failure->message),
			 errdetail_log("Workflow \"%s\", SQLSTATE %s.",
						   item->step->definition->workflow,
						   failure->sqlstate)));
}

static void
set_apart(FlowBatch *batch, FlowItem *item)
{
	MemoryContext caller = MemoryContextSwitchTo(batch->plan_context);
	FlowStepKey *key = palloc(sizeof(FlowStepKey));

	*key = item->key;
	batch->apart = lappend(batch->apart, key);
	item->apart = true;
	MemoryContextSwitchTo(caller);
}

bool
FlowSuspectIs(const FlowBatch *batch, int64 run_id, const FlowStepDef *step)
{
	FlowStepKey key = {run_id, step->no, 0};

	return find_step(batch, &key) != NULL ||
		charges_of(batch, step) >= FLOW_CRASH_QUARANTINE;
}

List *
FlowSuspectPlans(const FlowBatch *batch, List *rest)
{
	ListCell   *cell;

	foreach(cell, batch->apart)
	{
		FlowPlan   *plan = FlowRedoPlanFor(lfirst(cell));

		plan->careful = true;
		rest = lappend(rest, plan);
	}
	return rest;
}

void
FlowSuspectSettle(const FlowBatch *batch)
{
	ListCell   *cell;

	if (batch->suspects == NIL && batch->suspect_steps == NIL)
		return;
	foreach(cell, batch->items)
	{
		const FlowItem *item = lfirst(cell);

		if (item->step == NULL || item->status == FLOW_STEP_READY ||
			item->status == FLOW_STEP_HELD || item->status == FLOW_STEP_SLEEPING ||
			item->status == FLOW_STEP_WAITING)
			continue;
		if (find_step(batch, &item->key) != NULL)
			FlowCrashClose(item->key.run_id, item->key.step_no,
						   item->key.item_no);
		if ((item->executed || item->ended) && charges_of(batch, item->step) > 0)
			FlowCrashClear(item->step->definition->id, item->step->no);
	}
}
