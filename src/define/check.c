/*-------------------------------------------------------------------------
 * check.c
 *	  What a definition means, checked; every problem with its place.
 *
 * Works on the specification alone, before anything is stored: names,
 * dependencies and cycles, then the options of each step (options.c), then
 * the arguments of the workflow.  What is wrong for good is reported before
 * what is merely not supported yet, so that nobody waits for something that
 * will never work.
 *
 * A check may find what an earlier one has complained about (a step without a
 * name), since problems may be collected instead of raised.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/keywords.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "define/beside.h"
#include "define/check.h"
#include "define/events.h"
#include "define/graph.h"
#include "define/limited.h"
#include "define/options.h"
#include "error.h"

#define MAX_PRINTED_CYCLE	30

static const char *const taken_names[] = {
	"input", "item", "item_no", "event", "run_id", "run_key", "attempt", "slot"
};

static void check_workflow_name(FlowCheck *check);
static const char *hint_of_name(const FlowCheck *check);
static void check_step_name(FlowCheck *check, int i);
static const char *fault_of_name(const char *name, int max_length);
static void index_names(FlowCheck *check);
static int	compare_names(const void *a, const void *b, void *arg);
static void check_dependencies(FlowCheck *check);
static int	check_dependency(FlowCheck *check, int i, int d);
static void check_cycle(FlowCheck *check, const FlowEdge *edges, int n_edges);
static char *print_cycle(const FlowCheck *check, const int *cycle, int length);
static void check_arguments(FlowCheck *check);
static void check_timeout(FlowCheck *check);
static void check_search_path(FlowCheck *check);
static void notice_reserved_words(FlowCheck *check);

void
FlowCheckSpec(const FlowSpec *spec, FlowProblems *problems)
{
	FlowCheck	check = {spec, problems};

	check_workflow_name(&check);
	for (int i = 0; i < spec->n_steps; i++)
		check_step_name(&check, i);
	index_names(&check);
	check_dependencies(&check);
	for (int i = 0; i < spec->n_steps; i++)
		FlowEventsCheckEmits(&check, i);
	for (int i = 0; i < spec->n_steps; i++)
		FlowOptionsCheck(&check, i);
	FlowBesideCheck(&check);
	check_arguments(&check);
	for (int i = 0; i < spec->n_steps; i++)
	{
		FlowOptionsCheckSupported(&check, i);
	}
	notice_reserved_words(&check);
}

static void
check_workflow_name(FlowCheck *check)
{
	const char *name = FlowSpecText(check->spec, FLOW_ARG_NAME);
	const char *fault;

	if (name == NULL)
	{
		FlowCheckReport(FlowCheckAt(check, -1, NULL),
						ERRCODE_INVALID_PARAMETER_VALUE,
						"a workflow needs a name",
						"Starts, grants and views go by it.",
						hint_of_name(check));
		return;
	}
	fault = fault_of_name(name, FLOW_MAX_WORKFLOW_NAME);
	if (fault == NULL && strncmp(name, "task.", 5) == 0)
		fault = "It must not begin with \"task.\".";
	if (fault)
		FlowCheckReport(FlowCheckAt(check, -1, "name"),
						ERRCODE_INVALID_NAME,
						psprintf("invalid name of a workflow: \"%s\"", name),
						fault, NULL);
}

static const char *
hint_of_name(const FlowCheck *check)
{
	return check->spec->names ? "Give it as \"id\"." : "Give it as \"name\".";
}

static void
check_step_name(FlowCheck *check, int i)
{
	const char *name = FlowStepName(check->spec, i);
	const char *fault;

	if (name == NULL)
	{
		FlowCheckReport(FlowCheckAtStep(check, i),
						ERRCODE_INVALID_PARAMETER_VALUE,
						"a step needs a name",
						"Other steps depend on it, and see its output, by that name.",
						hint_of_name(check));
		return;
	}
	fault = fault_of_name(name, FLOW_MAX_STEP_NAME);
	if (fault)
		FlowCheckReport(FlowCheckAtOption(check, i, FLOW_OPT_NAME),
						ERRCODE_INVALID_NAME,
						psprintf("invalid name of a step: \"%s\"", name),
						fault, NULL);
	for (int t = 0; t < lengthof(taken_names); t++)
		if (strcmp(name, taken_names[t]) == 0)
			FlowCheckReport(FlowCheckAtOption(check, i, FLOW_OPT_NAME),
							ERRCODE_RESERVED_NAME,
							psprintf("a step cannot be named \"%s\"", name),
							psprintf("In the SQL of a step, flow.%s is something else.",
									 name), NULL);
}

/* NULL if there is nothing wrong with it. */
static const char *
fault_of_name(const char *name, int max_length)
{
	if (*name == '\0')
		return "It must not be empty.";
	if (strlen(name) > max_length)
		return psprintf("It must not be longer than %d bytes.", max_length);
	for (const char *c = name; *c; c++)
	{
		if (*c == ':')
			return "It must not contain a colon.";
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			return "It must not contain control characters.";
	}
	return NULL;
}

