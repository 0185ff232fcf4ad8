/*-------------------------------------------------------------------------
 * redo.h
 *	  What to do when a batch has failed.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_REDO_H
#define FLOW_REDO_H

#include "engine/batch.h"

/*
 * The plans that take the place of the one that failed, before the rest:
 * the innocent steps together, the culprit alone, a failure to record.  Steps that can only be
 * tried again later are added to the lists of the batch.
 */
extern List *FlowRedoPlans(FlowBatch *batch, struct ErrorData *error,
						   List *rest);

/* A plan for one step alone.  Allocated in the current memory context. */
extern FlowPlan *FlowRedoPlanFor(const FlowStepKey *key);

/*
 * For a step that runs outside the batch's transaction, and is batch->current:
 * its failure, or NULL if it was interrupted for a reason that is not its own.
 */
extern FlowFailure *FlowRedoFailureOf(FlowBatch *batch, struct ErrorData *error);

/*
 * The attempt of the item has failed: it is tried again, or has failed for good.
 * Needs SPI and raises by itself if the step has a total_timeout.
 */
extern void FlowRedoFail(FlowItem *item, FlowFailure *failure,
						 TimestampTz started_at);

/* A random number in [0, 1), for the jitter of delays. */
extern double FlowRedoChance(void);

#endif							/* FLOW_REDO_H */
