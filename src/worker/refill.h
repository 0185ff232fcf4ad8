/*-------------------------------------------------------------------------
 * refill.h
 *	  Fills the ready queue from the tables.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_REFILL_H
#define FLOW_REFILL_H

#include "datatype/timestamp.h"

/*
 * Puts into the queue what found no room in it, where it runs low.  A sweep
 * also looks for steps that are ready but not queued: of roles whose lane is
 * empty, or of all.  Scheduler only, outside a transaction.
 */
typedef enum FlowRefillMode
{
	FLOW_REFILL_OVERFLOWN,
	FLOW_REFILL_SWEEP_EMPTY,
	FLOW_REFILL_SWEEP_ALL
} FlowRefillMode;

extern void FlowRefillRun(FlowRefillMode mode);

/* When to run again because a lane is still waiting for room, or DT_NOEND. */
extern TimestampTz FlowRefillNext(void);

#endif							/* FLOW_REFILL_H */
