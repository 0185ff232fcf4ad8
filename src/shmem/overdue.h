/*-------------------------------------------------------------------------
 * overdue.h
 *	  Attempts whose worker had to be ended, since they would not stop.
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
 * The worker that ran this attempt ends, since the attempt went on after its
 * time limit; whoever claims the step next is to record that.  For an exit
 * callback: cannot fail.
 */
extern void FlowOverdueNote(const FlowOverdue *overdue);

/* Was this attempt noted?  Asked before each step, so almost free. */
extern bool FlowOverdueFind(int64 home, const FlowStepKey *key, int32 attempt,
							FlowOverdue *out);

extern Size FlowOverdueShmemSize(void);
extern void FlowOverdueShmemInit(void);

#endif							/* FLOW_OVERDUE_H */
