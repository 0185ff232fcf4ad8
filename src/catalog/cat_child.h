/*-------------------------------------------------------------------------
 * cat_child.h
 *	  Runs that are steps of other runs.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_CHILD_H
#define FLOW_CAT_CHILD_H

#include "flow.h"
#include "nodes/pg_list.h"

typedef struct FlowChildRow
{
	int64		id;
	FlowRunStatus status;
	TimestampTz created_at;
	NullableDatum output;		/* jsonb */
	NullableDatum error;		/* jsonb */
} FlowChildRow;

/* The latest run that a step has started.  False if there is none. */
extern bool FlowChildOf(const FlowStepKey *parent, FlowChildRow *child);

/*
 * Runs that a step has started (step_no 0: any of the run; item_no 0: any
 * item of the step), finished or not: a list of int64 *, ascending.
 */
extern List *FlowChildListOf(const FlowStepKey *parent, bool finished);

/*
 * Leaves a row that stands for a run as a whole, with that number, so that a
 * worker acts upon it; one that is there already is left.  Fills in what is
 * needed to announce it; false if there is no such run, or the row was there.
 */
extern bool FlowChildTell(int64 run_id, int32 item_no, Oid *owner,
						  FlowReady *ready);

#endif							/* FLOW_CAT_CHILD_H */
