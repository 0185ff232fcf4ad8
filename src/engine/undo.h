/*-------------------------------------------------------------------------
 * undo.h
 *	  Compensation: what a run has done is undone when it comes to a bad end.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_UNDO_H
#define FLOW_UNDO_H

#include "engine/batch.h"
#include "engine/changes.h"

/*
 * Starts what may be undone now in a run of which all other steps have ended.
 * Returns false if nothing is left to undo.  Needs the run locked, its ends
 * known, and SPI; must be raised.
 */
extern bool FlowUndoGoesOn(FlowRunRef *run, FlowChanges *changes);

/* Notes with the undone step how its compensation has ended. */
extern void FlowUndoNote(const FlowItem *item);

/* True if that end of a step is to be undone when its run is cancelled. */
extern bool FlowUndoIsDue(const FlowStepDef *step, FlowStepStatus status);

#endif							/* FLOW_UNDO_H */
