/*-------------------------------------------------------------------------
 * finish.c
 *	  The end of a run, and its output.
 *
 * Called by the flush with the run's row locked, when all its steps have
 * ended.  The output is that of its only sink that has completed, or an object
 * of them by name.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/json.h"
#include "engine/context.h"
#include "engine/deadline.h"
#include "engine/finish.h"
#include "engine/hook.h"
#include "engine/run.h"
#include "engine/subflow.h"

static Datum output_of_run(FlowRunRef *run, bool *isnull);
static Datum object_of_sinks(FlowRunRef *run);
static bool is_completed_sink(const FlowRunRef *run, int no);

void
FlowFinishRun(FlowRunRef *run, FlowRunStatus status, FlowChanges *changes)
{
	FlowRunEnd	end;
	bool		isnull = true;

	memset(&end, 0, sizeof(end));
	end.id = run->id;
	end.tid = run->tid;
	end.status = status;
	if (status == FLOW_RUN_COMPLETED)
		end.output = output_of_run(run, &isnull);
	end.has_output = !isnull;
	end.workflow_id = run->workflow_id;
	end.key = run->key;
	FlowRowsAdd(&changes->ends, &end);
	FlowDeadlineClear(run);
	run->status = status;
	if (run->parent.run_id != 0)
		FlowSubflowTellEnd(&run->parent);
	FlowHookRaiseEnd(run, status, changes);

	if (run->notify)
	{
		FlowEventRow event = FlowRunEvent(run->id, run->workflow_id, run->key,
										  FlowRunStatusName(status), InvalidOid);

		FlowRowsAdd(&changes->events, &event);
	}
}

/* The output of the only sink that completed, or an object of them by name. */
static Datum
output_of_run(FlowRunRef *run, bool *isnull)
{
	int			sink = 0;
	int			n = 0;

	for (int no = 1; no <= run->definition->n_steps; no++)
	{
		if (!is_completed_sink(run, no))
			continue;
		sink = no;
		n++;
	}
	*isnull = n == 0;
	if (n == 1)
		return FlowContextOutput(run, sink, isnull);
	return n == 0 ? (Datum) 0 : object_of_sinks(run);
}

static Datum
object_of_sinks(FlowRunRef *run)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int no = 1; no <= run->definition->n_steps; no++)
	{
		Datum		output;
		bool		isnull;

		if (!is_completed_sink(run, no))
			continue;
		output = FlowContextOutput(run, no, &isnull);
		FlowJsonPushKey(&state, run->definition->steps[no - 1].name);
		FlowJsonPushJsonb(&state, WJB_VALUE, output, isnull);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

static bool
is_completed_sink(const FlowRunRef *run, int no)
{
	return run->definition->steps[no - 1].n_dependents == 0 &&
		run->ends.status[no] == FLOW_STEP_COMPLETED;
}
