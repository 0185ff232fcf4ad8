/*-------------------------------------------------------------------------
 * redo.c
 *	  What to do when a batch has failed.
 *
 * Nothing of the batch has happened, so everything may be done again.  When a
 * step is to blame, the others are done again together, and it alone; a step
 * that fails alone is recorded in a new transaction, which locks its task
 * again and looks whether it is still that attempt.  When nobody is to blame
 * (the flush or the commit failed) the batch is halved until a single step is
 * left.  A step that shared its batch with others is never charged for an error: it fails
 * for good only when it fails alone.
 *
 * What can neither be done nor be recorded as failed (the disk is full) is put
 * aside for a while that grows, and if nothing of the batch could be recorded,
 * all of it is: trying the rest one by one would only fail the same way.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "engine/control.h"
#include "engine/park.h"
#include "engine/redo.h"
#include "engine/retry.h"
#include "engine/statement.h"
#include "engine/total.h"
#include "engine/watch.h"
#include "error.h"
#include "shmem/aside.h"
#include "shmem/average.h"
#include "shmem/slot.h"

/* Times a batch is done again at once for a reason that is nobody's fault */
#define MAX_REPEATS	5

/* ms between two lines in the log about steps that could not be recorded */
#define COMPLAINT_INTERVAL	10000

/* Bytes that are kept of each text of an error */
#define MAX_ERROR_TEXT	10000

typedef enum Cause
{
	CAUSE_STEP,					/* the step failed */
	CAUSE_CONFLICT,				/* the step must not share a batch now */
	CAUSE_NOBODY,				/* the flush or the commit failed */
	CAUSE_AGAIN,				/* the same again */
	CAUSE_BLOCKED,				/* somebody holds a run */
	CAUSE_LOCK					/* the step waits for somebody's lock */
} Cause;

static Cause classify(FlowBatch *batch, ErrorData *error, FlowFailure *failure);
static Cause classify_cancel(FlowBatch *batch, ErrorData *error,
							 FlowWatchCause watch, FlowFailure *failure);
static FlowFailure *failure_of(FlowBatch *batch, ErrorData *error);
static char *clip(const char *text);
static List *isolate(FlowBatch *batch, List *rest);
static List *with_others(FlowBatch *batch, const FlowStepKey *culprit,
						 List *rest);
static List *repeat_or_record(FlowBatch *batch, FlowItem *culprit,
							  FlowFailure *failure, List *rest);
static List *halve(FlowBatch *batch, FlowFailure *failure, List *rest);
static List *again(FlowBatch *batch, ErrorData *error, List *rest);
static List *without_blocked(FlowBatch *batch, List *rest);
static List *without_culprit(FlowBatch *batch, List *rest);
static bool is_of_step(FlowBatch *batch, const FlowStepKey *key,
					   const FlowStepDef *step);
static void put_askers_aside(FlowBatch *batch, FlowPlan *plan);
static void give_up(FlowBatch *batch, const char *message);
static List *without_hope(FlowBatch *batch, List *rest);
static void complain(const char *message);
static void hold(FlowBatch *batch, const FlowStepKey *key, int64 run_id);
static FlowReady *ready_of(FlowBatch *batch, const FlowStepKey *key);
static FlowPlan *copy_plan(const FlowPlan *plan, int from, int n);
static FlowPlan *plan_to_record(const FlowItem *item, FlowFailure *failure);
static bool same_key(const FlowStepKey *a, const FlowStepKey *b);
static void log_failure(const FlowItem *item, const FlowFailure *failure);

