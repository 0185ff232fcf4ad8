/*-------------------------------------------------------------------------
 * command.c
 *	  Steps that run one statement outside a transaction block.
 *
 * VACUUM and its like, or a procedure that commits, cannot be part of the
 * transaction that records the step.  A worker does it in four pieces:
 *
 *	1. An ordinary batch claims the step and finds out what to run.  Instead of
 *	   a flush, the row of the step is marked as this worker's, with the number
 *	   of the attempt.  This commit is flushed to disk.
 *	2. The statement runs at the top level, without any lock or snapshot of
 *	   ours.
 *	3. What has come of it is stored in the row, which is ready again; no lock
 *	   on the run is needed for that, so nobody can hold it up.
 *	4. An ordinary batch, of any worker or client, claims a step with a
 *	   result, and settles it as if it had just been executed.
 *
 * If the process dies between 1 and 3 the scheduler finds a row whose worker
 * is gone (worker/orphan.c), and the step is run again: at least once.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/json.h"
#include "catalog/cat_command.h"
#include "compat.h"
#include "define/parse.h"
#include "engine/claim.h"
#include "engine/command.h"
#include "engine/execute.h"
#include "engine/redo.h"
#include "engine/result.h"
#include "engine/retry.h"
#include "engine/session.h"
#include "engine/total.h"
#include "error.h"
#include "shmem/database.h"
#include "shmem/recorder.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"

/* Times that storing the result is tried */
#define MAX_STORES		10

/* ms between the first two; doubled */
#define STORE_PAUSE		10

/* What is stored at the end of a command */
typedef struct Ending
{
	FlowCommandRow row;
	TimestampTz started_at;
	Datum		result;			/* jsonb; 0: as if it had not been run */
	bool		stored;
} Ending;

/* A command that is being run */
typedef struct Call
{
	const char *sql;
	MemoryContext context;		/* outlives its transactions */
	DestReceiver *dest;
} Call;

static FlowCommandRow row_of(const FlowItem *item);
static void put_aside(FlowBatch *batch, const FlowItem *item);
static ErrorData *call(FlowBatch *batch, FlowItem *item);
static void run_statement(void *arg);
static RawStmt *parse(const char *sql);
static void run_portal(const Call *call, Portal portal);
static bool is_repeated(const FlowBatch *batch, const ErrorData *error);
static Datum result_of(FlowBatch *batch, FlowItem *item, ErrorData *error);
static void log_failure(const FlowItem *item, const FlowFailure *failure);
static Datum output_json(const FlowItem *item);
static Datum failure_json(const FlowFailure *failure);
static void push_text(JsonbParseState **state, const char *key, const char *string);
static void store(FlowBatch *batch, Ending *ending);
static void rest(long ms);
static void store_body(void *arg);

bool
FlowCommandIs(const FlowItem *item)
{
	return item->step != NULL && item->step->kind == FLOW_KIND_COMMAND &&
		item->status == FLOW_STEP_READY && !item->apart && !FlowCommandHasRun(item);
}

bool
FlowCommandHasRun(const FlowItem *item)
{
	return item->command != NULL && item->command->sql == NULL;
}

/*
 * It is recorded, as what ran in a transaction is, unless its run was cancelled
 * meanwhile.
 */
void
FlowCommandNoteRun(FlowItem *item, const FlowTaskEnd *end)
{
	FlowRunStatus status = item->run->status;

	item->started_at = end->started_at;
	if (!FlowRunLets(item->run, item->step) &&
		status != FLOW_RUN_RUNNING && status != FLOW_RUN_PAUSED)
	{
		item->status = FLOW_STEP_CANCELLED;
		return;
	}
	item->worker = end->worker;
	item->command = palloc0(sizeof(FlowCommand));
	item->command->result = end->output;
	item->command->started_at = end->started_at;
}

