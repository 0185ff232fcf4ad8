/*-------------------------------------------------------------------------
 * retryrun.c
 *	  A run that came to a bad end goes on.
 *
 * What it has completed stays; the ends of the others are forgotten, and those
 * that need not wait for one of them become ready.  Steps go on counting their
 * attempts where they were, with all their retries again.  Of a step with items
 * those that have completed stay, too: it finds its items when it is executed
 * again (map.c), and makes ready what has no end.
 *
 * Called by control.c with the run locked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "catalog/cat_crash.h"
#include "catalog/cat_item.h"
#include "catalog/cat_key.h"
#include "define/item.h"
#include "engine/changes.h"
#include "engine/control.h"
#include "engine/deadline.h"
#include "engine/emission.h"
#include "engine/limit.h"
#include "engine/ready.h"
#include "engine/retryrun.h"
#include "engine/round.h"
#include "engine/total.h"
#include "engine/run.h"
#include "engine/waiting.h"
#include "error.h"

/* What is known of the run, and what of it is to be forgotten */
typedef struct Revival
{
	const FlowRunRow *run;
	FlowDefinition *definition;
	const FlowStepDef *only;	/* the step that was named, or NULL */
	int32		item_no;		/* and its item, or 0 */
	FlowEnds	ends;
	int		   *attempts;		/* by step number */
	bool	   *forget;			/* by step number */
} Revival;

static void take_key_again(const FlowRunRow *run);
static void read_ends(Revival *revival);
static void require_retriable(const Revival *revival);
static bool has_collected(const Revival *revival);
static void require_item(const Revival *revival);
static void raise_not_alone(const Revival *revival, const char *detail) pg_attribute_noreturn();
static void forget_ends(Revival *revival, FlowChanges *changes);
static void forget_items(const Revival *revival, const FlowStepDef *step);

void
FlowRetryRun(const FlowRunRow *run, const char *step, int32 item_no)
{
	Revival		revival = {run, FlowPlanLookup(run->definition_id)};
	FlowChanges changes;

	FlowRunRequireData(run, "retried");
	if (step != NULL)
		revival.only = FlowControlFindStep(run, step);
	revival.item_no = item_no;
	if (run->key != NULL)
		take_key_again(run);
	FlowChangesInit(&changes);
	read_ends(&revival);
	if (step != NULL)
		require_retriable(&revival);
	forget_ends(&revival, &changes);
	FlowControlAddTask(run, FLOW_STEP_RUN, 0, &changes);
	FlowCrashClose(run->id, 0, 0);
	FlowRunSetRetried(run->id);
	if (!FlowLimitStopsRetry(run))
		FlowDeadlineSet(run->id, run->owner, revival.definition);
	FlowChangesWrite(&changes);
	FlowControlAnnounce(run);
}

static void
take_key_again(const FlowRunRow *run)
{
	if (!FlowRunKeyReserve(run->workflow_id, run->key, run->id))
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_KEY_IN_PROGRESS),
				 errmsg("run " INT64_FORMAT " cannot be retried: another run of key \"%s\" is in progress",
						run->id, run->key),
				 errdetail("Run " INT64_FORMAT " has that key.",
						   FlowRunKeyHolder(run->workflow_id, run->key)),
				 errhint("Cancel that run, or wait until it has finished.")));
}

static void
read_ends(Revival *revival)
{
	FlowDefinition *definition = revival->definition;
	int			n = definition->n_all + 1;
	int32		probes = FlowItemProbes(definition);
	ListCell   *cell;

	revival->attempts = palloc0(sizeof(int) * n);
	revival->forget = palloc0(sizeof(bool) * n);
	FlowEndsInit(&revival->ends, definition);
	foreach(cell, FlowOutcomeListOf(&revival->run->id, &probes, 1))
	{
		FlowOutcomeRow *row = lfirst(cell);

		revival->attempts[row->key.step_no] = row->attempt;
		FlowEndsNote(&revival->ends, row->key.step_no, row->status,
					 FlowEmissionStoredMask(definition, row));
	}
	foreach(cell, FlowAttemptListOf(&revival->run->id, 1))
	{
		FlowAttemptRow *row = lfirst(cell);
		int		   *attempts = &revival->attempts[row->key.step_no];

		*attempts = Max(*attempts, row->attempt);
	}
	FlowReadyComputeRetry(definition, &revival->ends, revival->forget);
}

