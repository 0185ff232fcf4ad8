/*-------------------------------------------------------------------------
 * waiting.c
 *	  Steps that wait for a time, a signal or a decision.
 *
 * Such a step is executed like any other.  If what it waits for is not there,
 * the flush puts its task aside, as sleeping or waiting, and nothing of it is
 * left in any process.  When its time has come a timer makes it ready again;
 * when a message has come, whoever sent it has left a row in task that stands
 * for the run and asks to look, a new one for each message.
 *
 * No wake-up is lost: the flush that puts a step aside, and the one that looks,
 * both have the run locked.  Either the first comes before, and the other finds
 * a step that waits; or it comes after, and sees the message, since that was
 * committed with the row that asked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_live.h"
#include "catalog/cat_task.h"
#include "engine/limit.h"
#include "engine/round.h"
#include "engine/subflow.h"
#include "engine/total.h"
#include "engine/waiting.h"
#include "error.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"

/* Up to where signals of a name are spoken for */
typedef struct TakenSignal
{
	const char *name;
	int64		last;			/* id */
} TakenSignal;

static void require_all(FlowBatch *batch, const FlowRunRef *run, List *waiting);
static int64 last_taken(const FlowItem *item);
static bool has_message(const FlowRunRef *run, const FlowStepKey *key,
						List **taken);
static int64 *last_signal(List **taken, const char *name);

bool
FlowWaitingIs(const FlowStepDef *step)
{
	return step->kind == FLOW_KIND_DELAY || step->kind == FLOW_KIND_WAIT ||
		step->kind == FLOW_KIND_APPROVAL ||
		(step->kind == FLOW_KIND_SUBFLOW &&
		 (step->timeout > 0 || step->total_timeout > 0 ||
		  step->sql[FLOW_SQL_RESULT].text !=NULL));
}

bool
FlowWaitingIsParked(const FlowItem *item)
{
	return (item->waiting != NULL || item->again || item->wants_place) &&
		item->failure == NULL &&
		(item->status == FLOW_STEP_SLEEPING || item->status == FLOW_STEP_WAITING);
}

bool
FlowWaitingIsLook(const FlowStepKey *key)
{
	return key->step_no == FLOW_STEP_RUN && key->item_no >= FLOW_ITEM_LOOK;
}

void
FlowWaitingBegin(FlowItem *item)
{
	FlowWaiting *waiting = MemoryContextAllocZero(GetMemoryChunkContext(item->run),
												  sizeof(FlowWaiting));
	FlowIdentity identity;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	waiting->begun = FlowWaitingLoad(&item->key, &waiting->since, &waiting->due_at);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	if (!waiting->begun && item->step->kind != FLOW_KIND_DELAY &&
		item->step->timeout > 0)
		waiting->due_at = waiting->since + item->step->timeout;
	if (item->step->kind != FLOW_KIND_DELAY)
		waiting->due_at = Min(waiting->due_at, FlowTotalDue(item));
	item->waiting = waiting;
}

bool
FlowWaitingFindSignal(FlowItem *item, FlowSignalRow *signal)
{
	FlowRunRef *run = item->run;
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	signal->id = last_taken(item);
	found = FlowSignalFind(run->id, run->workflow_id, run->key,
						   item->step->signal, signal);
	if (found)
	{
		item->waiting->signal = signal->id;
		MemoryContextSwitchTo(GetMemoryChunkContext(run));
		if (signal->has_payload)
			signal->payload = datumCopy(signal->payload, false, -1);
	}
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	return found;
}

/* One that another item of this batch has found is that one's. */
static int64
last_taken(const FlowItem *item)
{
	int64		last = 0;
	ListCell   *cell;

	foreach(cell, FlowBatchCurrent()->items)
	{
		const FlowItem *other = lfirst(cell);

		if (other->run == item->run && other != item && other->waiting != NULL &&
			strcmp(other->step->signal, item->step->signal) == 0)
			last = Max(last, other->waiting->signal);
	}
	return last;
}

