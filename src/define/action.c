/*-------------------------------------------------------------------------
 * action.c
 *	  What a step of a document with actions does, as options of our own.
 *
 * An action is a kind of step and some params, of which the options of that
 * kind are made.  Code is SQL: an expression, of whose value the output is
 * made, or a query.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "define/action.h"
#include "define/javascript.h"

#define MAX_KEYS	8

/* Sets the options of a step from the params of its action. */
typedef void (*ParamsReader) (const FlowPart *params, FlowValue *values);

typedef struct Action
{
	const char *name;
	FlowStepKind kind;
	ParamsReader read;
	const char *params[MAX_KEYS];	/* the first is required */
} Action;

static void read_sql(const FlowPart *params, FlowValue *values);
static void read_delay(const FlowPart *params, FlowValue *values);
static void read_transform(const FlowPart *params, FlowValue *values);
static void read_condition(const FlowPart *params, FlowValue *values);
static void read_request(const FlowPart *params, FlowValue *values);
static void read_webhook(const FlowPart *params, FlowValue *values);

static const Action actions[] = {
	{"sql", FLOW_KIND_SQL, read_sql, {"sql"}},
	{"delay", FLOW_KIND_DELAY, read_delay, {"duration"}},
	{"transform", FLOW_KIND_SQL, read_transform, {"code"}},
	{"condition", FLOW_KIND_SQL, read_condition, {"expression"}},
	{"http.request", FLOW_KIND_HTTP, read_request, {"url", "method", "headers", "body"}},
	{"webhook", FLOW_KIND_HTTP, read_webhook, {"url", "body"}},
};

static const Action *read_action(const FlowPart *step);
static char *list_actions(void);
static void require_param(const FlowPart *params, const char *key);
static char *read_code(const FlowPart *params, const char *key);
static void read_url(const FlowPart *params, FlowValue *values);
static char *literal_of(const JsonbValue *value);
static char *json_of(const JsonbValue *value);

void
FlowActionRead(const FlowPart *part, FlowStepSpec *step)
{
	const Action *action = read_action(part);
	FlowPart	params = FlowPartWithin(part, "params");

	FlowActionSetText(&step->values[FLOW_OPT_SQL], "SELECT 1");
	if (action == NULL)
		return;
	step->kind = action->kind;
	FlowActionSetText(&step->values[FLOW_OPT_KIND], FlowStepKindName(action->kind));
	step->values[FLOW_OPT_SQL].isset = action->kind == FLOW_KIND_SQL;
	FlowPartCheckKeys(&params, action->params);
	action->read(&params, step->values);
}

/* NULL if there is no such action, which it tells. */
static const Action *
read_action(const FlowPart *step)
{
	JsonbValue	buffer;
	char	   *name;
	FlowSuggestion suggestion;

	if (FlowPartMember(step->object, "action", &buffer) == NULL)
	{
		FlowPartReport(step, NULL, psprintf("%s has no \"action\"", step->owner),
					   "It says what the step does.",
					   psprintf("Use one of: %s.", list_actions()));
		return NULL;
	}
	name = FlowPartText(step, "action");
	if (name == NULL)
		return NULL;
	FlowSuggestionInit(&suggestion, name);
	for (int i = 0; i < lengthof(actions); i++)
	{
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
		FlowSuggestionAdd(&suggestion, actions[i].name);
	}
	FlowPartReport(step, "action",
				   psprintf("no such action \"%s\" in %s", name, step->owner),
				   psprintf("Actions are: %s.", list_actions()),
				   suggestion.best ?
				   psprintf("Perhaps you meant \"%s\".", suggestion.best) :
				   "Write what the action does as a step of action \"sql\", or in the form of flow_step().");
	return NULL;
}

static char *
list_actions(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(actions); i++)
		appendStringInfo(&list, "%s\"%s\"", i ? ", " : "", actions[i].name);
	return list.data;
}

static void
require_param(const FlowPart *params, const char *key)
{
	JsonbValue	buffer;

	if (FlowPartMember(params->object, key, &buffer) == NULL)
		FlowPartReport(params, NULL, psprintf("%s needs \"%s\" in its params",
											  params->owner, key),
					   NULL, psprintf("Write it as \"params\": {\"%s\": ...}.", key));
}

