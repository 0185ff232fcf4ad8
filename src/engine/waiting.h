/*-------------------------------------------------------------------------
 * waiting.h
 *	  Steps that wait for a time, a signal or a decision.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WAITING_H
#define FLOW_WAITING_H

#include "catalog/cat_run.h"
#include "catalog/cat_waiting.h"
#include "engine/batch.h"
#include "engine/changes.h"

/* What an item knows of its waiting */
typedef struct FlowWaiting
{
	bool		begun;			/* it has been put aside before */
	TimestampTz since;
	TimestampTz due_at;			/* DT_NOEND: never */
	int64		signal;			/* that it takes; 0: none */
	bool		decided;		/* it takes the decision about it */
} FlowWaiting;

/*
 * True for the kinds that may have to wait; of those for another run, only the
 * ones that are executed again then: they have a time limit, or on_result.
 */
extern bool FlowWaitingIs(const FlowStepDef *step);

/*
 * True if the item was executed and goes on waiting, with neither a process nor
 * a transaction, instead of coming to an end.
 */
extern bool FlowWaitingIsParked(const FlowItem *item);

/* True if the row in task asks to look at what has been sent to the run. */
extern bool FlowWaitingIsLook(const FlowStepKey *key);

/* Before a step that may wait is executed: what is known of its waiting. */
extern void FlowWaitingBegin(FlowItem *item);

/*
 * For the kinds, while the step is executed: a signal or decision for it; then
 * the item is noted to take it.
 */
extern bool FlowWaitingFindSignal(FlowItem *item, FlowSignalRow *signal);
extern bool FlowWaitingFindDecision(FlowItem *item, FlowDecisionRow *decision);

/* The item waits on, or has failed since its time limit has passed. */
extern void FlowWaitingGoOn(FlowItem *item);

/* The item has failed. */
extern void FlowWaitingFail(FlowItem *item, int sqlstate, char *message,
							char *detail, char *hint);

/* In the flush, with the run locked: takes what ended it; or puts it aside. */
extern void FlowWaitingEnd(FlowBatch *batch, FlowItem *item);
extern void FlowWaitingPark(FlowItem *item, FlowChanges *changes);

/*
 * The row that asks to look: whoever has got what it waits for is ready.  Gives
 * the batch up, to be done again, if somebody holds a step that waits.
 */
extern void FlowWaitingLook(FlowBatch *batch, FlowItem *item, FlowChanges *changes);

/*
 * After a message was inserted: a worker looks at it once this transaction has
 * committed.  Needs SPI, and must be raised.
 */
extern void FlowWaitingAskToLook(const FlowRunRow *run, int64 message);

/* Before a step is run again by hand; delays keep their time. */
extern void FlowWaitingForget(int64 run_id, const FlowStepDef *step);

#endif							/* FLOW_WAITING_H */
