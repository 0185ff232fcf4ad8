/*-------------------------------------------------------------------------
 * settle.c
 *	  What the steps of a batch mean for their run.
 *
 * Called by the flush with the run's row locked, so that of two workers that
 * meet at a join, or at the end of a run, the second sees what the first has
 * done.  Decides only; changes.c writes.
 *
 * A run fails in two moments.  When its first step fails for good it is
 * "failing": nothing new starts, and what is not running is taken away.  When
 * the last step that was running has ended, whoever flushes it ends the run.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "engine/context.h"
#include "engine/control.h"
#include "engine/ready.h"
#include "engine/run.h"
#include "engine/settle.h"
#include "shmem/wake.h"

static void add_outcome(const FlowItem *item, FlowChanges *changes);
static void add_attempt(const FlowItem *item, FlowChanges *changes);
static void add_sleep(const FlowItem *item, FlowChanges *changes);
static void start_run(FlowItem *item, FlowChanges *changes);
static bool has_failure(const FlowRunRef *run);
static void make_ready(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes);
static void add_ready(FlowRunRef *run, FlowStepDef *step, FlowChanges *changes);
static void fail_run(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes);
static bool take_away_tasks(FlowBatch *batch, FlowRunRef *run,
							FlowChanges *changes);
static FlowItem *item_of(FlowBatch *batch, const FlowStepKey *key);
static void end_rest(FlowRunRef *run, FlowChanges *changes);
static void finish_run(FlowRunRef *run, FlowRunStatus status,
					   FlowChanges *changes);
static Datum output_of_run(FlowRunRef *run, bool *isnull);
static Datum object_of_sinks(FlowRunRef *run);
static bool is_completed_sink(const FlowRunRef *run, int no);

void
FlowSettleItem(FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;

	if (item->step == NULL)
	{
		start_run(item, changes);
		return;
	}
	if (item->status == FLOW_STEP_HELD)
	{
		FlowRowsAdd(&changes->holds, &item->tid);
		return;
	}
	if (item->failure != NULL)
	{
		if (run->failing && item->status == FLOW_STEP_SLEEPING)
		{
			item->status = FLOW_STEP_FAILED;
			item->next_at = DT_NOBEGIN;
		}
		add_attempt(item, changes);
	}
	if (item->status == FLOW_STEP_SLEEPING)
	{
		add_sleep(item, changes);
		return;
	}
	add_outcome(item, changes);
	if (item->has_task)
		FlowRowsAdd(&changes->deletes, &item->tid);
	if (run->ended[item->key.step_no] != item->status)
	{
		if (run->ended[item->key.step_no] == 0)
			run->n_ended++;
		run->ended[item->key.step_no] = item->status;
	}
}

static void
add_outcome(const FlowItem *item, FlowChanges *changes)
{
	FlowOutcomeRow row;

	memset(&row, 0, sizeof(row));
	row.key = item->key;
	row.status = item->status;
	row.attempt = item->started_at == 0 ? item->attempt - 1 : item->attempt;
	row.started_at = item->started_at == 0 ? DT_NOBEGIN : item->started_at;
	row.finished_at = item->finished_at ? item->finished_at : GetCurrentTimestamp();
	row.output = item->output;
	row.has_output = item->has_output;
	row.reason = item->reason;
	row.worker = item->worker;
	if (item->failure != NULL)
	{
		row.error = FlowRunErrorJson(item->step->name, item->attempt,
									 item->failure);
		row.has_error = true;
	}
	FlowRowsAdd(&changes->outcomes, &row);
}

static void
add_attempt(const FlowItem *item, FlowChanges *changes)
{
	FlowAttemptRow row;

	memset(&row, 0, sizeof(row));
	row.key = item->key;
	row.attempt = item->attempt;
	row.started_at = item->started_at;
	row.finished_at = item->finished_at;
	row.sqlstate = item->failure->sqlstate;
	row.message = item->failure->message;
	row.detail = item->failure->detail;
	row.hint = item->failure->hint;
	row.context = item->failure->context;
	row.next_at = item->status == FLOW_STEP_SLEEPING ? item->next_at : DT_NOBEGIN;
	FlowRowsAdd(&changes->attempts, &row);
}

static void
add_sleep(const FlowItem *item, FlowChanges *changes)
{
	FlowTaskNew row;

	memset(&row, 0, sizeof(row));
	row.key = item->key;
	row.status = FLOW_STEP_SLEEPING;
	row.attempt = item->attempt;
	row.due_at = item->next_at;
	FlowRowsAdd(&changes->sleeps, &row);
}

/*
 * The row that stands for the run as a whole: it starts a pending run; of a
 * running one it only asks for a look at what may run.
 */