List *
FlowRedoPlans(FlowBatch *batch, ErrorData *error, List *rest)
{
	FlowFailure *failure = failure_of(batch, error);
	FlowItem   *culprit = batch->current;
	Cause		cause = classify(batch, error, failure);

	if (culprit != NULL && (cause == CAUSE_CONFLICT ||
							(cause == CAUSE_LOCK && batch->n_claimed > 1) ||
							FlowRetryIsTransient(failure->sqlstate)))
		FlowAverageNoteConflict(culprit->step->definition->id,
								culprit->step->no, batch->in_turn);
	switch (cause)
	{
		case CAUSE_BLOCKED:
			return without_blocked(batch, rest);
		case CAUSE_LOCK:
			return without_culprit(batch, rest);
		case CAUSE_AGAIN:
			return again(batch, error, rest);
		case CAUSE_NOBODY:
			return halve(batch, failure, rest);
		case CAUSE_CONFLICT:
			return isolate(batch, rest);
		case CAUSE_STEP:
			break;
	}
	if (batch->n_executed > 0)
		return isolate(batch, rest);
	return repeat_or_record(batch, culprit, failure, rest);
}

double
FlowRedoChance(void)
{
	return pg_prng_double(&pg_global_prng_state);
}

static Cause
classify(FlowBatch *batch, ErrorData *error, FlowFailure *failure)
{
	FlowWatchCause watch = FlowWatchTake();

	switch (batch->verdict)
	{
		case FLOW_VERDICT_AGAIN:
		case FLOW_VERDICT_DROPPED:
			return CAUSE_AGAIN;
		case FLOW_VERDICT_OVERRUN:
			return CAUSE_CONFLICT;
		case FLOW_VERDICT_BLOCKED:
			return CAUSE_BLOCKED;
		case FLOW_VERDICT_BEHIND_LOCK:
			return CAUSE_LOCK;
		case FLOW_VERDICT_ERROR:
			break;
	}
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		return classify_cancel(batch, error, watch, failure);
	return batch->current != NULL ? CAUSE_STEP : CAUSE_NOBODY;
}

/*
 * Interrupted: by the step's own limits, by a cancel of its run, by a cancel
 * that came too late and hit the wrong step, or by an operator.
 */
static Cause
classify_cancel(FlowBatch *batch, ErrorData *error, FlowWatchCause watch,
				FlowFailure *failure)
{
	FlowItem   *culprit = batch->current;

	switch (watch)
	{
		case FLOW_WATCH_OVERRUN:
			return CAUSE_CONFLICT;
		case FLOW_WATCH_BLOCKED:
			return CAUSE_LOCK;
		case FLOW_WATCH_LIMIT:
			strcpy(failure->sqlstate, "WF004");
			failure->message = psprintf("step \"%s\" took longer than its time limit",
										culprit->step->name);
			failure->detail = psprintf("The limit is %g ms.", FlowWatchLimit());
			FlowTotalExplain(culprit, failure);
			return CAUSE_STEP;
		case FLOW_WATCH_NONE:
			break;
	}
	if (FlowSlotTakeInterrupt(culprit ? culprit->key.run_id : 0) != FLOW_INTERRUPT_NONE)
		return CAUSE_AGAIN;
	if (batch->scope == FLOW_GUARD_SUBTRANSACTION)
		ReThrowError(error);	/* the client's own */
	return culprit == NULL ? CAUSE_AGAIN : CAUSE_STEP;
}

static FlowFailure *
failure_of(FlowBatch *batch, ErrorData *error)
{
	FlowFailure *failure = palloc0(sizeof(FlowFailure));

	strlcpy(failure->sqlstate, unpack_sql_state(error->sqlerrcode),
			sizeof(failure->sqlstate));
	failure->message = clip(error->message ? error->message : "unknown error");
	failure->detail = clip(error->detail);
	failure->hint = clip(error->hint);
	if (batch->current != NULL && error->hint == NULL)
		failure->hint = unconstify(char *, FlowStatementsHint(batch->current->step, error));
	failure->context = clip(error->context);
	return failure;
}

FlowFailure *
FlowRedoFailureOf(FlowBatch *batch, ErrorData *error)
{
	FlowFailure *failure = failure_of(batch, error);
	FlowWatchCause watch = FlowWatchTake();

	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		classify_cancel(batch, error, watch, failure) != CAUSE_STEP)
		return NULL;
	return failure;
}

