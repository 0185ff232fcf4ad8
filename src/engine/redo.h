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

/* A random number in [0, 1), for the jitter of delays. */
extern double FlowRedoChance(void);

#endif							/* FLOW_REDO_H */
