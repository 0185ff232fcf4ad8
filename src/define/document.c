/*-------------------------------------------------------------------------
 * document.c
 *	  A definition as the user wrote it, by tables of arguments and options.
 *
 * The two tables below are the only list of what a definition may say.  The
 * constructors, flow_define, the document form, the canonical form that is
 * stored, and the checks all work from them, so that a name means the same
 * everywhere and an option is added in one place.
 *
 * Reading and writing only; what the values mean together is for check.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "define/document.h"

#define ALL		((1u << FLOW_KIND_COUNT) - 1)
#define K(name)	FLOW_KIND_BIT(FLOW_KIND_##name)

/* An attempt of these can fail and be made again */
#define TRIED	(K(SQL) | K(COMMAND) | K(CHOICE) | K(TASK) | K(HTTP))
/* These do something that can be undone */
#define DOING	(K(SQL) | K(COMMAND) | K(SUBFLOW) | K(TASK) | K(HTTP))
#define TIMED	(ALL & ~(K(DELAY) | K(CHOICE)))

#define LATER	FLOW_FIELD_LATER
#define MUST	FLOW_FIELD_REQUIRED

static const char *const notify_choices[] = {"none", "run", "step", NULL};
static const char *const kind_choices[] = {
	"sql", "command", "delay", "wait", "approval", "choice", "subflow",
	"task", "http", NULL
};
static const char *const result_choices[] = {"row", "rows", "none", NULL};
static const char *const isolation_choices[] = {
	"read committed", "repeatable read", "serializable", NULL
};
static const char *const needs_choices[] = {
	"all", "any", "first", "some", "always", NULL
};
static const char *const on_item_error_choices[] = {"fail", "collect", NULL};
static const char *const on_error_choices[] = {
	"fail", "isolate", "continue", "skip", "pause", NULL
};

const FlowField FlowArgumentFields[FLOW_ARGUMENT_COUNT] = {
	[FLOW_ARG_NAME] = {"name", FLOW_FIELD_TEXT, NULL, NULL, 0, MUST},
	[FLOW_ARG_DESCRIPTION] = {"description", FLOW_FIELD_TEXT},
	[FLOW_ARG_TIMEOUT] = {"timeout", FLOW_FIELD_INTERVAL},
	[FLOW_ARG_MAX_RUNS] = {"max_runs", FLOW_FIELD_INT},
	[FLOW_ARG_MAX_RUNS_BY] = {"max_runs_by", FLOW_FIELD_TEXT},
	[FLOW_ARG_MAX_PARALLEL] = {"max_parallel", FLOW_FIELD_INT},
	[FLOW_ARG_NOTIFY] = {"notify", FLOW_FIELD_TEXT, "run", notify_choices},
	[FLOW_ARG_KEEP] = {"keep", FLOW_FIELD_INTERVAL},
	[FLOW_ARG_KEEP_DATA] = {"keep_data", FLOW_FIELD_INTERVAL},
	[FLOW_ARG_RESUME_AFTER] = {"resume_after", FLOW_FIELD_INTERVAL},
	[FLOW_ARG_SEARCH_PATH] = {"search_path", FLOW_FIELD_TEXT},
};

