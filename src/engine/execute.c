/*-------------------------------------------------------------------------
 * execute.c
 *	  Executes one step.
 *
 * The step runs in the transaction of its batch, without a savepoint, in a
 * GUC nest of its own that ends by restoring everything: a nest that ended as
 * at commit would let a plain SET survive.  Whether it was interrupted is
 * asked by flag after it returned, however it returned.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/install.h"
#include "engine/command.h"
#include "engine/context.h"
#include "engine/execute.h"
#include "engine/kinds/kind.h"
#include "engine/limit.h"
#include "engine/map.h"
#include "engine/round.h"
#include "engine/session.h"
#include "engine/statement.h"
#include "engine/total.h"
#include "engine/waiting.h"
#include "engine/watch.h"
#include "error.h"
#include "guc.h"
#include "shmem/aside.h"
#include "shmem/average.h"
#include "shmem/overdue.h"
#include "shmem/recorder.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"

/* A step that shares a batch may take so many times flow.batch_time */
#define OVERRUN_FACTOR	3

/* ms that a step waits for a lock before its worker may do something else */
#define LOCK_PATIENCE	50

/* ... if such a step has met a lock already; more than deadlock_timeout */
#define TRY_PATIENCE	20

/* The step that ran last, should this worker have to be ended because of it */
static FlowOverdue last;
static int32 last_definition_id;
static ErrorContextCallback outside;
static bool is_past_limit = false;	/* it came to its end, but too late */

static void begin(FlowBatch *batch, FlowItem *item);
static void obey_overdue(FlowItem *item);
static void begin_watch(FlowBatch *batch, FlowItem *item);
static void register_exit(void);
static void execute_exit(int code, Datum arg);
static void run_step(FlowBatch *batch, FlowItem *item);
static void run_kind(FlowBatch *batch, FlowItem *item);
static bool meets_condition(FlowBatch *batch, FlowItem *item);
static void run_confined(FlowBatch *batch, FlowItem *item);
static void fire_deferred(void);
static void raise_limit(FlowItem *item, double limit) pg_attribute_noreturn();
static void check_limits(FlowBatch *batch, FlowItem *item);
static int64 limit_of(const FlowBatch *batch, FlowItem *item);
static int64 overrun_of(const FlowBatch *batch);
static void end(FlowBatch *batch, FlowItem *item);
static void set_path(const FlowDefinition *definition);
static void describe(void *arg);

void
FlowExecuteItem(FlowBatch *batch, FlowItem *item)
{
	ErrorContextCallback callback;
	int			nest;

	begin(batch, item);
	callback.callback = describe;
	callback.arg = item;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	set_path(item->step->definition);
	nest = NewGUCNestLevel();
	begin_watch(batch, item);
	run_step(batch, item);
	check_limits(batch, item);
	AtEOXact_GUC(false, nest);

	error_context_stack = callback.previous;
	end(batch, item);
}

/*
 * The slot is published before the cancels are looked at, so that a cancel
 * is seen either here or as an interrupt.
 */
static void
begin(FlowBatch *batch, FlowItem *item)
{
	FlowRunRef *run = item->run;

	CHECK_FOR_INTERRUPTS();
	is_past_limit = false;
	batch->current = item;
	item->started_at = GetCurrentTimestamp();
	FlowSlotBegin(&item->key, run->definition->id, run->epoch, item->attempt,
				  item->started_at);
	FLOW_TEST_POINT("execute-publish");
	if (FlowSlotIsCancelled(run->id, run->epoch, batch->cancel_generation))
		FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
	FlowRecorderBeginStep(&item->key, run->definition->id, batch->plan->careful);
	obey_overdue(item);
	FlowContextEnter(batch, item);
	FlowSessionBegin(batch->scope == FLOW_GUARD_SUBTRANSACTION);
	FLOW_TEST_POINT("execute-begin");
}

