/*-------------------------------------------------------------------------
 * reference.c
 *	  Documents with actions: the JSON of another system, read as a definition.
 *
 * Such a document has an id and, in its steps, an action with params, where
 * ours has a name and a kind with options.  Each action is a kind of step with
 * its SQL made from the params, and each webhook is a hook step behind the
 * steps of the document; from there on it is a definition like any other, and
 * what is stored does not say in which form it was written.  Problems that are
 * found later speak of the document's own keys (FlowPathNames).
 *
 * Values are read and checked here, also those that mean nothing for the kind
 * of their step and are ignored.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "define/action.h"
#include "define/part.h"
#include "define/reference.h"

/* Webhooks, and the event of a run that each waits for */
static const struct
{
	const char *key;
	const char *event;
}			webhooks[] = {
	{"onComplete", "completed"},
	{"onFailure", "failed"},
	{"onStep", "step"},
};

static const char *const document_keys[] = {
	"id", "name", "steps", "webhooks", NULL
};
static const char *const step_keys[] = {
	"id", "name", "type", "action", "params", "dependencies", "retryPolicy",
	"timeout", NULL
};
static const char *const policy_keys[] = {
	"maxAttempts", "backoffMultiplier", "initialDelay", "maxDelay", NULL
};
static const char *const webhook_keys[] = {
	"onComplete", "onFailure", "onStep", NULL
};

/* What document.c calls them */
static const struct FlowPathName path_names[] = {
	{"name", "id"},
	{"description", "name"},
	{"kind", "action"},
	{"after", "dependencies"},
	{"sql", "params"},
	{"delay", "params.duration"},
	{"url", "params.url"},
	{"method", "params.method"},
	{"headers", "params.headers"},
	{"body", "params.body"},
	{"retries", "retryPolicy.maxAttempts"},
	{"backoff", "retryPolicy.backoffMultiplier"},
	{"retry_delay", "retryPolicy.initialDelay"},
	{"max_delay", "retryPolicy.maxDelay"},
	{NULL}
};

static bool has_any_key(JsonbContainer *object, const char *const *keys);
static JsonbContainer *read_steps(const FlowPart *top);
static List *ids_of(JsonbContainer *steps);
static void read_step(FlowPart *part, FlowStepSpec *step);
static void read_policy(const FlowPart *part, FlowStepSpec *step);
static void set_if_taken(FlowStepSpec *step, FlowOption option,
						 const FlowValue *value);
static void read_webhooks(const FlowPart *top, FlowSpec *spec);
static void make_hook(FlowStepSpec *step, const char *name, const char *event,
					  const char *url);
static char *free_name(const char *name, const List *taken);

bool
FlowReferenceIs(Jsonb *document)
{
	static const char *const theirs[] = {"action", "params", NULL};
	static const char *const ours[] = {"sql", "kind", "after", NULL};
	static const char *const id[] = {"id", NULL};
	static const char *const of_document[] = {
		"notify", "search_path", "description", NULL
	};
	JsonbValue	buffer;
	JsonbContainer *steps;
	bool		is_ours = false;

	if (!JB_ROOT_IS_OBJECT(document))
		return false;
	steps = FlowPartContainer(FlowPartMember(&document->root, "steps", &buffer), true);
	for (int i = 0; steps && i < JsonContainerSize(steps); i++)
	{
		JsonbContainer *step = FlowPartContainer(getIthJsonbValueFromContainer(steps, i),
												 false);

		if (step == NULL)
			continue;
		if (has_any_key(step, theirs))
			return true;
		is_ours |= has_any_key(step, ours);
	}
	return !is_ours && has_any_key(&document->root, id) &&
		!has_any_key(&document->root, of_document);
}

static bool
has_any_key(JsonbContainer *object, const char *const *keys)
{
	JsonbValue	buffer;

	for (; *keys; keys++)
		if (getKeyJsonValueFromContainer(object, *keys, strlen(*keys), &buffer))
			return true;
	return false;
}

FlowSpec *
FlowReferenceRead(Jsonb *document, FlowProblems *problems)
{
	FlowPart	top = {problems, &document->root, "the definition", NULL, ""};
	JsonbContainer *steps;
	FlowPathNames *names = palloc0(sizeof(FlowPathNames));
	FlowSpec   *spec;

	FlowPartCheckKeys(&top, document_keys);
	steps = read_steps(&top);
	names->n_steps = steps ? JsonContainerSize(steps) : 0;
	names->others = "webhooks";
	names->parts = path_names;
	top.values = ids_of(steps);

	spec = FlowSpecCreate(names->n_steps + lengthof(webhooks));
	spec->n_steps = names->n_steps;
	spec->names = names;
	FlowActionSetText(&spec->values[FLOW_ARG_NAME], FlowPartText(&top, "id"));
	FlowActionSetText(&spec->values[FLOW_ARG_DESCRIPTION], FlowPartText(&top, "name"));
	for (int i = 0; i < names->n_steps; i++)
	{
		FlowPart	step = top;

		step.object = FlowPartContainer(getIthJsonbValueFromContainer(steps, i), false);
		step.place = psprintf("steps[%d]", i);
		step.owner = psprintf("step number %d", i + 1);
		read_step(&step, &spec->steps[i]);
	}
	read_webhooks(&top, spec);
	return spec;
}

static JsonbContainer *
read_steps(const FlowPart *top)
{
	JsonbValue	buffer;
	JsonbValue *value = FlowPartMember(top->object, "steps", &buffer);
	JsonbContainer *steps = FlowPartContainer(value, true);

	if (value == NULL)
		FlowPartReport(top, NULL, "a workflow needs \"steps\"",
					   "There is no such key in the document, or it is null.",
					   "A workflow without steps has the array [].");
	else if (steps == NULL)
		FlowPartReport(top, "steps", "\"steps\" must be an array",
					   "Its elements are the steps, in any order.", NULL);
	return steps;
}