/* Who is not listed among the processes could be taken for dead. */
bool
FlowCommandMayRun(const FlowBatch *batch)
{
	return batch->scope == FLOW_GUARD_TRANSACTION && batch->plan->n_keys == 1 &&
		FlowSlotIsAttached();
}

bool
FlowCommandPrepare(FlowBatch *batch)
{
	FlowItem   *item = batch->items != NIL ? linitial(batch->items) : NULL;
	FlowCommandRow row;
	FlowIdentity identity;

	if (item == NULL || item->command == NULL || item->command->sql == NULL ||
		item->failure != NULL)
		return false;
	row = row_of(item);
	FlowIdentityRaise(&identity);
	FlowCommandBegin(&row);
	if (item->step->sql[FLOW_SQL_STEP].expression)
		FlowCommandNote(&row, item->command->sql);
	FlowTotalKeep(item);
	FlowIdentityRestore(&identity);

	/* before the commit, so that nobody finds the row and not its worker */
	FlowSlotBegin(&item->key, item->step->definition->id, item->run->epoch,
				  item->attempt, GetCurrentTimestamp());
	ForceSyncCommit();
	batch->command = item;
	return true;
}

static FlowCommandRow
row_of(const FlowItem *item)
{
	FlowCommandRow row = {item->key, item->attempt, MyProcPid};

	return row;
}

List *
FlowCommandPlans(FlowBatch *batch, List *rest)
{
	ListCell   *cell;

	if (batch->command != NULL)
	{
		FlowPlan   *plan = FlowRedoPlanFor(&batch->command->key);

		plan->interrupted = batch->command->key;
		plan->interrupted_start = batch->command->started_at;
		if (batch->command->command->repeats)
		{
			plan->careful = batch->plan->careful;
			plan->repeats = batch->plan->repeats + 1;
		}
		return lcons(plan, rest);
	}
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);
		FlowStepKey *key;

		if (!FlowCommandIs(item))
			continue;
		if (batch->scope == FLOW_GUARD_TRANSACTION && batch->plan->n_keys > 1)
			rest = lappend(rest, FlowRedoPlanFor(&item->key));
		else if (batch->scope == FLOW_GUARD_TRANSACTION)
			put_aside(batch, item);
		else
		{
			key = palloc(sizeof(FlowStepKey));
			*key = item->key;
			batch->passed = lappend(batch->passed, key);
		}
	}
	return rest;
}

/* Looked at again in a moment */
static void
put_aside(FlowBatch *batch, const FlowItem *item)
{
	FlowReady  *ready = palloc0(sizeof(FlowReady));

	ready->key = item->key;
	ready->workflow_id = item->run->workflow_id;
	ready->definition_id = item->run->definition->id;
	ready->priority = FlowPlanPriority(item->step, item->run->priority);
	batch->unclaimed = lappend(batch->unclaimed, ready);
}

void
FlowCommandRun(FlowBatch *batch)
{
	FlowItem   *item = batch->command;
	MemoryContext caller = MemoryContextSwitchTo(batch->context);
	Ending		ending = {row_of(item)};
	ErrorData  *error = NULL;
	bool		dropped;

	FLOW_TEST_POINT("command-claimed");
	FlowRecorderBegin();
	FlowExecuteBeginOutside(batch, item);
	dropped = FlowSlotIsCancelled(item->run->id, item->run->epoch,
								  batch->cancel_generation);
	if (!dropped)
		error = call(batch, item);
	ending.started_at = item->started_at;
	item->command->repeats = is_repeated(batch, error);
	if (!dropped && !item->command->repeats)
		ending.result = result_of(batch, item, error);
	FlowExecuteEndOutside(batch, item);
	FLOW_TEST_POINT("command-run");
	store(batch, &ending);
	FlowSlotEnd();
	FlowRecorderEnd(ending.stored);
	if (!ending.stored)
		FlowDatabaseAsk(MyDatabaseId, FLOW_ASK_SWEEP);
	FlowSessionReset();			/* may wait, or end this worker */
	MemoryContextSwitchTo(caller);
}

