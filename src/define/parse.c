/*-------------------------------------------------------------------------
 * parse.c
 *	  Whether the SQL of the steps parses, and whether its names resolve now.
 *
 * Two passes over all texts.  The first is the server's grammar, and what no
 * step may contain at its top level.  The second is parse analysis, as the
 * owner and under the search path of the workflow, with the names of each
 * step; what it finds is a warning, since an earlier step may create what is
 * missing.  Nothing is planned or executed.
 *
 * Each pass is one subtransaction as long as all goes well; an error ends it,
 * is noted, and the pass goes on in another one with the next text.  The first
 * has no effects, and those of the second are rolled back.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/scansup.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/guard.h"
#include "define/beside.h"
#include "define/item.h"
#include "define/names.h"
#include "define/parse.h"
#include "define/plan.h"

/* One SQL text of a step */
typedef struct SqlText
{
	int			step;
	FlowOption	option;
	FlowSqlRole role;
	bool		expression;		/* else statements */
	bool		command;		/* one, which sees no names */
	bool		builds;			/* an expression that gives such a one */
	const char *sql;
	List	   *trees;			/* of RawStmt */
	bool		parsed;			/* trees is the SQL */
} SqlText;

typedef struct Pass
{
	const FlowSpec *spec;
	FlowProblems *problems;
	MemoryContext context;		/* of the parse trees */
	SqlText    *texts;
	int			n_texts;
	FlowDefinition *definition; /* second pass: for the names */
	int			next;			/* text to look at; after an error, its */
} Pass;

/* Options that hold SQL; which of them are expressions */
static const struct
{
	FlowOption	option;
	FlowSqlRole role;
	uint32		statements;		/* kinds for which it is no expression */
}			sql_options[] = {
	{FLOW_OPT_SQL, FLOW_SQL_STEP, FLOW_KIND_BIT(FLOW_KIND_SQL)},
	{FLOW_OPT_UNTIL, FLOW_SQL_STEP, 0},
	{FLOW_OPT_CONDITION, FLOW_SQL_CONDITION, 0},
	{FLOW_OPT_FOR_EACH, FLOW_SQL_FOR_EACH, 0},
	{FLOW_OPT_INPUT, FLOW_SQL_INPUT, 0},
	{FLOW_OPT_UNDO, FLOW_SQL_STEP, ~0},
	{FLOW_OPT_AGAIN, FLOW_SQL_AGAIN, 0},
	{FLOW_OPT_LIMIT_KEY, FLOW_SQL_LIMIT_KEY, 0},
	{FLOW_OPT_ON_RESULT, FLOW_SQL_RESULT, ~0},
};

static void collect_texts(Pass *pass);
static void run_pass(Pass *pass, FlowGuardBody body, int level);
static void parse_texts(void *arg);
static void analyse_texts(void *arg);
static void analyse_text(Pass *pass, const SqlText *source);
static FlowStepDef *step_of(const Pass *pass, const SqlText *source);
static void check_type(const SqlText *source, const Query *query);
static bool is_query(const RawStmt *raw, bool *creates);
static void resolve(Pass *pass, const FlowParseScope *scope);
static bool is_problem_of_text(const ErrorData *error);
static void report_error(Pass *pass, const ErrorData *error, int level);
static const char *with_step(const char *name, const char *message);
static void check_statements(Pass *pass, const SqlText *source);
static void report_more(Pass *pass, const SqlText *source);
static void report_several(Pass *pass, const SqlText *source);
static void check_expression(Pass *pass, const SqlText *source);
static const char *name_of(const Pass *pass, const SqlText *source);
static bool fault_of_transaction(const TransactionStmt *statement,
								 FlowProblem *problem);
static int	position_of(const char *sql, int location);

void
FlowParseCheck(const FlowSpec *spec, const FlowParseScope *scope,
			   FlowProblems *problems)
{
	MemoryContext caller = CurrentMemoryContext;
	Pass		pass = {spec, problems};

	pass.context = AllocSetContextCreate(caller, "flow parse",
										 ALLOCSET_DEFAULT_SIZES);
	collect_texts(&pass);
	run_pass(&pass, parse_texts, ERROR);
	for (int i = 0; i < pass.n_texts; i++)
	{
		if (pass.texts[i].expression)
			check_expression(&pass, &pass.texts[i]);
		else
			check_statements(&pass, &pass.texts[i]);
	}
	if (scope != NULL && problems->n_errors == 0)
		resolve(&pass, scope);
	MemoryContextDelete(pass.context);
}

