/*-------------------------------------------------------------------------
 * names.c
 *	  The names a step's SQL sees, as typed parameters found by the parser.
 *
 * flow.x always names what the step sees as x; x alone does where nothing in
 * scope is called so.  The hook runs after the server has looked for a column
 * or a table of that name, so that a name which means both is noticed and
 * refused instead of silently changing its meaning when a table gets a column.
 *
 * Only steps upstream resolve: the output of any other may not exist yet.
 * The hooks read the compiled definition and nothing else; they take no lock
 * and may be called whenever the server analyses a kept plan again.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/json.h"
#include "define/item.h"
#include "define/names.h"

#define FULL_FORM	"flow"

/* Names that are no steps */
typedef struct FixedName
{
	const char *name;
	int			param;
	Oid			type;
	bool		bare;			/* resolves without "flow." too */
} FixedName;

static const FixedName fixed_names[] = {
	{"input", FLOW_PARAM_INPUT, JSONBOID, true},
	{"run_id", FLOW_PARAM_RUN_ID, INT8OID, false},
	{"run_key", FLOW_PARAM_RUN_KEY, TEXTOID, false},
	{"attempt", FLOW_PARAM_ATTEMPT, INT4OID, false},
	{"slot", FLOW_PARAM_SLOT, TIMESTAMPTZOID, false},
	{"item", FLOW_PARAM_ITEM, JSONBOID, true},
	{"item_no", FLOW_PARAM_ITEM_NO, INT4OID, true},
	{"event", FLOW_PARAM_EVENT, JSONBOID, true},
};

static void setup_with_own(ParseState *pstate, void *arg);
static Node *resolve_own(ParseState *pstate, ColumnRef *cref, Node *var);
static Node *resolve_column(ParseState *pstate, ColumnRef *cref, Node *var);
static Node *refuse_number(ParseState *pstate, ParamRef *pref);
static bool split_reference(const ColumnRef *cref, const char **name);
static void refuse_member(ParseState *pstate, const ColumnRef *cref);
static int	find_param(const FlowStepDef *step, const char *name, bool full);
static bool is_there(const FlowStepDef *step, const FixedName *fixed);
static Node *make_param(int param, int location);
static void raise_ambiguous(ParseState *pstate, const ColumnRef *cref,
							const char *name);
static void refuse_other_step(ParseState *pstate, const ColumnRef *cref,
							  const char *name);
static bool is_relation_in_scope(ParseState *pstate, const char *name);
static void raise_unknown(ParseState *pstate, const ColumnRef *cref,
						  const char *name);
static bool is_beyond_names(Node *raw);
static const char *name_in_message(const FlowStepDef *step,
								   const char *message);
static bool has_word(const char *text, const char *word);
static bool is_word(char c);

void
FlowNamesParserSetup(ParseState *pstate, void *arg)
{
	pstate->p_post_columnref_hook = resolve_column;
	pstate->p_paramref_hook = refuse_number;
	pstate->p_ref_hook_state = arg;
}

ParserSetupHook
FlowNamesSetupOf(FlowSqlRole role)
{
	return role >= FLOW_SQL_AGAIN ? setup_with_own : FlowNamesParserSetup;
}

static void
setup_with_own(ParseState *pstate, void *arg)
{
	FlowNamesParserSetup(pstate, arg);
	pstate->p_post_columnref_hook = resolve_own;
}

static Node *
resolve_own(ParseState *pstate, ColumnRef *cref, Node *var)
{
	const FlowStepDef *step = pstate->p_ref_hook_state;
	const char *name;

	(void) split_reference(cref, &name);
	if (name == NULL || strcmp(name, step->name) != 0)
		return resolve_column(pstate, cref, var);
	if (var != NULL)
		raise_ambiguous(pstate, cref, name);
	return make_param(FLOW_PARAM_STEP + step->no, cref->location);
}

Oid
FlowNamesParamType(int param)
{
	for (int i = 0; i < lengthof(fixed_names); i++)
		if (fixed_names[i].param == param)
			return fixed_names[i].type;
	return JSONBOID;
}

/* "var" is what the server has found by itself, a whole row included. */
static Node *
resolve_column(ParseState *pstate, ColumnRef *cref, Node *var)
{
	const FlowStepDef *step = pstate->p_ref_hook_state;
	const char *name;
	bool		full;
	int			param;

	full = split_reference(cref, &name);
	if (name == NULL)
	{
		if (var == NULL)
			refuse_member(pstate, cref);
		return NULL;
	}
	param = find_param(step, name, full);
	if (param > 0 && var != NULL)
		raise_ambiguous(pstate, cref, name);
	if (param > 0)
		return make_param(param, cref->location);
	if (var != NULL)
		return NULL;
	refuse_other_step(pstate, cref, name);
	if (full && !is_relation_in_scope(pstate, FULL_FORM))
		raise_unknown(pstate, cref, name);
	return NULL;
}

