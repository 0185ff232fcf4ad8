/*-------------------------------------------------------------------------
 * context.c
 *	  What the running step can ask.
 *
 * The parameters of a step's SQL, and the functions it may call
 * (stepfuncs.c), read from here.  An output that this batch has made comes
 * from memory; any other is read from the tables the first time it is used,
 * which may be in the middle of a statement of the step.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_event.h"
#include "catalog/cat_item.h"
#include "catalog/cat_live.h"
#include "catalog/cat_outcome.h"
#include "define/item.h"
#include "define/names.h"
#include "engine/context.h"
#include "engine/control.h"
#include "engine/emission.h"
#include "engine/round.h"

static FlowBatch *current_batch = NULL;
static FlowItem *current_item = NULL;

static ParamExternData *fetch_param(ParamListInfo params, int paramid,
									bool speculative, ParamExternData *workspace);
static bool is_upstream(FlowItem *item, int step_no);
static Datum param_value(FlowItem *item, int paramid, bool *isnull);
static Datum output_of_item(FlowItem *item, bool *isnull);
static void load_output(FlowRunRef *run, int step_no);
static bool read_outcome(bool (*reader) (const FlowStepKey *key, Datum *value, bool *isnull),
						 const FlowStepKey *key, MemoryContext context,
						 Datum *value, bool *isnull);
static FlowDatum *find_data(FlowRunRef *run, const char *key);
static void at_subxact(SubXactEvent event, SubTransactionId sub,
					   SubTransactionId parent, void *arg);
static List *undo_data(List *data, int level);
static List *undo_controls(List *controls, int level);
static List *undo_emissions(List *emissions, int level);

void
FlowContextInit(void)
{
	RegisterSubXactCallback(at_subxact, NULL);
}

FlowBatch *
FlowBatchCurrent(void)
{
	return current_batch;
}

FlowItem *
FlowContextItem(void)
{
	return current_item;
}

FlowItem *
FlowContextRequire(const char *function)
{
	if (current_item == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function \"%s\" can only be called inside a step", function),
				 errdetail("It tells a step about the run it belongs to."),
				 errhint("Call it from the SQL of a step, or from a function that a step calls.")));
	return current_item;
}

void
FlowContextEnter(FlowBatch *batch, FlowItem *item)
{
	current_batch = item ? batch : NULL;
	current_item = item;
}

ParamListInfo
FlowContextParams(const FlowDefinition *definition)
{
	ParamListInfo params = makeParamList(0);

	params->paramFetch = fetch_param;
	params->numParams = FLOW_PARAM_STEP + definition->n_all;
	return params;
}

static ParamExternData *
fetch_param(ParamListInfo params, int paramid, bool speculative,
			ParamExternData *workspace)
{
	Assert(current_item != NULL);
	workspace->ptype = FlowNamesParamType(paramid);
	workspace->pflags = PARAM_FLAG_CONST;
	workspace->value = param_value(current_item, paramid, &workspace->isnull);
	return workspace;
}

static Datum
param_value(FlowItem *item, int paramid, bool *isnull)
{
	FlowRunRef *run = item->run;

	*isnull = false;
	switch (paramid)
	{
		case FLOW_PARAM_INPUT:
			return run->input;
		case FLOW_PARAM_RUN_ID:
			return Int64GetDatum(run->id);
		case FLOW_PARAM_RUN_KEY:
			*isnull = run->key == NULL;
			return run->key ? CStringGetTextDatum(run->key) : (Datum) 0;
		case FLOW_PARAM_ATTEMPT:
			return Int32GetDatum(item->attempt);
		case FLOW_PARAM_SLOT:
			return TimestampTzGetDatum(run->slot);
		case FLOW_PARAM_EVENT:
			return FlowContextHookEvent(item, isnull);
		case FLOW_PARAM_ITEM:
			*isnull = !item->has_value || item->key.item_no == 0;
			return *isnull ? (Datum) 0 : item->value;
		case FLOW_PARAM_ITEM_NO:
			*isnull = item->key.item_no == 0;
			return Int32GetDatum(item->key.item_no);
		default:
			if (paramid - FLOW_PARAM_STEP == item->step->no)
			{
				*isnull = !item->has_output;	/* names.c says who may ask */
				return item->output;
			}
			if (FlowItemIsSeen(item->step) &&
				item->step->undoes == paramid - FLOW_PARAM_STEP)
				return output_of_item(item, isnull);
			if (is_upstream(item, paramid - FLOW_PARAM_STEP))
				return FlowContextOutput(run, paramid - FLOW_PARAM_STEP, isnull);
			*isnull = true;
			return (Datum) 0;
	}
}