/* name, type, default, choices, kinds it means something for, flags */
const FlowField FlowOptionFields[FLOW_OPTION_COUNT] = {
	[FLOW_OPT_NAME] = {"name", FLOW_FIELD_TEXT, NULL, NULL, ALL, MUST},
	[FLOW_OPT_KIND] = {"kind", FLOW_FIELD_TEXT, NULL, kind_choices, ALL, 0},

	[FLOW_OPT_SQL] = {"sql", FLOW_FIELD_TEXT, NULL, NULL, K(SQL) | K(COMMAND) | K(CHOICE), MUST},
	[FLOW_OPT_BUILD] = {"build", FLOW_FIELD_BOOL, "false", NULL, K(COMMAND), 0},
	[FLOW_OPT_DELAY] = {"delay", FLOW_FIELD_INTERVAL, NULL, NULL, K(DELAY), 0},
	[FLOW_OPT_UNTIL] = {"until", FLOW_FIELD_TEXT, NULL, NULL, K(DELAY), 0},
	[FLOW_OPT_SIGNAL] = {"signal", FLOW_FIELD_TEXT, NULL, NULL, K(WAIT), 0},
	[FLOW_OPT_APPROVERS] = {"approvers", FLOW_FIELD_TEXT, NULL, NULL, K(APPROVAL), 0},
	[FLOW_OPT_WORKFLOW] = {"workflow", FLOW_FIELD_TEXT, NULL, NULL, K(SUBFLOW), MUST},
	[FLOW_OPT_INPUT] = {"input", FLOW_FIELD_TEXT, NULL, NULL, K(SUBFLOW), 0},
	[FLOW_OPT_QUEUE] = {"queue", FLOW_FIELD_TEXT, NULL, NULL, K(TASK), LATER},
	[FLOW_OPT_PAYLOAD] = {"payload", FLOW_FIELD_TEXT, NULL, NULL, K(TASK), LATER},
	[FLOW_OPT_SERVER] = {"server", FLOW_FIELD_TEXT, NULL, NULL, K(HTTP), LATER},
	[FLOW_OPT_PATH] = {"path", FLOW_FIELD_TEXT, "", NULL, K(HTTP), LATER},
	[FLOW_OPT_METHOD] = {"method", FLOW_FIELD_TEXT, "GET", NULL, K(HTTP), LATER},
	[FLOW_OPT_HEADERS] = {"headers", FLOW_FIELD_TEXT, NULL, NULL, K(HTTP), LATER},
	[FLOW_OPT_BODY] = {"body", FLOW_FIELD_TEXT, NULL, NULL, K(HTTP), LATER},
	[FLOW_OPT_EXPECT] = {"expect", FLOW_FIELD_OTHER, "[200,300)", NULL, K(HTTP), LATER},
	[FLOW_OPT_URL] = {"url", FLOW_FIELD_TEXT, NULL, NULL, K(HTTP), LATER},

	[FLOW_OPT_RESULT] = {"result", FLOW_FIELD_TEXT, "row", result_choices, K(SQL), 0},
	[FLOW_OPT_ISOLATION] = {"isolation", FLOW_FIELD_TEXT, "read committed", isolation_choices, K(SQL), 0},
	[FLOW_OPT_BATCH] = {"batch", FLOW_FIELD_BOOL, "true", NULL, K(SQL), 0},

	[FLOW_OPT_AFTER] = {"after", FLOW_FIELD_TEXTS, "{}", NULL, ALL, 0},
	[FLOW_OPT_NEEDS] = {"needs", FLOW_FIELD_TEXT, "all", needs_choices, ALL, 0},
	[FLOW_OPT_CONDITION] = {"condition", FLOW_FIELD_TEXT, NULL, NULL, ALL, 0},
	[FLOW_OPT_FOR_EACH] = {"for_each", FLOW_FIELD_TEXT, NULL, NULL, ALL},
	[FLOW_OPT_MAX_PARALLEL] = {"max_parallel", FLOW_FIELD_INT, NULL, NULL, ALL},
	[FLOW_OPT_ON_ITEM_ERROR] = {"on_item_error", FLOW_FIELD_TEXT, "fail", on_item_error_choices, ALL},
	[FLOW_OPT_RETRIES] = {"retries", FLOW_FIELD_INT, "0", NULL, TRIED, 0},
	[FLOW_OPT_RETRY_DELAY] = {"retry_delay", FLOW_FIELD_INTERVAL, "1 s", NULL, TRIED, 0},
	[FLOW_OPT_BACKOFF] = {"backoff", FLOW_FIELD_FLOAT, "2", NULL, TRIED, 0},
	[FLOW_OPT_MAX_DELAY] = {"max_delay", FLOW_FIELD_INTERVAL, "1 h", NULL, TRIED, 0},
	[FLOW_OPT_JITTER] = {"jitter", FLOW_FIELD_FLOAT, "0", NULL, TRIED, 0},
	[FLOW_OPT_RETRY_ON] = {"retry_on", FLOW_FIELD_TEXTS, NULL, NULL, TRIED, 0},
	[FLOW_OPT_NO_RETRY_ON] = {"no_retry_on", FLOW_FIELD_TEXTS, NULL, NULL, TRIED, 0},
	[FLOW_OPT_TIMEOUT] = {"timeout", FLOW_FIELD_INTERVAL, NULL, NULL, TIMED, 0},
	[FLOW_OPT_TOTAL_TIMEOUT] = {"total_timeout", FLOW_FIELD_INTERVAL, NULL, NULL, ALL, 0},
	[FLOW_OPT_ON_ERROR] = {"on_error", FLOW_FIELD_TEXT, "fail", on_error_choices, ALL, 0},
	[FLOW_OPT_AGAIN] = {"again", FLOW_FIELD_TEXT, NULL, NULL, ALL, 0},
	[FLOW_OPT_ON_RESULT] = {"on_result", FLOW_FIELD_TEXT, NULL, NULL, ALL & ~K(SQL), 0},
	[FLOW_OPT_UNDO] = {"undo", FLOW_FIELD_TEXT, NULL, NULL, DOING, 0},
	[FLOW_OPT_UNDO_OF] = {"undo_of", FLOW_FIELD_TEXT, NULL, NULL, ALL, 0},
	[FLOW_OPT_EMITS] = {"emits", FLOW_FIELD_TEXTS, NULL, NULL, ALL, 0},
	[FLOW_OPT_LIMITS] = {"limits", FLOW_FIELD_TEXTS, NULL, NULL, TRIED, 0},
	[FLOW_OPT_LIMIT_KEY] = {"limit_key", FLOW_FIELD_TEXT, NULL, NULL, TRIED, 0},
	[FLOW_OPT_PRIORITY] = {"priority", FLOW_FIELD_INT, "0", NULL, ALL, 0},
	[FLOW_OPT_HOOK] = {"hook", FLOW_FIELD_TEXTS, NULL, NULL, ALL, 0},
	[FLOW_OPT_DESCRIPTION] = {"description", FLOW_FIELD_TEXT, NULL, NULL, ALL, 0},
};