bool
FlowWaitingFindDecision(FlowItem *item, FlowDecisionRow *decision)
{
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	found = FlowDecisionLoad(&item->key, decision);
	item->waiting->decided = found;
	MemoryContextSwitchTo(GetMemoryChunkContext(item->run));
	if (found)
	{
		decision->by = pstrdup(decision->by);
		if (decision->approver != NULL)
			decision->approver = pstrdup(decision->approver);
		if (decision->comment != NULL)
			decision->comment = pstrdup(decision->comment);
	}
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	return found;
}

void
FlowWaitingGoOn(FlowItem *item)
{
	const FlowWaiting *waiting = item->waiting;

	if (waiting->due_at > GetCurrentTimestamp())
	{
		item->status = FLOW_STEP_WAITING;
		return;
	}
	if (FlowTotalIsOver(item))
	{
		FlowTotalFail(item);
		return;
	}
	FlowWaitingFail(item, ERRCODE_FLOW_STEP_TIMEOUT,
					psprintf("step \"%s\" has waited longer than its time limit",
							 item->step->name),
					psprintf("The limit is %g ms.", item->step->timeout / 1000.0),
					"Give the step a longer timeout, or let another step depend on its event \"timeout\".");
}

void
FlowWaitingFail(FlowItem *item, int sqlstate, char *message,
				char *detail, char *hint)
{
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(item->run));
	FlowFailure *failure = palloc0(sizeof(FlowFailure));

	strlcpy(failure->sqlstate, unpack_sql_state(sqlstate), sizeof(failure->sqlstate));
	failure->message = pstrdup(message);
	failure->detail = detail ? pstrdup(detail) : NULL;
	failure->hint = hint ? pstrdup(hint) : NULL;
	item->failure = failure;
	item->status = FLOW_STEP_FAILED;
	MemoryContextSwitchTo(caller);
}

/* A signal that somebody else has taken meanwhile is not the step's: again. */
void
FlowWaitingEnd(FlowBatch *batch, FlowItem *item)
{
	FlowWaiting *waiting = item->waiting;

	if (item->overtaken)
		return;
	if (item->status != FLOW_STEP_COMPLETED && item->status != FLOW_STEP_FAILED &&
		!item->again)
		return;
	item->started_at = Min(waiting->since, item->started_at);
	if (waiting->signal != 0 && !FlowSignalTake(waiting->signal, &item->key))
		FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
	if (waiting->decided)
		FlowDecisionDelete(&item->key);
	if (waiting->begun)
		FlowWaitingDelete(&item->key);
}

/*
 * What it waits for may have come since it was executed; then it is executed
 * again.
 */
void
FlowWaitingPark(FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;
	FlowWaiting *waiting = item->waiting;
	List	   *taken = NIL;
	FlowTaskNew row;
	FlowReady	ready;

	FLOW_TEST_POINT("waiting-park");
	if (item->again)
	{
		FlowRoundPark(item, changes);
		return;
	}
	if (item->wants_place)
	{
		FlowLimitPutStep(item);
		return;
	}
	if (!waiting->begun)
		FlowWaitingInsert(&item->key, waiting->since, waiting->due_at);
	FlowTotalKeep(item);
	memset(&row, 0, sizeof(row));
	row.key = item->key;
	row.status = item->status;
	row.attempt = item->attempt - 1;
	row.attempt_base = item->attempt_base;
	row.due_at = Min(waiting->due_at, FlowTotalDue(item));
	if (TIMESTAMP_IS_NOEND(row.due_at))
		row.due_at = DT_NOBEGIN;
	if (item->status == FLOW_STEP_WAITING && has_message(run, &item->key, &taken))
	{
		row.status = FLOW_STEP_READY;
		row.due_at = DT_NOBEGIN;
		memset(&ready, 0, sizeof(ready));
		ready.key = item->key;
		ready.workflow_id = run->workflow_id;
		ready.definition_id = run->definition->id;
		ready.priority = FlowPlanPriority(item->step, run->priority);
		FlowWakeNoteReady(run->owner, &ready);
	}
	FlowRowsAdd(&changes->sleeps, &row);
}

/*
 * Several steps may wait for signals of one name: each is made ready for one
 * of its own.  What was found for the others before is in "taken".
 */
