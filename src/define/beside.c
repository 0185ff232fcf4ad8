/*-------------------------------------------------------------------------
 * beside.c
 *	  Steps beside the graph: those that undo others, and hooks.
 *
 * A step that undoes another is a step like any other to the queue, the
 * workers and the flush: it has a number, a row in task while it lives and an
 * outcome when it has ended.  It is never ready in the normal course of a run,
 * and counts neither for its end nor for its output; undo.c starts it.  So it is
 * with a hook, which waits for its run's events (hook.c).
 *
 * The SQL given as "undo" makes a step without a place in the document.  Its
 * number is that of the step it undoes plus the number of steps in the
 * document, so that a number alone tells which it is; its name, with a colon,
 * is one that no other step can have.  What it sees is what lies upstream of
 * it: the step that it undoes is the only one that it "depends" on.  If that
 * has items, it runs for each that has completed, with the item's number.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "define/beside.h"
#include "define/graph.h"
#include "define/item.h"
#include "error.h"

static const char *const hook_names[FLOW_HOOK_EVENTS] = {
	"completed", "failed", "paused", "cancelled", "finished", "step"
};

static bool has_option(const FlowSpec *spec, FlowOption option);
static void compile_undo(FlowStepDef *undo, FlowStepDef *step, const char *sql);
static void connect_undo(FlowStepDef *undo, FlowStepDef *step);
static int *order_of(const FlowDefinition *definition);
static void check_undo_of(FlowCheck *check, int i, int *undone_by);
static void check_hook(FlowCheck *check, int i);
static uint32 hooks_of(const FlowValue *hook);
static uint32 bit_of(const char *name);
static void check_after(FlowCheck *check, int i);

int
FlowBesideCount(const FlowSpec *spec)
{
	if (has_option(spec, FLOW_OPT_FOR_EACH))
		return 3 * spec->n_steps;
	return has_option(spec, FLOW_OPT_UNDO) ? 2 * spec->n_steps : spec->n_steps;
}

static bool
has_option(const FlowSpec *spec, FlowOption option)
{
	for (int i = 0; i < spec->n_steps; i++)
		if (FlowStepText(&spec->steps[i], option) != NULL)
			return true;
	return false;
}

FlowStepPart
FlowBesidePart(const FlowStepSpec *spec)
{
	if (FlowStepText(spec, FLOW_OPT_UNDO_OF) != NULL)
		return FLOW_PART_UNDO;
	return spec->values[FLOW_OPT_HOOK].isset ? FLOW_PART_HOOK : FLOW_PART_COURSE;
}

void
FlowBesideCompile(FlowDefinition *definition, const FlowSpec *spec)
{
	for (int i = 0; i < definition->n_steps; i++)
	{
		FlowStepDef *step = &definition->steps[i];
		const char *sql = FlowStepText(&spec->steps[i], FLOW_OPT_UNDO);
		const char *of = FlowStepText(&spec->steps[i], FLOW_OPT_UNDO_OF);

		if (FlowStepText(&spec->steps[i], FLOW_OPT_FOR_EACH) != NULL)
			FlowItemCompile(definition, &spec->steps[i], step);
		if (sql != NULL)
			compile_undo(FlowBesideUndo(definition, step->no), step, sql);
		if (of != NULL)
			connect_undo(step, FlowPlanFindStep(definition, of));
		step->hooks = hooks_of(&spec->steps[i].values[FLOW_OPT_HOOK]);
		definition->hooks |= step->hooks;
	}
	if (definition->has_undo)
		definition->order = order_of(definition);
}

static uint32
hooks_of(const FlowValue *hook)
{
	uint32		bits = 0;

	for (int h = 0; hook->isset && h < hook->u.texts.n; h++)
		bits |= bit_of(hook->u.texts.items[h]);
	return bits;
}

/* 0 if there is no such event. */
static uint32
bit_of(const char *name)
{
	for (int event = 0; event < FLOW_HOOK_EVENTS; event++)
		if (strcmp(name, hook_names[event]) == 0)
			return FLOW_HOOK_BIT(event);
	return 0;
}