/* Keys of a step as other systems call them */
static const struct
{
	const char *other;
	FlowOption	option;
}			synonyms[] = {
	{"depends", FLOW_OPT_AFTER},
	{"dependencies", FLOW_OPT_AFTER},
	{"depends_on", FLOW_OPT_AFTER},
	{"dependsOn", FLOW_OPT_AFTER},
	{"id", FLOW_OPT_NAME},
};

/* Who is being read, for the words of a complaint */
typedef struct Reading
{
	FlowProblems *problems;
	const FlowField *fields;
	int			n_fields;
	const char *step;			/* name, if it has one */
	const char *place;			/* path before the key; "" at the top */
} Reading;

static void complain(void *arg, FlowFieldFault fault, const char *key,
					 const FlowField *field);
static const char *nearest_key(const Reading *reading, const char *key);
static const char *subject_of(const Reading *reading);
static void read_object(const Reading *reading, JsonbContainer *object,
						FlowValue *values);
static void read_steps(FlowSpec *spec, JsonbContainer *document,
					   FlowProblems *problems);
static void report_no_steps(const FlowSpec *spec, FlowProblems *problems);
static JsonbContainer *without_steps(Jsonb *document);
static char *name_in(JsonbContainer *object);
static void report_shape(FlowProblems *problems, const char *path,
						 const char *message, const char *detail,
						 const char *hint);
static FlowStepKind kind_of(const FlowValue *value);
static void push_argument(JsonbParseState **state, const FlowSpec *spec,
						  FlowArgument argument);
static JsonbValue *push_step(JsonbParseState **state, const FlowValue *values);

FlowSpec *
FlowSpecFromDocument(Jsonb *document, FlowProblems *problems)
{
	FlowSpec   *spec = FlowSpecCreate(0);
	Reading		reading = {problems, FlowArgumentFields, FLOW_ARGUMENT_COUNT,
		NULL, ""
	};

	if (!JB_ROOT_IS_OBJECT(document))
	{
		report_shape(problems, NULL, "a definition must be a JSON object",
					 "Its keys are the arguments of flow_define.",
					 "Begin with {\"name\": ..., \"steps\": [...]}.");
		return spec;
	}
	read_object(&reading, without_steps(document), spec->values);
	read_steps(spec, &document->root, problems);
	return spec;
}

FlowSpec *
FlowSpecCreate(int n_steps)
{
	FlowSpec   *spec = palloc0(sizeof(FlowSpec));

	FlowObjectInit(FlowArgumentFields, FLOW_ARGUMENT_COUNT, spec->values);
	spec->n_steps = n_steps;
	spec->steps = palloc0(sizeof(FlowStepSpec) * Max(n_steps, 1));
	return spec;
}

static void
read_object(const Reading *reading, JsonbContainer *object, FlowValue *values)
{
	FlowFieldReader reader = {reading->fields, reading->n_fields, complain,
		(void *) reading
	};

	FlowObjectRead(&reader, object, values);
}

