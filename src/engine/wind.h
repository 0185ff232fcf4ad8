/*-------------------------------------------------------------------------
 * wind.h
 *	  How a run comes to a bad end.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WIND_H
#define FLOW_WIND_H

#include "engine/batch.h"
#include "engine/changes.h"

/*
 * Takes a run that has failed, or was cancelled, one moment further; needs to
 * know which of its steps have ended.  Needs the run locked, SPI, and must be
 * raised.
 */
extern void FlowWindDown(FlowBatch *batch, FlowRunRef *run,
						 FlowChanges *changes);

/* True if a step has failed, and nothing has handled or passed over it. */
extern bool FlowWindHasFailed(const FlowRunRef *run);

#endif							/* FLOW_WIND_H */
