/*-------------------------------------------------------------------------
 * start.h
 *	  Start a run; find one by its key.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_START_H
#define FLOW_START_H

#include "datatype/timestamp.h"
#include "flow.h"

/* What flow_start was asked for */
typedef struct FlowStart
{
	const char *workflow;
	Datum		input;			/* jsonb */
	const char *key;			/* NULL: none */
	const char *on_conflict;	/* return, skip, error, cancel */
	TimestampTz start_at;		/* DT_NOBEGIN: now */
	int32		priority;
	int32		version;		/* 0: the newest */
	int32		workflow_id;	/* that the name must mean; 0: any */
	bool		once;
	TimestampTz slot;			/* DT_NOBEGIN: none */
	FlowStepKey parent;			/* step that starts it; run_id 0: none */
	int64		keep_of;		/* earlier run ... */
	int		   *keep;			/* ... of which these steps are not run again */
	int			n_keep;
} FlowStart;

/*
 * Starts a run in the caller's transaction, after checking the caller's right,
 * and returns its id, or that of the run that has the key; 0 for none.  Needs a
 * transaction and SPI.
 */
extern int64 FlowRunStart(const FlowStart *start);

/*
 * Raises unless the current user may start runs of the workflow; 42704 if it
 * does not exist for that user.  Needs a transaction and SPI.
 */
extern void FlowStartRequireRight(const char *workflow);

/*
 * The unfinished run of that key, else the latest, else 0.  Needs a
 * transaction and SPI.
 */
extern int64 FlowRunFind(const char *workflow, const char *key);

#endif							/* FLOW_START_H */