/* The reader's callback: puts a fault of base/json.c into the user's terms. */
static void
complain(void *arg, FlowFieldFault fault, const char *key,
		 const FlowField *field)
{
	const Reading *reading = arg;
	FlowProblem problem = {ERROR, ERRCODE_INVALID_PARAMETER_VALUE};
	const char *near;

	problem.step = reading->step;
	problem.path = psprintf("%s%s", reading->place, key);
	if (fault == FLOW_FAULT_WRONG_TYPE)
	{
		problem.message = psprintf("invalid value for \"%s\" in %s", key,
								   subject_of(reading));
		problem.detail = psprintf("Expected %s.",
								  FlowFieldExpects(field->type));
	}
	else
	{
		problem.message = psprintf("unknown key \"%s\" in %s", key,
								   subject_of(reading));
		near = nearest_key(reading, key);
		if (near)
			problem.hint = psprintf("Perhaps you meant \"%s\".", near);
	}
	FlowProblemReport(reading->problems, &problem);
}

/* NULL if none is near. */
static const char *
nearest_key(const Reading *reading, const char *key)
{
	FlowSuggestion suggestion;

	if (reading->fields == FlowArgumentFields && pg_strcasecmp(key, "id") == 0)
		return FlowArgumentFields[FLOW_ARG_NAME].name;
	if (reading->fields == FlowOptionFields)
		for (int s = 0; s < lengthof(synonyms); s++)
			if (pg_strcasecmp(key, synonyms[s].other) == 0)
				return FlowOptionFields[synonyms[s].option].name;
	FlowSuggestionInit(&suggestion, key);
	for (int i = 0; i < reading->n_fields; i++)
		FlowSuggestionAdd(&suggestion, reading->fields[i].name);
	if (reading->fields == FlowArgumentFields && *reading->place == '\0')
		FlowSuggestionAdd(&suggestion, "steps");
	return suggestion.best;
}

static const char *
subject_of(const Reading *reading)
{
	if (reading->step != NULL)
		return psprintf("step \"%s\"", reading->step);
	if (reading->fields == FlowOptionFields)
		return "a step";
	return "the definition";
}

/*
 * The document without its steps, which the table of arguments does not have.
 */
static JsonbContainer *
without_steps(Jsonb *document)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&document->root);
	JsonbIteratorToken token;
	JsonbValue	json;
	bool		skip = false;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&it, &json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			skip = json.val.string.len == 5 &&
				memcmp(json.val.string.val, "steps", 5) == 0;
		if ((token == WJB_KEY || token == WJB_VALUE) && !skip)
			pushJsonbValue(&state, token, &json);
	}
	return &JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL))->root;
}

static void
read_steps(FlowSpec *spec, JsonbContainer *document, FlowProblems *problems)
{
	JsonbValue	buffer;
	JsonbValue *steps = getKeyJsonValueFromContainer(document, "steps", 5,
													 &buffer);

	if (steps == NULL || steps->type == jbvNull)
	{
		report_no_steps(spec, problems);
		return;
	}
	if (steps->type != jbvBinary ||
		!JsonContainerIsArray(steps->val.binary.data))
	{
		report_shape(problems, "steps", "\"steps\" must be an array",
					 "Its elements are the steps, in any order.", NULL);
		return;
	}
	spec->n_steps = JsonContainerSize(steps->val.binary.data);
	spec->steps = palloc0(sizeof(FlowStepSpec) * Max(spec->n_steps, 1));
	for (int i = 0; i < spec->n_steps; i++)
	{
		JsonbValue *step = getIthJsonbValueFromContainer(steps->val.binary.data, i);

		FlowSpecReadStep(spec, i, step->type == jbvBinary ?
						 step->val.binary.data : NULL, problems);
	}
}

static void
report_no_steps(const FlowSpec *spec, FlowProblems *problems)
{
	const char *name = FlowSpecText(spec, FLOW_ARG_NAME);

	report_shape(problems, NULL, name ?
				 psprintf("workflow \"%s\" needs \"steps\"", name) :
				 "a workflow needs \"steps\"",
				 "There is no such key in the document, or it is null.",
				 "A workflow without steps has the array [].");
}

