/*-------------------------------------------------------------------------
 * gather.c
 *	  What a step comes to whose items have ended.
 *
 * Its output is the array of theirs, in the order of their numbers, and so with
 * the events they have emitted; or it fails as the first of them did.  This is
 * the one time that the ends of the items are read.
 *
 * Called by the flush with the run's row locked (map.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/jsonb.h"

#include "base/json.h"
#include "define/item.h"
#include "engine/emission.h"
#include "engine/gather.h"
#include "engine/waiting.h"

/* Bytes that the output of a step may have, about what jsonb can hold */
#define MAX_OUTPUT		0x0F000000

static void gather(FlowItem *item, const FlowStepDef *step, const FlowMapRow *map);
static Datum array_of(List *ends, int total);
static FlowFailure *failure_of(const FlowMapRow *map, int step_no);

void
FlowGather(FlowItem *item, const FlowMapRow *map)
{
	const FlowStepDef *step = FlowItemStep(item->step);

	if (map->failed > 0 && !step->collects)
	{
		item->status = FLOW_STEP_FAILED;
		item->failure = failure_of(map, step->no);
	}
	else
		gather(item, step, map);
}

static void
gather(FlowItem *item, const FlowStepDef *step, const FlowMapRow *map)
{
	List	   *ends = FlowItemListEnds(map->run_id, step->no);
	Size		size = 0;
	ListCell   *cell;

	foreach(cell, ends)
	{
		FlowItemEnd *end = lfirst(cell);

		if (!end->output.isnull)
			size += toast_raw_datum_size(end->output.value);	/* not as it is stored */
		if (!end->emits.isnull)
			item->emissions = list_concat(item->emissions,
										  FlowEmissionsFromJsonb(DatumGetJsonbP(end->emits.value)));
	}
	if (step->kind == FLOW_KIND_SQL &&
		step->sql[FLOW_SQL_STEP].result == FLOW_RESULT_NONE)
		return;
	if (size > MAX_OUTPUT)
	{
		FlowWaitingFail(item, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
						psprintf("the outputs of the items of step \"%s\" are too large for an array",
								 item->step->name),
						psprintf("They have %zu bytes.", size),
						"Use result => 'none', and flow_items() for single outputs.");
		return;
	}
	item->output = array_of(ends, map->total);
	item->has_output = true;
}

/* Null for an item that has none. */
static Datum
array_of(List *ends, int total)
{
	JsonbParseState *state = NULL;
	int			next = 1;
	ListCell   *cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, ends)
	{
		const FlowItemEnd *end = lfirst(cell);

		while (next < end->item_no && next++ <= total)
			FlowJsonPushJsonb(&state, WJB_ELEM, (Datum) 0, true);
		if (next++ <= total)
			FlowJsonPushJsonb(&state, WJB_ELEM, end->output.value, end->output.isnull);
	}
	while (next++ <= total)
		FlowJsonPushJsonb(&state, WJB_ELEM, (Datum) 0, true);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY,
														   NULL)));
}

/* That of the item that failed first. */
static FlowFailure *
failure_of(const FlowMapRow *map, int step_no)
{
	FlowFailure *failure = palloc0(sizeof(FlowFailure));
	FlowItemEnd end;
	char	   *detail;

	if (!FlowItemFailure(map->run_id, step_no, &end))
		elog(ERROR, "no item of step %d has failed", map->step_no);
	strlcpy(failure->sqlstate, FlowJsonGetText(end.error.value, "sqlstate"),
			sizeof(failure->sqlstate));
	failure->message = FlowJsonGetText(end.error.value, "message");
	detail = FlowJsonGetText(end.error.value, "detail");
	failure->detail = detail ? psprintf("Item %d failed: %s", end.item_no, detail)
		: psprintf("Item %d failed.", end.item_no);
	failure->hint = FlowJsonGetText(end.error.value, "hint");
	failure->context = FlowJsonGetText(end.error.value, "context");
	return failure;
}
