/*-------------------------------------------------------------------------
 * deadline.h
 *	  The time limit of a run as a whole.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_DEADLINE_H
#define FLOW_DEADLINE_H

#include "engine/batch.h"
#include "engine/changes.h"

/* True for the row in task with which a run fails that takes too long. */
extern bool FlowDeadlineIs(const FlowStepKey *key);

/*
 * A run starts now, or goes on as a new one would; and ends.  Nothing to do if
 * it has no limit.  Need SPI, and must be raised.
 */
extern void FlowDeadlineSet(int64 run_id, Oid owner,
							const FlowDefinition *definition);
extern void FlowDeadlineClear(const FlowRunRef *run);

/* In the flush, with the run locked: the time has come. */
extern void FlowDeadlinePass(FlowItem *item, FlowChanges *changes);

/* What the run fails with. */
extern Datum FlowDeadlineError(const FlowRunRef *run);

#endif							/* FLOW_DEADLINE_H */
