/*-------------------------------------------------------------------------
 * park.h
 *	  Steps that a worker has put aside for a moment.
 *
 * Worker only, outside a transaction.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PARK_H
#define FLOW_PARK_H

#include "flow.h"
#include "nodes/pg_list.h"

/* A step that waits for a run that somebody holds, its own or another */
typedef struct FlowHeld
{
	FlowReady	ready;
	int64		run_id;
} FlowHeld;

/* Tasks that somebody has locked; of FlowReady * */
extern void FlowParkLocked(int lane, List *steps);

/* Steps that wait for a run that somebody holds; of FlowHeld * */
extern void FlowParkHeld(int lane, List *steps);

/*
 * Steps of which nothing could be recorded; of FlowReady *.  Returns whether one of
 * them is here for the first time.
 */
extern bool FlowParkUnrecorded(int lane, List *steps);

/* Puts those whose time has come back into the queue. */
extern void FlowParkReturnDue(int lane);

/* This worker ends: all of them. */
extern void FlowParkReturnAll(int lane);

/* Milliseconds until the next one may be tried again; -1 if there is none. */
extern long FlowParkDelay(void);

#endif							/* FLOW_PARK_H */
