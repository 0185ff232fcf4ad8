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

static const char *written_path(const FlowPathNames *names, const char *path);
static char *copy_text(const char *text);
static int	add_detail(const FlowProblem *problem);
static int	add_position(const FlowProblem *problem);

void
FlowProblemsInit(FlowProblems *problems, bool collect)
{
	problems->collect = collect;
	problems->names = NULL;
	problems->context = CurrentMemoryContext;
	problems->list = NIL;
	problems->n_errors = 0;
}

void
FlowProblemReport(FlowProblems *problems, const FlowProblem *problem)
{
	FlowProblem told = *problem;
	MemoryContext caller;
	FlowProblem *kept;

	told.path = written_path(problems->names, problem->path);
	if (!problems->collect)
	{
		FlowProblemRaise(&told);
		return;
	}
	caller = MemoryContextSwitchTo(problems->context);
	kept = palloc(sizeof(FlowProblem));
	*kept = told;
	kept->step = copy_text(problem->step);
	kept->path = copy_text(told.path);
	kept->message = copy_text(problem->message);
	kept->detail = copy_text(problem->detail);
	kept->hint = copy_text(problem->hint);
	kept->sql = copy_text(problem->sql);
	problems->list = lappend(problems->list, kept);
	if (problem->level >= ERROR)
		problems->n_errors++;
	MemoryContextSwitchTo(caller);
}

/* steps[2].after[0] -> steps[2].dependencies[0] */
static const char *
written_path(const FlowPathNames *names, const char *path)
{
	int			step;
	int			begin = 0;
	int			length;

	if (names == NULL || path == NULL)
		return path;
	if (sscanf(path, "steps[%d].%n", &step, &begin) < 1)
		begin = 0;
	else if (step >= names->n_steps)
		return names->others;
	length = strcspn(path + begin, "[");
	for (int i = 0; names->parts[i].name != NULL; i++)
		if (strlen(names->parts[i].name) == length &&
			strncmp(path + begin, names->parts[i].name, length) == 0)
			return psprintf("%.*s%s%s", begin, path, names->parts[i].there,
							path + begin + length);
	return path;
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
