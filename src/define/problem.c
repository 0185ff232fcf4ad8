/*-------------------------------------------------------------------------
 * problem.c
 *	  What is wrong with a definition: raised at once, or collected.
 *
 * flow_define raises the first error it meets and says warnings as they come;
 * flow_check wants all of them as rows.  The checks do not know which: they
 * report, and go on if they can.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "define/problem.h"

static char *copy_text(const char *text);
static int	add_detail(const FlowProblem *problem);
static int	add_position(const FlowProblem *problem);

void
FlowProblemsInit(FlowProblems *problems, bool collect)
{
	problems->collect = collect;
	problems->context = CurrentMemoryContext;
	problems->list = NIL;
	problems->n_errors = 0;
}

void
FlowProblemReport(FlowProblems *problems, const FlowProblem *problem)
{
	MemoryContext caller;
	FlowProblem *kept;

	if (!problems->collect)
	{
		FlowProblemRaise(problem);
		return;
	}
	caller = MemoryContextSwitchTo(problems->context);
	kept = palloc(sizeof(FlowProblem));
	*kept = *problem;
	kept->step = copy_text(problem->step);
	kept->path = copy_text(problem->path);
	kept->message = copy_text(problem->message);
	kept->detail = copy_text(problem->detail);
	kept->hint = copy_text(problem->hint);
	kept->sql = copy_text(problem->sql);
	problems->list = lappend(problems->list, kept);
	if (problem->level >= ERROR)
		problems->n_errors++;
	MemoryContextSwitchTo(caller);
}

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

void
FlowProblemRaise(const FlowProblem *problem)
{
	ereport(problem->level,
			(errcode(problem->sqlstate),
			 errmsg_internal("%s", problem->message),
			 add_detail(problem),
			 problem->hint ? errhint("%s", problem->hint) : 0,
			 add_position(problem)));
}

static int
add_detail(const FlowProblem *problem)
{
	if (problem->path && problem->detail)
		return errdetail("Found at %s. %s", problem->path, problem->detail);
	if (problem->path)
		return errdetail("Found at %s.", problem->path);
	if (problem->detail)
		return errdetail("%s", problem->detail);
	return 0;
}

static int
add_position(const FlowProblem *problem)
{
	if (problem->sql == NULL || problem->position <= 0)
		return 0;
	internalerrquery(problem->sql);
	return internalerrposition(problem->position);
}
