/*-------------------------------------------------------------------------
 * limit.h
 *	  Runs and steps that wait for a place under a limit.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_LIMIT_H
#define FLOW_LIMIT_H

#include "catalog/cat_run.h"
#include "catalog/cat_task.h"
#include "engine/batch.h"

/*
 * Lets a new row, which starts a run, wait for a place, and has the scheduler
 * look after the commit.  key NULL: none.
 */
extern void FlowLimitWait(FlowTaskNew *row, const char *key);

/*
 * After the claim, as the owner: of the runs that are about to begin without a
 * place, those that need one are noted to wait, with the value of max_runs_by.
 * In a client's session they begin at once.
 */
extern void FlowLimitClassify(FlowBatch *batch);

/*
 * True if the step, which has been claimed, needs a place and has none.  In a
 * client's session none does.
 */
extern bool FlowLimitWants(const FlowBatch *batch, const FlowItem *item);

/* Instead of running it: it is noted to wait, with the value of limit_key. */
extern void FlowLimitQueue(FlowBatch *batch, FlowItem *item);

/* In the flush, with the run locked: what was noted so waits. */
extern void FlowLimitPutRun(FlowItem *item);
extern void FlowLimitPutStep(FlowItem *item);

/*
 * A run that has just been retried, and never began before, waits as a new one
 * does if its workflow has a limit; returns whether it does.
 */
extern bool FlowLimitStopsRetry(const FlowRunRow *run);

/*
 * Has the scheduler look, if something waits, whether what this flush, or a
 * control function, has done gives a place back.
 */
extern void FlowLimitNoteFreed(const FlowBatch *batch);
extern void FlowLimitNoteFreedBy(const FlowRunRow *run);

#endif							/* FLOW_LIMIT_H */