/* Orders the steps by name, which also brings equal names together. */
static void
index_names(FlowCheck *check)
{
	check->by_name = palloc(sizeof(int) * Max(check->spec->n_steps, 1));
	for (int i = 0; i < check->spec->n_steps; i++)
		if (FlowStepName(check->spec, i) != NULL)
			check->by_name[check->n_named++] = i;
	qsort_arg(check->by_name, check->n_named, sizeof(int), compare_names,
			  check);
	for (int k = 1; k < check->n_named; k++)
	{
		int			i = check->by_name[k];
		const char *name = FlowStepName(check->spec, i);

		if (strcmp(name, FlowStepName(check->spec, check->by_name[k - 1])) == 0)
			FlowCheckReport(FlowCheckAtOption(check, i, FLOW_OPT_NAME),
							ERRCODE_DUPLICATE_OBJECT,
							psprintf("there are two steps named \"%s\"", name),
							psprintf("The other is steps[%d].",
									 check->by_name[k - 1]), NULL);
	}
}

static int
compare_names(const void *a, const void *b, void *arg)
{
	const FlowSpec *spec = ((const FlowCheck *) arg)->spec;
	int			i = *(const int *) a;
	int			j = *(const int *) b;
	int			order = strcmp(FlowStepName(spec, i), FlowStepName(spec, j));

	return order != 0 ? order : i - j;
}

int
FlowCheckFindStep(const FlowCheck *check, const char *name)
{
	int			low = 0;
	int			high = check->n_named;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			i = check->by_name[middle];
		int			order = strcmp(name, FlowStepName(check->spec, i));

		if (order == 0)
			return i;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

static void
check_dependencies(FlowCheck *check)
{
	const FlowSpec *spec = check->spec;
	FlowEdge   *edges;
	int			n = 0;
	int			n_edges = 0;

	for (int i = 0; i < spec->n_steps; i++)
		n += spec->steps[i].values[FLOW_OPT_AFTER].u.texts.n;
	edges = palloc(sizeof(FlowEdge) * Max(n, 1));
	for (int i = 0; i < spec->n_steps; i++)
	{
		for (int d = 0; d < spec->steps[i].values[FLOW_OPT_AFTER].u.texts.n; d++)
		{
			int			from = check_dependency(check, i, d);

			if (from < 0)
				continue;
			edges[n_edges].from = from;
			edges[n_edges++].to = i;
		}
	}
	check_cycle(check, edges, n_edges);
}

/* Returns the index of the step depended on, or -1. */
static int
check_dependency(FlowCheck *check, int i, int d)
{
	const FlowValue *after = &check->spec->steps[i].values[FLOW_OPT_AFTER];
	const char *name = after->u.texts.items[d];
	const char *path = psprintf("steps[%d].after[%d]", i, d);
	const char *colon = strchr(name, ':');
	char	   *plain = colon ? pnstrdup(name, colon - name) : pstrdup(name);
	int			found = FlowCheckFindStep(check, plain);

	if (found < 0)
	{
		const char *near = FlowCheckSuggestStep(check, plain);

		FlowCheckReport(FlowCheckAt(check, i, path),
						ERRCODE_UNDEFINED_OBJECT,
						psprintf("step \"%s\" depends on step \"%s\", which does not exist",
								 FlowStepLabel(check->spec, i), plain),
						NULL,
						near ? psprintf("Perhaps you meant \"%s\".", near) : NULL);
	}
	else if (colon)
		FlowEventsCheckDependency(FlowCheckAt(check, i, path), i, found, colon + 1);
	return found;
}

/* Looks at all names, so only for the first few problems of a definition. */
const char *
FlowCheckSuggestStep(const FlowCheck *check, const char *name)
{
	FlowSuggestion suggestion;

	if (check->problems->n_errors > 20)
		return NULL;
	FlowSuggestionInit(&suggestion, name);
	for (int k = 0; k < check->n_named; k++)
		FlowSuggestionAdd(&suggestion, FlowStepName(check->spec, check->by_name[k]));
	return suggestion.best;
}

static void
check_cycle(FlowCheck *check, const FlowEdge *edges, int n_edges)
{
	FlowGraph  *graph = FlowGraphCreate(check->spec->n_steps, edges, n_edges);
	int		   *cycle = palloc(sizeof(int) * Max(graph->n, 1));
	int			length = FlowGraphFindCycle(graph, cycle);

	if (length > 0)
		FlowCheckReport(FlowCheckAtOption(check, cycle[0], FLOW_OPT_AFTER),
						ERRCODE_FLOW_CYCLE,
						psprintf("the dependencies form a cycle: %s",
								 print_cycle(check, cycle, length)),
						NULL,
						"Remove one of them from \"after\".");
}

/* a -> b -> a; the middle of a long one is left out. */
static char *
print_cycle(const FlowCheck *check, const int *cycle, int length)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	for (int c = 0; c < length; c++)
	{
		if (length > MAX_PRINTED_CYCLE && c == MAX_PRINTED_CYCLE / 2)
		{
			appendStringInfoString(&buffer, "... -> ");
			c = length - MAX_PRINTED_CYCLE / 2;
		}
		appendStringInfo(&buffer, "%s -> ", FlowStepLabel(check->spec, cycle[c]));
	}
	appendStringInfoString(&buffer, FlowStepLabel(check->spec, cycle[0]));
	return buffer.data;
}

