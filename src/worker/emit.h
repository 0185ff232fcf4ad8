/*-------------------------------------------------------------------------
 * emit.h
 *	  Events to NOTIFY, coalesced.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_EMIT_H
#define FLOW_EMIT_H

#include "datatype/timestamp.h"

/* Forgets what has been sent and finds out where to go on; looks at once. */
extern void FlowEmitReset(void);

/*
 * Announces new events, if asked to or if some are left, unless the last
 * round was a moment ago.  Scheduler only, outside a transaction.
 */
extern void FlowEmitRun(bool asked);

/* When to run again, DT_NOEND if nothing is left to announce. */
extern TimestampTz FlowEmitNext(void);

#endif							/* FLOW_EMIT_H */
