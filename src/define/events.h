/*-------------------------------------------------------------------------
 * events.h
 *	  Whether the events that steps declare and depend on can be.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_EVENTS_H
#define FLOW_EVENTS_H

#include "define/check.h"

/* Checks "emits" of step i: no name twice, none that every step emits. */
extern void FlowEventsCheckEmits(FlowCheck *check, int i);

/*
 * Checks that step "from" may emit the event that step i depends on, at the
 * place that the check has been set to.
 */
extern void FlowEventsCheckDependency(FlowCheck *check, int i, int from,
									  const char *event);

/* Raises 22023 for a name that a step cannot emit by itself. */
extern void FlowEventsRequireOwn(const char *event);

#endif							/* FLOW_EVENTS_H */
