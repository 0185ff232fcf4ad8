/*-------------------------------------------------------------------------
 * statement.c
 *	  A step's SQL, statement by statement, with kept plans.
 *
 * The text is split by the raw parser; each statement is prepared just before
 * it runs for the first time in this backend, so that it may use what the one
 * before it created, and is kept from then on.  What is kept is bounded: the
 * program that has not been used for longest gives way.
 *
 * SPI reports some refusals (COMMIT, ROLLBACK, COPY) by a negative code, with
 * the statements before still applied; every code is looked at.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/ilist.h"
#include "parser/parser.h"
#include "utils/memutils.h"

#include "define/names.h"
#include "engine/result.h"
#include "engine/statement.h"

/* Programs kept in this backend */
#define MAX_PROGRAMS	4096

typedef struct Statement
{
	char	   *text;
	SPIPlanPtr	plan;			/* NULL: not prepared yet */
} Statement;

typedef struct Program
{
	dlist_node	node;			/* in "programs", the latest used first */
	FlowStepDef *step;
	FlowSqlText *source;
	MemoryContext context;
	int			n;
	Statement  *statements;
} Program;

static dlist_head programs = DLIST_STATIC_INIT(programs);
static int	n_programs = 0;

/* The statement that is running, or failed last; of "running_step" */
static const Statement *running = NULL;
static RawParseMode running_mode;
static const FlowStepDef *running_step = NULL;

static Program *find_program(FlowStepDef *step, FlowSqlText *source);
static Program *split(FlowStepDef *step, FlowSqlText *source);
static RawParseMode parse_mode(const FlowSqlText *source);
static void drop_program(Program *program);
static void prepare(Program *program, Statement *statement);
static void run(Statement *statement, ParamListInfo params, DestReceiver *dest);
static void refuse(int code);

Datum
FlowStatementsRun(FlowStepDef *step, FlowSqlRole role, ParamListInfo params,
				  MemoryContext context, bool *isnull)
{
	Program    *program = find_program(step, &step->sql[role]);
	DestReceiver *dest = FlowResultCreate(step->sql[role].result, context);

	for (int i = 0; i < program->n; i++)
	{
		Statement  *statement = &program->statements[i];

		running = statement;
		running_step = step;
		running_mode = parse_mode(program->source);
		if (statement->plan == NULL)
			prepare(program, statement);
		run(statement, params, i == program->n - 1 ? dest : None_Receiver);
	}
	running = NULL;
	return FlowResultTake(dest, isnull);
}

const char *
FlowStatementsHint(const FlowStepDef *step, const ErrorData *error)
{
	List	   *raw;

	if (running == NULL || running_step != step)
		return NULL;
	raw = raw_parser(running->text, running_mode);
	if (list_length(raw) != 1)
		return NULL;
	return FlowNamesHint(step, linitial_node(RawStmt, raw)->stmt, error);
}

static Program *
find_program(FlowStepDef *step, FlowSqlText *source)
{
	Program    *program = source->program;

	if (program != NULL)
	{
		dlist_move_head(&programs, &program->node);
		return program;
	}
	program = split(step, source);
	if (n_programs >= MAX_PROGRAMS)
		drop_program(dlist_tail_element(Program, node, &programs));
	dlist_push_head(&programs, &program->node);
	n_programs++;
	source->program = program;
	return program;
}

static Program *
split(FlowStepDef *step, FlowSqlText *source)
{
	MemoryContext scratch = CurrentMemoryContext;
	List	   *raw = raw_parser(source->text, parse_mode(source));
	MemoryContext context;
	Program    *program;
	ListCell   *cell;

	context = AllocSetContextCreate(CacheMemoryContext, "flow program",
									ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(context);
	program = palloc0(sizeof(Program));
	program->step = step;
	program->source = source;
	program->context = context;
	program->statements = palloc0(sizeof(Statement) * Max(list_length(raw), 1));
	foreach(cell, raw)
	{
		RawStmt    *stmt = lfirst_node(RawStmt, cell);
		const char *sql = source->text +stmt->stmt_location;

		program->statements[program->n++].text =
			stmt->stmt_len > 0 ? pnstrdup(sql, stmt->stmt_len) : pstrdup(sql);
	}
	MemoryContextSwitchTo(scratch);
	return program;
}

static RawParseMode
parse_mode(const FlowSqlText *source)
{
	return source->expression ? RAW_PARSE_PLPGSQL_EXPR : RAW_PARSE_DEFAULT;
}

static void
drop_program(Program *program)
{
	for (int i = 0; i < program->n; i++)
		if (program->statements[i].plan != NULL)
			SPI_freeplan(program->statements[i].plan);
	program->source->program = NULL;
	dlist_delete(&program->node);
	n_programs--;
	if (running_step == program->step)
		running = NULL;
	MemoryContextDelete(program->context);
}

/*
 * The plan is analysed again whenever something it uses changes, at any later
 * execution, so the hook's argument is the step of the cached definition.
 */
static void
prepare(Program *program, Statement *statement)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIPrepareOptions options;
	SPIPlanPtr	plan;

	memset(&options, 0, sizeof(options));
	options.parserSetup = FlowNamesSetupOf(program->source - program->step->sql);
	options.parserSetupArg = program->step;
	options.parseMode = parse_mode(program->source);
	options.cursorOptions = CURSOR_OPT_PARALLEL_OK;
	plan = SPI_prepare_extended(statement->text, &options);
	if (plan == NULL)
		refuse(SPI_result);
	SPI_keepplan(plan);
	statement->plan = plan;
	MemoryContextSwitchTo(caller);	/* SPI leaves its own current */
}

static void
run(Statement *statement, ParamListInfo params, DestReceiver *dest)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIExecuteOptions options;
	int			code;

	memset(&options, 0, sizeof(options));
	options.params = params;
	options.dest = dest;
	code = SPI_execute_plan_extended(statement->plan, &options);
	if (code < 0)
		refuse(code);
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(caller);
}

static void
refuse(int code)
{
	switch (code)
	{
		case SPI_ERROR_TRANSACTION:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
					 errmsg("a step cannot begin, commit or roll back a transaction"),
					 errdetail("All its statements and its outcome are one transaction."),
					 errhint("Use flow_command() for a procedure that commits.")));
			break;
		case SPI_ERROR_COPY:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a step cannot COPY to or from the client"),
					 errdetail("A step runs in the server, where there is no client."),
					 errhint("Name a file or a program in COPY, or use INSERT.")));
			break;
		default:
			elog(ERROR, "statement of a step was refused: %s",
				 SPI_result_code_string(code));
	}
}
