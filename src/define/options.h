/*-------------------------------------------------------------------------
 * options.h
 *	  Whether the options of a step mean something, by themselves and together.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_OPTIONS_H
#define FLOW_OPTIONS_H

#include "define/check.h"

/* Of step i: values, ranges, combinations, and what the step's kind needs or ignores. */
extern void FlowOptionsCheck(FlowCheck *check, int i);

/* Of an argument of the workflow that is an interval: its range. */
extern void FlowOptionsCheckArgument(FlowCheck *check, FlowArgument argument);

/* What is right but has to wait for a later release. */
extern void FlowOptionsCheckSupported(FlowCheck *check, int i);

#endif							/* FLOW_OPTIONS_H */