/* Sets name to x for x and flow.x, else to NULL; true for flow.x. */
static bool
split_reference(const ColumnRef *cref, const char **name)
{
	int			n = list_length(cref->fields);
	Node	   *last = llast(cref->fields);

	*name = NULL;
	if (!IsA(last, String) || n > 2)
		return false;
	if (n == 2 && strcmp(strVal(linitial(cref->fields)), FULL_FORM) != 0)
		return false;
	*name = strVal(last);
	return n == 2;
}

/* input.x, as if the value were a row: say how to write it. */
static void
refuse_member(ParseState *pstate, const ColumnRef *cref)
{
	const FlowStepDef *step = pstate->p_ref_hook_state;
	Node	   *member = llast(cref->fields);
	const char *name;

	if (list_length(cref->fields) != 2 || !IsA(member, String))
		return;
	name = strVal(linitial(cref->fields));
	if (find_param(step, name, false) == 0 ||
		is_relation_in_scope(pstate, name))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("\"%s\" is a value of type jsonb, not a table", name),
			 errdetail("Its members are reached by the operators of jsonb."),
			 errhint("Write %s->>%s.", quote_identifier(name),
					 quote_literal_cstr(strVal(member))),
			 parser_errposition(pstate, cref->location)));
}

/* The parameter of that name, or 0. */
static int
find_param(const FlowStepDef *step, const char *name, bool full)
{
	FlowStepDef *other;

	for (int i = 0; i < lengthof(fixed_names); i++)
		if (strcmp(fixed_names[i].name, name) == 0)
			return (full || fixed_names[i].bare) && is_there(step, &fixed_names[i])
				? fixed_names[i].param : 0;
	other = FlowPlanFindStep(step->definition, name);
	if (other != NULL && FlowPlanIsUpstream(step, other))
		return FLOW_PARAM_STEP + other->no;
	return 0;
}

/* Only a hook sees an event, and only a step with items one of those. */
static bool
is_there(const FlowStepDef *step, const FixedName *fixed)
{
	if (fixed->param == FLOW_PARAM_ITEM || fixed->param == FLOW_PARAM_ITEM_NO)
		return FlowItemIsSeen(step);
	return fixed->param != FLOW_PARAM_EVENT || step->part == FLOW_PART_HOOK;
}

static Node *
make_param(int number, int location)
{
	Param	   *param = makeNode(Param);

	param->paramkind = PARAM_EXTERN;
	param->paramid = number;
	param->paramtype = FlowNamesParamType(number);
	param->paramtypmod = -1;
	param->paramcollid = get_typcollation(param->paramtype);
	param->location = location;
	return (Node *) param;
}

static void
raise_ambiguous(ParseState *pstate, const ColumnRef *cref, const char *name)
{
	const FlowStepDef *step = pstate->p_ref_hook_state;
	const char *quoted = quote_identifier(name);
	const char *what = FlowPlanFindStep(step->definition, name) ?
	"the output of a step" : "a value of the run";

	if (list_length(cref->fields) == 2)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_COLUMN),
				 errmsg("reference to \"flow.%s\" is ambiguous", name),
				 errdetail("It could be %s, or a column of the table \"flow\".",
						   what),
				 errhint("Give that table another alias, so that flow.%s is %s.",
						 quoted, what),
				 parser_errposition(pstate, cref->location)));
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_COLUMN),
			 errmsg("reference to \"%s\" is ambiguous", name),
			 errdetail("It could be %s, or a column or table of the query.",
					   what),
			 errhint("Write flow.%s for %s, table.%s for the column.",
					 quoted, what, quoted),
			 parser_errposition(pstate, cref->location)));
}

/* A step that exists but whose output this step cannot see. */
static void
refuse_other_step(ParseState *pstate, const ColumnRef *cref, const char *name)
{
	const FlowStepDef *step = pstate->p_ref_hook_state;
	const FlowStepDef *other = FlowPlanFindStep(step->definition, name);
	const FlowStepDef *place = step;

	if (other == NULL)
		return;
	if (step->undoes != 0 && step->no > step->definition->n_steps)
		place = &step->definition->steps[step->undoes - 1];
	if (other == step || other->no == step->maps)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("step \"%s\" cannot see its own output", name),
				 errdetail("Only the outputs of steps upstream of it exist when it runs."),
				 errhint("Use one of those, or what an earlier round has left for flow_get()."),
				 parser_errposition(pstate, cref->location)));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("step \"%s\" cannot see step \"%s\", which is not upstream of it",
					place->name, name),
			 errdetail("A step sees the outputs of those that it comes after."),
			 errhint("Add \"%s\" to \"after\" of step \"%s\".",
					 name, place->name),
			 parser_errposition(pstate, cref->location)));
}

