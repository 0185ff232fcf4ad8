/*-------------------------------------------------------------------------
 * stepfuncs.c
 *	  SQL functions that are valid inside a step.
 *
 * For functions that a step calls, in any language, and for DO blocks, which
 * the names of the step do not reach.  Outside a step each raises 55000.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "catalog/cat_release.h"
#include "define/item.h"
#include "engine/command.h"
#include "engine/context.h"
#include "engine/emission.h"
#include "engine/round.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(flow_run_id);
PG_FUNCTION_INFO_V1(flow_run_key);
PG_FUNCTION_INFO_V1(flow_step_name);
PG_FUNCTION_INFO_V1(flow_attempt);
PG_FUNCTION_INFO_V1(flow_slot);
PG_FUNCTION_INFO_V1(flow_input);
PG_FUNCTION_INFO_V1(flow_output);
PG_FUNCTION_INFO_V1(flow_item);
PG_FUNCTION_INFO_V1(flow_item_no);
PG_FUNCTION_INFO_V1(flow_items);
PG_FUNCTION_INFO_V1(flow_error);
PG_FUNCTION_INFO_V1(flow_emit);
PG_FUNCTION_INFO_V1(flow_event);
PG_FUNCTION_INFO_V1(flow_hook_event);
PG_FUNCTION_INFO_V1(flow_get);
PG_FUNCTION_INFO_V1(flow_set);
PG_FUNCTION_INFO_V1(flow_idempotency_key);
PG_FUNCTION_INFO_V1(flow_again);

static void check_data(const char *key, Jsonb *value);
static FlowStepDef *upstream_step(FlowItem *item, const char *name);

Datum
flow_run_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(FlowContextRequire("flow_run_id")->run->id);
}

Datum
flow_run_key(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_run_key");

	if (item->run->key == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(item->run->key));
}

Datum
flow_step_name(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(FlowContextRequire("flow_step_name")->step->name));
}

Datum
flow_attempt(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(FlowContextRequire("flow_attempt")->attempt);
}

Datum
flow_hook_event(PG_FUNCTION_ARGS)
{
	bool		isnull;
	Datum		event = FlowContextHookEvent(FlowContextRequire("flow_hook_event"),
											 &isnull);

	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(event);
}

Datum
flow_slot(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(FlowContextRequire("flow_slot")->run->slot);
}

Datum
flow_input(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(FlowContextRequire("flow_input")->run->input);
}

Datum
flow_output(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_output");
	FlowStepDef *step;
	Datum		output;
	bool		isnull;

	step = upstream_step(item, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	output = FlowContextOutput(item->run, step->no, &isnull);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(output);
}

/* Null in a step that runs for no item. */
Datum
flow_item(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_item");

	if (item->key.item_no == 0 || !item->has_value)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(item->value);
}

Datum
flow_item_no(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_item_no");

	if (!FlowItemIsSeen(item->step) || item->key.item_no == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(item->key.item_no);
}

Datum
flow_items(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_items");
	FlowStepDef *step = upstream_step(item, text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (step->items == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step \"%s\" has no items", step->name),
				 errdetail("Only a step with \"for_each\" has."),
				 errhint("Use flow_output() for the output of the step.")));
	InitMaterializedSRF(fcinfo, 0);
	FlowContextItems(item->run, step, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	return (Datum) 0;
}

Datum
flow_error(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_error");
	FlowStepDef *step = upstream_step(item, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	bool		isnull;
	Datum		error = FlowContextError(item->run, step->no, &isnull);

	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(error);
}

Datum
flow_emit(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_emit");

	FlowCommandRefuse(item, "flow_emit");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"event\" must not be null"),
				 errdetail("Other steps depend on the event by its name."),
				 errhint("Call flow_emit only when there is something to emit.")));
	check_data("payload", PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
	FlowEmissionAdd(item, text_to_cstring(PG_GETARG_TEXT_PP(0)),
					PG_ARGISNULL(1) ? (Datum) 0
					: PointerGetDatum(PG_GETARG_JSONB_P(1)),
					PG_ARGISNULL(1));
	PG_RETURN_VOID();
}

