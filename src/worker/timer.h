/*-------------------------------------------------------------------------
 * timer.h
 *	  Due tasks: fire, and say when to wake.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_TIMER_H
#define FLOW_TIMER_H

#include "datatype/timestamp.h"

/* Forgets all due times; the next run reads them from the table. */
extern void FlowTimerReset(void);

/*
 * Takes in new due times and makes ready what is due; with read_table, reads
 * the table even if nothing was lost.  Scheduler only, outside a transaction.
 */
extern void FlowTimerRun(bool read_table);

/* The next due time, DT_NOEND if there is none.  Needs a run before. */
extern TimestampTz FlowTimerNext(void);

#endif							/* FLOW_TIMER_H */
