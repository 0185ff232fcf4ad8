/*-------------------------------------------------------------------------
 * queue.h
 *	  The ready queue: which steps may run, per database and role.
 *
 * A hint, never the truth: flow_internal.task is.  An entry may be stale or
 * there twice; a step may be missing, until refill.c finds it.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_QUEUE_H
#define FLOW_QUEUE_H

#include "datatype/timestamp.h"
#include "flow.h"

#define FLOW_MAX_LANES	256

/* What FlowQueuePop does with the entry it has found first */
typedef enum FlowTake
{
	FLOW_TAKE,					/* take it and look at the next */
	FLOW_TAKE_LAST,				/* take it and stop */
	FLOW_LEAVE					/* leave it and stop */
} FlowTake;

typedef struct FlowTakePolicy
{
	/* Asked first: may only one worker of the lane at a time do such work? */
	bool		(*takes_turns) (const FlowReady *next, void *arg);
	FlowTake	(*choose) (const FlowReady *next, int taken, void *arg);
} FlowTakePolicy;

/*
 * A lane is the queue of one role in one database.  Lanes are numbered; a
 * number stays valid while the lane is pinned, has entries or has workers.
 * FlowQueuePinLane finds or makes the lane and pins it; -1 when all are in use.
 */
extern int	FlowQueuePinLane(Oid database, Oid role);
extern void FlowQueueUnpinLane(int lane);

/*
 * Puts n entries into a pinned lane; returns how many there was room for.  What
 * was refused is marked, for refill.c.  Of entries of one workflow and priority
 * in order those that were taken are the first.  Cannot fail otherwise; safe
 * in a commit callback.
 */
extern int	FlowQueuePush(int lane, const FlowReady *entries, int n);

/*
 * Takes entries off a lane, best first, at most max, asking the policy about
 * each under the lock (it must not block or fail).  Returns the number.  What
 * only one worker at a time may do is passed over unless it is this worker's
 * turn, which then lasts until FlowQueueEndTurn.
 */
extern int	FlowQueuePop(int lane, FlowReady *entries, int max,
						 const FlowTakePolicy *policy, void *arg);

/*
 * Turns.  FlowQueueTakeTurn never waits; FlowQueueEndTurn, and the end of the
 * worker, wake another if there is something for it.
 */
extern bool FlowQueueTakeTurn(int lane);
extern void FlowQueueEndTurn(int lane);

extern int	FlowQueueLength(int lane);

/* Were steps refused, and are few left of what was not? */
extern bool FlowQueueIsHungry(int lane);

/* Drops every entry of a database: its extension, or it, is going away. */
extern void FlowQueueForget(Oid database);

/* Entries that every lane, and every workflow in it, has room for */
#define FLOW_LANE_RESERVE	64

/*
 * Marks that, of the workflow and priority of this step, steps from this one on
 * are in the table and not in the queue; FlowQueuePush does so by itself.
 * FlowQueueMarkLost says that of all of the lane, where it is not known better.
 * Safe in a commit callback.
 */
extern void FlowQueueRefuse(int lane, const FlowReady *first);
extern void FlowQueueMarkLost(int lane);

/*
 * For refill.c: takes the marks of what runs low, at most max of them.  Whoever
 * has taken one puts these steps into the queue, or marks them again.
 * FlowQueueRoom says how many entries a refill may add to those like this one.
 */
extern int	FlowQueueTakeRefused(int lane, FlowReady *firsts, int max);
extern bool FlowQueueTakeLost(int lane);
extern int	FlowQueueRoom(int lane, const FlowReady *example);

/*
 * What staff.c decides by: a snapshot of the lanes of one database.
 */
typedef struct FlowLaneInfo
{
	int			lane;
	Oid			role;
	int			entries;
	int			takeable;		/* of these, what a further worker could take,
								 * and steps set aside that are due */
	int			aside;			/* further ones, set aside behind a lock */
	TimestampTz next_try;		/* when one of those is tried */
	int			workers;		/* attached */
	int			idle;			/* of these, asleep on their latch */
	int			starting;		/* registered but not yet attached */
	bool		overflown;		/* steps are in the table only */
	TimestampTz oldest;			/* when the longest waiting entry was pushed;
								 * DT_NOEND: there is none */
} FlowLaneInfo;

extern int	FlowQueueLanes(Oid database, FlowLaneInfo *lanes, int max);

/*
 * Workers of a lane.  Attaching counts one "starting" down; who registered a
 * worker takes it back only if the worker ended without having attached.
 * Detaching is safe in an exit callback; entries may have come meanwhile, so
 * whoever detaches asks for staff.
 */
extern void FlowQueueWorkerStarting(int lane, int delta);
extern void FlowQueueWorkerAttach(int lane);
extern void FlowQueueWorkerDetach(int lane);

/* Workers, starting ones included, in the whole cluster */
extern int	FlowQueueWorkerTotal(void);

/*
 * Notes that this worker is about to sleep.  Returns false, and notes nothing, if
 * there is work in the lane that it could take.
 */
extern bool FlowQueueWorkerSleep(int lane);
extern void FlowQueueWorkerWake(int lane);

/*
 * Sets the latches of up to n sleeping workers of the lane, and returns how
 * many there were.  Safe in a commit callback.
 */
extern int	FlowQueueWake(int lane, int n);

/* Sizing and start, for shmem.c */
extern Size FlowQueueShmemSize(void);
extern void FlowQueueShmemInit(void);

#endif							/* FLOW_QUEUE_H */
