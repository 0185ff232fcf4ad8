/*-------------------------------------------------------------------------
 * plan.c
 *	  Compiled definitions, and this backend's cache of them.
 *
 * A stored definition never changes, so a compiled one is made once and kept.
 * Prepared statements point into it (the parser asks for a step's names
 * whenever a plan is analysed again), so it is never freed either: when the
 * extension is dropped and created anew the cache forgets its entries and
 * leaves them where they are.  That is rare, and a session that did it may
 * still be running a step of one of them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/install.h"
#include "catalog/cat_definition.h"
#include "catalog/cat_workflow.h"
#include "define/beside.h"
#include "define/graph.h"
#include "define/plan.h"

typedef struct PlanEntry
{
	int32		id;				/* hash key */
	FlowDefinition *definition;
} PlanEntry;

static HTAB *plans = NULL;
static uint32 plans_generation;

static void forget_old_plans(void);
static FlowDefinition *load(int32 definition_id);
static void compile_step(FlowStepDef *step, const FlowStepSpec *spec);
static void compile_waiting(FlowStepDef *step, const FlowStepSpec *spec);
static void compile_sql(FlowStepDef *step, const FlowStepSpec *spec);
static void compile_expression(FlowSqlText *source, const FlowStepSpec *spec,
							   FlowOption option);
static void compile_limits(FlowStepDef *step, const FlowValue *limits);
static int	choice_of(const FlowStepSpec *spec, FlowOption option);
static void compile_emits(FlowStepDef *step, const FlowValue *emits);
static void compile_retry(FlowRetryPolicy *retry, const FlowStepSpec *spec);
static char (*compile_codes(const FlowValue *codes, bool *has, int *n))[6];
static int64 interval_usec(const FlowValue *value);
static int	compare_names(const void *a, const void *b, void *arg);
static void compile_graph(FlowDefinition *definition);
static void compile_after(FlowStepDef *step, const FlowValue *after);
static FlowDependency compile_dependency(FlowDefinition *definition,
										 const char *text);
static int	add_event(FlowStepDef *step, const char *name);
static FlowEdge *collect_edges(FlowDefinition *definition, int *n_edges);
static void compile_neighbours(FlowDefinition *definition,
							   const FlowGraph *graph);

FlowDefinition *
FlowPlanLookup(int32 definition_id)
{
	PlanEntry  *entry;
	FlowDefinition *definition;

	forget_old_plans();
	entry = hash_search(plans, &definition_id, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->definition;

	/* loading can fail, so the entry is made when there is something in it */
	definition = load(definition_id);
	entry = hash_search(plans, &definition_id, HASH_ENTER, NULL);
	entry->definition = definition;
	return definition;
}

static void
forget_old_plans(void)
{
	uint32		generation = FlowInstallRequire()->generation;
	HASHCTL		info = {.keysize = sizeof(int32),.entrysize = sizeof(PlanEntry)};

	if (plans != NULL && plans_generation == generation)
		return;
	if (plans != NULL)
		hash_destroy(plans);
	plans = NULL;
	plans = hash_create("flow definitions", 64, &info, HASH_ELEM | HASH_BLOBS);
	plans_generation = generation;
}

static FlowDefinition *
load(int32 definition_id)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "flow definition read",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	FlowStoredDefinition stored;
	FlowDefinition *definition;
	FlowProblems problems;
	FlowSpec   *spec;

	if (!FlowDefinitionLoad(definition_id, &stored))
		elog(ERROR, "definition %d does not exist", definition_id);
	FlowProblemsInit(&problems, false);
	spec = FlowSpecFromDocument(stored.document, &problems);
	definition = FlowPlanCompile(spec, FlowPlanSearchPath(stored.search_path),
								 TopMemoryContext);
	definition->id = definition_id;
	definition->workflow_id = stored.workflow_id;
	definition->version = stored.version;
	definition->workflow = MemoryContextStrdup(definition->context,
											   stored.workflow);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return definition;
}

