/*-------------------------------------------------------------------------
 * total.h
 *	  The time limit of a step over all its attempts, delays and rounds.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_TOTAL_H
#define FLOW_TOTAL_H

#include "engine/batch.h"

/*
 * When the time of the item is over; DT_NOEND if its step has no such limit.
 * Needs a transaction and raises by itself; read once.
 */
extern TimestampTz FlowTotalDue(FlowItem *item);

/* True if that has passed. */
extern bool FlowTotalIsOver(FlowItem *item);

/* Before a step is executed that does not wait: fails it if its time is over. */
extern void FlowTotalRequire(FlowItem *item);

/* The same as a failure of an item that has waited. */
extern void FlowTotalFail(FlowItem *item);

/* An attempt was interrupted by a time limit: says so if it was this one. */
extern void FlowTotalExplain(const FlowItem *item, FlowFailure *failure);

/*
 * An attempt has failed: if it is to be tried again, not later than when its time
 * is over, and not at all if it is.  Raises by itself.
 */
extern void FlowTotalBound(FlowItem *item);

/* With the run locked, before the item is put aside: decides it for good. */
extern void FlowTotalKeep(FlowItem *item);

/* The step paused its run: its time begins anew when it is tried again. */
extern void FlowTotalRestart(const FlowItem *item);

/* Before a step is run again by hand. */
extern void FlowTotalForget(int64 run_id, const FlowStepDef *step);

#endif							/* FLOW_TOTAL_H */
