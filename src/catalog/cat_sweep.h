/*-------------------------------------------------------------------------
 * cat_sweep.h
 *	  What the scheduler reads and writes: ready tasks, due times, events.
 *
 * All need a transaction, a connection to SPI and FlowIdentityRaise().  Rows
 * of another home are never touched.  Results go to arrays of the caller.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_SWEEP_H
#define FLOW_CAT_SWEEP_H

#include "datatype/timestamp.h"
#include "flow.h"

/* The ready tasks of one workflow at one priority, as of one owner */
typedef struct FlowReadyGroup
{
	Oid			owner;
	int32		workflow_id;
	int32		priority;		/* within a workflow, the highest is first */
} FlowReadyGroup;

/* An event to announce */
typedef struct FlowEventRow
{
	int64		id;
	bool		announce;		/* its run wants to be heard of */
	char	   *workflow;		/* name; NULL if it is gone */
	char	   *payload;
} FlowEventRow;

/* The groups that follow "after", in order; returns how many, at most max. */
extern int	FlowSweepReadGroups(int64 home, FlowReadyGroup after,
								FlowReadyGroup *groups, int max);

/*
 * The tasks of a group from this one on that became ready before that time, in
 * order.  Those of paused runs are left out; those of cancelled ones are not,
 * since whoever claims them removes them.
 */
extern int	FlowSweepReadReady(int64 home, FlowReadyGroup group,
							   FlowStepKey from, TimestampTz before,
							   FlowReady *ready, int max);

/* The earliest due times after this one, in order of time and key. */
extern int	FlowSweepReadDue(int64 home, const FlowDue *after, FlowDue *dues,
							 int max);

/*
 * Makes those tasks ready that are due and not locked by anybody; owners and
 * ready have room for n.  Returns how many.
 */
extern int	FlowSweepFire(int64 home, const FlowDue *dues, int n,
						  Oid *owners, FlowReady *ready);

/* Which of those tasks are due still; after FlowSweepFire, the locked ones. */
extern int	FlowSweepReadLocked(int64 home, const FlowDue *dues, int n,
								FlowStepKey *locked);

/*
 * Events with the ids in "gaps", then those with an id above "after" that
 * happened since; by id.  Strings are allocated in the current context.
 */
typedef struct FlowEventRange
{
	int64		home;
	const int64 *gaps;
	int			n_gaps;
	int64		after;
	TimestampTz since;
} FlowEventRange;

extern int	FlowSweepReadEvents(const FlowEventRange *range,
								FlowEventRow *events, int max);

/* The highest event id, 0 if there is none. */
extern int64 FlowSweepLastEvent(void);

/* Version of the extension as it is installed, or NULL. */
extern char *FlowSweepExtensionVersion(void);

/* Triggers, rules and the like that others have put on our tables, or NULL. */
extern char *FlowSweepAdditions(void);

#endif							/* FLOW_CAT_SWEEP_H */