/* A table or alias of that name is the user's own: the server's error is right. */
static bool
is_relation_in_scope(ParseState *pstate, const char *name)
{
	return refnameNamespaceItem(pstate, NULL, name, -1, NULL) != NULL;
}

static void
raise_unknown(ParseState *pstate, const ColumnRef *cref, const char *name)
{
	const FlowStepDef *step = pstate->p_ref_hook_state;
	const FlowDefinition *definition = step->definition;
	FlowSuggestion suggestion;

	FlowSuggestionInit(&suggestion, name);
	for (int i = 0; i < lengthof(fixed_names); i++)
		if (is_there(step, &fixed_names[i]))
			FlowSuggestionAdd(&suggestion, fixed_names[i].name);
	for (int i = 0; i < definition->n_steps; i++)
		FlowSuggestionAdd(&suggestion, definition->steps[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("name \"flow.%s\" does not exist", name),
			 errdetail("Neither a value that the step sees nor a step has that name."),
			 suggestion.best ?
			 errhint("Perhaps you meant flow.%s.",
					 quote_identifier(suggestion.best)) :
			 errhint("There are flow.input, flow.run_id, flow.run_key, flow.attempt, flow.slot and the steps upstream."),
			 parser_errposition(pstate, cref->location)));
}

static Node *
refuse_number(ParseState *pstate, ParamRef *pref)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_PARAMETER),
			 errmsg("there is no parameter $%d", pref->number),
			 errdetail("The values of a step have names: input, and the steps upstream of it."),
			 errhint("Write the name in place of $%d.", pref->number),
			 parser_errposition(pstate, pref->location)));
	return NULL;
}

const char *
FlowNamesHint(const FlowStepDef *step, Node *raw, const ErrorData *error)
{
	const char *name;

	if (error->sqlerrcode != ERRCODE_UNDEFINED_COLUMN &&
		error->sqlerrcode != ERRCODE_UNDEFINED_TABLE)
		return NULL;
	if (error->message == NULL || !is_beyond_names(raw))
		return NULL;
	name = name_in_message(step, error->message);
	if (name == NULL)
		return NULL;
	if (strcmp(name, "input") == 0 || strcmp(name, FULL_FORM) == 0)
		return "The names of a step do not reach into this statement. Use flow_input() and flow_output('step').";
	if (FlowPlanFindStep(step->definition, name) != NULL)
		return psprintf("The names of a step do not reach into this statement. Use flow_output(%s).",
						quote_literal_cstr(name));
	if (strcmp(name, "event") == 0)
		return "The names of a step do not reach into this statement. Use flow_hook_event().";
	return psprintf("The names of a step do not reach into this statement. Use flow_%s().",
					name);
}

/* Statements whose queries or bodies are analysed without our hooks. */
static bool
is_beyond_names(Node *raw)
{
	switch (nodeTag(raw))
	{
		case T_CopyStmt:
		case T_ViewStmt:
		case T_DoStmt:
		case T_CreateFunctionStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_RuleStmt:
		case T_CreatePolicyStmt:
			return true;
		case T_CreateTableAsStmt:
			return ((CreateTableAsStmt *) raw)->objtype == OBJECT_MATVIEW;
		default:
			return false;
	}
}

/*
 * Looks for our names in the message and not for a name in a known wording,
 * which depends on the language of the server.
 */
static const char *
name_in_message(const FlowStepDef *step, const char *message)
{
	const FlowDefinition *definition = step->definition;

	for (int i = 0; i < definition->n_steps; i++)
		if (has_word(message, definition->steps[i].name))
			return definition->steps[i].name;
	for (int i = 0; i < lengthof(fixed_names); i++)
		if (is_there(step, &fixed_names[i]) &&
			has_word(message, fixed_names[i].name))
			return fixed_names[i].name;
	return has_word(message, FULL_FORM) ? FULL_FORM : NULL;
}

static bool
has_word(const char *text, const char *word)
{
	int			length = strlen(word);

	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
	{
		if ((at == text ||!is_word(at[-1])) &&!is_word(at[length]))
			return true;
	}
	return false;
}

static bool
is_word(char c)
{
	return isalnum((unsigned char) c) || c == '_';
}
