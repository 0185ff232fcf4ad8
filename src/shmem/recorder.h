/*-------------------------------------------------------------------------
 * recorder.h
 *	  The flight recorder: what each process of ours was doing when the server
 *	  crashed, in a file that survives it.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RECORDER_H
#define FLOW_RECORDER_H

#include "datatype/timestamp.h"
#include "flow.h"

/* Steps that one page has room for: those of a batch */
#define FLOW_RECORD_MAX_STEPS	100

/* A step that ran when its process died */
typedef struct FlowRecord
{
	FlowStepKey key;
	int32		definition_id;
	bool		charged;		/* it is held to be the cause; else it may be */
} FlowRecord;

/*
 * Takes a page for this process, given back at its exit unless it dies while it
 * runs a step and nobody has asked it to.  Does nothing without shared memory.
 * Not for a client's backend.
 */
extern void FlowRecorderAttach(Oid database);

/*
 * What it does: a piece of work begins and ends; in it, steps begin and end.
 * With "durable" the note survives the loss of power too, when the call
 * returns.  A piece of work that has committed something is progress.
 */
extern void FlowRecorderBegin(void);
extern void FlowRecorderBeginStep(const FlowStepKey *key, int32 definition_id,
								  bool durable);
extern void FlowRecorderEndStep(void);
extern void FlowRecorderEnd(bool progress);

/*
 * Of a process of that database that has died: its page, the steps that ran
 * in it (room for FLOW_RECORD_MAX_STEPS), and when that was noticed; -1 if there
 * is none.  To be freed once what it says has been stored.
 */
extern int	FlowRecorderFind(Oid database, FlowRecord *records, int *n,
							 TimestampTz *died_at);
extern void FlowRecorderFree(int page);

/* The database, or the extension in it, is no more: frees all its pages. */
extern void FlowRecorderForget(Oid database);

/*
 * How often the server has crashed while we were at work without having got
 * anything done in between; and until when nothing may run because of that:
 * 0 not at all, DT_NOEND until released.  FlowRecorderRelease forgets both; it
 * cannot fail.
 */
extern int	FlowRecorderCrashes(void);
extern TimestampTz FlowRecorderHeldUntil(void);
extern void FlowRecorderRelease(void);

extern Size FlowRecorderShmemSize(void);
extern void FlowRecorderShmemInit(void);

#endif							/* FLOW_RECORDER_H */
