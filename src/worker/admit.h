/*-------------------------------------------------------------------------
 * admit.h
 *	  Lets in what waits for a place under a limit.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ADMIT_H
#define FLOW_ADMIT_H

#include "datatype/timestamp.h"

/* Forgets what waits; the next run reads it. */
extern void FlowAdmitReset(void);

/*
 * Gives places to what waits for them, if asked to, or if its time has come.
 * Scheduler only, outside a transaction.
 */
extern void FlowAdmitRun(bool asked);

/* When something can be let in though nothing happens; DT_NOEND: never. */
extern TimestampTz FlowAdmitNext(void);

#endif							/* FLOW_ADMIT_H */
