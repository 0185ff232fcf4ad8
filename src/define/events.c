/*-------------------------------------------------------------------------
 * events.c
 *	  Whether the events that steps declare and depend on can be.
 *
 * Five events mean the same for every step (plan.h); the engine emits them.
 * Any other is a step's own: it may declare them, and then a name that is not
 * among them is a mistake; without a declaration any name is taken to be right.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "define/events.h"
#include "define/plan.h"

#define MAX_OWN_EVENTS	(FLOW_EVENT_MAX - FLOW_EVENT_OWN)

static int	reserved_no(const char *name);
static const char *fault_of_event(const char *name);
static const char *refuse_reserved(const FlowStepSpec *from, int no);
static void refuse_undeclared(FlowCheck *check, int i, int from,
							  const char *event);
static bool has_limit(const FlowStepSpec *step);

static int
reserved_no(const char *name)
{
	for (int no = 0; no < FLOW_EVENT_OWN; no++)
		if (strcmp(FlowEventName(no), name) == 0)
			return no;
	return FLOW_EVENT_NONE;
}

/* NULL if a step may emit it by itself. */
static const char *
fault_of_event(const char *name)
{
	if (*name == '\0')
		return "It must not be empty.";
	if (strlen(name) > FLOW_MAX_STEP_NAME)
		return psprintf("It must not be longer than %d bytes.", FLOW_MAX_STEP_NAME);
	for (const char *c = name; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			return "It must not contain control characters.";
	if (reserved_no(name) != FLOW_EVENT_NONE)
		return "The engine emits completed, failed, approved, rejected and timeout when a step ends so.";
	return NULL;
}

void
FlowEventsRequireOwn(const char *event)
{
	const char *fault = fault_of_event(event);

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of an event: \"%s\"", event),
				 errdetail_internal("%s", fault),
				 errhint("Give the event another name.")));
}

void
FlowEventsCheckEmits(FlowCheck *check, int i)
{
	const FlowValue *emits = &check->spec->steps[i].values[FLOW_OPT_EMITS];

	if (!emits->isset)
		return;
	for (int e = 0; e < emits->u.texts.n; e++)
	{
		const char *fault = fault_of_event(emits->u.texts.items[e]);

		for (int other = 0; other < e && fault == NULL; other++)
			if (strcmp(emits->u.texts.items[e], emits->u.texts.items[other]) == 0)
				fault = "It is declared twice.";
		if (fault == NULL && e == MAX_OWN_EVENTS)
			fault = psprintf("A step has at most %d events of its own.", MAX_OWN_EVENTS);
		if (fault != NULL)
			FlowCheckReport(FlowCheckAt(check, i, psprintf("%s[%d]", FlowOptionPath(i, FLOW_OPT_EMITS), e)),
							ERRCODE_INVALID_PARAMETER_VALUE,
							psprintf("invalid name of an event of step \"%s\": \"%s\"",
									 FlowStepLabel(check->spec, i),
									 emits->u.texts.items[e]),
							fault, NULL);
	}
}

void
FlowEventsCheckDependency(FlowCheck *check, int i, int from, const char *event)
{
	const FlowStepSpec *step = &check->spec->steps[from];
	int			no = reserved_no(event);
	const char *fault;

	if (no == FLOW_EVENT_NONE)
		fault = fault_of_event(event);
	else
		fault = refuse_reserved(step, no);
	if (fault != NULL)
		FlowCheckReport(check, ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("step \"%s\" depends on event \"%s\", which step \"%s\" does not emit",
								 FlowStepLabel(check->spec, i), event,
								 FlowStepLabel(check->spec, from)),
						fault, NULL);
	else if (no == FLOW_EVENT_NONE && step->values[FLOW_OPT_EMITS].isset)
		refuse_undeclared(check, i, from, event);
}

/* NULL if a step like this can end so. */
static const char *
refuse_reserved(const FlowStepSpec *from, int no)
{
	if ((no == FLOW_EVENT_APPROVED || no == FLOW_EVENT_REJECTED) &&
		from->kind != FLOW_KIND_APPROVAL)
		return "Only an approval is approved or rejected.";
	if (no == FLOW_EVENT_TIMEOUT && !has_limit(from))
		return "Only a step with \"timeout\" or \"total_timeout\" does.";
	return NULL;
}

static bool
has_limit(const FlowStepSpec *step)
{
	return step->values[FLOW_OPT_TIMEOUT].isset ||
		step->values[FLOW_OPT_TOTAL_TIMEOUT].isset;
}

static void
refuse_undeclared(FlowCheck *check, int i, int from, const char *event)
{
	const FlowValue *emits = &check->spec->steps[from].values[FLOW_OPT_EMITS];
	FlowSuggestion suggestion;

	FlowSuggestionInit(&suggestion, event);
	for (int e = 0; e < emits->u.texts.n; e++)
	{
		if (strcmp(emits->u.texts.items[e], event) == 0)
			return;
		FlowSuggestionAdd(&suggestion, emits->u.texts.items[e]);
	}
	FlowCheckReport(check, ERRCODE_UNDEFINED_OBJECT,
					psprintf("step \"%s\" depends on event \"%s\", which step \"%s\" does not emit",
							 FlowStepLabel(check->spec, i), event,
							 FlowStepLabel(check->spec, from)),
					"It is not among the events that step declares in \"emits\".",
					suggestion.best ?
					psprintf("Perhaps you meant \"%s\".", suggestion.best) : NULL);
}
