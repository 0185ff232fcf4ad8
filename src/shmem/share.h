/*-------------------------------------------------------------------------
 * share.h
 *	  The share that each workflow has in a lane of the ready queue.
 *
 * For lane.c and queue.c, under FlowShmemLock.  Nothing here fails or allocates.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SHARE_H
#define FLOW_SHARE_H

#include "flow.h"
#include "lib/ilist.h"

/*
 * Entries below which a share of which steps were refused is filled again, not
 * counting those aside; and how many it may come to by that, counting all.
 * Less if there are many shares, which would read what the lane has no room for.
 */
#define FLOW_SHARE_LOW_WATER	256
#define FLOW_SHARE_FILL_LIMIT	3072

typedef struct FlowShareKey
{
	int			lane;
	int32		workflow_id;	/* FLOW_SHARE_LEVEL: all, of that priority */
	int32		priority;
} FlowShareKey;

#define FLOW_SHARE_LEVEL	(-1)

typedef struct FlowShare
{
	FlowShareKey key;
	int			entries;		/* queued; a level's: shares */
	int			aside;			/* of these, behind gates */
	uint64		sequence;		/* a workflow's: the last one given; a
								 * level's: the highest one taken, its virtual
								 * time */
	struct FlowShare *level;	/* of a workflow's share */
	bool		refused;		/* steps are in the table only ... */
	bool		active;			/* counted in its lane */
	bool		hungry;			/* ... and few are queued that could be taken */
	FlowStepKey from;			/* ... none of them before this one */
	dlist_node	by_lane;		/* in its lane's list, if refused */
#ifdef USE_ASSERT_CHECKING
	int			counted;		/* by FlowLaneCheck */
	int			counted_aside;
#endif
} FlowShare;

/* What a lane knows of its shares */
typedef struct FlowShareLane
{
	dlist_head	refused;		/* shares, the longest refused one first */
	int			n_refused;
	int			n_hungry;
	int			n_active;		/* with entries, or refused */
} FlowShareLane;

/* Finds or makes a share; NULL when there are too many of them. */
extern FlowShare *FlowShareGet(int lane, int32 workflow_id, int32 priority);

/* Forgets a share that has no entries, and of which none were refused. */
extern void FlowShareDrop(FlowShare *share);

/* Counts an entry. */
extern void FlowShareAdd(FlowShareLane *lane, FlowShare *share);

/* So many more of its entries are aside, or fewer. */
extern void FlowShareNoteAside(FlowShareLane *lane, FlowShare *share, int delta);

/* The place that its next entry gets among those of its priority */
extern uint64 FlowSharePlace(FlowShare *share);

/* Counts one less; the share may be gone afterwards. */
extern void FlowShareRemove(FlowShareLane *lane, FlowShare *share);

/* The entry with this place was the first, and is taken. */
extern void FlowShareNoteTaken(FlowShare *share, uint64 sequence);

/*
 * Marks, and takes back, that steps from this one on are in the table only.
 * Of several marks the lowest counts.
 */
extern void FlowShareRefuse(FlowShareLane *lane, FlowShare *share,
							const FlowStepKey *from);
extern void FlowShareForgive(FlowShareLane *lane, FlowShare *share);

/* Is this step one of those that the mark is about? */
extern bool FlowShareIsPastMark(const FlowShare *share, const FlowStepKey *key);

/* In the order of the table's index.  Pure. */
extern int	FlowShareCompareKeys(const FlowStepKey *a, const FlowStepKey *b);

/* Sizing and start, for shmem.c */
extern Size FlowShareShmemSize(void);
extern void FlowShareShmemInit(void);

#endif							/* FLOW_SHARE_H */
