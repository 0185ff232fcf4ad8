/*-------------------------------------------------------------------------
 * cat_total.h
 *	  When the time of a step over all is over: rows of flow_internal.total.
 *
 * Every function needs a connection to SPI and must be called raised.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_TOTAL_H
#define FLOW_CAT_TOTAL_H

#include "datatype/timestamp.h"
#include "flow.h"

/*
 * When it is over, as decided; DT_NOEND if that begins anew; DT_NOBEGIN if it
 * has not been decided, and then *ready_at is when the step became ready.
 */
extern TimestampTz FlowTotalLoad(const FlowStepKey *key, TimestampTz *ready_at);

/* What is decided stays, unless the time begins anew (DT_NOEND). */
extern void FlowTotalSave(const FlowStepKey *key, TimestampTz due_at);
extern void FlowTotalDelete(const FlowStepKey *key);

/*
 * For flow_drain, before it wakes what sleeps: the time until then has passed of
 * steps of the run, and of those that it has started.
 */
extern void FlowTotalElapse(int64 run_id);

#endif							/* FLOW_CAT_TOTAL_H */
