/*-------------------------------------------------------------------------
 * aside.h
 *	  Steps behind somebody's lock: who waits, who gives up, what is set
 *	  aside.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ASIDE_H
#define FLOW_ASIDE_H

#include "datatype/timestamp.h"
#include "flow.h"

/*
 * Steps behind somebody's lock.  FlowAsideNoteWaiting is called in a signal
 * handler, while this worker waits for a lock in that step; it returns true
 * if the worker should do something else.  FlowAsideNoteBlocked says that it
 * has given up, and returns true if other runs of the step should not be
 * tried either.  FlowAsideSetAside keeps a run until one is tried again; false
 * if there was no room.
 */
extern bool FlowAsideNoteWaiting(int lane, int32 definition_id, int32 step_no,
								 TimestampTz since);
extern void FlowAsideNoteGoingOn(void);
extern bool FlowAsideNoteBlocked(int lane, int32 definition_id, int32 step_no);
extern bool FlowAsideSetAside(int lane, const FlowReady *ready);

/*
 * Takes off one of those set aside, to be tried; false if none is due.  When
 * it has been, or was gone, FlowAsideEndTry is to be called.  A run of
 * the step that got through, whatever it came to, is told to
 * FlowAsideNoteFree; if it was "tried", all set aside are queued again.
 */
extern bool FlowAsidePopTry(int lane, FlowReady *entry);
extern void FlowAsideEndTry(int lane, const FlowReady *entry);
extern void FlowAsideNoteFree(int lane, int32 definition_id, int32 step_no,
							  bool tried);
extern bool FlowAsideIsClosed(int lane, int32 definition_id, int32 step_no);
extern TimestampTz FlowAsideNextTry(int lane);	/* DT_NOEND: there is none */

#endif							/* FLOW_ASIDE_H */