static ErrorData *
call(FlowBatch *batch, FlowItem *item)
{
	Call		call = {item->command->sql, batch->context};
	ErrorData  *error;
	bool		isnull;

	call.dest = FlowResultCreate(FLOW_RESULT_ONE, batch->context);
	debug_query_string = call.sql;
	pgstat_report_activity(STATE_RUNNING, call.sql);
	error = FlowGuardRun(FLOW_GUARD_BARE, run_statement, &call);
	pgstat_report_activity(STATE_IDLE, NULL);
	debug_query_string = NULL;
	if (error == NULL)
	{
		item->output = FlowResultTake(call.dest, &isnull);
		item->has_output = !isnull;
	}
	return error;
}

/*
 * What the server does with a statement of a client that is alone in its
 * message.  The statement may end this transaction, and begin others.
 */
static void
run_statement(void *arg)
{
	Call	   *call = arg;
	RawStmt    *raw;
	CommandTag	tag;
	List	   *trees;
	Portal		portal;

	MemoryContextSwitchTo(call->context);
	raw = parse(call->sql);
	tag = CreateCommandTag(raw->stmt);
	if (analyze_requires_snapshot(raw))
		PushActiveSnapshot(GetTransactionSnapshot());
	trees = pg_analyze_and_rewrite_fixedparams(raw, call->sql, NULL, 0, NULL);
	trees = pg_plan_queries(trees, call->sql, CURSOR_OPT_PARALLEL_OK, NULL);
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CHECK_FOR_INTERRUPTS();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, call->sql, tag, trees, NULL);
	run_portal(call, portal);
}

/* What flow_define has looked at, too, unless it was built. */
static RawStmt *
parse(const char *sql)
{
	List	   *statements = pg_parse_query(sql);
	FlowProblem fault = {ERROR, ERRCODE_FEATURE_NOT_SUPPORTED};
	RawStmt    *raw;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a command must be one statement, not %d",
						list_length(statements)),
				 errdetail("It runs outside a transaction block, where several could not be undone together."),
				 errhint("Use a step of its own for each, or a procedure.")));
	raw = linitial_node(RawStmt, statements);
	if (FlowParseFindFault(raw->stmt, true, &fault))
		ereport(ERROR,
				(errcode(fault.sqlstate),
				 errmsg("a command cannot be %s", fault.message),
				 errdetail_internal("%s", fault.detail),
				 errhint("%s", fault.hint)));
	return raw;
}

static void
run_portal(const Call *call, Portal portal)
{
	QueryCompletion completion;

	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) PortalRun(portal, FETCH_ALL, true, true, call->dest, call->dest,
					 &completion);
	PortalDrop(portal, false);
}

/* A deadlock and its like count as no attempt, so many times. */
static bool
is_repeated(const FlowBatch *batch, const ErrorData *error)
{
	return error != NULL && batch->plan->repeats < FLOW_RETRY_TRANSIENT_MAX &&
		FlowRetryIsTransient(unpack_sql_state(error->sqlerrcode));
}

/*
 * What is to be stored: {"output": ...}, {"error": ...}, or nothing if the command
 * was interrupted for a reason that is not its own.
 */
static Datum
result_of(FlowBatch *batch, FlowItem *item, ErrorData *error)
{
	FlowFailure *failure;

	if (error == NULL)
		return output_json(item);
	failure = FlowRedoFailureOf(batch, error);
	if (failure == NULL)
		return (Datum) 0;
	if (failure->hint == NULL && error->sqlerrcode == ERRCODE_UNDEFINED_COLUMN &&
		!item->step->sql[FLOW_SQL_STEP].expression)
		failure->hint = "A command does not see the names of the step. With build => true, its SQL is an expression that gives its text.";
	log_failure(item, failure);
	return failure_json(failure);
}