static void
read_sql(const FlowPart *params, FlowValue *values)
{
	char	   *sql = FlowPartText(params, "sql");

	require_param(params, "sql");
	if (sql)
		FlowActionSetText(&values[FLOW_OPT_SQL], sql);
}

static void
read_delay(const FlowPart *params, FlowValue *values)
{
	require_param(params, "duration");
	if (!FlowPartTime(params, "duration", &values[FLOW_OPT_DELAY]))
		values[FLOW_OPT_DELAY].isset = true;	/* of no time, having told */
}

/* A query is the step's SQL; the value of an expression is its output. */
static void
read_transform(const FlowPart *params, FlowValue *values)
{
	char	   *code = read_code(params, "code");

	if (code == NULL)
		return;
	if (FlowSqlIsQuery(code))
		FlowActionSetText(&values[FLOW_OPT_SQL], code);
	else
		/* the inner query gives a literal its type */
		FlowActionSetText(&values[FLOW_OPT_SQL],
						  psprintf("SELECT pg_catalog.to_jsonb(t.value) FROM (SELECT (%s) AS value) AS t",
								   code));
}

static void
read_condition(const FlowPart *params, FlowValue *values)
{
	char	   *expression = read_code(params, "expression");

	if (expression)
		FlowActionSetText(&values[FLOW_OPT_SQL],
						  psprintf("SELECT pg_catalog.jsonb_build_object('result', coalesce((%s)::boolean, false))",
								   expression));
}

/*
 * SQL that is not JavaScript, ready to be put in parentheses: a comment at its
 * end shall not swallow the one that closes.
 */
static char *
read_code(const FlowPart *params, const char *key)
{
	char	   *code = FlowPartText(params, key);
	const char *sign;
	int			length;

	require_param(params, key);
	if (code == NULL)
		return NULL;
	sign = FlowJavaScriptSign(code, params->values);
	if (sign)
	{
		FlowPartReport(params, key, psprintf("\"%s\" of %s is JavaScript", key, params->owner),
					   psprintf("It contains \"%s\". Here it must be SQL over the outputs of the steps before.",
								sign),
					   "Write an SQL expression, such as (input->>'amount')::numeric > 100.");
		return NULL;
	}
	for (length = strlen(code); length > 0; length--)
		if (!isspace((unsigned char) code[length - 1]) && code[length - 1] != ';')
			break;
	code[length] = '\0';
	return strstr(code, "--") ? psprintf("%s\n", code) : code;
}

static void
read_request(const FlowPart *params, FlowValue *values)
{
	char	   *method = FlowPartText(params, "method");
	FlowPart	headers = FlowPartWithin(params, "headers");
	JsonbValue	buffer;
	JsonbValue *value;

	read_url(params, values);
	if (method)
		FlowActionSetText(&values[FLOW_OPT_METHOD], method);
	value = FlowPartMember(params->object, "headers", &buffer);
	if (headers.object)
		FlowActionSetText(&values[FLOW_OPT_HEADERS], json_of(value));
	value = FlowPartMember(params->object, "body", &buffer);
	if (value)
		FlowActionSetText(&values[FLOW_OPT_BODY], literal_of(value));
}

static void
read_url(const FlowPart *params, FlowValue *values)
{
	char	   *url = FlowPartText(params, "url");

	require_param(params, "url");
	FlowActionSetText(&values[FLOW_OPT_URL], url);
	if (url && (strstr(url, "${") || strstr(url, "{{")))
		FlowPartReport(params, "url",
					   psprintf("\"url\" of %s is a template", params->owner),
					   "Nothing would fill it in.",
					   "Use flow_http() with an SQL expression over the outputs of the steps before.");
}

/* As an SQL expression; a string is sent as it is, anything else as JSON. */
static char *
literal_of(const JsonbValue *value)
{
	if (value->type == jbvString)
		return psprintf("%s::pg_catalog.text",
						quote_literal_cstr(pnstrdup(value->val.string.val,
													value->val.string.len)));
	return psprintf("%s::pg_catalog.jsonb", quote_literal_cstr(json_of(value)));
}

static char *
json_of(const JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb(unconstify(JsonbValue *, value));

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

static void
read_webhook(const FlowPart *params, FlowValue *values)
{
	FlowActionSetText(&values[FLOW_OPT_METHOD], "POST");
	read_request(params, values);
}

void
FlowActionSetText(FlowValue *value, const char *content)
{
	value->isset = content != NULL;
	value->u.text = unconstify(char *, content);
}
