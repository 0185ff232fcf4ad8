/*-------------------------------------------------------------------------
 * cat_limit.h
 *	  Limits, and who has or waits for a place under them.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *
 * A key, which says what is counted together, is stored as '=' and the value,
 * or as '-' where there is none.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_LIMIT_H
#define FLOW_CAT_LIMIT_H

#include "access/htup.h"
#include "flow.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"

#define FLOW_LIMIT_NO_KEY	"-"

/* Longest value of a key, in bytes */
#define FLOW_MAX_LIMIT_KEY	500

/* How many runs of a workflow may run at once */
typedef struct FlowRunLimit
{
	int32		workflow_id;
	int32		max_runs;		/* 0: any number */
	char	   *max_runs_by;	/* NULL: all are counted together */
} FlowRunLimit;

/* So many runs, of those with one key */
typedef struct FlowKeyCount
{
	char	   *key;
	int			n;
} FlowKeyCount;

/* What was let in */
typedef struct FlowAdmitted
{
	FlowReady	ready;
	Oid			owner;
	bool		placed;			/* else it waits no more: its run is paused */
} FlowAdmitted;

/* The limit of a workflow; 0 for one that is gone. */
extern FlowRunLimit FlowLimitOfRuns(int32 workflow_id);

/*
 * Puts the row that starts a run, which this transaction has locked, as it has
 * the run, among those that wait for a place.  *tid becomes where the run is
 * now.
 */
extern void FlowLimitPut(int64 run_id, const char *key, ItemPointerData *tid);

/* A run that is locked has not begun. */
extern void FlowLimitSetPending(int64 run_id);

/*
 * Makes ready, without a place, at most so many of what waits for one: of that
 * owner, and of that run and those below it, or of all (0).  Oldest first;
 * skips locked ones.  Returns how many.
 */
extern int	FlowLimitRelease(Oid owner, int64 run_id, int most);

/* The scheduler's side: workflows after that one of which runs wait. */
extern int	FlowLimitReadWorkflows(int64 home, int32 after, FlowRunLimit *limits,
								   int max);

/* How many runs of a workflow have a place, by key: a list of FlowKeyCount *. */
extern List *FlowLimitCountRuns(int64 home, int32 workflow_id);

/* Keys after that one ("" for the first) under which runs wait: list of char *. */
extern List *FlowLimitReadKeys(int64 home, int32 workflow_id, const char *after,
							   int max);

/*
 * Gives a place to at most n of the runs that wait under a key, best first, but
 * not to those that somebody has locked.  The paused ones among them do not
 * wait any more.  Returns how many there are in "admitted".
 */
extern int	FlowLimitAdmitRuns(int64 home, int32 workflow_id, const char *key,
							   int n, FlowAdmitted *admitted);

/* Whether a run waits under a key, though somebody has locked it. */
extern bool FlowLimitAnyWaits(int64 home, int32 workflow_id, const char *key);

/* For cat_place.c: a row of what was let in, in the order of the struct. */
extern void FlowLimitReadAdmitted(HeapTuple row, FlowAdmitted *admitted);

#endif							/* FLOW_CAT_LIMIT_H */
