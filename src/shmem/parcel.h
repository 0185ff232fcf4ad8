/*-------------------------------------------------------------------------
 * parcel.h
 *	  What a transaction has noted, and how it is sent at the commit.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PARCEL_H
#define FLOW_PARCEL_H

#include "shmem/queue.h"
#include "shmem/ring.h"

#define FLOW_MAX_READY	256		/* sent to one lane by one transaction */
#define FLOW_MAX_MARKS	64		/* of what is not sent */

/* A singly linked list that can be put behind another without allocation */
typedef struct FlowNote
{
	struct FlowNote *next;
	union
	{
		FlowReady	ready;
		FlowDue		due;
		struct
		{
			int64		run_id;
			int32		epoch;	/* of a cancel */
		}			run;
	}			u;
} FlowNote;

typedef struct FlowNotes
{
	int			count;
	FlowNote   *first;
	FlowNote   *last;
} FlowNotes;

/* The ready steps of one role */
typedef struct FlowRoleNotes
{
	struct FlowRoleNotes *next;
	Oid			role;
	bool		lost;			/* more than can be marked */
	FlowNotes	ready;
	FlowNotes	marks;			/* first of those not kept, by workflow and
								 * priority */
} FlowRoleNotes;

/* What one level of subtransaction has noted */
typedef struct FlowNoteLevel
{
	struct FlowNoteLevel *outer;	/* the nearest one that has noted
									 * something */
	int			nest;
	bool		has_ready;
	bool		events;
	bool		signals;
	bool		sweep;
	bool		admit;
	uint64		freed;			/* bits of database.h */
	bool		installed;
	bool		released;
	FlowRoleNotes *roles;
	FlowNotes	dues;
	FlowNotes	ended;
	FlowNotes	cancels;
} FlowNoteLevel;

/*
 * Before the commit: looks up and pins what FlowParcelSend needs, and lays it
 * out.  Of the outermost level, the only one left.  May raise; then
 * FlowParcelForget has to follow, as after everything else.
 */
extern void FlowParcelLayOut(const FlowNoteLevel *level);

/* After it; nothing, if nothing was laid out.  Cannot fail. */
extern void FlowParcelSend(const FlowNoteLevel *level);

/* At the end of every transaction: unpins the lanes.  Cannot fail. */
extern void FlowParcelForget(void);

/*
 * The lane that this process takes its work from; -1: none.  What it pushes
 * there wakes one colleague less, since it takes the first entry itself.
 */
extern void FlowWakeSetOwnLane(int lane);

#endif							/* FLOW_PARCEL_H */