/* What a step of another kind has under such a name is not SQL, or not run yet. */
static void
collect_texts(Pass *pass)
{
	const FlowSpec *spec = pass->spec;

	pass->texts = palloc0(sizeof(SqlText) * (spec->n_steps + 1) * lengthof(sql_options));
	for (int i = 0; i < spec->n_steps; i++)
		for (int o = 0; o < lengthof(sql_options); o++)
		{
			FlowOption	option = sql_options[o].option;
			uint32		kind = FLOW_KIND_BIT(spec->steps[i].kind);
			SqlText    *source = &pass->texts[pass->n_texts];

			source->sql = FlowStepText(&spec->steps[i], option);
			if (source->sql == NULL || !(FlowOptionFields[option].applies & kind))
				continue;
			source->step = i;
			source->option = option;
			source->role = sql_options[o].role;
			source->expression = (sql_options[o].statements & kind) == 0 &&
				!(option == FLOW_OPT_FOR_EACH && FlowItemIsQuery(source->sql));
			if (option == FLOW_OPT_SQL && spec->steps[i].kind == FLOW_KIND_COMMAND)
			{
				source->builds = spec->steps[i].values[FLOW_OPT_BUILD].u.truth;
				source->command = !source->builds;
				source->expression = source->builds;
			}
			pass->n_texts++;
		}
}

static void
run_pass(Pass *pass, FlowGuardBody body, int level)
{
	pass->next = 0;
	while (pass->next < pass->n_texts)
	{
		ErrorData  *error = FlowGuardRun(FLOW_GUARD_SUBTRANSACTION, body, pass);

		if (error == NULL || pass->next >= pass->n_texts)
			continue;
		if (!is_problem_of_text(error))
			ReThrowError(error);
		report_error(pass, error, level);
		pass->next++;
	}
}

static void
parse_texts(void *arg)
{
	Pass	   *pass = arg;
	MemoryContext caller = MemoryContextSwitchTo(pass->context);

	for (; pass->next < pass->n_texts; pass->next++)
	{
		SqlText    *source = &pass->texts[pass->next];

		CHECK_FOR_INTERRUPTS();
		source->trees = raw_parser(source->sql, source->expression
								   ? RAW_PARSE_PLPGSQL_EXPR : RAW_PARSE_DEFAULT);
		source->parsed = true;
	}
	MemoryContextSwitchTo(caller);
}

/*
 * Under the identity and the path that the steps will run with.  The server
 * evaluates some literals while it analyses, such as one of a domain with a
 * CHECK, so this may run code of the owner's in the session of somebody who
 * has more rights.  Nothing of it may stay for later, when it would run with
 * the rights of that session: no deferred trigger can be queued, and all the
 * pass has done is rolled back.
 */
static void
resolve(Pass *pass, const FlowParseScope *scope)
{
	Oid			user;
	int			sec_context;
	int			nest = NewGUCNestLevel();
	char	   *path = FlowPlanSearchPath(scope->search_path);

	GetUserIdAndSecContext(&user, &sec_context);
	pass->definition = FlowPlanCompile(pass->spec, path, pass->context);
	SetUserIdAndSecContext(scope->role,
						   sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	run_pass(pass, analyse_texts, WARNING);
	AtEOXact_GUC(false, nest);
	SetUserIdAndSecContext(user, sec_context);
}

/* Ends in an error even if all is well, so that it is rolled back. */
static void
analyse_texts(void *arg)
{
	Pass	   *pass = arg;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "flow analysis",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);

	PushActiveSnapshot(GetTransactionSnapshot());
	for (; pass->next < pass->n_texts; pass->next++)
	{
		CHECK_FOR_INTERRUPTS();
		analyse_text(pass, &pass->texts[pass->next]);
		MemoryContextReset(scratch);
	}
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	elog(ERROR, "nothing of the analysis of steps is kept");
}

/* What follows a utility statement may depend on it, and is left alone. */
static void
analyse_text(Pass *pass, const SqlText *source)
{
	ListCell   *lc;

	if (source->command)
		return;
	foreach(lc, source->trees)
	{
		RawStmt    *raw = lfirst(lc);
		bool		creates = false;
		Query	   *query;

		if (!is_query(raw, &creates))
			return;
		query = parse_analyze_withcb(raw, source->sql, FlowNamesSetupOf(source->role),
									 step_of(pass, source), NULL);
		if (source->expression)
			check_type(source, query);
		if (creates)
			return;
	}
}

/* Whose names the text sees */
static FlowStepDef *
step_of(const Pass *pass, const SqlText *source)
{
	FlowStepDef *step;

	if (source->option == FLOW_OPT_UNDO)
		return FlowBesideUndo(pass->definition, source->step + 1);
	step = &pass->definition->steps[source->step];
	if (step->items == 0 || source->option == FLOW_OPT_CONDITION ||
		source->option == FLOW_OPT_FOR_EACH)
		return step;
	return FlowItemStep(step);
}

