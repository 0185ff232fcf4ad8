/*-------------------------------------------------------------------------
 * round.h
 *	  Steps that run again after they have ended well.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ROUND_H
#define FLOW_ROUND_H

#include "engine/batch.h"
#include "engine/changes.h"
#include "utils/timestamp.h"

/* What a step has asked for; the latest first */
typedef struct FlowAgain
{
	int64		after;			/* microseconds */
	int			level;			/* of the (sub)transaction it was asked in */
	struct FlowAgain *earlier;
} FlowAgain;

/* The step that is executed asks to run again after the delay. */
extern void FlowRoundAsk(FlowItem *item, const Interval *delay);

/* True if this is not its first round: then its condition was met. */
extern bool FlowRoundIsLater(const FlowItem *item);

/*
 * After its kind was executed: whether it has ended, or runs again; if it has
 * ended, its on_result is run.
 */
extern void FlowRoundDecide(FlowBatch *batch, FlowItem *item);

/* In the flush, with the run locked: puts its task to sleep until then. */
extern void FlowRoundPark(FlowItem *item, FlowChanges *changes);

/* Before a step is run again by hand. */
extern void FlowRoundForget(int64 run_id, int step_no);

/* A subtransaction of that level has ended: what it asked for counts, or not. */
extern void FlowRoundAtSubxact(FlowItem *item, int level, bool committed);

#endif							/* FLOW_ROUND_H */
