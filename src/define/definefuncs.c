/*-------------------------------------------------------------------------
 * definefuncs.c
 *	  SQL functions that define: flow_step and its kin, flow_define,
 *	  flow_definition, flow_check, flow_enable, flow_grant ...
 *
 * Argument work only.  An argument means the field of its own name in the
 * tables of document.c, so that the functions follow their SQL signatures:
 * a constructor with a new option is a change of the signature and nothing
 * here.  The constructors are immutable and complain about nothing; whatever
 * is wrong is said by flow_define, which knows the step's place.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "catalog/cat_workflow.h"
#include "define/access.h"
#include "define/check.h"
#include "define/owner.h"
#include "define/reference.h"
#include "define/source.h"
#include "define/workflow.h"

#define CHECK_COLUMNS	6

/* Which field each argument is; kept in fn_extra */
typedef struct ArgumentMap
{
	int			n;
	struct
	{
		int			field;		/* -1: none */
		Oid			type;
	}			arguments[FUNC_MAX_ARGS];
	int			steps;			/* position of the argument "steps", or -1 */
	int			options;		/* position of the argument "options", or -1 */
} ArgumentMap;

PG_FUNCTION_INFO_V1(flow_step);
PG_FUNCTION_INFO_V1(flow_command);
PG_FUNCTION_INFO_V1(flow_delay);
PG_FUNCTION_INFO_V1(flow_wait);
PG_FUNCTION_INFO_V1(flow_approval);
PG_FUNCTION_INFO_V1(flow_choice);
PG_FUNCTION_INFO_V1(flow_subflow);
PG_FUNCTION_INFO_V1(flow_task);
PG_FUNCTION_INFO_V1(flow_http);
PG_FUNCTION_INFO_V1(flow_define);
PG_FUNCTION_INFO_V1(flow_define_document);
PG_FUNCTION_INFO_V1(flow_definition);
PG_FUNCTION_INFO_V1(flow_source);
PG_FUNCTION_INFO_V1(flow_check);
PG_FUNCTION_INFO_V1(flow_check_document);
PG_FUNCTION_INFO_V1(flow_enable);
PG_FUNCTION_INFO_V1(flow_disable);
PG_FUNCTION_INFO_V1(flow_set_owner);
PG_FUNCTION_INFO_V1(flow_grant);
PG_FUNCTION_INFO_V1(flow_revoke);

static Datum construct(FunctionCallInfo fcinfo, FlowStepKind kind);
static const ArgumentMap *map_arguments(FunctionCallInfo fcinfo,
										const FlowField *fields, int n_fields);
static void read_arguments(FunctionCallInfo fcinfo, const ArgumentMap *map,
						   const FlowField *fields, FlowValue *values);
static Jsonb *merge_options(Jsonb *step, Jsonb *options);
static void read_steps(FlowSpec *spec, ArrayType *array,
					   FlowProblems *problems);
static void refuse_null(const char *name, const char *hint);
static FlowSpec *read_document(Jsonb *document, FlowProblems *problems);
static char *text_argument(FunctionCallInfo fcinfo, int i, const char *name);
static void put_problems(ReturnSetInfo *result, const char *workflow,
						 const FlowProblems *problems);
static Datum text_or_null(const char *text, bool *isnull);
static Oid	role_argument(FunctionCallInfo fcinfo, int i);

#define CONSTRUCTOR(function, kind) \
Datum \
function(PG_FUNCTION_ARGS) \
{ \
	return construct(fcinfo, kind); \
}

CONSTRUCTOR(flow_step, FLOW_KIND_SQL)
CONSTRUCTOR(flow_command, FLOW_KIND_COMMAND)
CONSTRUCTOR(flow_delay, FLOW_KIND_DELAY)
CONSTRUCTOR(flow_wait, FLOW_KIND_WAIT)
CONSTRUCTOR(flow_approval, FLOW_KIND_APPROVAL)
CONSTRUCTOR(flow_choice, FLOW_KIND_CHOICE)
CONSTRUCTOR(flow_subflow, FLOW_KIND_SUBFLOW)
CONSTRUCTOR(flow_task, FLOW_KIND_TASK)
CONSTRUCTOR(flow_http, FLOW_KIND_HTTP)

