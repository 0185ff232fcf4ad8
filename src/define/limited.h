/*-------------------------------------------------------------------------
 * limited.h
 *	  What a definition says about how many run at once.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_LIMITED_H
#define FLOW_LIMITED_H

#include "define/check.h"
#include "define/parse.h"
#include "define/plan.h"

/* Whether "max_runs", "max_runs_by" and "max_parallel" of a workflow mean something. */
extern void FlowLimitedCheck(FlowCheck *check);

/* The same of the "limits" of a step. */
extern void FlowLimitedCheckStep(FlowCheck *check, int i);

/*
 * FlowParseCheck for the SQL of "max_runs_by"; and that there are the limits which
 * steps name, or else a warning.
 */
extern void FlowLimitedResolve(const FlowSpec *spec, const FlowParseScope *scope,
							   FlowProblems *problems);

/*
 * True if a step needs a place before it runs: under named limits, or one of the
 * max_parallel of its run, which those that only wait do not count for, nor
 * those that compute items, nor hooks.
 */
extern bool FlowLimitedIs(const FlowStepDef *step);

/*
 * That SQL as the one step of a specification, so that it can be parsed,
 * compiled and run as the SQL of steps is.
 */
extern FlowSpec *FlowLimitedSpec(const char *max_runs_by);

/*
 * flow_limit: makes, changes or, with neither running nor rate (0), removes a
 * limit.  Needs a transaction.
 */
extern void FlowLimitedSet(const char *name, int32 running, int32 rate,
						   const Interval *per);

#endif							/* FLOW_LIMITED_H */