void
FlowRedoFail(FlowItem *item, FlowFailure *failure, TimestampTz started_at)
{
	item->failure = failure;
	item->started_at = started_at;
	item->finished_at = GetCurrentTimestamp();
	item->next_at = FlowRetryComputeNext(&item->step->retry,
										 item->attempt - item->attempt_base,
										 failure->sqlstate,
										 item->finished_at,
										 FlowRedoChance());
	item->status = TIMESTAMP_IS_NOEND(item->next_at)
		? FLOW_STEP_FAILED : FLOW_STEP_SLEEPING;
	FlowTotalBound(item);
}

/* What is kept of an error is bounded. */
static char *
clip(const char *text)
{
	if (text == NULL)
		return NULL;
	return pnstrdup(text, pg_mbcliplen(text, strlen(text), MAX_ERROR_TEXT));
}

/* The others together, then the culprit alone. */
static List *
isolate(FlowBatch *batch, List *rest)
{
	FlowStepKey *culprit = &batch->current->key;

	return with_others(batch, culprit, lcons(FlowRedoPlanFor(culprit), rest));
}

/* Puts before those plans one for the steps that are not to blame, if any. */
static List *
with_others(FlowBatch *batch, const FlowStepKey *culprit, List *rest)
{
	FlowPlan   *plan = batch->plan;
	FlowPlan   *others = copy_plan(plan, 0, 0);
	FlowStepKey *excluded = palloc(sizeof(FlowStepKey));

	*excluded = *culprit;
	for (int i = 0; i < plan->n_keys; i++)
		if (!same_key(&plan->keys[i], culprit))
			others->keys[others->n_keys++] = plan->keys[i];
	others->excluded = lappend(list_copy(plan->excluded), excluded);
	return others->n_keys > 0 ? lcons(others, rest) : rest;
}

/*
 * The culprit was the first of its batch, or alone in it, so that its failure is
 * its own.
 */
static List *
repeat_or_record(FlowBatch *batch, FlowItem *culprit, FlowFailure *failure,
				 List *rest)
{
	FlowPlan   *next;

	if (FlowRetryIsTransient(failure->sqlstate) &&
		batch->plan->repeats < FLOW_RETRY_TRANSIENT_MAX)
	{
		next = FlowRedoPlanFor(&culprit->key);
		next->careful = batch->plan->careful;
		next->repeats = batch->plan->repeats + 1;
		return with_others(batch, &culprit->key, lappend(rest, next));
	}
	FlowAverageNoteRun(culprit->step->definition->id, culprit->step->no,
					   GetCurrentTimestamp() - culprit->started_at, true);
	if (batch->scope == FLOW_GUARD_TRANSACTION)
		FlowAsideNoteFree(batch->lane, culprit->step->definition->id,
						  culprit->step->no, batch->plan->tried);
	log_failure(culprit, failure);
	next = plan_to_record(culprit, failure);
	return lcons(next, with_others(batch, &culprit->key, rest));
}

static List *
halve(FlowBatch *batch, FlowFailure *failure, List *rest)
{
	FlowPlan   *plan = batch->plan;
	FlowItem   *item;

	if (plan->n_keys > 1)
	{
		rest = lcons(copy_plan(plan, plan->n_keys / 2,
							   plan->n_keys - plan->n_keys / 2), rest);
		return lcons(copy_plan(plan, 0, plan->n_keys / 2), rest);
	}
	if (!plan->alone && plan->failure == NULL && batch->n_executed != 1)
		return lcons(FlowRedoPlanFor(&plan->keys[0]), rest);

	item = batch->items != NIL ? linitial(batch->items) : NULL;
	if (plan->failure != NULL || item == NULL || !item->executed)
	{
		give_up(batch, failure->message);
		if (batch->scope == FLOW_GUARD_SUBTRANSACTION || batch->n_settled > 0)
			return rest;
		return without_hope(batch, rest);
	}
	if (FlowRetryIsTransient(failure->sqlstate))
		FlowAverageNoteConflict(item->step->definition->id, item->step->no,
								batch->in_turn);
	return repeat_or_record(batch, item, failure, rest);
}