const char *
FlowBesideHookName(FlowHookEvent event)
{
	return hook_names[event];
}

FlowStepDef *
FlowBesideUndo(const FlowDefinition *definition, int step_no)
{
	return &definition->steps[definition->n_steps + step_no - 1];
}

/* It is tried as often as the step, has as much time, and counts as it does. */
static void
compile_undo(FlowStepDef *undo, FlowStepDef *step, const char *sql)
{
	const FlowStepDef *does = step->items == 0 ? step : FlowItemStep(step);

	*undo = *step;
	undo->no = step->definition->n_steps + step->no;
	undo->part = FLOW_PART_UNDO;
	undo->name = psprintf("%s:undo", step->name);
	undo->kind = FLOW_KIND_SQL;
	memset(undo->sql, 0, sizeof(undo->sql));
	undo->sql[FLOW_SQL_STEP].text = pstrdup(sql);
	undo->sql[FLOW_SQL_STEP].result = FLOW_RESULT_NONE;
	undo->sql[FLOW_SQL_LIMIT_KEY] = does->sql[FLOW_SQL_LIMIT_KEY];
	undo->n_limits = does->n_limits;
	undo->needs = FLOW_NEEDS_ALL;
	undo->on_error = FLOW_ON_ERROR_FAIL;
	undo->n_after = 0;
	undo->n_dependents = 0;
	undo->items = 0;
	undo->n_events = FLOW_EVENT_OWN;
	undo->handles = 0;
	undo->isolation = XACT_READ_COMMITTED;
	undo->timeout = does->timeout;
	connect_undo(undo, step);
}

/* Each is a transaction of its own, so that a failed one stops no other. */
static void
connect_undo(FlowStepDef *undo, FlowStepDef *step)
{
	undo->undoes = step->no;
	undo->deps = palloc(sizeof(int));
	undo->deps[0] = step->no;
	undo->n_deps = 1;
	undo->batch = false;
	step->undo = undo->no;
	step->definition->has_undo = true;
}

static int *
order_of(const FlowDefinition *definition)
{
	int		   *order = palloc(sizeof(int) * Max(definition->n_steps, 1));
	int			n_edges = 0;
	FlowEdge   *edges;
	FlowGraph  *graph;

	for (int i = 0; i < definition->n_steps; i++)
		n_edges += definition->steps[i].n_dependents;
	edges = palloc(sizeof(FlowEdge) * Max(n_edges, 1));
	n_edges = 0;
	for (int i = 0; i < definition->n_steps; i++)
		for (int d = 0; d < definition->steps[i].n_dependents; d++)
		{
			edges[n_edges].from = i;
			edges[n_edges++].to = definition->steps[i].dependents[d] - 1;
		}
	graph = FlowGraphCreate(definition->n_steps, edges, n_edges);
	(void) FlowGraphSort(graph, order);
	for (int i = 0; i < definition->n_steps; i++)
		order[i]++;				/* numbers of steps count from 1 */
	return order;
}

void
FlowBesideRefuse(const FlowStepDef *step)
{
	if (step->part == FLOW_PART_COURSE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
			 errmsg("step \"%s\" is not part of the normal course of a run",
					step->name),
			 step->part == FLOW_PART_HOOK
			 ? errdetail("It is a hook.")
			 : errdetail("It runs when another step is undone."),
			 errhint("Name a step that others depend on, or that depends on others.")));
}

void
FlowBesideCheck(FlowCheck *check)
{
	const FlowSpec *spec = check->spec;
	int		   *undone_by = palloc(sizeof(int) * Max(spec->n_steps, 1));

	for (int i = 0; i < spec->n_steps; i++)
		undone_by[i] = FlowStepText(&spec->steps[i], FLOW_OPT_UNDO) ? i : -1;
	for (int i = 0; i < spec->n_steps; i++)
	{
		check_undo_of(check, i, undone_by);
		check_after(check, i);
		check_hook(check, i);
	}
	pfree(undone_by);
}

