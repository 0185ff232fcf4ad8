/*-------------------------------------------------------------------------
 * subflow.h
 *	  What passes between a run and those that its steps have started.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SUBFLOW_H
#define FLOW_SUBFLOW_H

#include "engine/batch.h"

/*
 * Tells the unfinished runs that steps of a run have started, or that step (0:
 * any), or that item of it (0: any), to do as theirs: "what" is
 * FLOW_ITEM_CANCEL, _PAUSE or _RESUME.  Told is what a worker acts upon after
 * the commit.  Needs SPI and must be raised.
 */
extern void FlowSubflowTell(int64 run_id, int32 step_no, int32 item_no,
							int32 what);

/* Tells the run whose step has started a run that it has ended; likewise. */
extern void FlowSubflowTellEnd(const FlowStepKey *parent);

/* Raises for an item of too high a number to have a run of its own. */
extern void FlowSubflowCheckItem(const FlowItem *item);

/*
 * Adds to the batch the steps that its items say have come to an end, since the
 * runs that they have started have.  Needs the runs locked; likewise.
 */
extern void FlowSubflowSettle(FlowBatch *batch);

/* True if the latest run that the step has started is over.  Must be raised. */
extern bool FlowSubflowHasEnded(const FlowStepKey *key);

/*
 * For a step that is executed although it waits: how its run has ended, if it
 * has; and to leave that run, which is cancelled.
 */
extern bool FlowSubflowRecall(FlowItem *item);
extern void FlowSubflowLeave(FlowItem *item);

#endif							/* FLOW_SUBFLOW_H */
