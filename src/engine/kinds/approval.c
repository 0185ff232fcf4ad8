/*-------------------------------------------------------------------------
 * approval.c
 *	  Steps of kind "approval": until somebody decides.
 *
 * A rejection is a failure of the step, which emits "rejected"; nothing but an
 * approval completes it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/jsonb.h"

#include "base/json.h"
#include "engine/emission.h"
#include "engine/kinds/kind.h"
#include "engine/waiting.h"
#include "error.h"

static Datum output_of(const FlowDecisionRow *decision);
static void push_entry(JsonbParseState **state, const char *key,
					   const char *string);

void
FlowKindApprovalExecute(FlowBatch *batch, FlowItem *item)
{
	FlowDecisionRow decision;
	MemoryContext caller;

	if (!FlowWaitingFindDecision(item, &decision))
	{
		FlowWaitingGoOn(item);
		return;
	}
	if (!decision.approved)
	{
		FlowWaitingFail(item, ERRCODE_FLOW_REJECTED,
						psprintf("step \"%s\" was rejected by %s", item->step->name,
								 decision.approver ? decision.approver : decision.by),
						unconstify(char *, decision.comment),
						"Let another step depend on its event \"rejected\" to go on all the same.");
		return;
	}
	caller = MemoryContextSwitchTo(batch->context);
	item->output = output_of(&decision);
	item->has_output = true;
	MemoryContextSwitchTo(caller);
	FlowEmissionNote(item, FLOW_EVENT_APPROVED);
}

static Datum
output_of(const FlowDecisionRow *decision)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	FlowJsonPushKey(&state, "approved");
	value.type = jbvBool;
	value.val.boolean = true;
	pushJsonbValue(&state, WJB_VALUE, &value);
	push_entry(&state, "by", decision->by);
	push_entry(&state, "approver", decision->approver);
	push_entry(&state, "comment", decision->comment);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

static void
push_entry(JsonbParseState **state, const char *key, const char *string)
{
	JsonbValue	value;

	FlowJsonPushKey(state, key);
	value.type = jbvNull;
	if (string != NULL)
		FlowJsonPushText(state, WJB_VALUE, string);
	else
		pushJsonbValue(state, WJB_VALUE, &value);
}
