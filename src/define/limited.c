/*-------------------------------------------------------------------------
 * limited.c
 *	  What a definition says about how many run at once.
 *
 * "max_runs_by" belongs to the workflow and not to a version, so that no step
 * of a document has it.  It is made one here: an expression that sees what the
 * first step of a run would.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_place.h"
#include "define/access.h"
#include "define/limited.h"
#include "flow.h"
#include "shmem/wake.h"

/* How many limits a step may take a place under */
#define MAX_LIMITS		8

static const char *fault_of_name(const char *name);
static void warn_of_missing(const FlowSpec *spec, FlowProblems *problems);
static void require_valid(const char *name, int32 running, int32 rate,
						  const Interval *per);
static void raise_out_of_range(const char *what, const char *expected) pg_attribute_noreturn();
static void report_as_argument(const FlowProblem *found, FlowProblems *problems);

void
FlowLimitedCheck(FlowCheck *check)
{
	const FlowValue *max_runs = &check->spec->values[FLOW_ARG_MAX_RUNS];
	const FlowValue *max_parallel = &check->spec->values[FLOW_ARG_MAX_PARALLEL];

	if (max_parallel->isset && max_parallel->u.integer <= 0)
		FlowCheckReport(FlowCheckAt(check, -1, "max_parallel"),
						ERRCODE_INVALID_PARAMETER_VALUE,
						"value for \"max_parallel\" of the workflow is out of range",
						"Expected a number above zero.",
						"Leave it out for any number of steps.");
	if (max_runs->isset && max_runs->u.integer <= 0)
		FlowCheckReport(FlowCheckAt(check, -1, "max_runs"),
						ERRCODE_INVALID_PARAMETER_VALUE,
						"value for \"max_runs\" of the workflow is out of range",
						"Expected a number above zero.",
						"Leave it out for any number of runs; flow_disable() keeps new ones from being started.");
	if (FlowSpecText(check->spec, FLOW_ARG_MAX_RUNS_BY) != NULL &&
		!max_runs->isset)
		FlowCheckReport(FlowCheckAt(check, -1, "max_runs_by"),
						ERRCODE_INVALID_PARAMETER_VALUE,
						"\"max_runs_by\" means nothing without \"max_runs\"",
						"It says which runs are counted together.",
						"Give \"max_runs\", or leave it out.");
}

void
FlowLimitedCheckStep(FlowCheck *check, int i)
{
	const FlowStepSpec *step = &check->spec->steps[i];
	const FlowValue *limits = &step->values[FLOW_OPT_LIMITS];

	if (!limits->isset || !(FlowOptionFields[FLOW_OPT_LIMITS].applies & FLOW_KIND_BIT(step->kind)))
		return;
	if (limits->u.texts.n == 0 || limits->u.texts.n > MAX_LIMITS)
		FlowCheckReport(FlowCheckAtOption(check, i, FLOW_OPT_LIMITS),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("value for \"limits\" in step \"%s\" is out of range",
								 FlowStepLabel(check->spec, i)),
						psprintf("Expected from one to %d names.", MAX_LIMITS),
						"Leave it out for a step without limits.");
	for (int l = 0; l < limits->u.texts.n; l++)
	{
		const char *fault = fault_of_name(limits->u.texts.items[l]);

		if (fault != NULL)
			FlowCheckReport(FlowCheckAt(check, i, psprintf("steps[%d].limits[%d]", i, l)),
							ERRCODE_INVALID_NAME,
							psprintf("invalid name of a limit in step \"%s\": \"%s\"",
									 FlowStepLabel(check->spec, i),
									 limits->u.texts.items[l]),
							fault, NULL);
	}
}

/* NULL if there is none */
static const char *
fault_of_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > FLOW_MAX_STEP_NAME)
		return psprintf("A name has from 1 to %d bytes.", FLOW_MAX_STEP_NAME);
	for (const char *c = name; *c != '\0'; c++)
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			return "It must not hold control characters.";
	return NULL;
}

bool
FlowLimitedIs(const FlowStepDef *step)
{
	uint32		kinds = FlowOptionFields[FLOW_OPT_LIMITS].applies;

	if (step->n_limits > 0)
		return true;
	return step->definition->max_parallel > 0 && step->items == 0 &&
		step->part != FLOW_PART_HOOK && (kinds & FLOW_KIND_BIT(step->kind)) != 0;
}