char *
FlowPlanSearchPath(const char *stored)
{
	const char *schema = quote_identifier(FlowInstallRequire()->function_schema);

	if (strspn(stored, " ") == strlen(stored))
		return pstrdup(schema);
	return psprintf("%s, %s", stored, schema);
}

FlowDefinition *
FlowPlanCompile(const FlowSpec *spec, const char *search_path,
				MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "flow definition",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	FlowDefinition *definition = palloc0(sizeof(FlowDefinition));

	definition->context = context;
	definition->search_path = pstrdup(search_path);
	definition->timeout = interval_usec(&spec->values[FLOW_ARG_TIMEOUT]);
	definition->resume_after = interval_usec(&spec->values[FLOW_ARG_RESUME_AFTER]);
	if (spec->values[FLOW_ARG_MAX_PARALLEL].isset)
		definition->max_parallel = spec->values[FLOW_ARG_MAX_PARALLEL].u.integer;
	definition->has_limits = definition->max_parallel > 0;
	definition->n_steps = spec->n_steps;
	definition->n_all = FlowBesideCount(spec);
	definition->steps = palloc0(sizeof(FlowStepDef) * Max(definition->n_all, 1));
	definition->by_name = palloc(sizeof(int) * Max(spec->n_steps, 1));
	for (int i = 0; i < spec->n_steps; i++)
	{
		FlowStepDef *step = &definition->steps[i];

		step->definition = definition;
		step->no = i + 1;
		definition->by_name[i] = i + 1;
		compile_step(step, &spec->steps[i]);
	}
	qsort_arg(definition->by_name, spec->n_steps, sizeof(int), compare_names,
			  definition);
	for (int i = 0; i < spec->n_steps; i++)
		compile_after(&definition->steps[i],
					  &spec->steps[i].values[FLOW_OPT_AFTER]);
	compile_graph(definition);
	FlowBesideCompile(definition, spec);
	MemoryContextSwitchTo(caller);
	return definition;
}

static void
compile_step(FlowStepDef *step, const FlowStepSpec *spec)
{
	const FlowValue *values = spec->values;
	const char *isolation = FlowStepText(spec, FLOW_OPT_ISOLATION);

	step->name = pstrdup(FlowStepText(spec, FLOW_OPT_NAME));
	step->kind = spec->kind;
	step->part = FlowBesidePart(spec);
	compile_sql(step, spec);
	compile_emits(step, &values[FLOW_OPT_EMITS]);
	step->needs = choice_of(spec, FLOW_OPT_NEEDS);
	step->on_error = choice_of(spec, FLOW_OPT_ON_ERROR);
	if (step->needs == FLOW_NEEDS_FIRST)
		step->definition->has_first = true;
	step->timeout = interval_usec(&values[FLOW_OPT_TIMEOUT]);
	step->total_timeout = interval_usec(&values[FLOW_OPT_TOTAL_TIMEOUT]);
	compile_waiting(step, spec);
	step->priority = values[FLOW_OPT_PRIORITY].u.integer;
	step->isolation = strcmp(isolation, "serializable") == 0 ? XACT_SERIALIZABLE :
		strcmp(isolation, "repeatable read") == 0 ? XACT_REPEATABLE_READ :
		XACT_READ_COMMITTED;
	step->batch = values[FLOW_OPT_BATCH].u.truth &&
		step->isolation == XACT_READ_COMMITTED && step->kind != FLOW_KIND_COMMAND;
	compile_retry(&step->retry, spec);
	compile_limits(step, &values[FLOW_OPT_LIMITS]);
}

/* In the order of names, so that steps under the same limits queue together. */
static void
compile_limits(FlowStepDef *step, const FlowValue *limits)
{
	int			n = limits->isset ? limits->u.texts.n : 0;

	step->limits = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		step->limits[i] = pstrdup(limits->u.texts.items[i]);
	qsort(step->limits, n, sizeof(char *), pg_qsort_strcmp);
	for (int i = 0; i < n; i++)
		if (i == 0 || strcmp(step->limits[i], step->limits[i - 1]) != 0)
			step->limits[step->n_limits++] = step->limits[i];
	if (n > 0)
		step->definition->has_limits = true;
}

