/*-------------------------------------------------------------------------
 * parse.c
 *	  Whether the SQL of the steps parses, and whether its names resolve now.
 *
 * Two passes over all steps.  The first is the server's grammar, and what no
 * step may contain at its top level.  The second is parse analysis, as the
 * owner and under the search path of the workflow, with the names of each
 * step; what it finds is a warning, since an earlier step may create what is
 * missing.  Nothing is planned or executed.
 *
 * Each pass is one subtransaction as long as all goes well; an error ends it,
 * is noted, and the pass goes on in another one with the next step.  The first
 * has no effects, and those of the second are rolled back.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/scansup.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/guard.h"
#include "define/names.h"
#include "define/parse.h"
#include "define/plan.h"

typedef struct Pass
{
	const FlowSpec *spec;
	FlowProblems *problems;
	MemoryContext context;		/* of the parse trees */
	List	  **trees;			/* by step: of RawStmt */
	bool	   *parsed;			/* by step: trees is its SQL */
	FlowDefinition *definition; /* second pass: for the names */
	int			next;			/* step to look at; after an error, its */
} Pass;

static void run_pass(Pass *pass, FlowGuardBody body, int level);
static void parse_steps(void *arg);
static void analyse_steps(void *arg);
static void analyse_step(Pass *pass, int i);
static bool is_query(const RawStmt *raw, bool *creates);
static void resolve(Pass *pass, const FlowParseScope *scope);
static bool is_problem_of_text(const ErrorData *error);
static void report_error(Pass *pass, const ErrorData *error, int level);
static const char *with_step(const char *name, const char *message);
static void check_statements(Pass *pass, int i);
static bool fault_of_statement(const Node *statement, FlowProblem *problem);
static bool fault_of_transaction(const TransactionStmt *statement,
								 FlowProblem *problem);
static const char *step_sql(const Pass *pass, int i);
static int	position_of(const char *sql, int location);

void
FlowParseCheck(const FlowSpec *spec, const FlowParseScope *scope,
			   FlowProblems *problems)
{
	MemoryContext caller = CurrentMemoryContext;
	Pass		pass = {spec, problems};

	pass.context = AllocSetContextCreate(caller, "flow parse",
										 ALLOCSET_DEFAULT_SIZES);
	pass.trees = palloc0(sizeof(List *) * Max(spec->n_steps, 1));
	pass.parsed = palloc0(sizeof(bool) * Max(spec->n_steps, 1));
	run_pass(&pass, parse_steps, ERROR);
	for (int i = 0; i < spec->n_steps; i++)
		check_statements(&pass, i);
	if (scope != NULL && problems->n_errors == 0)
		resolve(&pass, scope);
	MemoryContextDelete(pass.context);
}

static void
run_pass(Pass *pass, FlowGuardBody body, int level)
{
	pass->next = 0;
	while (pass->next < pass->spec->n_steps)
	{
		ErrorData  *error = FlowGuardRun(FLOW_GUARD_SUBTRANSACTION, body, pass);

		if (error == NULL || pass->next >= pass->spec->n_steps)
			continue;
		if (!is_problem_of_text(error))
			ReThrowError(error);
		report_error(pass, error, level);
		pass->next++;
	}
}

static void
parse_steps(void *arg)
{
	Pass	   *pass = arg;
	MemoryContext caller = MemoryContextSwitchTo(pass->context);

	for (; pass->next < pass->spec->n_steps; pass->next++)
	{
		const char *sql = step_sql(pass, pass->next);

		CHECK_FOR_INTERRUPTS();
		if (sql == NULL)
			continue;
		pass->trees[pass->next] = raw_parser(sql, RAW_PARSE_DEFAULT);
		pass->parsed[pass->next] = true;
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
	run_pass(pass, analyse_steps, WARNING);
	AtEOXact_GUC(false, nest);
	SetUserIdAndSecContext(user, sec_context);
}

/* Ends in an error even if all is well, so that it is rolled back. */
static void
analyse_steps(void *arg)
{
	Pass	   *pass = arg;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "flow analysis",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);

	PushActiveSnapshot(GetTransactionSnapshot());
	for (; pass->next < pass->spec->n_steps; pass->next++)
	{
		CHECK_FOR_INTERRUPTS();
		analyse_step(pass, pass->next);
		MemoryContextReset(scratch);
	}
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	elog(ERROR, "nothing of the analysis of steps is kept");
}

/* What follows a utility statement may depend on it, and is left alone. */
static void
analyse_step(Pass *pass, int i)
{
	ListCell   *lc;

	foreach(lc, pass->trees[i])
	{
		RawStmt    *raw = lfirst(lc);
		bool		creates = false;

		if (!is_query(raw, &creates))
			return;
		(void) parse_analyze_withcb(raw, step_sql(pass, i),
									FlowNamesParserSetup,
									&pass->definition->steps[i], NULL);
		if (creates)
			return;
	}
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
	const char *name = FlowStepText(&pass->spec->steps[pass->next],
									FLOW_OPT_NAME);
	FlowProblem problem = {level, error->sqlerrcode, name};

	problem.path = psprintf("steps[%d].sql", pass->next);
	problem.message = with_step(name ? name : "", error->message);
	problem.detail = error->detail;
	problem.hint = error->hint;
	problem.sql = step_sql(pass, pass->next);
	/* an outer query's error context may have taken it for its own */
	problem.position = error->cursorpos > 0 ? error->cursorpos :
		error->internalpos;
	FlowProblemReport(pass->problems, &problem);
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
check_statements(Pass *pass, int i)
{
	const char *name = FlowStepText(&pass->spec->steps[i], FLOW_OPT_NAME);
	const char *sql = step_sql(pass, i);
	ListCell   *lc;

	if (pass->parsed[i] && pass->trees[i] == NIL)
	{
		FlowProblem problem = {ERROR, ERRCODE_INVALID_PARAMETER_VALUE, name};

		problem.path = psprintf("steps[%d].sql", i);
		problem.message = psprintf("the SQL of step \"%s\" is empty",
								   name ? name : "");
		problem.hint = "A step that does nothing is SELECT 1, with result => 'none'.";
		FlowProblemReport(pass->problems, &problem);
	}
	foreach(lc, pass->trees[i])
	{
		const RawStmt *raw = lfirst(lc);
		FlowProblem problem = {ERROR, ERRCODE_FEATURE_NOT_SUPPORTED, name};

		if (!fault_of_statement(raw->stmt, &problem))
			continue;
		problem.path = psprintf("steps[%d].sql", i);
		problem.message = psprintf("step \"%s\" contains %s", name ? name : "",
								   problem.message);
		problem.sql = sql;
		problem.position = position_of(sql, raw->stmt_location);
		FlowProblemReport(pass->problems, &problem);
	}
}

/* Fills in what is wrong with it, the message being its name. */
static bool
fault_of_statement(const Node *statement, FlowProblem *problem)
{
	if (IsA(statement, TransactionStmt))
		return fault_of_transaction((const TransactionStmt *) statement,
									problem);
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

/* Only steps of kind sql hold statements. */
static const char *
step_sql(const Pass *pass, int i)
{
	if (pass->spec->steps[i].kind != FLOW_KIND_SQL)
		return NULL;
	return FlowStepText(&pass->spec->steps[i], FLOW_OPT_SQL);
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
