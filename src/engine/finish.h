/*-------------------------------------------------------------------------
 * finish.h
 *	  The end of a run, and its output.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_FINISH_H
#define FLOW_FINISH_H

#include "engine/batch.h"
#include "engine/changes.h"

/*
 * Notes among the changes that the run ends with that status, its output if it
 * has completed, and the event.  Needs the run locked, SPI, and must be raised.
 */
extern void FlowFinishRun(FlowRunRef *run, FlowRunStatus status,
						  FlowChanges *changes);

#endif							/* FLOW_FINISH_H */