/* What the SQL of the steps may use: their outputs and the input. */
static List *
ids_of(JsonbContainer *steps)
{
	List	   *ids = list_make2("input", "context");

	for (int i = 0; steps && i < JsonContainerSize(steps); i++)
	{
		JsonbValue	buffer;
		JsonbValue *id = FlowPartMember(FlowPartContainer(getIthJsonbValueFromContainer(steps, i),
														  false), "id", &buffer);

		if (id && id->type == jbvString)
			ids = lappend(ids, pnstrdup(id->val.string.val, id->val.string.len));
	}
	return ids;
}

static void
read_step(FlowPart *part, FlowStepSpec *step)
{
	FlowValue	value;
	JsonbValue	buffer;
	JsonbValue *after;

	FlowObjectInit(FlowOptionFields, FLOW_OPTION_COUNT, step->values);
	FlowActionSetText(&step->values[FLOW_OPT_KIND], "sql");
	if (part->object == NULL)
	{
		FlowPartReport(part, NULL, "a step must be a JSON object", NULL,
					   "Write it as {\"id\": ..., \"action\": ..., \"params\": {...}}.");
		FlowActionSetText(&step->values[FLOW_OPT_SQL], "SELECT 1");
		return;
	}
	part->step = FlowPartText(part, "id");
	if (part->step)
		part->owner = psprintf("step \"%s\"", part->step);
	FlowPartCheckKeys(part, step_keys);
	FlowActionSetText(&step->values[FLOW_OPT_NAME], part->step);
	FlowActionSetText(&step->values[FLOW_OPT_DESCRIPTION],
					  FlowPartText(part, "name"));
	after = FlowPartMember(part->object, "dependencies", &buffer);
	if (after && !FlowValueFromJson(FLOW_FIELD_TEXTS, after,
									&step->values[FLOW_OPT_AFTER]))
		FlowPartReportType(part, "dependencies", FlowFieldExpects(FLOW_FIELD_TEXTS));
	FlowActionRead(part, step);
	read_policy(part, step);
	if (FlowPartTime(part, "timeout", &value))
		set_if_taken(step, FLOW_OPT_TIMEOUT, &value);
}

static void
read_policy(const FlowPart *part, FlowStepSpec *step)
{
	FlowPart	policy = FlowPartWithin(part, "retryPolicy");
	FlowValue	value = {true};
	double		number;

	FlowPartCheckKeys(&policy, policy_keys);
	if (FlowPartNumber(&policy, "maxAttempts", 1, true, &number))
	{
		value.u.integer = (int32) number - 1;
		set_if_taken(step, FLOW_OPT_RETRIES, &value);
	}
	if (FlowPartNumber(&policy, "backoffMultiplier", 1, false, &number))
	{
		value.u.number = number;
		set_if_taken(step, FLOW_OPT_BACKOFF, &value);
	}
	if (FlowPartTime(&policy, "initialDelay", &value))
		set_if_taken(step, FLOW_OPT_RETRY_DELAY, &value);
	if (FlowPartTime(&policy, "maxDelay", &value))
		set_if_taken(step, FLOW_OPT_MAX_DELAY, &value);
}

/* Nothing for a kind that the option means nothing for. */
static void
set_if_taken(FlowStepSpec *step, FlowOption option, const FlowValue *value)
{
	if (FlowOptionFields[option].applies & FLOW_KIND_BIT(step->kind))
		step->values[option] = *value;
}

/* Hook steps, under the names of the keys unless a step has that name. */
static void
read_webhooks(const FlowPart *top, FlowSpec *spec)
{
	FlowPart	part = FlowPartWithin(top, "webhooks");

	part.owner = "\"webhooks\"";
	FlowPartCheckKeys(&part, webhook_keys);
	for (int w = 0; w < lengthof(webhooks); w++)
	{
		char	   *url = FlowPartText(&part, webhooks[w].key);

		if (url != NULL)
			make_hook(&spec->steps[spec->n_steps++],
					  free_name(webhooks[w].key, top->values),
					  webhooks[w].event, url);
	}
}

static void
make_hook(FlowStepSpec *step, const char *name, const char *event,
		  const char *url)
{
	FlowValue  *values = step->values;

	step->kind = FLOW_KIND_HTTP;
	FlowObjectInit(FlowOptionFields, FLOW_OPTION_COUNT, values);
	FlowActionSetText(&values[FLOW_OPT_NAME], name);
	FlowActionSetText(&values[FLOW_OPT_KIND], FlowStepKindName(step->kind));
	FlowActionSetText(&values[FLOW_OPT_METHOD], "POST");
	FlowActionSetText(&values[FLOW_OPT_URL], url);
	FlowActionSetText(&values[FLOW_OPT_BODY], "flow.event");
	values[FLOW_OPT_HOOK].isset = true;
	values[FLOW_OPT_HOOK].u.texts.n = 1;
	values[FLOW_OPT_HOOK].u.texts.items = palloc(sizeof(char *));
	values[FLOW_OPT_HOOK].u.texts.items[0] = pstrdup(event);
}

static char *
free_name(const char *name, const List *taken)
{
	char	   *free = pstrdup(name);
	ListCell   *cell = list_head(taken);

	while (cell)
	{
		if (strcmp(lfirst(cell), free) == 0)
		{
			free = psprintf("%s_", free);
			cell = list_head(taken);
		}
		else
			cell = lnext(taken, cell);
	}
	return free;
}
