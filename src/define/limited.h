/*-------------------------------------------------------------------------
 * limited.h
 *	  What a definition says about how many run at once.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_LIMITED_H
#define FLOW_LIMITED_H

#include "define/check.h"
#include "define/parse.h"

/* Whether "max_runs" and "max_runs_by" of a workflow mean something. */
extern void FlowLimitedCheck(FlowCheck *check);

/* FlowParseCheck for the SQL of "max_runs_by". */
extern void FlowLimitedCheckSql(const FlowSpec *spec, const FlowParseScope *scope,
								FlowProblems *problems);

/*
 * That SQL as the one step of a specification, so that it can be parsed,
 * compiled and run as the SQL of steps is.
 */
extern FlowSpec *FlowLimitedSpec(const char *max_runs_by);

#endif							/* FLOW_LIMITED_H */
