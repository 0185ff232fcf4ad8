/*-------------------------------------------------------------------------
 * retry.h
 *	  Decides whether an attempt is followed by another, and when.  Pure.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RETRY_H
#define FLOW_RETRY_H

#include "datatype/timestamp.h"
#include "define/plan.h"

/* Times a deadlock or serialization failure is tried again at once */
#define FLOW_RETRY_TRANSIENT_MAX	20

/*
 * Time of the next attempt, or DT_NOEND when there is none.  "failures" counts
 * the failed attempts so far, this one included; "chance" is a random number in
 * [0, 1), for the jitter.
 */
extern TimestampTz FlowRetryComputeNext(const FlowRetryPolicy *policy,
										int failures, const char *sqlstate,
										TimestampTz failed_at, double chance);

/* Microseconds before retry number "retry" (from 1). */
extern int64 FlowRetryComputeDelay(const FlowRetryPolicy *policy, int retry,
								   double chance);

/* True for errors that are nobody's fault: deadlock, serialization failure. */
extern bool FlowRetryIsTransient(const char *sqlstate);

#endif							/* FLOW_RETRY_H */