/* These are not tried now: what has just failed is not to do with one step. */
static List *
without_hope(FlowBatch *batch, List *rest)
{
	ListCell   *cell;

	foreach(cell, rest)
	{
		FlowPlan   *plan = lfirst(cell);

		for (int i = 0; i < plan->n_keys; i++)
			batch->unrecorded = lappend(batch->unrecorded, ready_of(batch, &plan->keys[i]));
	}
	return NIL;
}

static List *
again(FlowBatch *batch, ErrorData *error, List *rest)
{
	FlowPlan   *plan = copy_plan(batch->plan, 0, batch->plan->n_keys);

	if (batch->current != NULL && batch->current->has_task)
	{
		plan->interrupted = batch->current->key;
		plan->interrupted_start = batch->current->started_at;
	}
	if (++plan->repeats <= MAX_REPEATS)
		return lcons(plan, rest);
	give_up(batch, error ? error->message : "it met too many conflicts");
	return rest;
}

/* Somebody holds these runs; the rest of the batch goes on without them. */
static List *
without_blocked(FlowBatch *batch, List *rest)
{
	FlowPlan   *plan = batch->plan;
	FlowPlan   *others = copy_plan(plan, 0, 0);

	for (int i = 0; i < plan->n_keys; i++)
	{
		bool		blocked = false;
		ListCell   *cell;

		foreach(cell, batch->blocked)
			blocked = blocked || *(int64 *) lfirst(cell) == plan->keys[i].run_id;
		if (blocked)
			hold(batch, &plan->keys[i], plan->keys[i].run_id);
		else
			others->keys[others->n_keys++] = plan->keys[i];
	}
	if (others->n_keys == plan->n_keys)
		put_askers_aside(batch, others);
	return others->n_keys > 0 ? lcons(others, rest) : rest;
}

/*
 * The step waits for somebody's lock, and so, perhaps, would all of its kind:
 * they are set aside, the rest of the batch goes on.
 */
static List *
without_culprit(FlowBatch *batch, List *rest)
{
	FlowPlan   *plan = batch->plan;
	FlowPlan   *others = copy_plan(plan, 0, 0);
	FlowStepKey *culprit = palloc(sizeof(FlowStepKey));
	const FlowStepDef *step = batch->current->step;
	bool		closed = FlowAsideNoteBlocked(batch->lane, step->definition->id,
											  step->no);

	*culprit = batch->current->key;
	for (int i = 0; i < plan->n_keys; i++)
	{
		const FlowStepKey *key = &plan->keys[i];

		if (!same_key(key, culprit) && !(closed && is_of_step(batch, key, step)))
			others->keys[others->n_keys++] = *key;
		else if (!FlowAsideSetAside(batch->lane, ready_of(batch, key)))
			batch->unclaimed = lappend(batch->unclaimed, ready_of(batch, key));
	}
	others->excluded = lappend(list_copy(plan->excluded), culprit);
	return others->n_keys > 0 ? lcons(others, rest) : rest;
}

static bool
is_of_step(FlowBatch *batch, const FlowStepKey *key, const FlowStepDef *step)
{
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->step == step && same_key(&item->key, key))
			return true;
	}
	return false;
}

/*
 * None of the steps belongs to a run that is held, so one of them controls
 * such a run; it waits, the others need not.
 */
