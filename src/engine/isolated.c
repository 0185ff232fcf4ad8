/*-------------------------------------------------------------------------
 * isolated.c
 *	  Steps at REPEATABLE READ or SERIALIZABLE.
 *
 * With one snapshot a transaction cannot see which branches of a join have
 * ended meanwhile, so a step at such a level does not settle itself.  A worker
 * runs three transactions, of which each may be the last one it lives to see:
 *
 *	1. READ COMMITTED, nothing written: claims the step, and learns of its run.
 *	2. At the step's level: locks its task, runs it, locks its run, looks
 *	   whether that was cancelled, and marks the task as ended, with the
 *	   output, the data and the controls of the step.  This commit is the
 *	   step's: it has happened, once.
 *	3. READ COMMITTED: an ordinary batch claims a task that has ended, does
 *	   not run it, and flushes.  Any worker does that, flow_drain too.
 *
 * A task that has ended is to everybody else like one that a worker has
 * locked: nobody touches it but whoever settles it.  Only then does the step
 * have an outcome and count at joins.
 *
 * At SERIALIZABLE unrelated runs must not conflict through our tables.  The
 * second transaction writes nothing of ours but its task, and that by position;
 * what it reads, outputs and data, is only ever written at READ COMMITTED, by
 * flushes, so that the predicate locks on them never meet a conflict.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/json.h"
#include "catalog/cat_outcome.h"
#include "catalog/cat_run.h"
#include "catalog/catalog.h"
#include "engine/claim.h"
#include "engine/context.h"
#include "engine/emission.h"
#include "engine/control.h"
#include "engine/execute.h"
#include "engine/isolated.h"
#include "engine/redo.h"
#include "shmem/testpoint.h"

static bool take_task(FlowBatch *batch, FlowItem *item, FlowHeldRow *task);
static void put_aside(FlowBatch *batch, const FlowItem *item);
static void hold_run(FlowBatch *batch, FlowRunRef *run);
static void mark_ended(FlowBatch *batch, FlowItem *item, FlowHeldRow *task);
static Datum write_asked(const FlowBatch *batch, const FlowItem *item);
static void write_set(JsonbParseState **state, const FlowDatum *set);
static void write_control(JsonbParseState **state, const FlowControl *control);
static void push_number(JsonbParseState **state, int64 number);
static void push_text(JsonbParseState **state, const char *string);
static void read_asked(FlowBatch *batch, FlowItem *item, Jsonb *asked);
static FlowDatum *read_set(const JsonbValue *json);
static FlowControl *read_control(const FlowItem *item, const JsonbValue *json);
static int64 get_number(JsonbContainer *array, int i);
static char *get_text(JsonbContainer *array, int i);

bool
FlowIsolatedIs(const FlowItem *item)
{
	return item->step != NULL && item->status == FLOW_STEP_READY &&
		!item->apart && !item->wants_place &&
		item->step->isolation != XACT_READ_COMMITTED;
}

bool
FlowIsolatedPrepare(FlowBatch *batch)
{
	FlowItem   *item;

	if (batch->scope != FLOW_GUARD_TRANSACTION || batch->plan->n_keys != 1 ||
		batch->plan->failure != NULL || batch->items == NIL)
		return false;
	item = linitial(batch->items);
	if (!FlowIsolatedIs(item))
		return false;

	batch->isolated = item;

	/* nothing but a lock is lost if this commit is */
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	return true;
}

FlowGuardScope
FlowIsolatedScope(const FlowBatch *batch)
{
	return batch->isolated->step->isolation == XACT_SERIALIZABLE
		? FLOW_GUARD_SERIALIZABLE : FLOW_GUARD_REPEATABLE_READ;
}

void
FlowIsolatedRun(void *arg)
{
	FlowBatch  *batch = arg;
	FlowItem   *item = batch->isolated;
	int			nest = NewGUCNestLevel();
	FlowHeldRow task;

	MemoryContextSwitchTo(batch->context);
	FLOW_TEST_POINT("isolated-begin");
	if (take_task(batch, item, &task))
	{
		FlowExecuteItem(batch, item);
		AtEOXact_GUC(false, nest);
		CHECK_FOR_INTERRUPTS();
		hold_run(batch, item->run);
		mark_ended(batch, item, &task);
		FLOW_TEST_POINT("isolated-ended");
	}
	else
		AtEOXact_GUC(false, nest);
}

/*
 * Between the claim and now the task was free, so somebody else may have run
 * it, or be running it.
 */