static void
log_failure(const FlowItem *item, const FlowFailure *failure)
{
	ereport(LOG,
			(errmsg("step \"%s\" of run " INT64_FORMAT " failed: %s",
					item->step->name, item->key.run_id, failure->message),
			 errdetail_log("Workflow \"%s\", attempt %d, SQLSTATE %s.",
						   item->step->definition->workflow, item->attempt,
						   failure->sqlstate)));
}

static Datum
output_json(const FlowItem *item)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (item->has_output)
	{
		FlowJsonPushKey(&state, "output");
		FlowJsonPushJsonb(&state, WJB_VALUE, item->output, false);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static Datum
failure_json(const FlowFailure *failure)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "sqlstate", failure->sqlstate);
	push_text(&state, "message", failure->message);
	push_text(&state, "detail", failure->detail);
	push_text(&state, "hint", failure->hint);
	push_text(&state, "context", failure->context);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static void
push_text(JsonbParseState **state, const char *key, const char *string)
{
	if (string == NULL)
		return;
	FlowJsonPushKey(state, key);
	FlowJsonPushText(state, WJB_VALUE, string);
}

/*
 * Without it the command would be run again.  An interrupt was for the command,
 * or is seen when its step is settled.
 */
static void
store(FlowBatch *batch, Ending *ending)
{
	ErrorData  *error = NULL;

	for (int i = 0; i < MAX_STORES && !ending->stored; i++)
	{
		QueryCancelPending = false;
		error = FlowGuardRun(FLOW_GUARD_TRANSACTION, store_body, ending);
		ending->stored = error == NULL;
		if (ending->stored)
			return;
		if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			rest(STORE_PAUSE << i);
	}
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("the end of a command of run " INT64_FORMAT " could not be stored: %s",
					ending->row.key.run_id, error->message),
			 errdetail("It is run again.")));
}

static void
rest(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, FlowWaitEvent("FlowCommand"));
	ResetLatch(MyLatch);
}

static void
store_body(void *arg)
{
	Ending	   *ending = arg;
	FlowIdentity identity;

	FlowIdentityRaise(&identity);
	(void) FlowCommandEnd(&ending->row, ending->started_at, ending->result);
	FlowIdentityRestore(&identity);
}

void
FlowCommandRecall(FlowBatch *batch, FlowItem *item)
{
	MemoryContext caller = MemoryContextSwitchTo(batch->context);
	char	   *sqlstate = FlowJsonGetText(item->command->result, "sqlstate");
	FlowFailure *failure;

	item->started_at = item->command->started_at;
	if (sqlstate == NULL)
	{
		JsonbValue	buffer;
		JsonbValue *value = getKeyJsonValueFromContainer(&DatumGetJsonbP(item->command->result)->root,
														 "output", 6, &buffer);

		item->has_output = value != NULL;
		if (value != NULL)
			item->output = JsonbPGetDatum(JsonbValueToJsonb(value));
	}
	else
	{
		failure = palloc0(sizeof(FlowFailure));
		strlcpy(failure->sqlstate, sqlstate, sizeof(failure->sqlstate));
		failure->message = FlowJsonGetText(item->command->result, "message");
		failure->detail = FlowJsonGetText(item->command->result, "detail");
		failure->hint = FlowJsonGetText(item->command->result, "hint");
		failure->context = FlowJsonGetText(item->command->result, "context");
		FlowRedoFail(item, failure, item->command->started_at);
	}
	MemoryContextSwitchTo(caller);
}

void
FlowCommandRefuse(const FlowItem *item, const char *function)
{
	if (item->step->kind != FLOW_KIND_COMMAND || FlowCommandHasRun(item))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("function \"%s\" cannot be called inside a command", function),
			 errdetail("What it asks for is done in the transaction that records the end of the step, and the command is outside of that."),
			 errhint("Call it in \"on_result\" of the step, or in a step after it.")));
}