static bool
has_message(const FlowRunRef *run, const FlowStepKey *key, List **taken)
{
	const FlowStepDef *step = &run->definition->steps[key->step_no - 1];
	FlowDecisionRow decision;
	FlowSignalRow signal;

	if (step->kind == FLOW_KIND_WAIT)
	{
		int64	   *last = last_signal(taken, step->signal);

		signal.id = *last;
		if (!FlowSignalFind(run->id, run->workflow_id, run->key, step->signal,
							&signal))
			return false;
		*last = signal.id;
		return true;
	}
	if (step->kind == FLOW_KIND_SUBFLOW)
		return FlowWaitingIs(step) && FlowSubflowHasEnded(key);
	return step->kind == FLOW_KIND_APPROVAL && FlowDecisionLoad(key, &decision);
}

static int64 *
last_signal(List **taken, const char *name)
{
	TakenSignal *found;
	ListCell   *cell;

	foreach(cell, *taken)
	{
		found = lfirst(cell);
		if (strcmp(found->name, name) == 0)
			return &found->last;
	}
	found = palloc0(sizeof(TakenSignal));
	found->name = name;
	*taken = lappend(*taken, found);
	return &found->last;
}

void
FlowWaitingLook(FlowBatch *batch, FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;
	List	   *waiting;
	List	   *taken = NIL;
	ListCell   *cell;

	item->status = FLOW_STEP_COMPLETED;
	FlowRowsAdd(&changes->deletes, &item->tid);
	if (FlowRunStatusIsFinal(run->status))
		return;
	FLOW_TEST_POINT("waiting-look");
	waiting = FlowWaitingLockOf(run->id);
	require_all(batch, run, waiting);
	foreach(cell, waiting)
	{
		FlowStepKey *key = lfirst(cell);
		FlowReady	ready;

		if (!has_message(run, key, &taken))
			continue;
		FlowWaitingSetReady(key);
		memset(&ready, 0, sizeof(ready));
		ready.key = *key;
		ready.workflow_id = run->workflow_id;
		ready.definition_id = run->definition->id;
		ready.priority = FlowPlanPriority(&run->definition->steps[key->step_no - 1],
										  run->priority);
		FlowWakeNoteReady(run->owner, &ready);
	}
}

/*
 * A worker that has claimed a step by an old entry of the queue holds its row
 * although it waits, until the end of its batch: then the message is kept, and
 * looked at again.
 */
static void
require_all(FlowBatch *batch, const FlowRunRef *run, List *waiting)
{
	int			n = 0;
	ListCell   *cell;

	foreach(cell, FlowTaskListOf(run->id))
		n += ((FlowTaskRow *) lfirst(cell))->waits;
	if (n > list_length(waiting))
		FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
}

void
FlowWaitingAskToLook(const FlowRunRow *run, int64 message)
{
	FlowTaskNew row;
	FlowReady	ready;

	memset(&row, 0, sizeof(row));
	row.key.run_id = run->id;
	row.key.step_no = FLOW_STEP_RUN;
	row.key.item_no = FLOW_ITEM_LOOK + (int32) (message % (PG_INT32_MAX - FLOW_ITEM_LOOK));
	row.owner = run->owner;
	row.workflow_id = run->workflow_id;
	row.definition_id = run->definition_id;
	row.priority = run->priority;
	row.status = FLOW_STEP_READY;
	row.due_at = DT_NOBEGIN;
	FlowTaskInsert(&row, 1);

	memset(&ready, 0, sizeof(ready));
	ready.key = row.key;
	ready.workflow_id = row.workflow_id;
	ready.definition_id = row.definition_id;
	ready.priority = row.priority;
	FlowWakeNoteReady(run->owner, &ready);
}

void
FlowWaitingForget(int64 run_id, const FlowStepDef *step)
{
	FlowStepKey key = {run_id, step->no, 0};

	if (step->kind == FLOW_KIND_DELAY || !FlowWaitingIs(step))
		return;
	FlowWaitingDelete(&key);
	FlowDecisionDelete(&key);
}
