/*-------------------------------------------------------------------------
 * suspect.h
 *	  Steps that ran when their process died, and what is done about them.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SUSPECT_H
#define FLOW_SUSPECT_H

#include "engine/batch.h"

/*
 * After the claim: learns what is known against the steps of the batch, if
 * there is anything, and sorts them.  One that has been charged twice fails; one
 * whose definition is quarantined is held; one under suspicion is set apart,
 * unless the batch is it alone, with care.  Needs SPI; raises by itself.
 */
extern void FlowSuspectSort(FlowBatch *batch);

/* True if that step of the run may not be run along with others, or at all. */
extern bool FlowSuspectIs(const FlowBatch *batch, int64 run_id,
						  const FlowStepDef *step);

/* Plans for the steps that a batch has set apart, to follow "rest". */
extern List *FlowSuspectPlans(const FlowBatch *batch, List *rest);

/*
 * In the flush: what has ended is under suspicion no more.  Needs SPI, must be
 * raised, with the runs locked.
 */
extern void FlowSuspectSettle(const FlowBatch *batch);

#endif							/* FLOW_SUSPECT_H */