/* An attempt that has cost a worker its life is not made again. */
static void
obey_overdue(FlowItem *item)
{
	FlowOverdue overdue;

	if (!FlowOverdueFind(FlowInstallRequire()->home, &item->key, item->attempt,
						 &overdue))
		return;
	item->started_at = overdue.started_at;
	raise_limit(item, overdue.limit);
}

static void
begin_watch(FlowBatch *batch, FlowItem *item)
{
	bool		in_worker = batch->scope == FLOW_GUARD_TRANSACTION;
	int64		limit = limit_of(batch, item);
	int64		overrun = overrun_of(batch);

	if (in_worker)
	{
		register_exit();
		last.home = FlowInstallRequire()->home;
		last.key = item->key;
		last.attempt = item->attempt;
		last.started_at = item->started_at;
		last.limit = limit / 1000.0;
		last_definition_id = item->step->definition->id;
	}
	if (limit > 0)
		FlowSlotSetDeadline(item->started_at + limit);
	FlowWatchBegin(item->started_at, limit, overrun, in_worker);
	if (overrun == 0 && in_worker)
		FlowWatchForLocks(batch, batch->plan->tried ?
						  TRY_PATIENCE : LOCK_PATIENCE);
}

/*
 * Before the server's own callbacks, which abort the transaction: then others
 * may claim the step, and must find what is noted here.
 */
static void
register_exit(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(execute_exit, (Datum) 0);
	registered = true;
}

/* A step that held up its batch until the end is to run alone, no more. */
static void
execute_exit(int code, Datum arg)
{
	FlowWatchEnd();
	switch (FlowWatchEnding())
	{
		case FLOW_WATCH_LIMIT:
			FlowOverdueNote(&last);
			break;
		case FLOW_WATCH_OVERRUN:
			FlowAverageNoteRun(last_definition_id, last.key.step_no,
							   GetCurrentTimestamp() - last.started_at, false);
			break;
		case FLOW_WATCH_BLOCKED:
		case FLOW_WATCH_NONE:
			return;
	}
	FlowRecorderEndStep();		/* it is known why this worker ends */
	ereport(LOG,
			(errmsg("flow worker ended, since a step of run " INT64_FORMAT " went on after it was cancelled",
					last.key.run_id),
			 errdetail("Step number %d, attempt %d, caught the cancel and did not stop.",
					   last.key.step_no, last.attempt)));
}

static void
run_step(FlowBatch *batch, FlowItem *item)
{
	if (FlowIdentityIsForeign())
		run_confined(batch, item);
	else
		run_kind(batch, item);
	FLOW_TEST_POINT("execute-end");
	if (batch->scope == FLOW_GUARD_TRANSACTION)
		AfterTriggerFireDeferred();
}

static void
run_kind(FlowBatch *batch, FlowItem *item)
{
	item->status = FLOW_STEP_COMPLETED;
	if (FlowWaitingIs(item->step))
		FlowWaitingBegin(item);
	else if (!FlowCommandHasRun(item))
		FlowTotalRequire(item);
	if ((item->waiting != NULL && item->waiting->begun) || item->admitted ||
		FlowCommandHasRun(item) ||
		FlowRoundIsLater(item) || meets_condition(batch, item))
	{
		if (item->wants_place)
		{
			FlowLimitQueue(batch, item);
			return;
		}
		if (item->step->items != 0)
			FlowMapExecute(batch, item);
		else
			FlowKindExecuteOf(item->step->kind) (batch, item);
		FlowRoundDecide(batch, item);
	}
	else
	{
		item->status = FLOW_STEP_SKIPPED;
		item->reason = "its condition is not true";
	}
}

