/*-------------------------------------------------------------------------
 * hook.c
 *	  Hooks: steps that run when something happens to their run.
 *
 * A hook becomes ready in the transaction that makes the event happen, so that
 * it runs if and only if it has happened.  Each time it is a task of its own,
 * by item number: 1, 2, 3.  What has happened goes with the task, in the column
 * that is free until a step has ended.
 *
 * From there on a hook is a step like any other, claimed and tried again, but
 * for the state of its run, which may be paused or over: FlowRunLets in
 * claim.c lets it run.  What becomes of it changes nothing about the run.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/json.h"
#include "catalog/cat_live.h"
#include "define/beside.h"
#include "engine/claim.h"
#include "engine/hook.h"
#include "shmem/wake.h"

static void make_ready(const FlowRunRef *run, const FlowStepDef *hook,
					   Datum event, FlowChanges *changes);
static int32 next_item(const FlowStepKey *key, const FlowChanges *changes);
static Datum describe(const FlowRunRef *run, const FlowHappening *what);
static void push(JsonbParseState **state, const char *key, const char *value);
static FlowHookEvent event_of(FlowRunStatus status);

void
FlowHookRaise(const FlowRunRef *run, const FlowHappening *what,
			  FlowChanges *changes)
{
	const FlowDefinition *definition = run->definition;
	uint32		bits = FLOW_HOOK_BIT(what->event);
	Datum		event;

	if (FlowRunStatusIsFinal(what->status))
		bits |= FLOW_HOOK_BIT(FLOW_HOOK_FINISHED);
	if ((definition->hooks & bits) == 0)
		return;
	event = describe(run, what);
	for (int i = 0; i < definition->n_steps; i++)
		if (definition->steps[i].hooks & bits)
			make_ready(run, &definition->steps[i], event, changes);
}

static void
make_ready(const FlowRunRef *run, const FlowStepDef *hook, Datum event,
		   FlowChanges *changes)
{
	FlowTaskNew row;
	FlowReady	ready;

	memset(&row, 0, sizeof(row));
	row.key.run_id = run->id;
	row.key.step_no = hook->no;
	row.key.item_no = next_item(&row.key, changes);
	row.owner = run->owner;
	row.workflow_id = run->workflow_id;
	row.definition_id = run->definition->id;
	row.priority = FlowPlanPriority(hook, run->priority);
	row.status = FLOW_STEP_READY;
	row.due_at = DT_NOBEGIN;
	row.asked = event;
	row.has_asked = true;
	FlowRowsAdd(&changes->inserts, &row);

	memset(&ready, 0, sizeof(ready));
	ready.key = row.key;
	ready.workflow_id = row.workflow_id;
	ready.definition_id = row.definition_id;
	ready.priority = row.priority;
	FlowWakeNoteReady(run->owner, &ready);
}

/* Behind those that are stored, and those that are about to be. */
static int32
next_item(const FlowStepKey *key, const FlowChanges *changes)
{
	const FlowTaskNew *rows = (const FlowTaskNew *) changes->inserts.rows;

	for (int i = changes->inserts.n - 1; i >= 0; i--)
		if (rows[i].key.run_id == key->run_id && rows[i].key.step_no == key->step_no)
			return rows[i].key.item_no + 1;
	return FlowTaskLastItem(key->run_id, key->step_no) + 1;
}

static Datum
describe(const FlowRunRef *run, const FlowHappening *what)
{
	JsonbParseState *state = NULL;
	char		at[MAXDATELEN + 1];
	TimestampTz now = GetCurrentTimestamp();
	JsonbValue	id;

	id.type = jbvNumeric;
	id.val.numeric = int64_to_numeric(run->id);
	(void) JsonEncodeDateTime(at, TimestampTzGetDatum(now), TIMESTAMPTZOID, NULL);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push(&state, "event", FlowBesideHookName(what->event));
	FlowJsonPushKey(&state, "run");
	pushJsonbValue(&state, WJB_VALUE, &id);
	push(&state, "workflow", run->definition->workflow);
	push(&state, "key", run->key);
	push(&state, "status", FlowRunStatusName(what->status));
	push(&state, "step", what->step);
	push(&state, "sqlstate", what->sqlstate);
	push(&state, "message", what->message);
	push(&state, "compensation", FlowRunCompensation(run->id));
	push(&state, "at", at);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

static void
push(JsonbParseState **state, const char *key, const char *value)
{
	JsonbValue	null = {.type = jbvNull};

	FlowJsonPushKey(state, key);
	if (value != NULL)
		FlowJsonPushText(state, WJB_VALUE, value);
	else
		pushJsonbValue(state, WJB_VALUE, &null);
}

void
FlowHookRaiseEnd(const FlowRunRef *run, FlowRunStatus status,
				 FlowChanges *changes)
{
	FlowHappening what;
	NullableDatum output;
	NullableDatum error;

	if (run->definition->hooks == 0)
		return;
	memset(&what, 0, sizeof(what));
	what.event = event_of(status);
	what.status = status;
	FlowRunResult(run->id, &output, &error);
	if (status == FLOW_RUN_FAILED && !error.isnull)
	{
		what.step = FlowJsonGetText(error.value, "step");
		what.sqlstate = FlowJsonGetText(error.value, "sqlstate");
		what.message = FlowJsonGetText(error.value, "message");
	}
	FlowHookRaise(run, &what, changes);
}

static FlowHookEvent
event_of(FlowRunStatus status)
{
	switch (status)
	{
		case FLOW_RUN_COMPLETED:
			return FLOW_HOOK_COMPLETED;
		case FLOW_RUN_FAILED:
			return FLOW_HOOK_FAILED;
		case FLOW_RUN_PAUSED:
			return FLOW_HOOK_PAUSED;
		default:
			return FLOW_HOOK_CANCELLED;
	}
}

void
FlowHookRaiseStep(const FlowItem *item, FlowChanges *changes)
{
	const FlowRunRef *run = item->run;
	FlowHappening what;

	if ((run->definition->hooks & FLOW_HOOK_BIT(FLOW_HOOK_STEP)) == 0 ||
		item->step->part != FLOW_PART_COURSE ||
		(item->status != FLOW_STEP_COMPLETED && item->status != FLOW_STEP_FAILED))
		return;
	memset(&what, 0, sizeof(what));
	what.event = FLOW_HOOK_STEP;
	what.status = run->status;
	what.step = item->step->name;
	if (item->failure != NULL)
	{
		what.sqlstate = item->failure->sqlstate;
		what.message = item->failure->message;
	}
	FlowHookRaise(run, &what, changes);
}

void
FlowHookRaiseRow(const FlowRunRow *row, FlowRunStatus status,
				 const char *reason, FlowChanges *changes)
{
	FlowRunRef	run;
	FlowHappening what;

	memset(&run, 0, sizeof(run));
	run.id = row->id;
	run.definition = FlowPlanLookup(row->definition_id);
	run.workflow_id = row->workflow_id;
	run.owner = row->owner;
	run.priority = row->priority;
	run.key = row->key;
	memset(&what, 0, sizeof(what));
	what.event = event_of(status);
	what.status = status;
	what.message = reason;
	FlowHookRaise(&run, &what, changes);
}