/* A step alone can be retried if that is enough to make the run go on. */
static void
require_retriable(const Revival *revival)
{
	const FlowStepDef *only = revival->only;
	const FlowEnds *ends = &revival->ends;

	if (revival->item_no != 0)
		require_item(revival);
	if (has_collected(revival))
	{
		revival->forget[only->no] = true;
		return;
	}
	if (!revival->forget[only->no])
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("step \"%s\" of run " INT64_FORMAT " cannot be retried",
						only->name, revival->run->id),
				 ends->status[only->no] == FLOW_STEP_COMPLETED
				 ? errdetail("It has completed.")
				 : errdetail("That it is %s is not why the run ended.",
							 FlowStepStatusName(ends->status[only->no])),
				 errhint("Name a step that failed or was cancelled, or none for all of them.")));
	for (int i = 0; i < only->n_deps; i++)
		if (revival->forget[only->deps[i]])
			raise_not_alone(revival, "A step that it depends on has not completed.");
	for (int no = 1; no <= revival->definition->n_steps; no++)
		if (no != only->no &&
			FlowReadyFailsRun(&revival->definition->steps[no - 1],
							  ends->status[no], ends->events[no]))
			raise_not_alone(revival, "Another step has failed too, so the run would fail again.");
}

/* A step that completed though items of it failed; they are tried again. */
static bool
has_collected(const Revival *revival)
{
	const FlowStepDef *only = revival->only;
	FlowMapRow	map;

	return only->items != 0 &&
		revival->ends.status[only->no] == FLOW_STEP_COMPLETED &&
		FlowMapLoad(revival->run->id, only->no, &map) && map.failed > 0;
}

static void
require_item(const Revival *revival)
{
	const FlowStepDef *only = revival->only;
	FlowStepKey key = FlowControlFindItem(revival->run, only, revival->item_no);
	FlowStepStatus status = FlowOutcomeStatus(&key);
	FlowMapRow	map;

	if (status != FLOW_STEP_FAILED && status != FLOW_STEP_SKIPPED)
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("item %d of step \"%s\" of run " INT64_FORMAT " cannot be retried",
						revival->item_no, only->name, revival->run->id),
				 status == 0 ? errdetail("It has not ended; it runs with the others.")
				 : errdetail("It is %s.", FlowStepStatusName(status)),
				 errhint("Name an item that failed, or none for all of them.")));
	if (!only->definition->steps[only->items - 1].collects &&
		FlowMapLoad(revival->run->id, only->no, &map) && map.failed > 1)
		raise_not_alone(revival, "Another item of it has failed too, so the step would fail again.");
}

static void
raise_not_alone(const Revival *revival, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
			 errmsg("step \"%s\" of run " INT64_FORMAT " cannot be retried alone",
					revival->only->name, revival->run->id),
			 errdetail_internal("%s", detail),
			 errhint("Use flow_retry() without a step.")));
}

static void
forget_ends(Revival *revival, FlowChanges *changes)
{
	FlowDefinition *definition = revival->definition;
	int64		run_id = revival->run->id;
	int		   *forgotten = palloc(sizeof(int) * (definition->n_steps + 1));
	int			n = 0;

	for (int no = 1; no <= definition->n_steps; no++)
		if (revival->forget[no] && revival->ends.status[no] != 0)
		{
			forgotten[n++] = no;
			forget_items(revival, &definition->steps[no - 1]);
			FlowWaitingForget(run_id, &definition->steps[no - 1]);
			FlowRoundForget(run_id, no);
			FlowTotalForget(run_id, &definition->steps[no - 1]);
			FlowEndsTakeBack(&revival->ends, no);
		}
	FlowOutcomeForget(run_id, forgotten, n);
	for (int i = 0; i < n; i++)
		if (FlowReadyIs(&definition->steps[forgotten[i] - 1], &revival->ends))
			FlowControlAddTask(revival->run, forgotten[i],
							   revival->attempts[forgotten[i]], changes);
}

/* One that completed, and was not named, runs all over again. */
static void
forget_items(const Revival *revival, const FlowStepDef *step)
{
	int64		run_id = revival->run->id;
	bool		all = step != revival->only &&
	revival->ends.status[step->no] == FLOW_STEP_COMPLETED;

	if (step->items == 0)
		return;
	FlowItemForget(run_id, step->items,
				   step == revival->only ? revival->item_no : 0, all);
	if (all)
		FlowMapForget(run_id, step->no);
}
