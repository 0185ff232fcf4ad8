/*-------------------------------------------------------------------------
 * watch.h
 *	  The time limits of the running step.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WATCH_H
#define FLOW_WATCH_H

#include "engine/batch.h"

typedef enum FlowWatchCause
{
	FLOW_WATCH_NONE,
	FLOW_WATCH_LIMIT,			/* the step took longer than it may */
	FLOW_WATCH_OVERRUN,			/* it holds up others in its batch */
	FLOW_WATCH_BLOCKED			/* it waits for a lock, and holds up others */
} FlowWatchCause;

/*
 * From "start" to FlowWatchEnd the step is interrupted, as by pg_cancel_backend,
 * once it has taken longer than either: microseconds, 0 for none.  A step
 * that swallows the interrupt is interrupted again, and if "ends", this
 * process is ended after a while.
 */
extern void FlowWatchBegin(TimestampTz start, int64 limit, int64 overrun,
						   bool ends);
extern void FlowWatchEnd(void);

/*
 * For a step that FlowWatchBegin has no overrun for: it is also interrupted
 * when it waits for a lock and this worker has something else to do, but not
 * before it has waited for "patience" milliseconds, and for as long as it had
 * run before.
 */
extern void FlowWatchForLocks(const FlowBatch *batch, int patience);

/*
 * Whether, and why, the last step was interrupted by its limits: to be asked
 * whatever the step returned, since SQL can swallow a cancel.  Forgets it.
 */
extern FlowWatchCause FlowWatchTake(void);

/* The same, and it is not forgotten. */
extern FlowWatchCause FlowWatchPeek(void);

/* The time limit that was armed last, in milliseconds. */
extern double FlowWatchLimit(void);

/* For an exit callback: why this process was ended from here, if it was. */
extern FlowWatchCause FlowWatchEnding(void);

#endif							/* FLOW_WATCH_H */
