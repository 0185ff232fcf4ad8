/*-------------------------------------------------------------------------
 * overtaken.h
 *	  What a step leaves behind for which the first of several was enough.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_OVERTAKEN_H
#define FLOW_OVERTAKEN_H

#include "engine/batch.h"
#include "engine/changes.h"

/*
 * Ends what the step has not waited for, and puts its numbers into "ended",
 * which has room for all that the step comes after; returns how many.  The
 * worker that runs one of them finds that it has an end, and drops it.  Needs
 * the run locked, SPI, and must be raised.
 */
extern int	FlowOvertakenEnd(FlowBatch *batch, FlowRunRef *run,
							 const FlowStepDef *step, int *ended,
							 FlowChanges *changes);

#endif							/* FLOW_OVERTAKEN_H */
