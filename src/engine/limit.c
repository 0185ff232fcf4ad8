/*-------------------------------------------------------------------------
 * limit.c
 *	  Runs and steps that wait for a place under a limit.
 *
 * Who may run is decided by the scheduler alone (worker/admit.c), so that no two
 * processes can give the same place away.  Here is what comes before and after
 * that: what needs a place is put among those that wait, in the flush that
 * would have started it; and whoever gives one back says so.
 *
 * A step that needs one is claimed twice as well: the first time its condition
 * and its limit_key are looked at, and it is put among those that wait instead
 * of being run.  So whatever has made it ready, the end of a step, a timer, a
 * retry by hand, knows nothing of limits, and steps without any cost nothing.
 *
 * A run that needs one is claimed twice.  The first time, by the row that
 * starts it, a worker finds that it has no place; if runs are counted by key,
 * this is where the key is computed: its SQL is the owner's, and whoever
 * started the run may be somebody else, in whose session it must not run.  The
 * second time, after the scheduler has let it in, it begins.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/install.h"
#include "catalog/cat_limit.h"
#include "catalog/cat_place.h"
#include "define/limited.h"
#include "engine/claim.h"
#include "engine/context.h"
#include "engine/limit.h"
#include "engine/retry.h"
#include "engine/statement.h"
#include "engine/total.h"
#include "engine/watch.h"
#include "guc.h"
#include "shmem/wake.h"

/* The SQL of max_runs_by, compiled; kept as long as this backend lives */
typedef struct KeySql
{
	int32		workflow_id;	/* hash key */
	uint32		generation;		/* of the installation */
	char	   *sql;
	FlowDefinition *definition; /* of one step, which is the SQL */
} KeySql;

typedef struct Evaluation
{
	FlowBatch  *batch;
	FlowItem	item;			/* the run, and the SQL as its step */
	char	   *key;			/* the result */
} Evaluation;

static HTAB *key_sqls = NULL;

static bool begins(const FlowItem *item);
static char *key_of_run(FlowBatch *batch, const FlowItem *item, const char *sql);
static FlowDefinition *compile(int32 workflow_id, const char *sql);
static void evaluate(void *arg);
static char *key_from(Datum value, bool isnull);
static char *text_of(Jsonb *value);
static void complain(const FlowRunRef *run, const ErrorData *error);

void
FlowLimitWait(FlowTaskNew *row, const char *key)
{
	row->status = FLOW_STEP_PENDING;
	row->limit_key = key ? key : FLOW_LIMIT_NO_KEY;
	FlowWakeNoteAdmit();
}

void
FlowLimitClassify(FlowBatch *batch)
{
	ListCell   *cell;

	if (batch->scope != FLOW_GUARD_TRANSACTION)
		return;
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);
		FlowIdentity identity;
		FlowRunLimit limit;

		if (!begins(item) || item->admitted)
			continue;
		FlowIdentityRaise(&identity);
		limit = FlowLimitOfRuns(item->run->workflow_id);
		FlowIdentityRestore(&identity);
		if (limit.max_runs == 0)
			continue;
		item->limit_key = limit.max_runs_by == NULL ? FLOW_LIMIT_NO_KEY
			: key_of_run(batch, item, limit.max_runs_by);
	}
}

static bool
begins(const FlowItem *item)
{
	return item->key.step_no == FLOW_STEP_RUN && item->key.item_no == 0 &&
		item->run->status == FLOW_RUN_PENDING;
}

/*
 * In a subtransaction, since the steps of other runs share this batch.  A run
 * whose key cannot be computed is counted with those that have none: it is
 * held back by the limit, but not for ever.
 */
