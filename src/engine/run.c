/*-------------------------------------------------------------------------
 * run.c
 *	  A run's states.
 *
 * The one table of which state may follow which (drawn in src/README.md), and
 * the forms in which a change of state is recorded.  Everybody who changes a
 * run holds its row (catalog/catalog.h) and asks here first.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "engine/batch.h"
#include "engine/run.h"
#include "error.h"

#define BIT(status) (1u << (status))

/* run_may_become[from] = set of states that may follow */
static const uint32 run_may_become[FLOW_RUN_STATUS_COUNT] = {
	[FLOW_RUN_PENDING] = BIT(FLOW_RUN_RUNNING) | BIT(FLOW_RUN_PAUSED) |
	BIT(FLOW_RUN_CANCELLED),
	[FLOW_RUN_RUNNING] = BIT(FLOW_RUN_PAUSED) | BIT(FLOW_RUN_COMPLETED) |
	BIT(FLOW_RUN_FAILED) | BIT(FLOW_RUN_CANCELLED) |
	BIT(FLOW_RUN_COMPENSATING),
	[FLOW_RUN_PAUSED] = BIT(FLOW_RUN_RUNNING) | BIT(FLOW_RUN_PENDING) |
	BIT(FLOW_RUN_CANCELLED) | BIT(FLOW_RUN_COMPENSATING),
	[FLOW_RUN_HELD] = BIT(FLOW_RUN_RUNNING) | BIT(FLOW_RUN_CANCELLED),
	[FLOW_RUN_COMPENSATING] = BIT(FLOW_RUN_FAILED) | BIT(FLOW_RUN_CANCELLED),
	[FLOW_RUN_COMPLETED] = 0,
	[FLOW_RUN_FAILED] = BIT(FLOW_RUN_RUNNING),
	[FLOW_RUN_CANCELLED] = BIT(FLOW_RUN_RUNNING),
};

static void push_text(JsonbParseState **state, const char *key, const char *text);

bool
FlowRunMayBecome(FlowRunStatus from, FlowRunStatus to)
{
	return (run_may_become[from] & BIT(to)) != 0;
}

void
FlowRunRequire(int64 run_id, FlowRunStatus from, FlowRunStatus to,
			   const char *verb)
{
	StringInfoData legal;

	if (FlowRunMayBecome(from, to))
		return;
	initStringInfo(&legal);
	for (int status = 0; status < FLOW_RUN_STATUS_COUNT; status++)
		if (FlowRunMayBecome(from, status))
			appendStringInfo(&legal, "%s%s", legal.len > 0 ? ", " : "",
							 FlowRunStatusName(status));
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
			 errmsg("run " INT64_FORMAT " is %s and cannot be %s",
					run_id, FlowRunStatusName(from), verb),
			 legal.len > 0
			 ? errdetail("A run that is %s may become: %s.",
						 FlowRunStatusName(from), legal.data)
			 : errdetail("A run that is %s stays so.", FlowRunStatusName(from)),
			 errhint("Look at flow.run for the state of the run.")));
}

void
FlowRunRequireData(const FlowRunRow *run, const char *participle)
{
	if (run->erased != FLOW_ERASED_NOTHING)
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("run " INT64_FORMAT " cannot be %s: its data was deleted",
						run->id, participle),
				 errdetail("Its steps would not see the input and outputs that they had."),
				 errhint("Start another run with flow_start().")));
}

FlowEventRow
FlowRunEvent(int64 run_id, int32 workflow_id, const char *key,
			 const char *status, Oid by)
{
	FlowEventRow event;

	memset(&event, 0, sizeof(event));
	event.run_id = run_id;
	event.workflow_id = workflow_id;
	event.key = key;
	event.status = status;
	event.at = GetCurrentTimestamp();
	event.by_role = OidIsValid(by) ? GetUserNameFromId(by, true) : NULL;
	return event;
}

Datum
FlowRunErrorJson(const char *step, int attempt, const FlowFailure *failure)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "step", step);
	push_text(&state, "sqlstate", failure->sqlstate);
	push_text(&state, "message", failure->message);
	push_text(&state, "detail", failure->detail);
	push_text(&state, "hint", failure->hint);
	push_text(&state, "context", failure->context);
	if (step == NULL)
		return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
															   NULL)));
	value.type = jbvString;
	value.val.string.val = "attempt";
	value.val.string.len = strlen("attempt");
	pushJsonbValue(&state, WJB_KEY, &value);
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(attempt);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

static void
push_text(JsonbParseState **state, const char *key, const char *text)
{
	JsonbValue	value;

	if (text == NULL)
		return;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}