static bool
meets_condition(FlowBatch *batch, FlowItem *item)
{
	ParamListInfo params;
	JsonbValue	truth;
	Datum		value;
	bool		isnull;

	if (item->step->sql[FLOW_SQL_CONDITION].text == NULL)
		return true;
	params = FlowContextParams(item->step->definition);
	value = FlowStatementsRun(item->step, FLOW_SQL_CONDITION, params,
							  batch->context, &isnull);
	if (isnull)
		return false;
	if (!JsonbExtractScalar(&DatumGetJsonbP(value)->root, &truth) ||
		(truth.type != jbvBool && truth.type != jbvNull))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("condition of step \"%s\" is not of type boolean", item->step->name),
				 errdetail("The step runs if it is true, and is skipped if it is false or null."),
				 errhint("Compare the value with something, or cast it.")));
	return truth.type == jbvBool && truth.val.boolean;
}

/*
 * The session, such as that of an administrator after SET ROLE, belongs to
 * another role, perhaps one with more rights.  The step must not return to it,
 * and leaves nothing for the commit, where it would run with those rights.
 */
static void
run_confined(FlowBatch *batch, FlowItem *item)
{
	FlowIdentity identity;

	FlowIdentityConfine(&identity);
	run_kind(batch, item);
	fire_deferred();
	FlowIdentityRelease(&identity);
}

/*
 * Inside a transaction the server fires what is deferred only when constraints
 * become immediate; they stay so until its end.
 */
static void
fire_deferred(void)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	AfterTriggerSetState(all);
}

static void
check_limits(FlowBatch *batch, FlowItem *item)
{
	FlowWatchCause cause = FlowWatchTake();

	if (cause == FLOW_WATCH_NONE)
		return;
	QueryCancelPending = false;
	if (cause == FLOW_WATCH_OVERRUN)
		FlowBatchAbandon(batch, FLOW_VERDICT_OVERRUN);
	if (cause == FLOW_WATCH_BLOCKED)
		FlowBatchAbandon(batch, FLOW_VERDICT_BEHIND_LOCK);
	is_past_limit = true;
	raise_limit(item, FlowWatchLimit());
}

/*
 * Only what will be recorded so: an attempt that failed by itself, alone or as
 * the first of its batch.  Its transaction, which has locked the task, ends
 * before the one that records it begins.
 */
void
FlowExecuteNote(const ErrorData *error, void *arg)
{
	FlowBatch  *batch = arg;

	if (batch->current == NULL || batch->n_executed > 0 ||
		batch->verdict != FLOW_VERDICT_ERROR)
		return;
	if (is_past_limit ||
		(error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		 FlowWatchPeek() == FLOW_WATCH_LIMIT))
		FlowOverdueNote(&last);
}

void
FlowExecuteBeginOutside(FlowBatch *batch, FlowItem *item)
{
	static const char *const pinned[][2] = {
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
	};
	int64		limit = limit_of(batch, item);

	is_past_limit = false;
	batch->current = item;
	item->started_at = GetCurrentTimestamp();
	FlowSlotBegin(&item->key, item->step->definition->id, item->run->epoch,
				  item->attempt, item->started_at);
	FlowRecorderBeginStep(&item->key, item->step->definition->id,
						  batch->plan->careful);
	FlowContextEnter(batch, item);
	FlowSessionBegin(false);
	for (int i = 0; i < lengthof(pinned); i++)
		SetConfigOption(pinned[i][0], pinned[i][1], PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("search_path", item->step->definition->search_path,
					PGC_USERSET, PGC_S_SESSION);
	outside.callback = describe;
	outside.arg = item;
	outside.previous = error_context_stack;
	error_context_stack = &outside;

	last.started_at = item->started_at;
	last.limit = limit / 1000.0;
	if (limit > 0)
		FlowSlotSetDeadline(item->started_at + limit);
	FlowWatchBegin(item->started_at, limit, 0, true);
}

/* An interrupt that came too late has done nothing, and is forgotten. */
void
FlowExecuteEndOutside(FlowBatch *batch, FlowItem *item)
{
	(void) FlowWatchTake();
	QueryCancelPending = false;
	(void) FlowSlotTakeInterrupt(item->key.run_id);
	error_context_stack = outside.previous;
	FlowContextEnter(NULL, NULL);
	(void) FlowSessionEnd();
	FlowRecorderEndStep();
	item->finished_at = GetCurrentTimestamp();
	batch->current = NULL;
	FlowAverageNoteRun(item->step->definition->id, item->step->no,
					   item->finished_at - item->started_at, false);
}

static void
raise_limit(FlowItem *item, double limit)
{
	FlowTotalRequire(item);
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_STEP_TIMEOUT),
			 errmsg("step \"%s\" took longer than its time limit", item->step->name),
			 errdetail("The limit is %g ms.", limit),
			 errhint("Give the step a longer timeout, or look at flow.step_timeout and the owner's statement_timeout.")));
}

