/*-------------------------------------------------------------------------
 * settle.h
 *	  What the steps of a batch mean for their run.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SETTLE_H
#define FLOW_SETTLE_H

#include "engine/batch.h"
#include "engine/changes.h"

/* Records one item: its outcome, its failed attempt, its end as a task. */
extern void FlowSettleItem(FlowItem *item, FlowChanges *changes);

/*
 * True if it has to be known which steps of the run have ended, and this is
 * not known from the batch alone.  After FlowSettleItem for all its items.
 */
extern bool FlowSettleNeedsEnds(const FlowBatch *batch, const FlowRunRef *run);

/*
 * Decides what becomes ready, or that the run has completed or failed.
 * Needs the run locked, SPI, and must be raised.
 */
extern void FlowSettleRun(FlowBatch *batch, FlowRunRef *run,
						  FlowChanges *changes);

#endif							/* FLOW_SETTLE_H */
