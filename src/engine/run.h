/*-------------------------------------------------------------------------
 * run.h
 *	  A run's states: which may follow which, and what an end leaves behind.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RUN_H
#define FLOW_RUN_H

#include "catalog/cat_event.h"
#include "catalog/cat_run.h"
#include "define/plan.h"
#include "flow.h"

/* Pure: may a run in the one state come to be in the other? */
extern bool FlowRunMayBecome(FlowRunStatus from, FlowRunStatus to);

/*
 * Raises WF001, naming the run, its state and what would be legal, if the run
 * may not do what the verb says ("paused", "cancelled" ...).
 */
extern void FlowRunRequire(int64 run_id, FlowRunStatus from, FlowRunStatus to,
						   const char *verb);

/* Raises WF001 if what the run was about has been erased. */
extern void FlowRunRequireData(const FlowRunRow *run, const char *participle);

/*
 * An event of a run, ready to be inserted: at the current time, caused by that
 * role, or by the engine if it is invalid.  Allocated in the current memory
 * context.
 */
extern FlowEventRow FlowRunEvent(int64 run_id, int32 workflow_id,
								 const char *key, const char *status,
								 Oid by);

/* The error of a run or a step as jsonb; texts may be NULL. */
struct FlowFailure;
extern Datum FlowRunErrorJson(const char *step, int attempt,
							  const struct FlowFailure *failure);

#endif							/* FLOW_RUN_H */