/* What undoes an item sees its output as that of the step. */
static Datum
output_of_item(FlowItem *item, bool *isnull)
{
	const FlowStepDef *undone = &item->step->definition->steps[item->step->undoes - 1];
	FlowStepKey key = {item->run->id, undone->items, item->key.item_no};
	Datum		value = (Datum) 0;

	*isnull = true;
	(void) read_outcome(FlowOutcomeOutput, &key, GetMemoryChunkContext(item->run),
						&value, isnull);
	return value;
}

/*
 * The server may ask for every parameter, such as to copy them into a cursor;
 * a step that is not upstream need not have ended.
 */
static bool
is_upstream(FlowItem *item, int step_no)
{
	FlowDefinition *definition = item->step->definition;
	FlowRunRef *run = item->run;

	if (step_no >= 1 && step_no <= definition->n_steps &&
		run->outputs_state[step_no] == 1)
		return true;
	return step_no >= 1 && step_no <= definition->n_steps &&
		FlowPlanIsUpstream(item->step, &definition->steps[step_no - 1]);
}

Datum
FlowContextOutput(FlowRunRef *run, int step_no, bool *isnull)
{
	FlowItem   *maker = run->items[step_no];

	if (maker != NULL && (maker->executed || maker->ended))
	{
		*isnull = !maker->has_output;
		return maker->output;
	}
	if (run->outputs_state[step_no] == 0)
		load_output(run, step_no);
	*isnull = run->outputs_state[step_no] != 1;
	return run->outputs[step_no];
}

static void
load_output(FlowRunRef *run, int step_no)
{
	FlowStepKey key = {run->id, step_no, 0};
	Datum		value = (Datum) 0;
	bool		isnull = true;

	if (!read_outcome(FlowOutcomeOutput, &key, GetMemoryChunkContext(run),
					  &value, &isnull))
		return;
	run->outputs[step_no] = value;
	run->outputs_state[step_no] = isnull ? 2 : 1;
}

/* Copies a value of the outcome of a step; false if there is no such row. */
static bool
read_outcome(bool (*reader) (const FlowStepKey *key, Datum *value, bool *isnull),
			 const FlowStepKey *key, MemoryContext context, Datum *value,
			 bool *isnull)
{
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	found = reader(key, value, isnull);
	MemoryContextSwitchTo(context);
	if (found && !*isnull)
		*value = datumCopy(*value, false, -1);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	return found;
}

void
FlowContextItems(const FlowRunRef *run, const FlowStepDef *step,
				 Tuplestorestate *result)
{
	FlowIdentity identity;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	FlowItemListAll(run->id, step->no, step->items, result);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
}

/* The row of the hook has it; null for a step that is none. */
Datum
FlowContextHookEvent(FlowItem *item, bool *isnull)
{
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	Datum		value = (Datum) 0;

	*isnull = true;
	if (item->step->part != FLOW_PART_HOOK)
		return (Datum) 0;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	*isnull = !FlowTaskAsked(&item->key, &value);
	MemoryContextSwitchTo(caller);
	if (!*isnull)
		value = datumCopy(value, false, -1);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	return value;
}

