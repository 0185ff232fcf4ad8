/*-------------------------------------------------------------------------
 * prune.h
 *	  Runs that have been kept long enough go.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PRUNE_H
#define FLOW_PRUNE_H

#include "datatype/timestamp.h"

/* Forgets what is known; the next run looks at everything. */
extern void FlowPruneReset(void);

/*
 * Prunes and erases a chunk of what is due, if there is any; with "look",
 * finds out what that is from the beginning; with "ended", runs have ended
 * that may become due; with "sent", signals were sent.  Scheduler only, outside a transaction.
 */
extern void FlowPruneRun(bool look, bool ended, bool sent);

/* When to run next: 0 is at once, DT_NOEND not as things are. */
extern TimestampTz FlowPruneNext(void);

#endif							/* FLOW_PRUNE_H */
