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
 * Reads, for those runs of the batch of which it is not known, which steps
 * have ended.  Raised by itself.
 */
extern void FlowClaimLearnEnds(FlowBatch *batch);

/* A new item for a step that follows in the same batch, without a row. */
extern FlowItem *FlowClaimInline(FlowRunRef *run, FlowStepDef *step);

#endif							/* FLOW_CLAIM_H */
