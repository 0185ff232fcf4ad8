/*-------------------------------------------------------------------------
 * rerun.c
 *	  A new run with the ends of steps of an earlier one.
 *
 * What is taken over is copied, with the data that steps have set, so that
 * the new run needs the earlier one no more.  It begins with a look at what
 * may run, like a run whose steps were ended by hand (override.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_outcome.h"
#include "catalog/cat_run.h"
#include "define/access.h"
#include "define/beside.h"
#include "define/item.h"
#include "engine/control.h"
#include "engine/emission.h"
#include "engine/rerun.h"
#include "engine/run.h"
#include "engine/start.h"
#include "error.h"

static void require_finished(const FlowRunRow *run);
static int *steps_to_keep(const FlowRunRow *run, const char *from_step, int *n);
static void drop(int no, bool *kept, int *again, int *n_again);
static void read_ends(const FlowRunRow *run, const FlowDefinition *definition,
					  FlowEnds *ends);
static bool keeps(const FlowStepDef *step, const FlowStepDef *from,
				  const FlowEnds *ends);

int64
FlowRunAgain(int64 run_id, const char *from_step, NullableDatum input)
{
	FlowRunRow	run;
	FlowStart	start;
	FlowIdentity identity;
	FlowDefinition *definition;

	FlowAccessRequireUse();
	FlowControlLoad(run_id, &run);
	definition = FlowPlanLookup(run.definition_id);
	FlowStartRequireRight(definition->workflow);
	memset(&start, 0, sizeof(start));
	FlowIdentityRaise(&identity);
	require_finished(&run);
	FlowRunRequireData(&run, "run again");
	FlowRunRequest(run_id, &start.input, &start.slot);
	if (from_step != NULL)
		start.keep = steps_to_keep(&run, from_step, &start.n_keep);
	FlowIdentityRestore(&identity);
	if (!input.isnull)
		start.input = input.value;
	start.workflow = definition->workflow;
	start.version = definition->version;
	start.workflow_id = definition->workflow_id;
	start.key = run.key;
	start.on_conflict = run.key ? "error" : "return";
	start.start_at = DT_NOBEGIN;
	start.priority = run.priority;
	start.keep_of = run_id;
	return FlowRunStart(&start);
}

static void
require_finished(const FlowRunRow *run)
{
	if (!FlowRunStatusIsFinal(run->status))
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("run " INT64_FORMAT " is %s and cannot be run again", run->id,
						FlowRunStatusName(run->status)),
				 errdetail("Only how a finished run has ended can be taken over."),
				 errhint("Wait until it has finished, or use flow_cancel() first.")));
}

static int *
steps_to_keep(const FlowRunRow *run, const char *from_step, int *n)
{
	FlowDefinition *definition = FlowPlanLookup(run->definition_id);
	FlowStepDef *from = FlowControlFindStep(run, from_step);
	int		   *keep = palloc(sizeof(int) * (definition->n_all + 1));
	bool	   *kept = palloc0(sizeof(bool) * (definition->n_steps + 1));
	int		   *again = palloc(sizeof(int) * (definition->n_steps + 1));
	int			n_again = 0;
	FlowEnds	ends;

	FlowBesideRefuse(from);
	read_ends(run, definition, &ends);
	for (int no = 1; no <= definition->n_steps; no++)
	{
		kept[no] = keeps(&definition->steps[no - 1], from, &ends);
		if (!kept[no])
			again[n_again++] = no;
	}
	while (n_again > 0)			/* what runs again, does so for all below it */
	{
		const FlowStepDef *step = &definition->steps[again[--n_again] - 1];

		for (int i = 0; i < step->n_dependents; i++)
			drop(step->dependents[i], kept, again, &n_again);
		for (int i = 0; i < step->n_deps; i++)	/* what it did not wait for */
			if (ends.status[step->deps[i]] == FLOW_STEP_CANCELLED)
				drop(step->deps[i], kept, again, &n_again);
	}
	*n = 0;
	for (int no = 1; no <= definition->n_steps; no++)
	{
		if (!kept[no])
			continue;
		keep[(*n)++] = no;
		if (definition->steps[no - 1].items != 0)
			keep[(*n)++] = definition->steps[no - 1].items;
	}
	return keep;
}

static void
drop(int no, bool *kept, int *again, int *n_again)
{
	if (kept[no])
		again[(*n_again)++] = no;
	kept[no] = false;
}

static void
read_ends(const FlowRunRow *run, const FlowDefinition *definition,
		  FlowEnds *ends)
{
	int32		probes = FlowItemProbes(definition);
	ListCell   *cell;

	FlowEndsInit(ends, definition);
	foreach(cell, FlowOutcomeListOf(&run->id, &probes, 1))
	{
		const FlowOutcomeRow *row = lfirst(cell);

		FlowEndsNote(ends, row->key.step_no, row->status,
					 FlowEmissionStoredMask(definition, row));
	}
}

/* Whether its end is one that it would come to again, as far as it is known. */
static bool
keeps(const FlowStepDef *step, const FlowStepDef *from, const FlowEnds *ends)
{
	FlowStepStatus status = ends->status[step->no];

	if (step == from || step->part != FLOW_PART_COURSE ||
		step->needs == FLOW_NEEDS_ALWAYS ||
		FlowPlanIsUpstream(step, from))
		return false;
	return status == FLOW_STEP_COMPLETED || status == FLOW_STEP_SKIPPED ||
		(status == FLOW_STEP_CANCELLED && FlowReadyWasOvertaken(step, ends)) ||
		(status == FLOW_STEP_FAILED &&
		 !FlowReadyFailsRun(step, status, ends->events[step->no]));
}