static void
check_type(const SqlText *source, const Query *query)
{
	TargetEntry *entry = linitial_node(TargetEntry, query->targetList);
	Oid			type = exprType((Node *) entry->expr);

	if (source->option == FLOW_OPT_UNTIL && type != TIMESTAMPTZOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"until\" must be of type timestamp with time zone, not %s",
						format_type_be(type)),
				 errdetail("It is the time at which the step ends."),
				 errhint("Cast it, such as (input->>'at')::timestamptz.")));
	if (source->option == FLOW_OPT_SQL && type != TEXTOID &&
		source->builds)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the SQL of a command with \"build\" must be of type text, not %s",
						format_type_be(type)),
				 errdetail("It gives the text of the command."),
				 errhint("Use format(), such as format('VACUUM %%I', input->>'table').")));
	if (source->role == FLOW_SQL_AGAIN && type != INTERVALOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"again\" must be of type interval, not %s",
						format_type_be(type)),
				 errdetail("It is the delay until the step runs again, or null."),
				 errhint("Cast it, such as '1 s'::interval.")));
	if (source->role == FLOW_SQL_FOR_EACH && type != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"for_each\" must be of type jsonb, not %s",
						format_type_be(type)),
				 errdetail("An expression gives an array whose elements are the items."),
				 errhint("Cast it, such as '[1, 2]'::jsonb, or write a query to get an item a row.")));
	if (source->role == FLOW_SQL_CONDITION && type != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a condition must be of type boolean, not %s",
						format_type_be(type)),
				 errdetail("The step runs if it is true, and is skipped if it is false or null."),
				 errhint("Compare the value with something, or cast it.")));
}

static bool
is_query(const RawStmt *raw, bool *creates)
{
	switch (nodeTag(raw->stmt))
	{
		case T_SelectStmt:
			{
				const SelectStmt *first = (const SelectStmt *) raw->stmt;

				while (first->larg)
					first = first->larg;
				*creates = first->intoClause != NULL;
				return true;
			}
		case T_InsertStmt:
		case T_UpdateStmt:
		case T_DeleteStmt:
		case T_MergeStmt:
			return true;
		default:
			return false;
	}
}

