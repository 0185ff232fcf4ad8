/*-------------------------------------------------------------------------
 * check.h
 *	  What a definition means, checked; every problem with its place.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CHECK_H
#define FLOW_CHECK_H

#include "define/document.h"
#include "define/problem.h"

/*
 * Checks names, dependencies, and the values and combinations of options;
 * not the SQL, for which see parse.h.  Takes time in proportion to the size
 * of the definition, times the logarithm of the number of steps.
 */
extern void FlowCheckSpec(const FlowSpec *spec, FlowProblems *problems);

/* The checks of one specification, and the place they are at */
typedef struct FlowCheck
{
	const FlowSpec *spec;
	FlowProblems *problems;
	int			step;			/* -1: the workflow as a whole */
	const char *path;
	int		   *by_name;		/* steps that have a name, ordered by it */
	int			n_named;
} FlowCheck;

/* Index of a step of that name, or -1; the nearest name, or NULL. */
extern int	FlowCheckFindStep(const FlowCheck *check, const char *name);
extern const char *FlowCheckSuggestStep(const FlowCheck *check,
										const char *name);

/* Set the place, and return the check. */
extern FlowCheck *FlowCheckAt(FlowCheck *check, int step, const char *path);
extern FlowCheck *FlowCheckAtStep(FlowCheck *check, int step);
extern FlowCheck *FlowCheckAtOption(FlowCheck *check, int step,
									FlowOption option);

/* Reports an error at the place that was set; detail and hint may be NULL. */
extern void FlowCheckReport(FlowCheck *check, int sqlstate,
							const char *message, const char *detail,
							const char *hint);

#endif							/* FLOW_CHECK_H */
