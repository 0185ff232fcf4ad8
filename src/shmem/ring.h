/*-------------------------------------------------------------------------
 * ring.h
 *	  A bounded ring of due times on their way to the schedulers.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RING_H
#define FLOW_RING_H

#include "datatype/timestamp.h"
#include "flow.h"

/*
 * Adds due times for a database's scheduler.  When there is no room, all that
 * is there is dropped, and every scheduler reads its table instead.  Cannot
 * fail; safe in a commit callback.
 */
extern void FlowRingPut(Oid database, const FlowDue *dues, int n);

/* Takes up to max; sets *lost if some were dropped since the last take. */
extern int	FlowRingTake(Oid database, FlowDue *dues, int max, bool *lost);

extern Size FlowRingShmemSize(void);
extern void FlowRingShmemInit(void);

#endif							/* FLOW_RING_H */