static void
check_arguments(FlowCheck *check)
{
	const FlowSpec *spec = check->spec;
	const FlowField *field = &FlowArgumentFields[FLOW_ARG_NOTIFY];
	const char *notify = FlowSpecText(spec, FLOW_ARG_NOTIFY);

	if (!FlowFieldAllows(field, notify))
		FlowCheckReport(FlowCheckAt(check, -1, "notify"),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("invalid value for \"notify\": \"%s\"", notify),
						psprintf("Expected one of: %s.", FlowFieldChoices(field)),
						FlowFieldNearest(field, notify));
	else if (strcmp(notify, "step") == 0)
		FlowCheckReport(FlowCheckAt(check, -1, "notify"),
						ERRCODE_FEATURE_NOT_SUPPORTED,
						"value \"step\" for \"notify\" is not supported yet",
						NULL,
						"Use \"run\" or \"none\".");
	check_timeout(check);
	check_search_path(check);
	FlowLimitedCheck(check);
	FlowOptionsCheckArgument(check, FLOW_ARG_KEEP);
	FlowOptionsCheckArgument(check, FLOW_ARG_KEEP_DATA);
	FlowOptionsCheckArgument(check, FLOW_ARG_RESUME_AFTER);
	for (int a = 0; a < FLOW_ARGUMENT_COUNT; a++)
		if ((FlowArgumentFields[a].flags & FLOW_FIELD_LATER) &&
			!FlowValueIsInitial(&FlowArgumentFields[a], &spec->values[a]))
			FlowCheckReport(FlowCheckAt(check, -1, FlowArgumentFields[a].name),
							ERRCODE_FEATURE_NOT_SUPPORTED,
							psprintf("option \"%s\" of a workflow is not supported yet",
									 FlowArgumentFields[a].name),
							NULL, NULL);
}

static void
check_timeout(FlowCheck *check)
{
	const FlowValue *value = &check->spec->values[FLOW_ARG_TIMEOUT];
	double		days = value->u.interval.time / (double) USECS_PER_DAY +
	value->u.interval.day + value->u.interval.month * (double) DAYS_PER_MONTH;

	if (value->isset && !(days > 0 && days <= 366.0 * 1000))
		FlowCheckReport(FlowCheckAt(check, -1, "timeout"),
						ERRCODE_INVALID_PARAMETER_VALUE,
						"value for \"timeout\" of the workflow is out of range",
						"Expected an interval above 0, up to 1000 years.", NULL);
}

static void
check_search_path(FlowCheck *check)
{
	const char *path = FlowSpecText(check->spec, FLOW_ARG_SEARCH_PATH);
	List	   *schemas;

	if (path && !SplitIdentifierString(pstrdup(path), ',', &schemas))
		FlowCheckReport(FlowCheckAt(check, -1, "search_path"),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("invalid value for \"search_path\": \"%s\"", path),
						"Expected names of schemas, separated by commas.", NULL);
}

/* Bare they are key words; only the full form or quotes make them names. */
static void
notice_reserved_words(FlowCheck *check)
{
	for (int i = 0; i < check->spec->n_steps; i++)
	{
		const char *name = FlowStepName(check->spec, i);
		int			keyword = name ? ScanKeywordLookup(name, &ScanKeywords) : -1;
		FlowProblem notice = {NOTICE};

		if (keyword < 0 ||
			ScanKeywordCategories[keyword] == UNRESERVED_KEYWORD ||
			ScanKeywordCategories[keyword] == COL_NAME_KEYWORD)
			continue;
		notice.sqlstate = ERRCODE_SUCCESSFUL_COMPLETION;
		notice.step = name;
		notice.message = psprintf("step \"%s\" is named by a reserved word",
								  name);
		notice.hint = psprintf("In SQL write flow.%s for its output.", name);
		FlowProblemReport(check->problems, &notice);
	}
}

FlowCheck *
FlowCheckAt(FlowCheck *check, int step, const char *path)
{
	check->step = step;
	check->path = path;
	return check;
}

FlowCheck *
FlowCheckAtStep(FlowCheck *check, int step)
{
	return FlowCheckAt(check, step, psprintf("steps[%d]", step));
}

FlowCheck *
FlowCheckAtOption(FlowCheck *check, int step, FlowOption option)
{
	return FlowCheckAt(check, step, FlowOptionPath(step, option));
}

void
FlowCheckReport(FlowCheck *check, int sqlstate, const char *message,
				const char *detail, const char *hint)
{
	FlowProblem problem = {ERROR, sqlstate};

	problem.step = check->step >= 0 ? FlowStepName(check->spec, check->step) : NULL;
	problem.path = check->path;
	problem.message = message;
	problem.detail = detail;
	problem.hint = hint;
	FlowProblemReport(check->problems, &problem);
}
