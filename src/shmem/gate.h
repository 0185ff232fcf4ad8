/*-------------------------------------------------------------------------
 * gate.h
 *	  Steps that have met somebody's lock, and when they are tried again.
 *
 * A gate is one step of one definition, in one lane of the queue.  Protected
 * by what protects the lane, FlowShmemLock().
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_GATE_H
#define FLOW_GATE_H

#include "datatype/timestamp.h"
#include "lib/ilist.h"

#define FLOW_GATE_MAX	16		/* of one lane */

typedef struct FlowGate
{
	int32		definition_id;
	int32		step_no;
	int			blocked;		/* runs in a row that met a lock */
	int			delay;			/* ms, after the last of those set aside */
	int			entries;		/* set aside */
	bool		trying;			/* one is being tried; not yet known how it
								 * went */
	bool		tried_met;		/* the one tried last had met a lock before */
	int			patience;		/* runs in a row that close it */
	TimestampTz until;			/* none of those set aside is tried before */
	dlist_head	untried;		/* set aside because it is closed */
	dlist_head	met;			/* ... because they have met a lock */
} FlowGate;

/* The gates of a lane; those behind the first "used" have never been */
typedef struct FlowGates
{
	int			used;
	FlowGate	gates[FLOW_GATE_MAX];
} FlowGates;

/* NULL if there is none.  Cheap while a lane has none at all. */
extern FlowGate *FlowGateFind(FlowGates *gates, int32 definition_id,
							  int32 step_no);

/* Finds or makes it; NULL if all are in use. */
extern FlowGate *FlowGateMake(FlowGates *gates, int32 definition_id,
							  int32 step_no, TimestampTz now);

/* True if no run of the step is to be tried but one at a time. */
extern bool FlowGateIsClosed(const FlowGate *gate);

/* A run met a lock. */
extern void FlowGateNoteBlocked(FlowGate *gate, TimestampTz now);

/*
 * A run met none.  "tried" if it was one of those set aside; then true is
 * returned: all of them may run or, if it had never met a lock, all like it.
 */
extern bool FlowGateNoteFree(FlowGate *gate, bool tried);

/* A gate of which one may be tried now, or NULL. */
extern FlowGate *FlowGateDue(FlowGates *gates, TimestampTz now);

/* When one may be tried, or DT_NOEND.  Readable without the lock. */
extern TimestampTz FlowGateNext(const FlowGates *gates);

/* "met": it has met a lock itself. */
extern void FlowGateAdd(FlowGate *gate, dlist_node *entry, bool met);

/* Takes the one to be tried off the list; there must be one. */
extern dlist_node *FlowGateTry(FlowGate *gate, TimestampTz now);

/* The one tried is over; if nothing was heard of it, the next may be tried. */
extern void FlowGateEndTry(FlowGate *gate, TimestampTz now);

/* After FlowGateNoteFree: takes off one that may run, NULL if there is none. */
extern dlist_node *FlowGateRemoveFree(FlowGate *gate);

/* Takes any off its list, NULL if there is none. */
extern dlist_node *FlowGateRemove(FlowGate *gate);

#endif							/* FLOW_GATE_H */