/*
 * Microseconds; the least of the step's, the owner's and the server's.  What a
 * step that waits has of its own is no limit of an attempt.
 */
static int64
limit_of(const FlowBatch *batch, FlowItem *item)
{
	bool		waits = FlowWaitingIs(item->step);
	int64		limit = waits ? 0 : item->step->timeout;
	int64		owner = (int64) StatementTimeout * 1000;
	int64		ceiling = (int64) FlowStepTimeout * 1000;

	if (batch->scope == FLOW_GUARD_TRANSACTION && owner > 0)
		limit = limit > 0 ? Min(limit, owner) : owner;
	if (ceiling > 0)
		limit = limit > 0 ? Min(limit, ceiling) : ceiling;
	if (item->step->total_timeout > 0 && !waits && !FlowCommandHasRun(item))
	{
		int64		left = Max(FlowTotalDue(item) - item->started_at, 1);

		limit = limit > 0 ? Min(limit, left) : left;
	}
	return limit;
}

/* Only a step that holds up others can overrun. */
static int64
overrun_of(const FlowBatch *batch)
{
	if (batch->scope != FLOW_GUARD_TRANSACTION || batch->plan->alone)
		return 0;
	if (batch->n_executed == 0 && batch->n_claimed <= 1)
		return 0;
	return (int64) OVERRUN_FACTOR * Max(FlowBatchTime, 1) * 1000;
}

static void
end(FlowBatch *batch, FlowItem *item)
{
	int64		usec;

	FlowContextEnter(NULL, NULL);
	if (FlowSessionEnd())
		batch->dirty = batch->ends = true;
	item->finished_at = GetCurrentTimestamp();
	item->executed = true;
	batch->n_executed++;
	batch->current = NULL;
	FlowSlotEnd();
	FlowRecorderEndStep();

	if (item->wants_place)
		return;					/* it has not run yet */
	usec = item->finished_at - item->started_at;
	FlowAverageNoteRun(item->step->definition->id, item->step->no, usec, false);
	if (!item->step->batch)
		FlowAverageNoteAlone(item->step->definition->id, item->step->no);
	if (batch->scope == FLOW_GUARD_TRANSACTION)
		FlowAsideNoteFree(batch->lane, item->step->definition->id,
						  item->step->no, batch->plan->tried);
}

/*
 * Touches search_path only when the workflow changes: every change makes the
 * server look up the schemas again.  The setting lasts as long as the GUC nest
 * of the batch.  Temporary objects of somebody else's session come last: they
 * must not stand in for what the step means.
 */
static void
set_path(const FlowDefinition *definition)
{
	const char *path = definition->search_path;

	if (FlowIdentityIsForeign())
		path = psprintf("%s, pg_temp", path);
	if (strcmp(path, namespace_search_path) != 0)
		(void) set_config_option("search_path", path,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

static void
describe(void *arg)
{
	FlowItem   *item = arg;

	errcontext("workflow \"%s\", run " INT64_FORMAT ", step \"%s\", attempt %d",
			   item->step->definition->workflow, item->key.run_id,
			   item->step->name, item->attempt);
}
