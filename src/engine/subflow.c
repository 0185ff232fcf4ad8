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

#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "catalog/cat_child.h"
#include "catalog/cat_task.h"
#include "engine/subflow.h"
#include "shmem/wake.h"

static FlowItem *ended_step(FlowBatch *batch, FlowItem *message);
static FlowTaskRow *waiting_task(FlowBatch *batch, const FlowRunRef *run,
								 int step_no);
static FlowFailure *failure_of(const FlowChildRow *child);
static char *text_of(const FlowChildRow *child, const char *key);

void
FlowSubflowTell(int64 run_id, int32 step_no, int32 item_no)
{
	ListCell   *cell;

	foreach(cell, FlowChildListOf(run_id, step_no, false))
	{
		FlowReady	ready;
		Oid			owner;

		if (FlowChildTell(*(int64 *) lfirst(cell), item_no, &owner, &ready))
			FlowWakeNoteReady(owner, &ready);
	}
}

void
FlowSubflowTellEnd(int64 parent, int32 step_no)
{
	FlowReady	ready;
	Oid			owner;

	if (FlowChildTell(parent, -step_no, &owner, &ready))
		FlowWakeNoteReady(owner, &ready);
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
	int			no = -message->key.item_no;
	FlowTaskRow *task = waiting_task(batch, run, no);
	FlowChildRow child;
	FlowItem   *item;

	if (task == NULL || !FlowChildOf(run->id, no, &child) ||
		!FlowRunStatusIsFinal(child.status))
		return NULL;
	item = palloc0(sizeof(FlowItem));
	item->key = task->key;
	item->run = run;
	item->step = &run->definition->steps[no - 1];
	item->has_task = true;
	item->tid = task->tid;
	item->attempt = task->attempt;
	item->started_at = child.created_at;
	item->finished_at = GetCurrentTimestamp();
	item->status = FLOW_STEP_COMPLETED;
	item->output = child.output.value;
	item->has_output = !child.output.isnull;
	if (child.status != FLOW_RUN_COMPLETED)
	{
		item->status = FLOW_STEP_FAILED;
		item->has_output = false;
		item->failure = failure_of(&child);
	}
	run->items[no] = item;
	return item;
}

/*
 * A worker that has claimed the step by an old entry of the queue holds the row
 * although it waits, until the end of its batch: then the message is kept.
 */
static FlowTaskRow *
waiting_task(FlowBatch *batch, const FlowRunRef *run, int step_no)
{
	ListCell   *cell;

	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);

		if (task->key.step_no == step_no && task->waits)
			return task;
	}
	foreach(cell, FlowTaskListOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);

		if (task->key.step_no == step_no && task->waits)
			FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
	}
	return NULL;
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
		strlcpy(failure->sqlstate, text_of(child, "sqlstate"),
				sizeof(failure->sqlstate));
		failure->message = text_of(child, "message");
		failure->hint = text_of(child, "hint");
	}
	failure->detail = psprintf("Run " INT64_FORMAT ", which this step has started, %s.",
							   child->id,
							   child->status == FLOW_RUN_FAILED ? "failed" : "was cancelled");
	return failure;
}

/* NULL if the error does not say. */
static char *
text_of(const FlowChildRow *child, const char *key)
{
	JsonbValue	buffer;
	JsonbValue *value;

	value = getKeyJsonValueFromContainer(&DatumGetJsonbP(child->error.value)->root,
										 key, strlen(key), &buffer);
	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}