Datum
flow_event(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_event");
	FlowStepDef *step = upstream_step(item, text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_DATUM(FlowEmissionPayloads(item, step,
										 text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/* As for names in SQL: only what has surely ended can be asked for. */
static FlowStepDef *
upstream_step(FlowItem *item, const char *name)
{
	FlowStepDef *step = FlowPlanFindStep(item->step->definition, name);

	if (step == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("step \"%s\" does not exist in workflow \"%s\"",
						name, item->step->definition->workflow),
				 errdetail("Step \"%s\" asked for its output.", item->step->name),
				 errhint("Look at flow.workflow_step for the names of the steps.")));
	if (step == item->step)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step \"%s\" cannot see its own output", name),
				 errdetail("It has none before it ends."),
				 errhint("Name a step upstream of it.")));
	if (!FlowPlanIsUpstream(item->step, step))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step \"%s\" is not upstream of step \"%s\"",
						name, item->step->name),
				 errdetail("It need not have ended when step \"%s\" runs.",
						   item->step->name),
				 errhint("Add \"%s\" to the \"after\" of step \"%s\".",
						 name, item->step->name)));
	return step;
}

Datum
flow_get(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_get");
	Datum		value;

	if (!FlowContextGetData(item, text_to_cstring(PG_GETARG_TEXT_PP(0)), &value))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(value);
}

Datum
flow_set(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_set");

	FlowCommandRefuse(item, "flow_set");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"key\" must not be null"),
				 errdetail("The key names the value among the data of the run."),
				 errhint("To remove a value, pass its key and null.")));
	check_data(text_to_cstring(PG_GETARG_TEXT_PP(0)),
			   PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
	FlowContextSetData(item, text_to_cstring(PG_GETARG_TEXT_PP(0)),
					   PG_ARGISNULL(1) ? (Datum) 0
					   : PointerGetDatum(PG_GETARG_JSONB_P(1)),
					   PG_ARGISNULL(1));
	PG_RETURN_VOID();
}

Datum
flow_again(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_again");

	FlowCommandRefuse(item, "flow_again");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"delay\" must not be null"),
				 errdetail("The step runs again after that delay."),
				 errhint("Use '0' to run it again at once.")));
	FlowRoundAsk(item, PG_GETARG_INTERVAL_P(0));
	PG_RETURN_NULL();
}

static void
check_data(const char *key, Jsonb *value)
{
	if (key[0] == '\0' || strlen(key) > FLOW_MAX_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid key of %zu bytes", strlen(key)),
				 errdetail("A key has from 1 to %d bytes.", FLOW_MAX_KEY),
				 errhint("Use a shorter one.")));
	if (value != NULL && VARSIZE(value) > (Size) FlowMaxResultSize * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("value of key \"%s\" is larger than %d kB", key, FlowMaxResultSize),
				 errdetail("The setting \"flow.max_result_size\" limits what one step may hand on."),
				 errhint("Keep large values in a table of your own.")));
}

/*
 * SHA-256 over what identifies the step and not the attempt, in hex.  A run
 * that was restored keeps its keys: it may have used them before the dump.
 */
Datum
flow_idempotency_key(PG_FUNCTION_ARGS)
{
	FlowItem   *item = FlowContextRequire("flow_idempotency_key");
	char	   *text = psprintf(INT64_FORMAT "/" INT64_FORMAT "/%d/%d",
								FlowReleaseOrigin(item->key.run_id), item->key.run_id,
								item->key.step_no, item->key.item_no);
	bytea	   *plain = (bytea *) cstring_to_text(text);
	Datum		hash = DirectFunctionCall1(sha256_bytea, PointerGetDatum(plain));

	PG_RETURN_DATUM(DirectFunctionCall2(binary_encode, hash,
										PointerGetDatum(cstring_to_text("hex"))));
}