/* A step that has failed has ended in an earlier batch. */
Datum
FlowContextError(FlowRunRef *run, int step_no, bool *isnull)
{
	FlowStepKey key = {run->id, step_no, 0};
	Datum		value = (Datum) 0;

	*isnull = true;
	(void) read_outcome(FlowOutcomeError, &key, CurrentMemoryContext, &value,
						isnull);
	return value;
}

bool
FlowContextGetData(FlowItem *item, const char *key, Datum *value)
{
	FlowDatum  *set = find_data(item->run, key);
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	bool		found;

	if (set != NULL)
	{
		*value = set->value;
		return !set->isnull;
	}
	SPI_connect();
	FlowIdentityRaise(&identity);
	found = FlowDataLoad(item->run->id, key, value);
	FlowIdentityRestore(&identity);
	if (found)
	{
		MemoryContextSwitchTo(caller);
		*value = datumCopy(*value, false, -1);
	}
	SPI_finish();
	return found;
}

void
FlowContextSetData(FlowItem *item, const char *key, Datum value, bool isnull)
{
	FlowRunRef *run = item->run;
	MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(run));
	FlowDatum  *set = find_data(run, key);

	if (set == NULL || set->level < GetCurrentTransactionNestLevel())
	{
		set = palloc0(sizeof(FlowDatum));
		set->key = pstrdup(key);
		set->level = GetCurrentTransactionNestLevel();
		run->data = lappend(run->data, set);
	}
	set->isnull = isnull;
	set->value = isnull ? (Datum) 0 : datumCopy(value, false, -1);
	MemoryContextSwitchTo(caller);
}

static FlowDatum *
find_data(FlowRunRef *run, const char *key)
{
	for (int i = list_length(run->data) - 1; i >= 0; i--)
	{
		FlowDatum  *set = list_nth(run->data, i);

		if (strcmp(set->key, key) == 0)
			return set;
	}
	return NULL;
}

/*
 * What a step has asked for in a block that it rolls back, such as a PL/pgSQL
 * block with EXCEPTION, it has not asked for.
 */
static void
at_subxact(SubXactEvent event, SubTransactionId sub, SubTransactionId parent,
		   void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	ListCell   *cell;

	if (current_batch == NULL)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		current_batch->controls = undo_controls(current_batch->controls, level);
		current_item->emissions = undo_emissions(current_item->emissions, level);
		FlowRoundAtSubxact(current_item, level, false);
		foreach(cell, current_batch->runs)
		{
			FlowRunRef *run = lfirst(cell);

			run->data = undo_data(run->data, level);
		}
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		ListCell   *inner;

		foreach(cell, current_batch->controls)
		{
			FlowControl *control = lfirst(cell);

			control->level = Min(control->level, level - 1);
		}
		FlowRoundAtSubxact(current_item, level, true);
		foreach(cell, current_item->emissions)
		{
			FlowEmission *emission = lfirst(cell);

			emission->level = Min(emission->level, level - 1);
		}
		foreach(cell, current_batch->runs)
			foreach(inner, ((FlowRunRef *) lfirst(cell))->data)
		{
			FlowDatum  *set = lfirst(inner);

			set->level = Min(set->level, level - 1);
		}
	}
}

static List *
undo_data(List *data, int level)
{
	ListCell   *cell;

	foreach(cell, data)
		if (((FlowDatum *) lfirst(cell))->level >= level)
		data = foreach_delete_current(data, cell);
	return data;
}

static List *
undo_controls(List *controls, int level)
{
	ListCell   *cell;

	foreach(cell, controls)
		if (((FlowControl *) lfirst(cell))->level >= level)
		controls = foreach_delete_current(controls, cell);
	return controls;
}

static List *
undo_emissions(List *emissions, int level)
{
	ListCell   *cell;

	foreach(cell, emissions)
		if (((FlowEmission *) lfirst(cell))->level >= level)
		emissions = foreach_delete_current(emissions, cell);
	return emissions;
}