static void
start_run(FlowItem *item, FlowChanges *changes)
{
	FlowRunRef *run = item->run;
	FlowEventRow event;

	item->status = FLOW_STEP_COMPLETED;
	run->settling = true;
	FlowRowsAdd(&changes->deletes, &item->tid);
	if (run->status != FLOW_RUN_PENDING)
		return;
	FlowRunSetStarted(run->id, &run->tid);
	run->status = FLOW_RUN_RUNNING;
	if (!run->notify)
		return;
	event = FlowRunEvent(run->id, run->workflow_id, run->key, "started",
						 InvalidOid);
	FlowRowsAdd(&changes->events, &event);
}

bool
FlowSettleNeedsEnds(const FlowBatch *batch, const FlowRunRef *run)
{
	int			ready = 0;
	ListCell   *cell;

	if (run->whole)
		return false;
	if (run->failing || has_failure(run))
		return true;
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run != run || item->status == FLOW_STEP_READY)
			continue;
		if (item->step == NULL)
			return true;
		if (item->status != FLOW_STEP_COMPLETED)
			continue;
		for (int i = 0; i < item->step->n_dependents; i++)
		{
			FlowStepDef *next = &run->definition->steps[item->step->dependents[i] - 1];

			if (FlowReadyIs(next, run->ended))
				ready++;
			else if (FlowReadyIsOpen(next, run->ended))
				return true;
		}
	}
	return ready == 0;
}

static bool
has_failure(const FlowRunRef *run)
{
	for (int no = 1; no <= run->definition->n_steps; no++)
		if (run->ended[no] == FLOW_STEP_FAILED)
			return true;
	return false;
}

void
FlowSettleRun(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	if (FlowRunStatusIsFinal(run->status) ||
		FlowControlStops(batch, run->id))
		return;					/* whoever resumes it looks again */
	if (run->failing || has_failure(run))
	{
		fail_run(batch, run, changes);
		return;
	}
	make_ready(batch, run, changes);
	if (run->status == FLOW_RUN_RUNNING &&
		run->n_ended == run->definition->n_steps)
		finish_run(run, FLOW_RUN_COMPLETED, changes);
}

/*
 * What the items of the batch have made ready; for the row of the run itself,
 * whatever is ready.
 */
static void
make_ready(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	FlowDefinition *definition = run->definition;
	bool	   *listed = palloc0(sizeof(bool) * (definition->n_steps + 1));
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);
		int			n = definition->n_steps;

		if (item->run != run || item->status == FLOW_STEP_READY)
			continue;
		if (item->step != NULL)
			n = item->status == FLOW_STEP_COMPLETED ? item->step->n_dependents : 0;
		for (int i = 0; i < n; i++)
		{
			int			no = item->step ? item->step->dependents[i] : i + 1;

			if (listed[no] || !FlowReadyIs(&definition->steps[no - 1], run->ended))
				continue;
			listed[no] = true;
			add_ready(run, &definition->steps[no - 1], changes);
		}
	}
	pfree(listed);
}

static void
add_ready(FlowRunRef *run, FlowStepDef *step, FlowChanges *changes)
{
	FlowTaskNew row;
	FlowReady	ready;

	if (run->items[step->no] != NULL && run->items[step->no]->has_task)
		return;					/* claimed by this batch, and not run */
	memset(&row, 0, sizeof(row));
	row.key.run_id = run->id;
	row.key.step_no = step->no;
	row.owner = run->owner;
	row.workflow_id = run->workflow_id;
	row.definition_id = run->definition->id;
	row.priority = FlowPlanPriority(step, run->priority);
	row.status = FLOW_STEP_READY;
	row.due_at = DT_NOBEGIN;
	FlowRowsAdd(run->settling ? &changes->missing : &changes->inserts, &row);

	if (run->status != FLOW_RUN_RUNNING)
		return;
	memset(&ready, 0, sizeof(ready));
	ready.key = row.key;
	ready.workflow_id = row.workflow_id;
	ready.definition_id = row.definition_id;
	ready.priority = row.priority;
	FlowWakeNoteReady(run->owner, &ready);
}

