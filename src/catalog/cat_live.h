/*-------------------------------------------------------------------------
 * cat_live.h
 *	  The live steps of one run: rows of flow_internal.task.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_LIVE_H
#define FLOW_CAT_LIVE_H

#include "catalog/cat_task.h"

/*
 * Locks those that nobody else has locked: a list of FlowTaskRow *, of which
 * only key, tid, attempt, ended and waits are set.
 */
extern List *FlowTaskLockOf(int64 run_id);

/*
 * Locks the task of a step in that status, and reads it as above.  Busy:
 * somebody has locked it, such as by an old entry of the queue.
 */
extern FlowHold FlowTaskLock(const FlowStepKey *key, FlowStepStatus status,
							 FlowTaskRow *task);

/* Deletes one task of a run, unless somebody has locked it. */
extern void FlowTaskDeleteFree(const FlowStepKey *key);

/* All tasks of a run, locked or not: list of FlowTaskRow *, as above. */
extern List *FlowTaskListOf(int64 run_id);

/* The highest item number that a step of a run has had; 0: none. */
extern int32 FlowTaskLastItem(int64 run_id, int32 step_no);

/* What a hook runs for, with the snapshot that is active.  False: nothing. */
extern bool FlowTaskAsked(const FlowStepKey *key, Datum *value);

#endif							/* FLOW_CAT_LIVE_H */
