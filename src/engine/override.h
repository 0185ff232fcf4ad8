/*-------------------------------------------------------------------------
 * override.h
 *	  End a step by hand: flow_skip and flow_finish.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_OVERRIDE_H
#define FLOW_OVERRIDE_H

#include "flow.h"

/* What is asked for */
typedef struct FlowOverride
{
	int64		run_id;
	const char *step;
	int32		item_no;		/* 0: the step as a whole */
	FlowStepStatus status;		/* skipped or completed */
	NullableDatum output;		/* jsonb, of a step that is completed */
	const char *reason;			/* NULL: none */
} FlowOverride;

/*
 * Gives a step that has not ended that end, in the caller's transaction, after
 * checking the caller's right.  Returns false if it has ended so already.
 * Needs a transaction and SPI.
 */
extern bool FlowOverrideStep(const FlowOverride *request);

#endif							/* FLOW_OVERRIDE_H */
