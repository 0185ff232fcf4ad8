/*-------------------------------------------------------------------------
 * lane.h
 *	  The entries of the ready queue and the lanes they are in; for queue.c
 *	  and aside.c alone.
 *
 * All of it is protected by FlowShmemLock(), but for what is read as a hint.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_LANE_H
#define FLOW_LANE_H

#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "shmem/gate.h"
#include "shmem/queue.h"
#include "shmem/share.h"

#define FLOW_QUEUE_POOL		16384	/* entries */

/* More than flow.workers can be: those that are ending still have theirs */
#define FLOW_QUEUE_WORKERS		128

typedef struct FlowLaneEntry
{
	pairingheap_node node;		/* in one of its lane's heaps */
	dlist_node	by_age;			/* in its lane's list, oldest first, or in
								 * that of a gate */
	bool		in_turn;		/* in the heap of what takes turns */
	TimestampTz pushed_at;
	uint64		sequence;		/* lower first, among equal priorities */
	FlowShare  *share;			/* it is counted there, wherever it is */
	FlowReady	ready;
} FlowLaneEntry;

typedef struct FlowLane
{
	Oid			database;		/* InvalidOid: not in use */
	Oid			role;
	int			pins;
	int			entries;
	int			workers;		/* attached */
	int			idle;			/* of these, asleep */
	int			starting;		/* registered, not yet attached */
	FlowShareLane shares;
	bool		lost;			/* entries were refused, of which no share
								 * knows */
	pairingheap_node *root;		/* of the heap */
	dlist_head	by_age;
	int			turn;			/* procno of whose turn it is; -1: nobody's */
	int			turn_entries;	/* of the entries, those that take turns */
	pairingheap_node *turn_root;	/* of their heap */
	int			aside;			/* further entries, behind gates */
	FlowGates	gates;
} FlowLane;

typedef struct FlowLaneWorker
{
	int			lane;			/* -1: free */
	int			procno;
	bool		sleeping;

	/* written by its worker without the lock, in a signal handler */
	TimestampTz waiting_since;	/* for a lock; 0: it is not */
	int32		definition_id;	/* in this step */
	int32		step_no;
} FlowLaneWorker;

typedef struct FlowQueue
{
	int			n_lanes;		/* lanes behind have never been used */
	int			n_workers;		/* attached or starting, in all lanes */
	FlowLane	lanes[FLOW_MAX_LANES];
	FlowLaneWorker workers[FLOW_QUEUE_WORKERS];
	int			n_free;
	int			free[FLOW_QUEUE_POOL];	/* the first n_free are free entries */
	FlowLaneEntry pool[FLOW_QUEUE_POOL];
} FlowQueue;

/* Once in each process, before anything else */
extern void FlowLaneInit(FlowQueue *queue);

/* The lane, with the lock taken; NULL, and no lock, if there is none. */
extern FlowLane *FlowLaneLock(int number);

/* The lane, to be read as a hint; and the workers of all lanes. */
extern FlowLane *FlowLanePeek(int number);
extern FlowLaneWorker *FlowLaneWorkers(void);

/*
 * A new entry, which is nowhere yet; NULL if there is no room, which is then
 * marked in the share of its workflow.
 */
extern FlowLaneEntry *FlowLaneMakeEntry(FlowLane *lane, const FlowReady *ready,
										TimestampTz now);

/* Gives it a place among those of other workflows. */
extern void FlowLaneEnqueue(FlowLane *lane, FlowLaneEntry *entry);
extern void FlowLaneAddToHeap(FlowLane *lane, FlowLaneEntry *entry, bool in_turn);
extern void FlowLaneRemoveFromHeap(FlowLane *lane, FlowLaneEntry *entry);
extern void FlowLaneAddAside(FlowLane *lane, FlowGate *gate, FlowLaneEntry *entry,
							 bool met);
extern void FlowLaneNoteNotAside(FlowLane *lane, FlowLaneEntry *entry);
extern void FlowLaneDropAside(FlowLane *lane);	/* there must be one */

/* Gives back an entry that is in no heap any more; one that is nowhere. */
extern void FlowLaneRelease(FlowLane *lane, FlowLaneEntry *entry);
extern void FlowLaneFreeEntry(FlowLane *lane, FlowLaneEntry *entry);

/* The share of such steps; NULL if there are too many of them. */
extern FlowShare *FlowLaneShare(const FlowLane *lane, const FlowReady *ready);

/* How many entries a refill may add to a share */
extern int	FlowLaneRoom(const FlowLane *lane, const FlowShare *share);

/* Marks that steps from this one on are in the table only. */
extern void FlowLaneRefuse(FlowLane *lane, FlowShare *share,
						   const FlowStepKey *from);

/* The entry to be taken first, among those that this worker may take; or NULL. */
extern FlowLaneEntry *FlowLaneBest(FlowLane *lane);
extern bool FlowLaneMayTakeTurn(const FlowLane *lane);

/* What a worker that does nothing now could take. */
extern int	FlowLaneTakeable(const FlowLane *lane, TimestampTz now);

/* Is every entry in one place, and counted in its share?  Asserts it. */
#ifdef USE_ASSERT_CHECKING
extern void FlowLaneCheck(void);
#endif

#endif							/* FLOW_LANE_H */