void
FlowSpecReadStep(FlowSpec *spec, int i, JsonbContainer *object,
				 FlowProblems *problems)
{
	FlowStepSpec *step = &spec->steps[i];
	Reading		reading = {problems, FlowOptionFields, FLOW_OPTION_COUNT};

	FlowObjectInit(FlowOptionFields, FLOW_OPTION_COUNT, step->values);
	if (object == NULL || !JsonContainerIsObject(object))
		report_shape(problems, psprintf("steps[%d]", i),
					 "a step must be a JSON object",
					 NULL, "Make it with flow_step().");
	else
	{
		reading.step = name_in(object);
		reading.place = psprintf("steps[%d].", i);
		read_object(&reading, object, step->values);
	}
	if (!step->values[FLOW_OPT_KIND].isset)
		FlowValueFromText(FLOW_FIELD_TEXT, "sql", &step->values[FLOW_OPT_KIND]);
	step->kind = kind_of(&step->values[FLOW_OPT_KIND]);
}

/* Its name, found before anything else so that every complaint has it. */
static char *
name_in(JsonbContainer *object)
{
	JsonbValue	buffer;
	JsonbValue *name = getKeyJsonValueFromContainer(object, "name", 4,
													&buffer);

	if (name == NULL || name->type != jbvString)
		return NULL;
	return pnstrdup(name->val.string.val, name->val.string.len);
}

static void
report_shape(FlowProblems *problems, const char *path, const char *message,
			 const char *detail, const char *hint)
{
	FlowProblem problem = {ERROR, ERRCODE_INVALID_PARAMETER_VALUE};

	problem.path = path;
	problem.message = message;
	problem.detail = detail;
	problem.hint = hint;
	FlowProblemReport(problems, &problem);
}

/* A name that is no kind is for check.c to report, as of any choice. */
static FlowStepKind
kind_of(const FlowValue *value)
{
	for (int kind = 0; kind < FLOW_KIND_COUNT; kind++)
		if (strcmp(value->u.text, kind_choices[kind]) == 0)
			return kind;
	return FLOW_KIND_SQL;
}

void
FlowSpecReadOptions(FlowSpec *spec, Jsonb *options, FlowProblems *problems)
{
	FlowValue	values[FLOW_ARGUMENT_COUNT] = {{false}};
	Reading		reading = {problems, FlowArgumentFields, FLOW_ARGUMENT_COUNT,
		NULL, "options."
	};

	if (!JB_ROOT_IS_OBJECT(options))
	{
		report_shape(problems, "options", "\"options\" must be a JSON object",
					 "Its keys are the names of options.",
					 "Write options => '{\"notify\": \"none\"}', for instance.");
		return;
	}
	read_object(&reading, &options->root, values);
	for (int a = 0; a < FLOW_ARGUMENT_COUNT; a++)
	{
		const FlowField *field = &FlowArgumentFields[a];

		if (!values[a].isset)
			continue;
		if (!FlowValueIsInitial(field, &spec->values[a]))
			report_shape(problems, psprintf("options.%s", field->name),
						 psprintf("option \"%s\" is given twice", field->name),
						 "It is an argument, too.",
						 "Leave it out of \"options\".");
		spec->values[a] = values[a];
	}
}

Jsonb *
FlowSpecToDocument(const FlowSpec *spec)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	FlowJsonPushKey(&state, "steps");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < spec->n_steps; i++)
		push_step(&state, spec->steps[i].values);
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	push_argument(&state, spec, FLOW_ARG_TIMEOUT);
	push_argument(&state, spec, FLOW_ARG_RESUME_AFTER);
	push_argument(&state, spec, FLOW_ARG_MAX_PARALLEL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Arguments that belong to the version. */
static void
push_argument(JsonbParseState **state, const FlowSpec *spec,
			  FlowArgument argument)
{
	if (!FlowValueIsInitial(&FlowArgumentFields[argument], &spec->values[argument]))
		FlowValuePush(state, &FlowArgumentFields[argument], &spec->values[argument]);
}

static JsonbValue *
push_step(JsonbParseState **state, const FlowValue *values)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < FLOW_OPTION_COUNT; i++)
		if (!FlowValueIsInitial(&FlowOptionFields[i], &values[i]))
			FlowValuePush(state, &FlowOptionFields[i], &values[i]);
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
FlowStepToJsonb(const FlowValue *values)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_step(&state, values));
}

const char *
FlowStepName(const FlowSpec *spec, int i)
{
	return FlowStepText(&spec->steps[i], FLOW_OPT_NAME);
}

/* Never NULL. */
const char *
FlowStepLabel(const FlowSpec *spec, int i)
{
	const char *name = FlowStepName(spec, i);

	return name ? name : psprintf("number %d", i + 1);
}

const char *
FlowOptionPath(int i, FlowOption option)
{
	return psprintf("steps[%d].%s", i, FlowOptionFields[option].name);
}
