/*-------------------------------------------------------------------------
 * claim.h
 *	  From keys to locked steps and their runs.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CLAIM_H
#define FLOW_CLAIM_H

#include "engine/batch.h"

/*
 * Locks the steps of the batch's plan that are ready, and fills in its items
 * and runs.  Needs a transaction and SPI; allocates in batch->context.
 */
extern void FlowClaimKeys(FlowBatch *batch);

/*
 * Reads which steps have ended: of that run, or of all runs of the batch
 * (NULL) of which it is not known.  What was known of them before is
 * forgotten, but for what this batch has done itself.  Raised by itself.
 */
extern void FlowClaimLearnEnds(FlowBatch *batch, FlowRunRef *only);

/* A new item for a step that follows in the same batch, without a row. */
extern FlowItem *FlowClaimInline(FlowRunRef *run, FlowStepDef *step);

/* The same for one that is skipped, among the items of the batch. */
extern void FlowClaimSkip(FlowBatch *batch, FlowRunRef *run, FlowStepDef *step);

/*
 * Failed attempts of a step before a retry by hand of its run; known of a run
 * whose ends have been read.
 */
extern int	FlowRunTried(const FlowRunRef *run, const FlowStepDef *step);

/*
 * True if the run is on its way to a bad end: nothing starts but the steps that
 * always run.
 */
extern bool FlowRunIsWinding(const FlowRunRef *run);

/*
 * True if steps of the run can be ended by others than who runs them, or
 * before their turn; then it has to be known which have.
 */
extern bool FlowRunMayOvertake(const FlowRunRef *run);

/* True if the run, as far as it has come, still runs that step. */
extern bool FlowRunLets(const FlowRunRef *run, const FlowStepDef *step);

#endif							/* FLOW_CLAIM_H */
