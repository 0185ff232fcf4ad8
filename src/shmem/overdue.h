/*-------------------------------------------------------------------------
 * overdue.h
 *	  Attempts that have met their time limit and are not recorded yet.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_OVERDUE_H
#define FLOW_OVERDUE_H

#include "datatype/timestamp.h"
#include "flow.h"

typedef struct FlowOverdue
{
	int64		home;			/* of the installation the run belongs to */
	FlowStepKey key;
	int32		attempt;
	TimestampTz started_at;
	double		limit;			/* ms that it was allowed */
} FlowOverdue;

/*
 * The attempt has met its time limit and is about to be rolled back, or its
 * worker ended; whoever claims the step next is to record that.  For an exit
 * callback: cannot fail.
 */
extern void FlowOverdueNote(const FlowOverdue *overdue);

/* Was this attempt noted?  Asked before each step, so almost free. */
extern bool FlowOverdueFind(int64 home, const FlowStepKey *key, int32 attempt,
							FlowOverdue *out);

extern Size FlowOverdueShmemSize(void);
extern void FlowOverdueShmemInit(void);

#endif							/* FLOW_OVERDUE_H */