static void
compile_waiting(FlowStepDef *step, const FlowStepSpec *spec)
{
	const char *signal = FlowStepText(spec, FLOW_OPT_SIGNAL);
	const char *approvers = FlowStepText(spec, FLOW_OPT_APPROVERS);

	step->delay = interval_usec(&spec->values[FLOW_OPT_DELAY]);
	step->signal = signal ? pstrdup(signal) : step->name;
	step->approvers = approvers ? pstrdup(approvers) : NULL;
}

static void
compile_sql(FlowStepDef *step, const FlowStepSpec *spec)
{
	const char *sql = FlowStepText(spec, step->kind == FLOW_KIND_DELAY ?
								   FLOW_OPT_UNTIL : FLOW_OPT_SQL);
	const char *workflow = FlowStepText(spec, FLOW_OPT_WORKFLOW);
	FlowSqlText *source = &step->sql[FLOW_SQL_STEP];

	source->text = sql ? pstrdup(sql) : NULL;
	source->expression = step->kind == FLOW_KIND_CHOICE ||
		step->kind == FLOW_KIND_DELAY ||
		(step->kind == FLOW_KIND_COMMAND && spec->values[FLOW_OPT_BUILD].u.truth);
	source->result = source->expression ? FLOW_RESULT_VALUE :
		choice_of(spec, FLOW_OPT_RESULT);
	compile_expression(&step->sql[FLOW_SQL_CONDITION], spec, FLOW_OPT_CONDITION);
	compile_expression(&step->sql[FLOW_SQL_INPUT], spec, FLOW_OPT_INPUT);
	compile_expression(&step->sql[FLOW_SQL_AGAIN], spec, FLOW_OPT_AGAIN);
	compile_expression(&step->sql[FLOW_SQL_LIMIT_KEY], spec, FLOW_OPT_LIMIT_KEY);
	compile_expression(&step->sql[FLOW_SQL_RESULT], spec, FLOW_OPT_ON_RESULT);
	step->sql[FLOW_SQL_RESULT].expression = false;
	step->sql[FLOW_SQL_RESULT].result = FLOW_RESULT_ONE;
	step->workflow = workflow ? pstrdup(workflow) : NULL;
	if (step->kind == FLOW_KIND_SUBFLOW)
		step->definition->has_subflow = true;
}

static void
compile_expression(FlowSqlText *source, const FlowStepSpec *spec,
				   FlowOption option)
{
	const char *text = FlowStepText(spec, option);

	source->text = text ? pstrdup(text) : NULL;

	source->expression = true;
	source->result = FLOW_RESULT_VALUE;
}

/* The place of the value among its choices, which is that of its enum. */
static int
choice_of(const FlowStepSpec *spec, FlowOption option)
{
	const char *const *choices = FlowOptionFields[option].choices;
	const char *given = FlowStepText(spec, option);

	for (int c = 0; choices[c] != NULL; c++)
		if (strcmp(choices[c], given) == 0)
			return c;
	return 0;
}

static void
compile_emits(FlowStepDef *step, const FlowValue *emits)
{
	step->has_emits = emits->isset;
	step->n_emits = emits->isset ? emits->u.texts.n : 0;
	step->emits = palloc(sizeof(char *) * Max(step->n_emits, 1));
	for (int i = 0; i < step->n_emits; i++)
		step->emits[i] = pstrdup(emits->u.texts.items[i]);
	step->n_events = FLOW_EVENT_OWN;
	step->events = palloc(sizeof(char *) * FLOW_EVENT_MAX);
	for (int no = 0; no < FLOW_EVENT_OWN; no++)
		step->events[no] = FlowEventName(no);
}

