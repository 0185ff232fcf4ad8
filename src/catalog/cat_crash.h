/*-------------------------------------------------------------------------
 * cat_crash.h
 *	  Steps that ran when their process died: rows of flow_internal.crash; and
 *	  the timeline of the server.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_CRASH_H
#define FLOW_CAT_CRASH_H

#include "datatype/timestamp.h"
#include "flow.h"
#include "nodes/pg_list.h"

/* Charges since one of its steps came to an end that quarantine a definition */
#define FLOW_CRASH_QUARANTINE	4

/* What is known against a step of a run */
typedef struct FlowCrashRow
{
	FlowStepKey key;
	int			charges;		/* deaths that it is held to be the cause of */
	TimestampTz at;				/* of the last one */
} FlowCrashRow;

/* What is known against a step of a definition */
typedef struct FlowCrashCount
{
	int32		definition_id;
	int32		step_no;
	int			charges;		/* since one of its steps came to an end */
} FlowCrashCount;

/* A step that ran when a process died */
typedef struct FlowCrashNew
{
	FlowStepKey key;
	int32		definition_id;
	bool		charged;		/* it is held to be the cause */
} FlowCrashNew;

/*
 * Notes that these steps ran when a process died: those that are charged, and
 * those that only ran in the same batch.  Steps of runs that are over, or of
 * another home, are left out, and those of which a death at that time is noted.
 */
extern void FlowCrashInsert(int64 home, TimestampTz at, const FlowCrashNew *rows,
							int n);

/*
 * True if a step of an unfinished run is under suspicion, or a definition is:
 * quarantined, or charged within the last hour.
 */
extern bool FlowCrashIsWatched(int64 home);

/* The steps of those runs that are under suspicion: list of FlowCrashRow *. */
extern List *FlowCrashListOf(const int64 *run_ids, int n);

/* The steps of those definitions that are: list of FlowCrashCount *. */
extern List *FlowCrashCountOf(const int32 *definition_ids, int n);

/* The step has come to an end, or is tried anew by hand (step_no 0: all). */
extern void FlowCrashClose(int64 run_id, int32 step_no, int32 item_no);

/* A step of that definition has come to an end.  Never waits. */
extern void FlowCrashClear(int32 definition_id, int32 step_no);

/*
 * Takes all that is held against definitions of workflows whose owner the
 * current user may act for back, and makes their held steps ready; the number
 * of runs that had one.  "user" is the role that asks.
 */
extern int64 FlowCrashReleaseAll(int64 home, Oid user);

/*
 * Stores the server's timeline; true if another one was stored before.
 */
extern bool FlowCrashNoteTimeline(int64 home, uint32 timeline);

#endif							/* FLOW_CAT_CRASH_H */