FlowSpec *
FlowLimitedSpec(const char *max_runs_by)
{
	FlowSpec   *spec = FlowSpecCreate(1);
	FlowStepSpec *step = &spec->steps[0];

	FlowObjectInit(FlowOptionFields, FLOW_OPTION_COUNT, step->values);
	step->kind = FLOW_KIND_CHOICE;
	FlowValueFromText(FLOW_FIELD_TEXT, "choice", &step->values[FLOW_OPT_KIND]);
	FlowValueFromText(FLOW_FIELD_TEXT, FlowArgumentFields[FLOW_ARG_MAX_RUNS_BY].name,
					  &step->values[FLOW_OPT_NAME]);
	FlowValueFromText(FLOW_FIELD_TEXT, max_runs_by, &step->values[FLOW_OPT_SQL]);
	return spec;
}

void
FlowLimitedResolve(const FlowSpec *spec, const FlowParseScope *scope,
				   FlowProblems *problems)
{
	const char *sql = FlowSpecText(spec, FLOW_ARG_MAX_RUNS_BY);
	FlowProblems found;
	ListCell   *cell;

	warn_of_missing(spec, problems);
	if (sql == NULL)
		return;
	FlowProblemsInit(&found, true);
	FlowParseCheck(FlowLimitedSpec(sql), problems->n_errors == 0 ? scope : NULL,
				   &found);
	foreach(cell, found.list)
		report_as_argument(lfirst(cell), problems);
}

/* What was said of the step that it is in no document. */
static void
report_as_argument(const FlowProblem *found, FlowProblems *problems)
{
	const char *name = FlowArgumentFields[FLOW_ARG_MAX_RUNS_BY].name;
	const char *prefixes[] = {
		psprintf("step \"%s\": ", name), psprintf("\"sql\" of step \"%s\" ", name)
	};
	const char *message = found->message;
	FlowProblem problem = *found;

	for (int i = 0; i < lengthof(prefixes); i++)
		if (strncmp(message, prefixes[i], strlen(prefixes[i])) == 0)
			message += strlen(prefixes[i]);
	problem.step = NULL;
	problem.path = name;
	problem.message = psprintf("\"%s\": %s", name, message);
	FlowProblemReport(problems, &problem);
}

/* No error, since it may be made later; until then it stops nobody. */
static void
warn_of_missing(const FlowSpec *spec, FlowProblems *problems)
{
	MemoryContext caller = CurrentMemoryContext;

	for (int i = 0; i < spec->n_steps && problems->n_errors == 0; i++)
	{
		const FlowValue *limits = &spec->steps[i].values[FLOW_OPT_LIMITS];

		for (int l = 0; limits->isset && l < limits->u.texts.n; l++)
		{
			const char *name = limits->u.texts.items[l];
			FlowProblem problem = {WARNING, ERRCODE_UNDEFINED_OBJECT, FlowStepName(spec, i)};
			FlowIdentity identity;
			bool		found;

			SPI_connect();
			FlowIdentityRaise(&identity);
			found = FlowPlaceFindLimit(name);
			FlowIdentityRestore(&identity);
			SPI_finish();
			MemoryContextSwitchTo(caller);
			if (found)
				continue;
			problem.path = psprintf("steps[%d].limits[%d]", i, l);
			problem.message = psprintf("limit \"%s\" of step \"%s\" does not exist",
									   name, FlowStepLabel(spec, i));
			problem.detail = "It holds nobody back until it does.";
			problem.hint = psprintf("Make it with flow_limit(%s, running => 1), for instance.",
									quote_literal_cstr(name));
			FlowProblemReport(problems, &problem);
		}
	}
}

void
FlowLimitedSet(const char *name, int32 running, int32 rate, const Interval *per)
{
	FlowIdentity identity;
	bool		found;

	FlowAccessRequireCreate();
	require_valid(name, running, rate, per);
	SPI_connect();
	FlowIdentityRaise(&identity);
	found = running == 0 && rate == 0 ? FlowPlaceRemoveLimit(name) :
		FlowPlaceSaveLimit(name, running, rate, per);
	FlowIdentityRestore(&identity);
	SPI_finish();
	if (!found)
		ereport(NOTICE,
				(errmsg("limit \"%s\" does not exist, skipping", name)));
	FlowWakeNoteAdmit();
}

static void
require_valid(const char *name, int32 running, int32 rate, const Interval *per)
{
	const char *fault = fault_of_name(name);
	double		usec = (double) per->time +
	(per->day + per->month * (double) DAYS_PER_MONTH) * USECS_PER_DAY;

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a limit: \"%s\"", name),
				 errdetail("%s", fault),
				 errhint("Use another name.")));
	if (running < 0)
		raise_out_of_range("running", "a number above zero");
	if (rate < 0)
		raise_out_of_range("rate", "a number above zero");
	if (usec <= 0 || usec > 366.0 * USECS_PER_DAY)
		raise_out_of_range("per", "an interval above 0, up to a year");
}

static void
raise_out_of_range(const char *what, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("value for \"%s\" of a limit is out of range", what),
			 errdetail("Expected %s.", expected),
			 errhint("Leave out both running and rate to remove a limit.")));
}