static void
compile_retry(FlowRetryPolicy *retry, const FlowStepSpec *spec)
{
	const FlowValue *values = spec->values;

	retry->retries = values[FLOW_OPT_RETRIES].u.integer;
	retry->delay = interval_usec(&values[FLOW_OPT_RETRY_DELAY]);
	retry->backoff = values[FLOW_OPT_BACKOFF].u.number;
	retry->max_delay = interval_usec(&values[FLOW_OPT_MAX_DELAY]);
	retry->jitter = values[FLOW_OPT_JITTER].u.number;
	retry->retry_on = compile_codes(&values[FLOW_OPT_RETRY_ON],
									&retry->has_retry_on,
									&retry->n_retry_on);
	retry->no_retry_on = compile_codes(&values[FLOW_OPT_NO_RETRY_ON],
									   &retry->has_no_retry_on,
									   &retry->n_no_retry_on);
}

static char (*compile_codes(const FlowValue *codes, bool *has, int *n))[6]
{
	char		(*result)[6];

	*has = codes->isset;
	*n = codes->isset ? codes->u.texts.n : 0;
	result = palloc0(sizeof(*result) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		strlcpy(result[i], codes->u.texts.items[i], sizeof(*result));
	return result;
}

/* Months count 30 days.  check.c has seen to it that this fits. */
static int64
interval_usec(const FlowValue *value)
{
	const Interval *interval = &value->u.interval;

	if (!value->isset)
		return 0;
	return interval->time +
		(interval->day + interval->month * (int64) DAYS_PER_MONTH) * USECS_PER_DAY;
}

static int
compare_names(const void *a, const void *b, void *arg)
{
	const FlowDefinition *definition = arg;

	return strcmp(definition->steps[*(const int *) a - 1].name,
				  definition->steps[*(const int *) b - 1].name);
}

static void
compile_after(FlowStepDef *step, const FlowValue *after)
{
	step->n_after = after->isset ? after->u.texts.n : 0;
	step->after = palloc(sizeof(FlowDependency) * Max(step->n_after, 1));
	for (int d = 0; d < step->n_after; d++)
		step->after[d] = compile_dependency(step->definition,
											after->u.texts.items[d]);
}

/* "a" or "a:event" */
static FlowDependency
compile_dependency(FlowDefinition *definition, const char *text)
{
	const char *colon = strchr(text, ':');
	char	   *name = colon ? pnstrdup(text, colon - text) : pstrdup(text);
	FlowStepDef *from = FlowPlanFindStep(definition, name);
	FlowDependency dependency;

	if (from == NULL)
		elog(ERROR, "step \"%s\" does not exist", name);
	dependency.step = from->no;
	dependency.event = colon ? add_event(from, colon + 1) : FLOW_EVENT_NONE;
	if (dependency.event == FLOW_EVENT_FAILED ||
		dependency.event == FLOW_EVENT_REJECTED ||
		dependency.event == FLOW_EVENT_TIMEOUT)
		from->handles |= FLOW_EVENT_BIT(dependency.event);
	return dependency;
}

static int
add_event(FlowStepDef *step, const char *name)
{
	int			no = FlowPlanFindEvent(step, name);

	if (no != FLOW_EVENT_NONE)
		return no;
	if (step->n_events == FLOW_EVENT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events of step \"%s\" are depended on", step->name),
				 errdetail("Of its own events at most %d can be.",
						   FLOW_EVENT_MAX - FLOW_EVENT_OWN),
				 errhint("Let it emit one event, and use \"condition\" for what follows from its output.")));
	step->events[step->n_events] = pstrdup(name);
	return step->n_events++;
}

const char *
FlowEventName(int no)
{
	static const char *const names[FLOW_EVENT_OWN] = {
		"completed", "failed", "approved", "rejected", "timeout"
	};

	return no >= 0 && no < FLOW_EVENT_OWN ? names[no] : NULL;
}