static Datum
construct(FunctionCallInfo fcinfo, FlowStepKind kind)
{
	const ArgumentMap *map = map_arguments(fcinfo, FlowOptionFields,
										   FLOW_OPTION_COUNT);
	FlowValue	values[FLOW_OPTION_COUNT];
	Jsonb	   *step;

	FlowObjectInit(FlowOptionFields, FLOW_OPTION_COUNT, values);
	FlowValueFromText(FLOW_FIELD_TEXT,
					  FlowOptionFields[FLOW_OPT_KIND].choices[kind],
					  &values[FLOW_OPT_KIND]);
	read_arguments(fcinfo, map, FlowOptionFields, values);
	step = FlowStepToJsonb(values);
	if (map->options >= 0 && !PG_ARGISNULL(map->options))
		step = merge_options(step, PG_GETARG_JSONB_P(map->options));
	PG_RETURN_JSONB_P(step);
}

/* The names of the arguments, looked up in the table, once per call site. */
static const ArgumentMap *
map_arguments(FunctionCallInfo fcinfo, const FlowField *fields, int n_fields)
{
	ArgumentMap *map = fcinfo->flinfo->fn_extra;
	HeapTuple	tuple;
	Oid		   *types;
	char	  **names;
	char	   *modes;

	if (map != NULL)
		return map;
	map = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(ArgumentMap));
	map->steps = -1;
	map->options = -1;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u",
			 fcinfo->flinfo->fn_oid);
	map->n = Min(PG_NARGS(), get_func_arg_info(tuple, &types, &names, &modes));
	for (int i = 0; i < map->n; i++)
	{
		map->arguments[i].field = FlowFieldFind(fields, n_fields, names[i]);
		map->arguments[i].type = types[i];
		if (strcmp(names[i], "options") == 0)
			map->options = i;
		else if (strcmp(names[i], "steps") == 0)
			map->steps = i;
	}
	ReleaseSysCache(tuple);
	fcinfo->flinfo->fn_extra = map;
	return map;
}

/* A null argument leaves the default. */
static void
read_arguments(FunctionCallInfo fcinfo, const ArgumentMap *map,
			   const FlowField *fields, FlowValue *values)
{
	for (int i = 0; i < map->n; i++)
	{
		int			field = map->arguments[i].field;

		if (field >= 0 && !PG_ARGISNULL(i))
			FlowValueFromDatum(fields[field].type, map->arguments[i].type,
							   PG_GETARG_DATUM(i), &values[field]);
	}
}

/* Options go into the step as they are; flow_define reads them. */
static Jsonb *
merge_options(Jsonb *step, Jsonb *options)
{
	JsonbParseState *state = NULL;
	Jsonb	   *sources[] = {step, options};

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"options\" must be a JSON object"),
				 errdetail("Its keys are the names of options."),
				 errhint("Write options => '{\"retries\": 3}', for instance.")));
	if (JB_ROOT_COUNT(options) == 0)
		return step;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int s = 0; s < lengthof(sources); s++)
	{
		JsonbIterator *it = JsonbIteratorInit(&sources[s]->root);
		JsonbIteratorToken token;
		JsonbValue	json;
		JsonbValue	buffer;

		while ((token = JsonbIteratorNext(&it, &json, true)) != WJB_DONE)
		{
			if (token == WJB_KEY && s > 0 &&
				getKeyJsonValueFromContainer(&step->root, json.val.string.val,
											 json.val.string.len, &buffer))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("option \"%.*s\" is given twice",
								json.val.string.len, json.val.string.val),
						 errdetail("It is an argument, too."),
						 errhint("Leave it out of \"options\".")));
			if (token == WJB_KEY || token == WJB_VALUE)
				pushJsonbValue(&state, token, &json);
		}
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * flow_define(name text, steps jsonb[], ..., options jsonb) RETURNS int
 */
