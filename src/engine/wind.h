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

/*
 * Ends a run of which all steps have ended in the normal course: it has failed
 * if one of them has, and nothing has handled or passed over it.
 */
extern void FlowWindEnd(FlowRunRef *run, FlowChanges *changes);

#endif							/* FLOW_WIND_H */
