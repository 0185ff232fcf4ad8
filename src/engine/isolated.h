/*-------------------------------------------------------------------------
 * isolated.h
 *	  Steps at REPEATABLE READ or SERIALIZABLE.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ISOLATED_H
#define FLOW_ISOLATED_H

#include "catalog/cat_task.h"
#include "engine/batch.h"

/* True if the step of the item may only run at an isolation level of its own. */
extern bool FlowIsolatedIs(const FlowItem *item);

/*
 * At the end of a worker's try, with its step claimed.  If such a step was
 * all that was claimed, makes it batch->isolated and returns true: there is
 * nothing to flush.
 */
extern bool FlowIsolatedPrepare(FlowBatch *batch);

/*
 * Runs batch->isolated: a FlowGuardBody, to be called with the batch in the
 * scope given by FlowIsolatedScope.  Committed, the step has run (executed is
 * set) and its task is marked as ended; or somebody else has it, and it is in
 * batch->unclaimed.
 */
extern FlowGuardScope FlowIsolatedScope(const FlowBatch *batch);
extern void FlowIsolatedRun(void *arg);

/*
 * After an error: what failed in the transaction of a step that had run, such
 * as its commit, is the step's own failure.
 */
extern void FlowIsolatedCharge(FlowBatch *batch, const struct ErrorData *error);

/*
 * After a try without error, the plans to go on with: settle the step that has
 * run, before the rest; run those that the try had to leave, after it.  A
 * client runs none: they are put into batch->passed.
 */
extern List *FlowIsolatedPlans(FlowBatch *batch, List *rest);

/* The item of a claimed task that has ended: all that it has come to. */
extern void FlowIsolatedRecall(FlowBatch *batch, FlowItem *item,
							   const FlowTaskEnd *end);

#endif							/* FLOW_ISOLATED_H */
