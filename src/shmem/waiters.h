/*-------------------------------------------------------------------------
 * waiters.h
 *	  Condition variables on which flow_await sleeps, hashed by run.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WAITERS_H
#define FLOW_WAITERS_H

#include "storage/condition_variable.h"

/* The condition variable of a run; NULL without shared memory. */
extern ConditionVariable *FlowWaitersOf(int64 run_id);

/* The run has ended: wakes all.  Safe in a commit callback. */
extern void FlowWaitersWake(int64 run_id);

extern Size FlowWaitersShmemSize(void);
extern void FlowWaitersShmemInit(void);

#endif							/* FLOW_WAITERS_H */
