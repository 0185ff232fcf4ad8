/*-------------------------------------------------------------------------
 * subflow.c
 *	  What passes between a run and those that its steps have started.
 *
 * A step of kind subflow starts a run in its own transaction and waits; its
 * row in task stays, as "waiting".  Neither of the two runs is ever locked by
 * who holds the other: the end of the child, and a cancel, pause or resume of
 * the parent, are rows that stand for the other run (cat_child.c), inserted in
 * the same transaction, and settled by a worker behind its commit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/json.h"
#include "catalog/cat_child.h"
#include "catalog/cat_live.h"
#include "catalog/cat_run.h"
#include "engine/subflow.h"
#include "engine/waiting.h"
#include "shmem/wake.h"

static FlowItem *ended_step(FlowBatch *batch, FlowItem *message);
static int32 number_of(const FlowStepKey *key);
static FlowStepKey key_of(const FlowItem *message);
static void wake(const FlowRunRef *run, const FlowStepKey *key);
static void take_end(FlowItem *item, const FlowChildRow *child);
static FlowFailure *failure_of(const FlowChildRow *child);

void
FlowSubflowTell(int64 run_id, int32 step_no, int32 item_no, int32 what)
{
	FlowStepKey parent = {run_id, step_no, item_no};
	ListCell   *cell;

	foreach(cell, FlowChildListOf(&parent, false))
	{
		FlowReady	ready;
		Oid			owner;

		if (FlowChildTell(*(int64 *) lfirst(cell), what, &owner, &ready))
			FlowWakeNoteReady(owner, &ready);
	}
}

void
FlowSubflowTellEnd(const FlowStepKey *parent)
{
	FlowReady	ready;
	Oid			owner;

	if (FlowChildTell(parent->run_id, -number_of(parent), &owner, &ready))
		FlowWakeNoteReady(owner, &ready);
}

/*
 * The message says by a number which step its run was: that of the step, and
 * for an item of it as many times more as there can be steps.
 */
static int32
number_of(const FlowStepKey *key)
{
	FlowRunRow	run;

	if (key->item_no == 0 || !FlowRunLoad(key->run_id, &run))
		return key->step_no;
	return key->item_no * (FlowPlanLookup(run.definition_id)->n_all + 1) + key->step_no;
}

static FlowStepKey
key_of(const FlowItem *message)
{
	int			n = message->run->definition->n_all + 1;
	int32		number = -message->key.item_no;

	return (FlowStepKey)
	{
		message->run->id, number % n, number / n
	};
}

void
FlowSubflowCheckItem(const FlowItem *item)
{
	int			n = item->step->definition->n_all + 1;

	if (item->key.item_no > PG_INT32_MAX / n - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("step \"%s\" has too many items", item->step->name),
				 errdetail("Only %d of them can be runs of their own.",
						   PG_INT32_MAX / n - 1),
				 errhint("Let each item stand for several.")));
}

void
FlowSubflowSettle(FlowBatch *batch)
{
	List	   *ended = NIL;
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *message = lfirst(cell);
		FlowItem   *item;

		if (message->step != NULL || message->key.item_no >= 0 ||
			!message->run->locked ||
			FlowRunStatusIsFinal(message->run->status))
			continue;
		item = ended_step(batch, message);
		if (item != NULL)
			ended = lappend(ended, item);
	}
	batch->items = list_concat(batch->items, ended);
}

/* NULL if the step does not wait any more, or not for a run that has ended. */
static FlowItem *
ended_step(FlowBatch *batch, FlowItem *message)
{
	FlowRunRef *run = message->run;
	FlowStepKey key = key_of(message);
	FlowTaskRow task;
	FlowChildRow child;
	FlowItem   *item;

	/*
	 * busy: by a worker that has claimed it by an old entry of the queue, and
	 * holds it until the end of its batch; the message is kept
	 */
	switch (FlowTaskLock(&key, FLOW_STEP_WAITING, &task))
	{
		case FLOW_HOLD_BUSY:
			FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
		case FLOW_HOLD_GONE:
			return NULL;
		case FLOW_HOLD_TAKEN:
			break;
	}
	if (!FlowChildOf(&key, &child) || !FlowRunStatusIsFinal(child.status))
		return NULL;
	if (child.status == FLOW_RUN_COMPLETED &&
		run->definition->steps[key.step_no - 1].sql[FLOW_SQL_RESULT].text !=NULL)
	{
		wake(run, &key);
		return NULL;
	}
	item = palloc0(sizeof(FlowItem));
	item->key = key;
	item->run = run;
	item->step = &run->definition->steps[key.step_no - 1];
	item->has_task = true;
	item->tid = task.tid;
	item->attempt = task.attempt + (FlowWaitingIs(item->step) ? 1 : 0);
	item->ended = true;
	item->started_at = child.created_at;
	item->finished_at = GetCurrentTimestamp();
	take_end(item, &child);
	if (FlowWaitingIs(item->step))
		FlowWaitingBegin(item);
	if (FlowItemIsStep(item))
		run->items[key.step_no] = item;
	return item;
}

/* It is executed again, since its on_result is to be run. */
static void
wake(const FlowRunRef *run, const FlowStepKey *key)
{
	FlowReady	ready;

	FlowWaitingSetReady(key);
	memset(&ready, 0, sizeof(ready));
	ready.key = *key;
	ready.workflow_id = run->workflow_id;
	ready.definition_id = run->definition->id;
	ready.priority = FlowPlanPriority(&run->definition->steps[key->step_no - 1],
									  run->priority);
	FlowWakeNoteReady(run->owner, &ready);
}

static void
take_end(FlowItem *item, const FlowChildRow *child)
{
	item->status = FLOW_STEP_COMPLETED;
	item->output = child->output.value;
	item->has_output = !child->output.isnull;
	if (child->status == FLOW_RUN_COMPLETED)
		return;
	item->status = FLOW_STEP_FAILED;
	item->has_output = false;
	item->failure = failure_of(child);
}

bool
FlowSubflowHasEnded(const FlowStepKey *key)
{
	FlowChildRow child;

	return FlowChildOf(key, &child) &&
		FlowRunStatusIsFinal(child.status);
}

bool
FlowSubflowRecall(FlowItem *item)
{
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	FlowChildRow child;
	bool		ended;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	MemoryContextSwitchTo(GetMemoryChunkContext(item->run));
	ended = FlowChildOf(&item->key, &child) &&
		FlowRunStatusIsFinal(child.status);
	if (ended)
		take_end(item, &child);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	return ended;
}

void
FlowSubflowLeave(FlowItem *item)
{
	FlowIdentity identity;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	FlowSubflowTell(item->run->id, item->step->no, item->key.item_no,
					FLOW_ITEM_CANCEL);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
}

static FlowFailure *
failure_of(const FlowChildRow *child)
{
	FlowFailure *failure = palloc0(sizeof(FlowFailure));

	if (child->error.isnull)
	{
		strcpy(failure->sqlstate, "57014");
		failure->message = psprintf("run " INT64_FORMAT " was cancelled", child->id);
	}
	else
	{
		strlcpy(failure->sqlstate, FlowJsonGetText(child->error.value, "sqlstate"),
				sizeof(failure->sqlstate));
		failure->message = FlowJsonGetText(child->error.value, "message");
		failure->hint = FlowJsonGetText(child->error.value, "hint");
	}
	failure->detail = psprintf("Run " INT64_FORMAT ", which this step has started, %s.",
							   child->id,
							   child->status == FLOW_RUN_FAILED ? "failed" : "was cancelled");
	return failure;
}