static void
put_askers_aside(FlowBatch *batch, FlowPlan *plan)
{
	ListCell   *cell;

	foreach(cell, batch->controls)
	{
		FlowControl *control = lfirst(cell);
		int			kept = 0;

		for (int i = 0; i < plan->n_keys; i++)
			if (!same_key(&plan->keys[i], &control->asked_in))
				plan->keys[kept++] = plan->keys[i];
		if (kept < plan->n_keys)
			hold(batch, &control->asked_in, control->run_id);
		else
		{
			FlowStepKey *inlined = palloc(sizeof(FlowStepKey));

			*inlined = control->asked_in;
			plan->excluded = lappend(list_copy(plan->excluded), inlined);
		}
		plan->n_keys = kept;
	}
}

/* Nothing helps now; the steps are tried again a little later. */
static void
give_up(FlowBatch *batch, const char *message)
{
	complain(message);
	for (int i = 0; i < batch->plan->n_keys; i++)
		batch->unrecorded = lappend(batch->unrecorded, ready_of(batch, &batch->plan->keys[i]));
}

/* However many steps meet the same, the log is not filled with it. */
static void
complain(const char *message)
{
	static TimestampTz complained_at = 0;
	static int	n_silent = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(complained_at, now, COMPLAINT_INTERVAL))
	{
		n_silent++;
		return;
	}
	ereport(LOG,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("steps of flow could not be recorded: %s", message),
			 errdetail("They are tried again. It was met %d more times since it was last said here.",
					   n_silent)));
	complained_at = now;
	n_silent = 0;
}

/* The step waits until this run can be locked. */
static void
hold(FlowBatch *batch, const FlowStepKey *key, int64 run_id)
{
	FlowHeld   *held = palloc(sizeof(FlowHeld));

	held->ready = *ready_of(batch, key);
	held->run_id = run_id;
	batch->held = lappend(batch->held, held);
}

static FlowReady *
ready_of(FlowBatch *batch, const FlowStepKey *key)
{
	FlowReady  *ready = palloc0(sizeof(FlowReady));
	ListCell   *cell;

	ready->key = *key;
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (!same_key(&item->key, key))
			continue;
		ready->workflow_id = item->run->workflow_id;
		ready->definition_id = item->run->definition->id;
		ready->priority = item->run->priority;
	}
	return ready;
}

/* A plan for part of the keys of another; room for all of them. */
static FlowPlan *
copy_plan(const FlowPlan *plan, int from, int n)
{
	FlowPlan   *copy = palloc(sizeof(FlowPlan));

	*copy = *plan;
	copy->keys = palloc(sizeof(FlowStepKey) * plan->n_keys);
	copy->n_keys = n;
	memcpy(copy->keys, plan->keys + from, sizeof(FlowStepKey) * n);
	return copy;
}

FlowPlan *
FlowRedoPlanFor(const FlowStepKey *key)
{
	FlowPlan   *plan = palloc0(sizeof(FlowPlan));

	plan->keys = palloc(sizeof(FlowStepKey));
	plan->keys[0] = *key;
	plan->n_keys = 1;
	plan->max_steps = 1;
	plan->alone = true;
	return plan;
}

static FlowPlan *
plan_to_record(const FlowItem *item, FlowFailure *failure)
{
	FlowPlan   *plan = FlowRedoPlanFor(&item->key);

	plan->failure = failure;
	plan->failed_attempt = item->attempt;
	plan->failed_start = item->started_at;
	return plan;
}

static bool
same_key(const FlowStepKey *a, const FlowStepKey *b)
{
	return a->run_id == b->run_id && a->step_no == b->step_no &&
		a->item_no == b->item_no;
}

/* One line per failed attempt, as for a failed statement of a client. */
static void
log_failure(const FlowItem *item, const FlowFailure *failure)
{
	ereport(LOG,
			(errmsg("step \"%s\" of run " INT64_FORMAT " failed: %s",
					item->step->name, item->key.run_id, failure->message),
			 errdetail_log("Workflow \"%s\", attempt %d, SQLSTATE %s.",
						   item->step->definition->workflow, item->attempt,
						   failure->sqlstate)));
}
