/*-------------------------------------------------------------------------
 * problem.h
 *	  What is wrong with a definition: raised at once, or collected.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PROBLEM_H
#define FLOW_PROBLEM_H

#include "nodes/pg_list.h"

typedef struct FlowProblem
{
	int			level;			/* ERROR, WARNING, NOTICE */
	int			sqlstate;
	const char *step;			/* NULL: the workflow as a whole */
	const char *path;			/* steps[2].after[0]; NULL: none */
	const char *message;
	const char *detail;			/* beside the path; may be NULL */
	const char *hint;			/* may be NULL */
	const char *sql;			/* text that "position" counts in */
	int			position;		/* in characters from 1; 0: none */
} FlowProblem;

/*
 * What the parts of a path are called in the document that the user wrote, if
 * that was translated; steps that it did not have are at "others".
 */
typedef struct FlowPathNames
{
	int			n_steps;
	const char *others;
	const struct FlowPathName
	{
		const char *name;
		const char *there;
	}		   *parts;			/* ending in NULL */
} FlowPathNames;

typedef struct FlowProblems
{
	bool		collect;		/* keep them; else raise errors at once, and
								 * say warnings and notices */
	const FlowPathNames *names; /* NULL: paths are what they are */
	MemoryContext context;		/* of what is kept */
	List	   *list;			/* of FlowProblem *, as reported */
	int			n_errors;
} FlowProblems;

/* Starts a list in the current memory context. */
extern void FlowProblemsInit(FlowProblems *problems, bool collect);

/* Copies what it keeps.  Returns only if the problem does not raise. */
extern void FlowProblemReport(FlowProblems *problems,
							  const FlowProblem *problem);

/* Raises or says a problem. */
extern void FlowProblemRaise(const FlowProblem *problem);

#endif							/* FLOW_PROBLEM_H */
