/*-------------------------------------------------------------------------
 * waiters.c
 *	  Condition variables on which flow_await sleeps, hashed by run.
 *
 * flow_await prepares to sleep, looks at the run, and sleeps if it has not
 * ended; the commit callback of the transaction that ends it broadcasts.
 * Runs that share a variable wake each other's waiters, who look again: so
 * neither the database nor a collision matters.  Run ids are drawn one after
 * the other, and the remainder spreads them evenly.
 *
 * Each variable is protected by its own spinlock, inside; no lock of ours.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "shmem/shmem.h"
#include "shmem/waiters.h"

#define WAITERS_SIZE	256

static ConditionVariable *waiters = NULL;

Size
FlowWaitersShmemSize(void)
{
	return MAXALIGN(WAITERS_SIZE * sizeof(ConditionVariable));
}

void
FlowWaitersShmemInit(void)
{
	bool		found;

	waiters = ShmemInitStruct("flow waiters", FlowWaitersShmemSize(), &found);
	for (int i = 0; !found && i < WAITERS_SIZE; i++)
		ConditionVariableInit(&waiters[i]);
}

ConditionVariable *
FlowWaitersOf(int64 run_id)
{
	if (!FlowShmemIsAvailable())
		return NULL;
	return &waiters[(uint64) run_id % WAITERS_SIZE];
}

/* A broadcast takes spinlocks and sets latches only: it cannot fail. */
void
FlowWaitersWake(int64 run_id)
{
	ConditionVariable *waiter = FlowWaitersOf(run_id);

	if (waiter != NULL)
		ConditionVariableBroadcast(waiter);
}
