/*-------------------------------------------------------------------------
 * whole.c
 *	  A whole run at once, in the caller's transaction: flow_execute.
 *
 * Nothing but a start and a drain: same batches, same flush.  What is
 * different is the end: a run that has not completed becomes an error of the
 * caller's statement, with the SQLSTATE of the step that failed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/json.h"
#include "catalog/cat_live.h"
#include "catalog/cat_run.h"
#include "define/plan.h"
#include "engine/drain.h"
#include "engine/start.h"
#include "engine/waiting.h"
#include "engine/whole.h"

static void refuse_kinds(int64 run_id, const char *workflow);
static void raise_failure(int64 run_id, const char *workflow,
						  NullableDatum error) pg_attribute_noreturn();
static void raise_waiting(const FlowRunRow *run, const char *workflow) pg_attribute_noreturn();

Datum
FlowWholeExecute(const char *workflow, Datum input, bool *isnull)
{
	FlowStart	start;
	FlowIdentity identity;
	FlowRunRow	run;
	NullableDatum output;
	NullableDatum error;
	int64		run_id;

	memset(&start, 0, sizeof(start));
	start.workflow = workflow;
	start.input = input;
	start.on_conflict = "return";
	start.start_at = DT_NOBEGIN;
	start.slot = DT_NOBEGIN;
	run_id = FlowRunStart(&start);
	refuse_kinds(run_id, workflow);
	(void) FlowDrain(run_id, 0, true);

	FlowIdentityRaise(&identity);
	if (!FlowRunLoad(run_id, &run))
		elog(ERROR, "run " INT64_FORMAT " is gone", run_id);
	FlowRunResult(run_id, &output, &error);
	FlowIdentityRestore(&identity);
	if (run.status == FLOW_RUN_FAILED)
		raise_failure(run_id, workflow, error);
	if (run.status != FLOW_RUN_COMPLETED)
		raise_waiting(&run, workflow);
	*isnull = output.isnull;
	return output.value;
}

/* Kinds that have to wait: their time does not elapse for this. */
static void
refuse_kinds(int64 run_id, const char *workflow)
{
	FlowIdentity identity;
	FlowDefinition *definition;
	FlowRunRow	run;

	FlowIdentityRaise(&identity);
	if (!FlowRunLoad(run_id, &run))
		elog(ERROR, "run " INT64_FORMAT " is gone", run_id);
	FlowIdentityRestore(&identity);
	definition = FlowPlanLookup(run.definition_id);
	for (int i = 0; i < definition->n_all; i++)
		if (definition->steps[i].kind == FLOW_KIND_COMMAND ||
			(FlowWaitingIs(&definition->steps[i]) &&
			 definition->steps[i].kind != FLOW_KIND_SUBFLOW))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("workflow \"%s\" cannot be executed at once", workflow),
					 definition->steps[i].kind == FLOW_KIND_COMMAND ?
					 errdetail("Step \"%s\" runs outside a transaction.",
							   definition->steps[i].name) :
					 errdetail("Step \"%s\" waits for something.",
							   definition->steps[i].name),
					 errhint("Use flow_start(), and let the workers run it.")));
}

static void
raise_failure(int64 run_id, const char *workflow, NullableDatum error)
{
	char	   *code = FlowJsonGetText(error.value, "sqlstate");
	char	   *detail = FlowJsonGetText(error.value, "detail");
	char	   *hint = FlowJsonGetText(error.value, "hint");

	ereport(ERROR,
			(errcode(code ? MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4])
					 : ERRCODE_INTERNAL_ERROR),
			 FlowJsonGetText(error.value, "step") == NULL
			 ? errmsg("workflow \"%s\" failed: %s", workflow,
					  FlowJsonGetText(error.value, "message"))
			 : errmsg("step \"%s\" of workflow \"%s\" failed: %s",
					  FlowJsonGetText(error.value, "step"), workflow,
					  FlowJsonGetText(error.value, "message")),
			 detail ? errdetail_internal("%s", detail)
			 : errdetail("Nothing of run " INT64_FORMAT " is kept.", run_id),
			 hint ? errhint("%s", hint) : 0));
}

static void
raise_waiting(const FlowRunRow *run, const char *workflow)
{
	FlowIdentity identity;
	const char *step = NULL;
	ListCell   *cell;

	FlowIdentityRaise(&identity);
	foreach(cell, FlowTaskListOf(run->id))
	{
		const FlowTaskRow *task = lfirst(cell);

		if (task->key.step_no != FLOW_STEP_RUN)
			step = FlowPlanLookup(run->definition_id)->steps[task->key.step_no - 1].name;
	}
	FlowIdentityRestore(&identity);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("workflow \"%s\" cannot be executed at once", workflow),
			 step ? errdetail("Step \"%s\" needs a worker, or waits for something.", step)
			 : errdetail("The run is %s.", FlowRunStatusName(run->status)),
			 errhint("Use flow_start(), and let the workers run it.")));
}