static bool
take_task(FlowBatch *batch, FlowItem *item, FlowHeldRow *task)
{
	switch (FlowTaskHold(&item->key, item->attempt - 1, task))
	{
		case FLOW_HOLD_TAKEN:
			return true;
		case FLOW_HOLD_BUSY:
			put_aside(batch, item);
			return false;
		case FLOW_HOLD_GONE:
			FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
	}
	return false;
}

static void
put_aside(FlowBatch *batch, const FlowItem *item)
{
	MemoryContext caller = MemoryContextSwitchTo(batch->plan_context);
	FlowReady  *ready = palloc0(sizeof(FlowReady));

	ready->key = item->key;
	ready->workflow_id = item->run->workflow_id;
	ready->definition_id = item->run->definition->id;
	ready->priority = FlowPlanPriority(item->step, item->run->priority);
	batch->unclaimed = lappend(batch->unclaimed, ready);
	MemoryContextSwitchTo(caller);
}

/*
 * Held until the commit, so that a cancel, or a step that overtakes this one,
 * comes either before and is seen here, or after and finds a step that has
 * ended.
 */
static void
hold_run(FlowBatch *batch, FlowRunRef *run)
{
	bool		is_hook = batch->isolated->step->part == FLOW_PART_HOOK;
	MemoryContext caller = MemoryContextSwitchTo(batch->plan_context);
	int			nest = NewGUCNestLevel();
	int64	   *id = palloc(sizeof(int64));
	FlowRunStatus status;
	char		wait[32];
	int32		epoch;

	*id = run->id;
	batch->verdict = FLOW_VERDICT_BLOCKED;
	batch->blocked = list_make1(id);
	MemoryContextSwitchTo(caller);

	snprintf(wait, sizeof(wait), "%dms", FLOW_RUN_LOCK_WAIT);
	(void) set_config_option("lock_timeout", wait, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	if (FlowRunHold(run->id, &status, &epoch) != FLOW_HOLD_TAKEN ||
		(FlowRunStatusIsFinal(status) && !is_hook) || epoch != run->epoch)
		FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
	if (FlowRunMayOvertake(run) &&
		FlowOutcomeIsThere(&batch->isolated->key))
		FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);	/* it was overtaken */
	AtEOXact_GUC(false, nest);
	batch->verdict = FLOW_VERDICT_ERROR;
	batch->blocked = NIL;
}

static void
mark_ended(FlowBatch *batch, FlowItem *item, FlowHeldRow *task)
{
	FlowTaskEnd end;

	memset(&end, 0, sizeof(end));
	end.started_at = item->started_at;
	end.finished_at = item->finished_at;
	end.worker = MyProcPid;
	end.output = item->output;
	end.has_output = item->has_output;
	end.has_asked = item->run->data != NIL || batch->controls != NIL ||
		item->emissions != NIL || item->status == FLOW_STEP_SKIPPED;
	if (end.has_asked)
		end.asked = write_asked(batch, item);
	FlowTaskSetEnded(task, &end);
}

/*
 * An interrupt is not the step's doing; whose it is, redo.c finds out.  The
 * step was the first of its transaction, so there is nobody else to blame.
 */
void
FlowIsolatedCharge(FlowBatch *batch, const ErrorData *error)
{
	if (batch->verdict != FLOW_VERDICT_ERROR || !batch->isolated->executed ||
		error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		return;
	batch->current = batch->isolated;
	batch->n_executed = 0;
}

List *
FlowIsolatedPlans(FlowBatch *batch, List *rest)
{
	ListCell   *cell;

	if (batch->isolated != NULL)
	{
		if (!batch->isolated->executed)
			return rest;
		batch->n_done++;
		return lcons(FlowRedoPlanFor(&batch->isolated->key), rest);
	}
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);
		FlowStepKey *key;

		if (!FlowIsolatedIs(item))
			continue;
		if (batch->scope == FLOW_GUARD_TRANSACTION)
		{
			rest = lappend(rest, FlowRedoPlanFor(&item->key));
			continue;
		}
		key = palloc(sizeof(FlowStepKey));
		*key = item->key;
		batch->passed = lappend(batch->passed, key);
	}
	return rest;
}

