/*-------------------------------------------------------------------------
 * cat_look.h
 *	  Rows of the views, as the caller may see them.
 *
 * Never raised: the views decide what the current user sees.  Needs a
 * connection to SPI.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_LOOK_H
#define FLOW_CAT_LOOK_H

#include "access/htup.h"

/* Raises 42704 unless the current user may see the run. */
extern void FlowLookRequireRun(int64 run_id);

/*
 * The row of flow.run, with the latest snapshot, in the upper executor's
 * memory context; raises 42704 if there is none.
 */
extern HeapTuple FlowLookRun(int64 run_id);

#endif							/* FLOW_CAT_LOOK_H */
