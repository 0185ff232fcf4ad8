/*-------------------------------------------------------------------------
 * emission.c
 *	  Events that a step emits.
 *
 * While a step runs they are in memory, with the item; the flush writes them
 * with its outcome.  A step that depends on an event is decided when the step
 * that may emit it has ended, so nobody looks at them before.  Of the events
 * that follow from how a step has ended, completed and failed are not stored,
 * since its status says them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/identity.h"
#include "base/json.h"
#include "define/events.h"
#include "define/item.h"
#include "engine/emission.h"
#include "error.h"

static void append(FlowItem *item, const char *event, Datum payload,
				   bool isnull);
static void require_declared(const FlowStepDef *step, const char *event);
static uint64 mask_of(const FlowStepDef *step, FlowStepStatus status,
					  List *emissions);
static List *emissions_of(FlowItem *item, const FlowStepDef *step);

void
FlowEmissionAdd(FlowItem *item, const char *event, Datum payload, bool isnull)
{
	FlowEventsRequireOwn(event);
	require_declared(item->step, event);
	append(item, event, payload, isnull);
}

static void
append(FlowItem *item, const char *event, Datum payload, bool isnull)
{
	MemoryContext caller;
	FlowEmission *emission;

	caller = MemoryContextSwitchTo(GetMemoryChunkContext(item->run));
	emission = palloc0(sizeof(FlowEmission));
	emission->event = pstrdup(event);
	emission->isnull = isnull;
	emission->payload = isnull ? (Datum) 0 : datumCopy(payload, false, -1);
	emission->level = GetCurrentTransactionNestLevel();
	item->emissions = lappend(item->emissions, emission);
	MemoryContextSwitchTo(caller);
}

static void
require_declared(const FlowStepDef *step, const char *event)
{
	if (!step->has_emits)
		return;
	for (int e = 0; e < step->n_emits; e++)
		if (strcmp(step->emits[e], event) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("step \"%s\" does not declare the event \"%s\"", step->name, event),
			 errdetail("Its definition says which events it may emit."),
			 errhint("Add the event to \"emits\" of the step.")));
}

uint64
FlowEmissionMask(const FlowItem *item)
{
	return mask_of(item->step, item->status, item->emissions);
}

void
FlowEmissionNote(FlowItem *item, FlowEventNo no)
{
	append(item, FlowEventName(no), (Datum) 0, true);
}

void
FlowEmissionNoteFailure(FlowItem *item)
{
	if (strcmp(item->failure->sqlstate, "WF004") == 0)
		FlowEmissionNote(item, FLOW_EVENT_TIMEOUT);
	if (FlowItemKind(item->step) == FLOW_KIND_APPROVAL &&
		strcmp(item->failure->sqlstate, "WF006") == 0)
		FlowEmissionNote(item, FLOW_EVENT_REJECTED);
}

static uint64
mask_of(const FlowStepDef *step, FlowStepStatus status, List *emissions)
{
	uint64		mask = 0;
	ListCell   *cell;

	if (status == FLOW_STEP_COMPLETED)
		mask = FLOW_EVENT_BIT(FLOW_EVENT_COMPLETED);
	else if (status == FLOW_STEP_FAILED)
		mask = FLOW_EVENT_BIT(FLOW_EVENT_FAILED);
	foreach(cell, emissions)
	{
		int			no = FlowPlanFindEvent(step, ((FlowEmission *) lfirst(cell))->event);

		if (no != FLOW_EVENT_NONE)
			mask |= FLOW_EVENT_BIT(no);
	}
	return mask;
}

uint64
FlowEmissionStoredMask(const FlowDefinition *definition,
					   const FlowOutcomeRow *row)
{
	List	   *emissions = NIL;

	if (row->has_emits)
		emissions = FlowEmissionsFromJsonb(DatumGetJsonbP(row->emits));
	return mask_of(&definition->steps[row->key.step_no - 1], row->status,
				   emissions);
}

Datum
FlowEmissionsToJsonb(List *emissions)
{
	JsonbParseState *state = NULL;
	ListCell   *cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, emissions)
	{
		FlowEmission *emission = lfirst(cell);

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		FlowJsonPushKey(&state, "event");
		FlowJsonPushText(&state, WJB_VALUE, emission->event);
		if (!emission->isnull)
		{
			FlowJsonPushKey(&state, "payload");
			FlowJsonPushJsonb(&state, WJB_VALUE, emission->payload, false);
		}
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY,
														   NULL)));
}

List *
FlowEmissionsFromJsonb(Jsonb *stored)
{
	List	   *emissions = NIL;

	for (int i = 0; i < JsonContainerSize(&stored->root); i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(&stored->root, i);
		FlowEmission *emission = palloc0(sizeof(FlowEmission));
		JsonbValue	buffer;
		JsonbValue *value;

		value = getKeyJsonValueFromContainer(entry->val.binary.data, "event", 5,
											 &buffer);
		emission->event = pnstrdup(value->val.string.val, value->val.string.len);
		value = getKeyJsonValueFromContainer(entry->val.binary.data, "payload", 7,
											 &buffer);
		emission->isnull = value == NULL;
		if (value != NULL)
			emission->payload = JsonbPGetDatum(JsonbValueToJsonb(value));
		emissions = lappend(emissions, emission);
	}
	return emissions;
}

Datum
FlowEmissionPayloads(FlowItem *item, const FlowStepDef *step, const char *event)
{
	JsonbParseState *state = NULL;
	ListCell   *cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, emissions_of(item, step))
	{
		FlowEmission *emission = lfirst(cell);

		if (strcmp(emission->event, event) == 0)
			FlowJsonPushJsonb(&state, WJB_ELEM, emission->payload, emission->isnull);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY,
														   NULL)));
}

static List *
emissions_of(FlowItem *item, const FlowStepDef *step)
{
	FlowItem   *maker = item->run->items[step->no];
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	List	   *emissions = NIL;
	FlowStepKey key = {item->run->id, step->no, 0};
	bool		isnull = true;
	Datum		stored;

	if (maker != NULL && (maker->executed || maker->ended))
		return maker->emissions;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	if (FlowOutcomeEmits(&key, &stored, &isnull) && !isnull)
	{
		MemoryContextSwitchTo(caller);
		emissions = FlowEmissionsFromJsonb(DatumGetJsonbP(datumCopy(stored, false, -1)));
	}
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	return emissions;
}
