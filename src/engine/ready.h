/*-------------------------------------------------------------------------
 * ready.h
 *	  Decides which steps may run next, and which never will.  Pure.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_READY_H
#define FLOW_READY_H

#include "define/plan.h"

/*
 * How the steps of a run have ended, by step number (1 .. n_all)
 */
typedef struct FlowEnds
{
	const FlowDefinition *definition;
	uint8	   *status;			/* FlowStepStatus; 0: not ended */
	uint64	   *events;			/* what they emitted, as bits */
	int			n;				/* steps of the graph that have ended */
} FlowEnds;

typedef enum FlowReadiness
{
	FLOW_READY_WAIT,			/* it is not decided yet */
	FLOW_READY_RUN,
	FLOW_READY_SKIP
} FlowReadiness;

/* Allocates in the current memory context. */
extern void FlowEndsInit(FlowEnds *ends, const FlowDefinition *definition);
extern void FlowEndsForget(FlowEnds *ends, const FlowDefinition *definition);

/* Notes the end of a step, also over an earlier one. */
extern void FlowEndsNote(FlowEnds *ends, int step_no, FlowStepStatus status,
						 uint64 events);

/* The step has not ended after all. */
extern void FlowEndsTakeBack(FlowEnds *ends, int step_no);

/* What follows for a step from how the steps it depends on have ended. */
extern FlowReadiness FlowReadyCompute(const FlowStepDef *step,
									  const FlowEnds *ends);

/* True if the step has not ended and may run. */
extern bool FlowReadyIs(const FlowStepDef *step, const FlowEnds *ends);

/* True if some dependency of the step is not known to have ended. */
extern bool FlowReadyIsOpen(const FlowStepDef *step, const FlowEnds *ends);

/* Why it is skipped, or has to be; in the current memory context. */
extern const char *FlowReadyReason(const FlowStepDef *step,
								   const FlowEnds *ends);

/*
 * What follows from the end of the n steps in "from": writes the numbers of the
 * steps that are decided by it to "decided", which has room for all steps, and
 * returns how many.  Those to be skipped have been noted as ended; what follows
 * from that is in the list as well.  With "closed" only what may be decided
 * without a lock on the run: joins of which all dependencies have ended.
 */
extern int	FlowReadySpread(const FlowDefinition *definition, FlowEnds *ends,
							const int *from, int n, bool closed, int *decided);

/* True if the failure of a step is taken over by another one. */
extern bool FlowReadyIsHandled(const FlowStepDef *step, uint64 events);

/* True if that end of the step makes the run end as failed. */
extern bool FlowReadyFailsRun(const FlowStepDef *step, FlowStepStatus status,
							  uint64 events);

/*
 * What becomes of the steps that a failed run will not execute: sets
 * fate[step] for every step that has not ended, to skipped downstream of a
 * step that failed, else to cancelled; cause[step] is the failed step.  Steps
 * that always run have no such fate.
 */
extern void FlowReadyComputeFate(const FlowDefinition *definition,
								 const FlowEnds *ends, uint8 *fate, int *cause);

/*
 * True if the step, which is cancelled, is so because another one was first,
 * and not because the run ended.
 */
extern bool FlowReadyWasOvertaken(const FlowStepDef *step,
								  const FlowEnds *ends);

/*
 * Which ends flow_retry undoes: those of steps that failed for good or were
 * cancelled, of those that were skipped because of them, and of steps that
 * always run.  forget[step] is set.
 */
extern void FlowReadyComputeRetry(const FlowDefinition *definition,
								  const FlowEnds *ends, bool *forget);

#endif							/* FLOW_READY_H */