void
FlowIsolatedRecall(FlowBatch *batch, FlowItem *item, const FlowTaskEnd *end)
{
	FlowRunRef *run = item->run;

	item->ended = true;
	item->status = FLOW_STEP_COMPLETED;
	item->started_at = end->started_at;
	item->finished_at = end->finished_at;
	item->worker = end->worker;
	item->output = end->output;
	item->has_output = end->has_output;
	if (end->has_asked)
		read_asked(batch, item, DatumGetJsonbP(end->asked));
	if (FlowItemIsStep(item))
		FlowEndsNote(&run->ends, item->key.step_no, item->status,
					 FlowEmissionMask(item));
}

/*
 * What the step asked the flush to do, as [[datum, ...], [control, ...],
 * [emission, ...], reason it was skipped]; a datum is [key, value], or [key] to
 * remove it.
 */
static Datum
write_asked(const FlowBatch *batch, const FlowItem *item)
{
	const FlowRunRef *run = item->run;
	JsonbParseState *state = NULL;
	ListCell   *cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, run->data)
		write_set(&state, lfirst(cell));
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, batch->controls)
		write_control(&state, lfirst(cell));
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	FlowJsonPushJsonb(&state, WJB_ELEM, FlowEmissionsToJsonb(item->emissions), false);
	push_text(&state, item->status == FLOW_STEP_SKIPPED ? item->reason : NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY,
														   NULL)));
}

static void
write_set(JsonbParseState **state, const FlowDatum *set)
{
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	push_text(state, set->key);
	if (!set->isnull)
		FlowJsonPushJsonb(state, WJB_ELEM, set->value, false);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
write_control(JsonbParseState **state, const FlowControl *control)
{
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	push_number(state, control->verb);
	push_number(state, control->run_id);
	push_text(state, control->reason);
	push_text(state, control->step);
	push_number(state, control->by);
	push_number(state, control->plain);
	push_number(state, control->item_no);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_number(JsonbParseState **state, int64 number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_ELEM, &value);
}

static void
push_text(JsonbParseState **state, const char *string)
{
	JsonbValue	value;

	value.type = jbvNull;
	if (string)
		FlowJsonPushText(state, WJB_ELEM, string);
	else
		pushJsonbValue(state, WJB_ELEM, &value);
}

static void
read_asked(FlowBatch *batch, FlowItem *item, Jsonb *asked)
{
	JsonbContainer *data = getIthJsonbValueFromContainer(&asked->root, 0)->val.binary.data;
	JsonbContainer *controls = getIthJsonbValueFromContainer(&asked->root, 1)->val.binary.data;
	JsonbValue *emissions = getIthJsonbValueFromContainer(&asked->root, 2);

	for (int i = 0; i < JsonContainerSize(data); i++)
		item->run->data = lappend(item->run->data,
								  read_set(getIthJsonbValueFromContainer(data, i)));
	for (int i = 0; i < JsonContainerSize(controls); i++)
		batch->controls = lappend(batch->controls,
								  read_control(item, getIthJsonbValueFromContainer(controls, i)));
	item->emissions = FlowEmissionsFromJsonb(JsonbValueToJsonb(emissions));
	item->reason = get_text(&asked->root, 3);
	if (item->reason != NULL)
		item->status = FLOW_STEP_SKIPPED;
}

static FlowDatum *
read_set(const JsonbValue *json)
{
	JsonbContainer *array = json->val.binary.data;
	FlowDatum  *set = palloc0(sizeof(FlowDatum));

	set->key = get_text(array, 0);
	set->isnull = JsonContainerSize(array) == 1;
	if (!set->isnull)
		set->value = JsonbPGetDatum(JsonbValueToJsonb(getIthJsonbValueFromContainer(array, 1)));
	set->level = GetCurrentTransactionNestLevel();
	return set;
}

static FlowControl *
read_control(const FlowItem *item, const JsonbValue *json)
{
	JsonbContainer *array = json->val.binary.data;
	FlowControl *control = palloc0(sizeof(FlowControl));

	control->verb = (FlowControlVerb) get_number(array, 0);
	control->run_id = get_number(array, 1);
	control->reason = get_text(array, 2);
	control->step = get_text(array, 3);
	control->by = (Oid) get_number(array, 4);
	control->plain = get_number(array, 5) != 0;
	control->item_no = (int32) get_number(array, 6);
	control->level = GetCurrentTransactionNestLevel();
	control->asked_in = item->key;
	return control;
}

static int64
get_number(JsonbContainer *array, int i)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array, i);

	return DatumGetInt64(DirectFunctionCall1(numeric_int8,
											 NumericGetDatum(value->val.numeric)));
}

/* NULL for null */
static char *
get_text(JsonbContainer *array, int i)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array, i);

	if (value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}
