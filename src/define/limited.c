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

#include "define/limited.h"

static void report_as_argument(const FlowProblem *found, FlowProblems *problems);

void
FlowLimitedCheck(FlowCheck *check)
{
	const FlowValue *max_runs = &check->spec->values[FLOW_ARG_MAX_RUNS];

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
FlowLimitedCheckSql(const FlowSpec *spec, const FlowParseScope *scope,
					FlowProblems *problems)
{
	const char *sql = FlowSpecText(spec, FLOW_ARG_MAX_RUNS_BY);
	FlowProblems found;
	ListCell   *cell;

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
