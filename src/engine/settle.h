/*-------------------------------------------------------------------------
 * settle.h
 *	  What the steps of a batch mean for their run.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SETTLE_H
#define FLOW_SETTLE_H

#include "catalog/cat_item.h"
#include "engine/batch.h"
#include "engine/changes.h"

/* Records one item: its outcome, its failed attempt, its end as a task. */
extern void FlowSettleItem(FlowBatch *batch, FlowItem *item, FlowChanges *changes);

/*
 * True if it has to be known which steps of the run have ended, and this is
 * not known from the batch alone.  After FlowSettleItem for all its items.
 */
extern bool FlowSettleNeedsEnds(const FlowBatch *batch, const FlowRunRef *run);

/*
 * Decides what becomes ready or is skipped, and whether the run is over.
 * Needs the run locked, SPI, and must be raised.
 */
extern void FlowSettleRun(FlowBatch *batch, FlowRunRef *run,
						  FlowChanges *changes);

/* For wind.c: makes a step ready; begins the row of one that did not run. */
extern void FlowSettleReady(FlowRunRef *run, FlowStepDef *step,
							FlowChanges *changes);

/* Begins the row in task of a step that stays live after it was executed. */
extern void FlowSettleInitTask(FlowTaskNew *row, const FlowItem *item,
							   FlowStepStatus status);

/* The same for one of several that a step has: an item. */
extern void FlowSettleReadyItem(FlowRunRef *run, FlowStepDef *step,
								const FlowItemNext *next, FlowChanges *changes);
extern void FlowSettleInitEnd(FlowOutcomeRow *row, const FlowRunRef *run,
							  int step_no, FlowStepStatus status);

#endif							/* FLOW_SETTLE_H */
