/*-------------------------------------------------------------------------
 * ready.h
 *	  Decides which steps may run next.  Pure.
 *
 * "ended" is indexed by step number (1 .. n_steps): the FlowStepStatus of
 * steps that have ended, 0 for the others.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_READY_H
#define FLOW_READY_H

#include "define/plan.h"

/* True if the step has not ended and all it depends on has completed. */
extern bool FlowReadyIs(const FlowStepDef *step, const uint8 *ended);

/* True if some dependency of the step is not known to have ended. */
extern bool FlowReadyIsOpen(const FlowStepDef *step, const uint8 *ended);

/*
 * What becomes of the steps that a failed run will not execute: sets
 * fate[step] for every step that has not ended, to skipped downstream of a
 * step that failed, else to cancelled; cause[step] is the failed step.
 */
extern void FlowReadyComputeFate(const FlowDefinition *definition,
								 const uint8 *ended, uint8 *fate, int *cause);

#endif							/* FLOW_READY_H */
