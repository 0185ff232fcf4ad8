/*-------------------------------------------------------------------------
 * target.h
 *	  A table of ours that rows are written to: its indexes, and slots.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_TARGET_H
#define FLOW_TARGET_H

#include "base/table.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"

typedef struct FlowTarget FlowTarget;

/*
 * What writing to the table needs, for the time until FlowTargetClose.  The
 * relation is that of the table, and locked; the caller closes it after that.
 * An error in between needs no care.  No two of one table at a time.
 */
extern FlowTarget *FlowTargetOpen(FlowTable *table, Relation relation);
extern void FlowTargetClose(FlowTarget *target);

/* At least n virtual slots of the table's shape, of which none holds anything. */
extern TupleTableSlot **FlowTargetSlots(FlowTarget *target, int n);

/* A memory context that FlowTargetIndex resets. */
extern MemoryContext FlowTargetMemory(FlowTarget *target);

/*
 * Makes the index entries of n rows that are in the table already, at the
 * positions that their slots have, if asked so only in indexes that summarize
 * pages.  A duplicate key is an error.
 */
extern void FlowTargetIndex(FlowTarget *target, TupleTableSlot **slots, int n,
							bool summarizing);

#endif							/* FLOW_TARGET_H */