Datum
flow_define(PG_FUNCTION_ARGS)
{
	const ArgumentMap *map = map_arguments(fcinfo, FlowArgumentFields,
										   FLOW_ARGUMENT_COUNT);
	FlowSpec   *spec = FlowSpecCreate(0);
	FlowProblems problems;

	if (map->steps < 0 || PG_ARGISNULL(map->steps))
		refuse_null("steps", "A workflow without steps has the array '{}'.");
	FlowProblemsInit(&problems, false);
	read_arguments(fcinfo, map, FlowArgumentFields, spec->values);
	if (map->options >= 0 && !PG_ARGISNULL(map->options))
		FlowSpecReadOptions(spec, PG_GETARG_JSONB_P(map->options), &problems);
	read_steps(spec, PG_GETARG_ARRAYTYPE_P(map->steps), &problems);
	PG_RETURN_INT32(FlowWorkflowDefine(spec));
}

/* hint NULL: there is nothing particular to say */
static void
refuse_null(const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" must not be null", name),
			 errdetail("There is nothing that null could mean here."),
			 errhint("%s", hint ? hint : "Give a value for it.")));
}

static void
read_steps(FlowSpec *spec, ArrayType *array, FlowProblems *problems)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	spec->n_steps = n;
	spec->steps = palloc0(sizeof(FlowStepSpec) * Max(n, 1));
	for (int i = 0; i < n; i++)
		FlowSpecReadStep(spec, i, nulls[i] ? NULL :
						 &DatumGetJsonbP(elements[i])->root, problems);
}

/*
 * flow_define(document jsonb) RETURNS int
 */
Datum
flow_define_document(PG_FUNCTION_ARGS)
{
	FlowProblems problems;

	if (PG_ARGISNULL(0))
		refuse_null("document", NULL);
	FlowProblemsInit(&problems, false);
	PG_RETURN_INT32(FlowWorkflowDefine(read_document(PG_GETARG_JSONB_P(0),
													 &problems)));
}

/* Of our own form, or of that with actions. */
static FlowSpec *
read_document(Jsonb *document, FlowProblems *problems)
{
	if (FlowReferenceIs(document))
		return FlowReferenceRead(document, problems);
	return FlowSpecFromDocument(document, problems);
}

/*
 * flow_definition(name text, version int) RETURNS jsonb
 */
Datum
flow_definition(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0, "name");
	int32		version = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);

	PG_RETURN_JSONB_P(FlowWorkflowDocument(name, version));
}

static char *
text_argument(FunctionCallInfo fcinfo, int i, const char *name)
{
	if (PG_ARGISNULL(i))
		refuse_null(name, NULL);
	return text_to_cstring(PG_GETARG_TEXT_PP(i));
}

/*
 * flow_source(name text, version int) RETURNS text
 */
Datum
flow_source(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0, "name");
	int32		version = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	Jsonb	   *document = FlowWorkflowDocument(name, version);
	FlowProblems problems;
	const char *schema = NULL;

	if (!FunctionIsVisible(fcinfo->flinfo->fn_oid))
		schema = get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid));
	FlowProblemsInit(&problems, false);
	PG_RETURN_TEXT_P(cstring_to_text(FlowSourceOf(FlowSpecFromDocument(document, &problems),
												  schema)));
}

/*
 * flow_check(workflow text) RETURNS TABLE(workflow text, severity text,
 * code text, step text, message text, hint text)
 */