static char *
key_of_run(FlowBatch *batch, const FlowItem *item, const char *sql)
{
	Evaluation	evaluation;
	ErrorData  *error;

	memset(&evaluation, 0, sizeof(evaluation));
	evaluation.batch = batch;
	evaluation.item = *item;
	evaluation.item.step = &compile(item->run->workflow_id, sql)->steps[0];
	error = FlowGuardRun(FLOW_GUARD_SUBTRANSACTION, evaluate, &evaluation);
	FlowContextEnter(NULL, NULL);
	if (FlowWatchTake() != FLOW_WATCH_NONE || error == NULL)
		QueryCancelPending = false;
	if (error == NULL)
		return evaluation.key;
	if (FlowRetryIsTransient(unpack_sql_state(error->sqlerrcode)))
		ReThrowError(error);	/* the batch is done again */
	complain(item->run, error);
	return FLOW_LIMIT_NO_KEY;
}

static FlowDefinition *
compile(int32 workflow_id, const char *sql)
{
	HASHCTL		info = {.keysize = sizeof(int32),.entrysize = sizeof(KeySql)};
	uint32		generation = FlowInstallRequire()->generation;
	FlowDefinition *definition;
	KeySql	   *entry;

	if (key_sqls == NULL)
		key_sqls = hash_create("flow keys of runs", 16, &info, HASH_ELEM | HASH_BLOBS);
	entry = hash_search(key_sqls, &workflow_id, HASH_FIND, NULL);
	if (entry != NULL && entry->generation == generation &&
		strcmp(entry->sql, sql) == 0)
		return entry->definition;

	/* plans may still point to an older one, so it is left where it is */
	definition = FlowPlanCompile(FlowLimitedSpec(sql), "", TopMemoryContext);
	definition->workflow = "";
	entry = hash_search(key_sqls, &workflow_id, HASH_ENTER, NULL);
	entry->generation = generation;
	entry->sql = MemoryContextStrdup(definition->context, sql);
	entry->definition = definition;
	return definition;
}

/* As the step of a run, but that it must not write. */
static void
evaluate(void *arg)
{
	Evaluation *evaluation = arg;
	FlowItem   *item = &evaluation->item;
	int64		limit = (int64) FlowStepTimeout * 1000;
	int			nest = NewGUCNestLevel();
	Datum		value;
	bool		isnull;

	if (StatementTimeout > 0 && (limit == 0 || StatementTimeout * INT64CONST(1000) < limit))
		limit = StatementTimeout * INT64CONST(1000);
	XactReadOnly = true;		/* until the end of the subtransaction */
	(void) set_config_option("search_path", item->run->definition->search_path,
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	FlowContextEnter(evaluation->batch, item);
	FlowWatchBegin(GetCurrentTimestamp(), limit, 0, true);
	value = FlowStatementsRun(item->step, FLOW_SQL_STEP,
							  FlowContextParams(item->step->definition),
							  evaluation->batch->context, &isnull);
	FlowWatchEnd();
	FlowContextEnter(NULL, NULL);
	MemoryContextSwitchTo(evaluation->batch->context);
	evaluation->key = key_from(value, isnull);
	AtEOXact_GUC(false, nest);
}

static char *
key_from(Datum value, bool isnull)
{
	char	   *text;

	if (isnull)
		return FLOW_LIMIT_NO_KEY;
	text = text_of(DatumGetJsonbP(value));

	if (text == NULL)
		return FLOW_LIMIT_NO_KEY;
	if (strlen(text) > FLOW_MAX_LIMIT_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key of a limit has %zu bytes", strlen(text)),
				 errdetail("It may have %d.", FLOW_MAX_LIMIT_KEY),
				 errhint("Use a hash of a longer one, such as md5().")));
	return psprintf("=%s", text);
}

/* NULL for null */
static char *
text_of(Jsonb *value)
{
	JsonbValue	scalar;

	if (JsonbExtractScalar(&value->root, &scalar))
	{
		if (scalar.type == jbvNull)
			return NULL;
		if (scalar.type == jbvString)
			return pnstrdup(scalar.val.string.val, scalar.val.string.len);
	}
	return JsonbToCString(NULL, &value->root, VARSIZE(value));
}

