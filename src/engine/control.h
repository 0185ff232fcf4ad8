/*-------------------------------------------------------------------------
 * control.h
 *	  Pause, resume, cancel and retry a run.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CONTROL_H
#define FLOW_CONTROL_H

#include "catalog/cat_run.h"
#include "engine/batch.h"
#include "engine/changes.h"

/* What a control function called inside a step has asked for */
typedef enum FlowControlVerb
{
	FLOW_CONTROL_PAUSE,
	FLOW_CONTROL_RESUME,
	FLOW_CONTROL_CANCEL,
	FLOW_CONTROL_RETRY
} FlowControlVerb;

typedef struct FlowControl
{
	FlowControlVerb verb;
	int64		run_id;
	char	   *reason;
	char	   *step;			/* retry: this one only; NULL: all */
	int32		item_no;		/* ... and only this item of it; 0: all */
	bool		plain;			/* cancel: and undo nothing */
	Oid			by;				/* who asked; invalid: the engine */
	int			level;			/* of the (sub)transaction it was asked in */
	FlowStepKey asked_in;		/* the step that asked */
} FlowControl;

/*
 * What a control function called by a client or inside a step does: checks
 * the caller's right, and then does it in the caller's transaction; inside a
 * step it is remembered, and done by the flush.  Returns false if the run
 * already was so.  Needs a transaction and SPI.
 */
extern bool FlowControlRequest(FlowControlVerb verb, int64 run_id,
							   const char *reason, const char *step,
							   int32 item_no);

/*
 * Reads a run as it is, without a lock; one that the current user may not see
 * does not exist (42704).  Needs a transaction and SPI.
 */
extern void FlowControlLoad(int64 run_id, FlowRunRow *run);

/* Raises unless the current user may steer the run as its owner may. */
extern void FlowControlRequireOperator(int64 run_id);

/* The same of one that was read; "participle" says what for. */
extern void FlowControlRequireRightTo(const FlowRunRow *run,
									  const char *participle);

/* The step of that name; raises 42704 if the run has none. */
extern FlowStepDef *FlowControlFindStep(const FlowRunRow *run, const char *step);

/*
 * The key of an item of the step, or of the step itself (item_no 0).  Raises
 * 22023 if the step has no items, 42704 if it has not so many.  Needs SPI, and
 * must be raised.
 */
extern FlowStepKey FlowControlFindItem(const FlowRunRow *run,
									   const FlowStepDef *step, int32 item_no);

/*
 * For retryrun.c: a row in task for a step that may run, and the announcement
 * of all that the run has, after the commit.  Likewise.
 */
extern void FlowControlAddTask(const FlowRunRow *run, int step_no, int attempt,
							   FlowChanges *changes);
extern void FlowControlAnnounce(const FlowRunRow *run);

/*
 * Lets a worker look, after the commit, at what may run now.  Needs the run
 * locked, SPI, and must be raised.
 */
extern void FlowControlLookAgain(const FlowRunRow *run);

/*
 * Cancels a run whose workflow is dropped, and undoes nothing; one that is
 * being compensated goes on to its end.
 */
extern bool FlowControlDrop(int64 run_id);

/* Raises unless the current user may do that to the run. */
extern void FlowControlRequireRight(FlowControlVerb verb, int64 run_id);

/* True if a step of the batch has asked to pause or cancel that run. */
extern bool FlowControlStops(const FlowBatch *batch, int64 run_id);

/*
 * Does it: locks the run, changes it, and notes for the commit whom to tell.
 * With "lenient", what the run's state does not allow is no error but false.
 * Needs SPI and must be raised.
 */
extern bool FlowControlApply(const FlowControl *control, bool lenient);

#endif							/* FLOW_CONTROL_H */