Datum
flow_check(PG_FUNCTION_ARGS)
{
	List	   *names;
	ListCell   *lc;

	FlowAccessRequireRead();
	InitMaterializedSRF(fcinfo, 0);
	if (!PG_ARGISNULL(0))
		names = list_make1(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	else
		names = FlowWorkflowNames();
	foreach(lc, names)
	{
		FlowProblems problems;

		if (PG_ARGISNULL(0) && !FlowWorkflowIsVisible(lfirst(lc)))
			continue;
		FlowProblemsInit(&problems, true);
		FlowWorkflowCheck(lfirst(lc), &problems);
		put_problems((ReturnSetInfo *) fcinfo->resultinfo, lfirst(lc),
					 &problems);
	}
	return (Datum) 0;
}

/*
 * flow_check_document(document jsonb) RETURNS TABLE(the same)
 */
Datum
flow_check_document(PG_FUNCTION_ARGS)
{
	FlowProblems problems;
	FlowSpec   *spec;

	if (PG_ARGISNULL(0))
		refuse_null("document", NULL);
	InitMaterializedSRF(fcinfo, 0);
	FlowProblemsInit(&problems, true);
	spec = read_document(PG_GETARG_JSONB_P(0), &problems);
	FlowWorkflowCheckSpec(spec, &problems);
	put_problems((ReturnSetInfo *) fcinfo->resultinfo,
				 FlowSpecText(spec, FLOW_ARG_NAME), &problems);
	return (Datum) 0;
}

/* There is no column for the place: it goes with the message. */
static void
put_problems(ReturnSetInfo *result, const char *workflow,
			 const FlowProblems *problems)
{
	ListCell   *lc;

	foreach(lc, problems->list)
	{
		const FlowProblem *problem = lfirst(lc);
		const char *severity = problem->level >= ERROR ? "error" :
		problem->level == NOTICE ? "notice" : "warning";
		Datum		values[CHECK_COLUMNS];
		bool		nulls[CHECK_COLUMNS];
		StringInfoData message;

		initStringInfo(&message);
		appendStringInfoString(&message, problem->message);
		if (problem->path != NULL)
			appendStringInfo(&message, ", at %s", problem->path);
		if (problem->detail != NULL)
			appendStringInfo(&message, ". %s", problem->detail);
		values[0] = text_or_null(workflow, &nulls[0]);
		values[1] = text_or_null(severity, &nulls[1]);
		values[2] = text_or_null(unpack_sql_state(problem->sqlstate), &nulls[2]);
		values[3] = text_or_null(problem->step, &nulls[3]);
		values[4] = text_or_null(message.data, &nulls[4]);
		values[5] = text_or_null(problem->hint, &nulls[5]);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
}

static Datum
text_or_null(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

/*
 * flow_enable(name text) RETURNS boolean
 */
Datum
flow_enable(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(FlowWorkflowEnable(text_argument(fcinfo, 0, "name"), true));
}

/*
 * flow_disable(name text) RETURNS boolean
 */
Datum
flow_disable(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(FlowWorkflowEnable(text_argument(fcinfo, 0, "name"), false));
}

/*
 * flow_set_owner(name text, owner name) RETURNS void
 */
Datum
flow_set_owner(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0, "name");

	if (PG_ARGISNULL(1))
		refuse_null("owner", "Name a role.");
	FlowOwnerChange(name, get_role_oid(NameStr(*PG_GETARG_NAME(1)), false));
	PG_RETURN_VOID();
}

/*
 * flow_grant(name text, role name, privilege text) RETURNS void
 */
Datum
flow_grant(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0, "name");
	char	   *privilege = text_argument(fcinfo, 2, "privilege");

	FlowWorkflowGrantTo(name, role_argument(fcinfo, 1), privilege);
	PG_RETURN_VOID();
}

/*
 * flow_revoke(name text, role name, privilege text) RETURNS void
 */
Datum
flow_revoke(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0, "name");
	char	   *privilege = PG_ARGISNULL(2) ? NULL :
	text_to_cstring(PG_GETARG_TEXT_PP(2));

	FlowWorkflowRevokeFrom(name, role_argument(fcinfo, 1), privilege);
	PG_RETURN_VOID();
}

/* InvalidOid for public, which is not a role. */
static Oid
role_argument(FunctionCallInfo fcinfo, int i)
{
	const char *role;

	if (PG_ARGISNULL(i))
		refuse_null("role", "Name a role, or 'public' for everybody.");
	role = NameStr(*PG_GETARG_NAME(i));
	return strcmp(role, "public") == 0 ? InvalidOid : get_role_oid(role, false);
}