static void
fail_run(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	bool		others;

	if (!run->failing)
	{
		FlowItem   *first = NULL;
		ListCell   *cell;

		foreach(cell, batch->items)
		{
			FlowItem   *item = lfirst(cell);

			if (item->run == run && item->status == FLOW_STEP_FAILED &&
				(first == NULL || item->finished_at < first->finished_at))
				first = item;
		}
		if (first != NULL)
			FlowRunSetFailing(run->id,
							  FlowRunErrorJson(first->step->name, first->attempt,
											   first->failure), &run->tid);
		run->failing = true;
	}
	others = take_away_tasks(batch, run, changes);
	if (others || run->status != FLOW_RUN_RUNNING)
		return;
	end_rest(run, changes);
	finish_run(run, FLOW_RUN_FAILED, changes);
}

/*
 * Takes away the tasks of a failing run that nobody is running.  Returns true
 * if there are others: steps that run right now, or have ended and are not yet
 * settled, whose worker will come here.
 */
static bool
take_away_tasks(FlowBatch *batch, FlowRunRef *run, FlowChanges *changes)
{
	int			mine = 0;
	ListCell   *cell;

	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);
		FlowItem   *item = item_of(batch, &task->key);
		FlowItem	foreign;

		if (item == NULL && task->ended)
			continue;
		mine++;
		if (item != NULL && item->status != FLOW_STEP_READY &&
			item->status != FLOW_STEP_HELD)
			continue;			/* settled already */
		if (task->key.step_no == FLOW_STEP_RUN && run->status != FLOW_RUN_RUNNING)
			continue;			/* a paused run keeps it */
		if (item == NULL)
		{
			memset(&foreign, 0, sizeof(foreign));
			item = &foreign;
			item->key = task->key;
			item->run = run;
			item->tid = task->tid;
			item->attempt = task->attempt + 1;
			item->has_task = true;
			if (task->key.step_no != FLOW_STEP_RUN)
				item->step = &run->definition->steps[task->key.step_no - 1];
		}
		item->status = FLOW_STEP_CANCELLED;
		item->reason = "the run failed";
		FlowSettleItem(item, changes);
	}
	return list_length(FlowTaskListOf(run->id)) > mine;
}

static FlowItem *
item_of(FlowBatch *batch, const FlowStepKey *key)
{
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->has_task && item->key.run_id == key->run_id &&
			item->key.step_no == key->step_no && item->key.item_no == key->item_no)
			return item;
	}
	return NULL;
}

/* The steps that a failed run will not execute. */
static void
end_rest(FlowRunRef *run, FlowChanges *changes)
{
	FlowDefinition *definition = run->definition;
	uint8	   *fate = palloc0(definition->n_steps + 1);
	int		   *cause = palloc0(sizeof(int) * (definition->n_steps + 1));

	FlowReadyComputeFate(definition, run->ended, fate, cause);
	for (int no = 1; no <= definition->n_steps; no++)
	{
		FlowOutcomeRow row;

		if (fate[no] == 0)
			continue;
		memset(&row, 0, sizeof(row));
		row.key.run_id = run->id;
		row.key.step_no = no;
		row.status = fate[no];
		row.started_at = DT_NOBEGIN;
		row.finished_at = GetCurrentTimestamp();
		row.reason = cause[no] != 0
			? psprintf("step \"%s\" failed", definition->steps[cause[no] - 1].name)
			: "the run failed";
		FlowRowsAdd(&changes->outcomes, &row);
	}
}

static void
finish_run(FlowRunRef *run, FlowRunStatus status, FlowChanges *changes)
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
	run->status = status;

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
		JsonbValue	key;
		JsonbValue	value;
		Datum		output;
		bool		isnull;

		if (!is_completed_sink(run, no))
			continue;
		key.type = jbvString;
		key.val.string.val = run->definition->steps[no - 1].name;
		key.val.string.len = strlen(key.val.string.val);
		pushJsonbValue(&state, WJB_KEY, &key);

		output = FlowContextOutput(run, no, &isnull);
		if (isnull)
			value.type = jbvNull;
		else
		{
			Jsonb	   *jsonb = DatumGetJsonbP(output);

			if (!JB_ROOT_IS_SCALAR(jsonb) ||
				!JsonbExtractScalar(&jsonb->root, &value))
			{
				value.type = jbvBinary;
				value.val.binary.data = &jsonb->root;
				value.val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
			}
		}
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

static bool
is_completed_sink(const FlowRunRef *run, int no)
{
	return run->definition->steps[no - 1].n_dependents == 0 &&
		run->ended[no] == FLOW_STEP_COMPLETED;
}