/* undone_by[i] is the step with what undoes step i, or -1. */
static void
check_undo_of(FlowCheck *check, int i, int *undone_by)
{
	const FlowSpec *spec = check->spec;
	const char *of = FlowStepText(&spec->steps[i], FLOW_OPT_UNDO_OF);
	const char *label = FlowStepLabel(spec, i);
	const char *near;
	int			step;

	if (of == NULL)
		return;
	FlowCheckAtOption(check, i, FLOW_OPT_UNDO_OF);
	step = FlowCheckFindStep(check, of);
	if (step < 0)
	{
		near = FlowCheckSuggestStep(check, of);
		FlowCheckReport(check, ERRCODE_UNDEFINED_OBJECT,
						psprintf("step \"%s\" undoes step \"%s\", which does not exist",
								 label, of),
						NULL,
						near ? psprintf("Perhaps you meant \"%s\".", near) : NULL);
		return;
	}
	if (FlowBesidePart(&spec->steps[step]) != FLOW_PART_COURSE)
		FlowCheckReport(check, ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("step \"%s\" cannot undo step \"%s\"", label, of),
						"Only a step of the normal course of a run is undone.",
						NULL);
	else if (undone_by[step] >= 0)
		FlowCheckReport(check, ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("step \"%s\" is undone twice", of),
						undone_by[step] == step
						? "It has the option \"undo\" already."
						: psprintf("Step \"%s\" undoes it already.",
								   FlowStepLabel(spec, undone_by[step])),
						"Do all of it in one of them.");
	else
		undone_by[step] = i;
}

static void
check_after(FlowCheck *check, int i)
{
	const FlowSpec *spec = check->spec;
	const FlowValue *after = &spec->steps[i].values[FLOW_OPT_AFTER];

	for (int d = 0; after->isset && d < after->u.texts.n; d++)
	{
		const char *name = after->u.texts.items[d];
		int			step = FlowCheckFindStep(check, pnstrdup(name, strcspn(name, ":")));

		if (step < 0 ||
			FlowBesidePart(&spec->steps[step]) == FLOW_PART_COURSE)
			continue;
		FlowCheckReport(FlowCheckAt(check, i, psprintf("steps[%d].after[%d]", i, d)),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("step \"%s\" cannot depend on step \"%s\"",
								 FlowStepLabel(spec, i), FlowStepLabel(spec, step)),
						"That step is not part of the normal course of a run.",
						NULL);
	}
}

static void
check_hook(FlowCheck *check, int i)
{
	const FlowStepSpec *step = &check->spec->steps[i];
	const FlowValue *hook = &step->values[FLOW_OPT_HOOK];

	if (!hook->isset)
		return;
	if (hook->u.texts.n == 0)
		FlowCheckReport(FlowCheckAtOption(check, i, FLOW_OPT_HOOK),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("hook \"%s\" waits for nothing",
								 FlowStepLabel(check->spec, i)),
						"There is no event in \"hook\".",
						"Name one, such as \"finished\".");
	for (int h = 0; h < hook->u.texts.n; h++)
	{
		FlowSuggestion suggestion;

		if (bit_of(hook->u.texts.items[h]) != 0)
			continue;
		FlowSuggestionInit(&suggestion, hook->u.texts.items[h]);
		for (int event = 0; event < FLOW_HOOK_EVENTS; event++)
			FlowSuggestionAdd(&suggestion, hook_names[event]);
		FlowCheckReport(FlowCheckAt(check, i, psprintf("%s[%d]", FlowOptionPath(i, FLOW_OPT_HOOK), h)),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("invalid value for \"hook\" in step \"%s\": \"%s\"",
								 FlowStepLabel(check->spec, i), hook->u.texts.items[h]),
						"Expected one of: completed, failed, paused, cancelled, finished, step.",
						suggestion.best ? psprintf("Perhaps you meant \"%s\".",
												   suggestion.best) : NULL);
	}
}
