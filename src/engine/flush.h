/*-------------------------------------------------------------------------
 * flush.h
 *	  Writes what a batch decided.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_FLUSH_H
#define FLOW_FLUSH_H

#include "engine/batch.h"

/*
 * Locks the runs of the batch, looks at them again, writes what became of the
 * steps, and what this means for their runs.  The transaction must be
 * committed right after.  Gives the batch up (FlowBatchAbandon) if a run was
 * cancelled while its steps ran, or is held by somebody who does not let go.
 */
extern void FlowFlush(FlowBatch *batch);

#endif							/* FLOW_FLUSH_H */