/* A cancel, a lost lock or a full disk is no fault of the definition. */
static bool
is_problem_of_text(const ErrorData *error)
{
	int			class = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return class != ERRCODE_OPERATOR_INTERVENTION &&
		class != ERRCODE_INSUFFICIENT_RESOURCES &&
		class != ERRCODE_SYSTEM_ERROR &&
		class != ERRCODE_INTERNAL_ERROR &&
		class != ERRCODE_TRANSACTION_ROLLBACK &&
		class != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

static void
report_error(Pass *pass, const ErrorData *error, int level)
{
	const SqlText *source = &pass->texts[pass->next];
	FlowProblem problem = {level, error->sqlerrcode, name_of(pass, source)};

	problem.path = FlowOptionPath(source->step, source->option);
	problem.message = with_step(name_of(pass, source), error->message);
	problem.detail = error->detail;
	problem.hint = error->hint;
	problem.sql = source->sql;
	/* an outer query's error context may have taken it for its own */
	problem.position = error->cursorpos > 0 ? error->cursorpos :
		error->internalpos;
	FlowProblemReport(pass->problems, &problem);
}

static const char *
name_of(const Pass *pass, const SqlText *source)
{
	const char *name = FlowStepText(&pass->spec->steps[source->step], FLOW_OPT_NAME);

	return name ? name : "";
}

/* The errors of names.c speak of the step already. */
static const char *
with_step(const char *name, const char *message)
{
	const char *subject = psprintf("step \"%s\"", name);

	if (strncmp(message, subject, strlen(subject)) == 0)
		return message;
	return psprintf("%s: %s", subject, message);
}

static void
check_statements(Pass *pass, const SqlText *source)
{
	ListCell   *lc;

	if (source->parsed && source->trees == NIL)
	{
		FlowProblem problem = {ERROR, ERRCODE_INVALID_PARAMETER_VALUE, name_of(pass, source)};

		problem.path = FlowOptionPath(source->step, source->option);
		problem.message = psprintf("the SQL of step \"%s\" is empty",
								   name_of(pass, source));
		problem.hint = "A step that does nothing is SELECT 1, with result => 'none'.";
		FlowProblemReport(pass->problems, &problem);
	}
	if (source->option == FLOW_OPT_FOR_EACH && list_length(source->trees) > 1)
		report_several(pass, source);
	if (source->command && list_length(source->trees) > 1)
		report_more(pass, source);
	foreach(lc, source->trees)
	{
		const RawStmt *raw = lfirst(lc);
		FlowProblem problem = {ERROR, ERRCODE_FEATURE_NOT_SUPPORTED, name_of(pass, source)};

		if (!FlowParseFindFault(raw->stmt, source->command, &problem))
			continue;
		problem.path = FlowOptionPath(source->step, source->option);
		problem.message = psprintf("step \"%s\" contains %s", name_of(pass, source),
								   problem.message);
		problem.sql = source->sql;
		problem.position = position_of(source->sql, raw->stmt_location);
		FlowProblemReport(pass->problems, &problem);
	}
}

static void
report_several(Pass *pass, const SqlText *source)
{
	FlowProblem problem = {ERROR, ERRCODE_SYNTAX_ERROR, name_of(pass, source)};

	problem.path = FlowOptionPath(source->step, source->option);
	problem.message = psprintf("\"for_each\" of step \"%s\" is not one query",
							   name_of(pass, source));
	problem.detail = "Each row of one query is an item.";
	problem.hint = "Do what has to be done before in a step of its own.";
	problem.sql = source->sql;
	FlowProblemReport(pass->problems, &problem);
}

static void
report_more(Pass *pass, const SqlText *source)
{
	const RawStmt *second = lsecond_node(RawStmt, source->trees);
	FlowProblem problem = {ERROR, ERRCODE_SYNTAX_ERROR, name_of(pass, source)};

	problem.path = FlowOptionPath(source->step, source->option);
	problem.message = psprintf("command \"%s\" is more than one statement",
							   name_of(pass, source));
	problem.detail = "It runs outside a transaction block, where several could not be undone together.";
	problem.hint = "Use a step of its own for each, or a procedure.";
	problem.sql = source->sql;
	problem.position = position_of(source->sql, second->stmt_location);
	FlowProblemReport(pass->problems, &problem);
}

/* The grammar of expressions is that of PL/pgSQL's, which allows several. */
static void
check_expression(Pass *pass, const SqlText *source)
{
	FlowProblem problem = {ERROR, ERRCODE_SYNTAX_ERROR, name_of(pass, source)};
	const SelectStmt *select;

	if (!source->parsed)
		return;
	select = (const SelectStmt *) linitial_node(RawStmt, source->trees)->stmt;
	if (list_length(select->targetList) == 1)
		return;
	problem.path = FlowOptionPath(source->step, source->option);
	problem.message = psprintf("\"%s\" of step \"%s\" is not one expression",
							   FlowOptionFields[source->option].name,
							   name_of(pass, source));
	problem.detail = "Expected one SQL expression, such as input->>'kind' = 'large'.";
	problem.sql = source->sql;
	FlowProblemReport(pass->problems, &problem);
}

bool
FlowParseFindFault(const Node *statement, bool is_command, FlowProblem *problem)
{
	if (IsA(statement, TransactionStmt))
	{
		(void) fault_of_transaction((const TransactionStmt *) statement,
									problem);
		if (is_command)
		{
			problem->detail = "There is no transaction block, and none would be left open.";
			problem->hint = "Use CALL of a procedure that commits.";
		}
		return true;
	}
	if (IsA(statement, CopyStmt))
	{
		const CopyStmt *copy = (const CopyStmt *) statement;

		if (copy->filename != NULL)
			return false;
		problem->message = copy->is_from ? "COPY FROM STDIN" : "COPY TO STDOUT";
		problem->detail = "A step has no client to copy from or to.";
		problem->hint = "Use COPY with a file or PROGRAM.";
		return true;
	}
	return false;
}

static bool
fault_of_transaction(const TransactionStmt *statement, FlowProblem *problem)
{
	problem->sqlstate = ERRCODE_INVALID_TRANSACTION_TERMINATION;
	problem->message = GetCommandTagName(CreateCommandTag((Node *) statement));
	problem->detail = "The effects of a step and its new state commit together.";
	switch (statement->kind)
	{
		case TRANS_STMT_BEGIN:
		case TRANS_STMT_START:
		case TRANS_STMT_SAVEPOINT:
		case TRANS_STMT_RELEASE:
		case TRANS_STMT_ROLLBACK_TO:
			problem->hint = "To undo a part of a step, use a DO block with an EXCEPTION clause.";
			break;
		default:
			problem->hint = "Use flow_command() for what commits by itself.";
			break;
	}
	return true;
}

/* From a byte offset to characters from 1, past leading white space. */
static int
position_of(const char *sql, int location)
{
	if (location < 0)
		return 0;
	while (scanner_isspace(sql[location]))
		location++;
	return pg_mbstrlen_with_len(sql, location) + 1;
}