int
FlowPlanFindEvent(const FlowStepDef *step, const char *name)
{
	for (int no = 0; no < step->n_events; no++)
		if (strcmp(step->events[no], name) == 0)
			return no;
	return FLOW_EVENT_NONE;
}

/* Fills in who depends on whom, in both directions, and who on nobody. */
static void
compile_graph(FlowDefinition *definition)
{
	int			n_edges;
	FlowEdge   *edges = collect_edges(definition, &n_edges);
	FlowGraph  *graph = FlowGraphCreate(definition->n_steps, edges, n_edges);

	compile_neighbours(definition, graph);
	definition->roots = palloc(sizeof(int) * Max(definition->n_steps, 1));
	for (int i = 0; i < definition->n_steps; i++)
	{
		const FlowStepDef *step = &definition->steps[i];

		if (step->part != FLOW_PART_COURSE)
			continue;
		definition->n_course++;
		if (step->n_deps == 0)
			definition->roots[definition->n_roots++] = step->no;
	}
}

static FlowEdge *
collect_edges(FlowDefinition *definition, int *n_edges)
{
	FlowEdge   *edges;
	int			n = 0;

	for (int i = 0; i < definition->n_steps; i++)
		n += definition->steps[i].n_after;
	edges = palloc(sizeof(FlowEdge) * Max(n, 1));
	*n_edges = 0;
	for (int i = 0; i < definition->n_steps; i++)
	{
		const FlowStepDef *step = &definition->steps[i];

		for (int d = 0; d < step->n_after; d++)
		{
			edges[*n_edges].from = step->after[d].step - 1;
			edges[(*n_edges)++].to = i;
		}
	}
	return edges;
}

static void
compile_neighbours(FlowDefinition *definition, const FlowGraph *graph)
{
	int		   *edges = palloc(sizeof(int) * (graph->first[graph->n] + 1));

	for (int i = 0; i < graph->n; i++)
	{
		definition->steps[i].deps = edges;
		edges += graph->indegree[i];
	}
	for (int i = 0; i < graph->n; i++)
	{
		FlowStepDef *step = &definition->steps[i];

		step->n_dependents = graph->first[i + 1] - graph->first[i];
		step->dependents = palloc(sizeof(int) * Max(step->n_dependents, 1));
		for (int e = 0; e < step->n_dependents; e++)
		{
			int			target = graph->targets[graph->first[i] + e];
			FlowStepDef *dependent = &definition->steps[target];

			step->dependents[e] = target + 1;
			dependent->deps[dependent->n_deps++] = i + 1;
		}
	}
}

int32
FlowPlanPriority(const FlowStepDef *step, int32 run_priority)
{
	int32		sum;

	if (!pg_add_s32_overflow(run_priority, step->priority, &sum))
		return sum;
	return run_priority > 0 ? PG_INT32_MAX : PG_INT32_MIN;
}

FlowStepDef *
FlowPlanFindStep(const FlowDefinition *definition, const char *name)
{
	int			low = 0;
	int			high = definition->n_steps;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		FlowStepDef *step = &definition->steps[definition->by_name[middle] - 1];
		int			order = strcmp(name, step->name);

		if (order == 0)
			return step;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

bool
FlowPlanIsUpstream(const FlowStepDef *step, const FlowStepDef *ancestor)
{
	const FlowDefinition *definition = step->definition;
	bool	   *seen = palloc0(sizeof(bool) * (definition->n_steps + 1));
	int		   *pending = palloc(sizeof(int) * (definition->n_steps + 1));
	int			n = 0;
	bool		found = false;

	pending[n++] = step->no;
	while (n > 0 && !found)
	{
		const FlowStepDef *visited = &definition->steps[pending[--n] - 1];

		for (int d = 0; d < visited->n_deps && !found; d++)
		{
			int			no = visited->deps[d];

			found = no == ancestor->no;
			if (!seen[no])
			{
				seen[no] = true;
				pending[n++] = no;
			}
		}
	}
	pfree(seen);
	pfree(pending);
	return found;
}