static void
complain(const FlowRunRef *run, const ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("\"max_runs_by\" of workflow \"%s\" failed for run " INT64_FORMAT ": %s",
					run->definition->workflow, run->id,
					error->message ? error->message : "unknown error"),
			 errdetail("The run is counted with those for which it is null."),
			 errhint("Change it with flow_define(); runs that wait keep the value they have.")));
}

void
FlowLimitPutRun(FlowItem *item)
{
	FlowLimitPut(item->run->id, item->limit_key, &item->run->tid);
	FlowWakeNoteAdmit();
}

bool
FlowLimitWants(const FlowBatch *batch, const FlowItem *item)
{
	return !item->admitted && batch->scope == FLOW_GUARD_TRANSACTION &&
		FlowLimitedIs(item->step);
}

void
FlowLimitQueue(FlowBatch *batch, FlowItem *item)
{
	ParamListInfo params = FlowContextParams(item->step->definition);
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (item->step->sql[FLOW_SQL_LIMIT_KEY].text !=NULL)
		value = FlowStatementsRun(item->step, FLOW_SQL_LIMIT_KEY, params,
								  batch->context, &isnull);
	item->limit_key = key_from(value, isnull);
	item->status = FLOW_STEP_WAITING;
}

/* The steps of a paused run are claimed again when it is resumed. */
void
FlowLimitPutStep(FlowItem *item)
{
	const FlowRunRef *run = item->run;
	const FlowStepDef *step = item->step;
	const char **limits = palloc(sizeof(char *) * (step->n_limits + 1));
	int			n = 0;

	if (run->status == FLOW_RUN_PAUSED || run->status == FLOW_RUN_HELD)
		return;
	if (run->definition->max_parallel > 0 && step->part != FLOW_PART_HOOK)
		limits[n++] = FlowPlaceOfRun(run->definition->max_parallel, run->id);
	for (int i = 0; i < step->n_limits; i++)
		limits[n++] = step->limits[i];
	FlowTotalKeep(item);
	FlowPlacePut(&item->key, limits, n, item->limit_key, FlowTotalDue(item));
	if (!TIMESTAMP_IS_NOEND(FlowTotalDue(item)))
		FlowWakeNoteDue(&item->key, FlowTotalDue(item));
	FlowWakeNoteAdmit();
}

bool
FlowLimitStopsRetry(const FlowRunRow *run)
{
	if (run->started || FlowLimitOfRuns(run->workflow_id).max_runs == 0)
		return false;
	FlowLimitSetPending(run->id);
	return true;
}

/* Runs that have ended, or may have come to where nothing of them can run. */
void
FlowLimitNoteFreed(const FlowBatch *batch)
{
	ListCell   *cell;

	foreach(cell, batch->runs)
	{
		const FlowRunRef *run = lfirst(cell);

		if (!run->locked)
			continue;
		if (FlowRunStatusIsFinal(run->status) || run->status == FLOW_RUN_PAUSED)
			FlowWakeNoteFreed(run->workflow_id);
		else if (!FlowRunIsWinding(run) && !run->definition->has_first &&
				 !run->definition->has_items)
			continue;
		if (run->definition->has_limits)
			FlowWakeNoteFreed(0);	/* steps may have been taken away */
	}
	foreach(cell, batch->items)
	{
		const FlowItem *item = lfirst(cell);

		if (item->status == FLOW_STEP_SLEEPING ||
			item->status == FLOW_STEP_WAITING || item->status == FLOW_STEP_HELD)
			FlowWakeNoteFreed(item->run->workflow_id);
		if (item->step != NULL && item->admitted &&
			item->status != FLOW_STEP_READY)
			FlowWakeNoteFreed(0);
	}
}

void
FlowLimitNoteFreedBy(const FlowRunRow *run)
{
	FlowWakeNoteFreed(run->workflow_id);
	if (FlowPlanLookup(run->definition_id)->has_limits)
		FlowWakeNoteFreed(0);
}
