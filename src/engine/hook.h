/*-------------------------------------------------------------------------
 * hook.h
 *	  Hooks: steps that run when something happens to their run.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_HOOK_H
#define FLOW_HOOK_H

#include "engine/batch.h"
#include "engine/changes.h"

/* What has happened to a run */
typedef struct FlowHappening
{
	FlowHookEvent event;
	FlowRunStatus status;		/* that it has led to */
	const char *step;			/* NULL: it is not about one step */
	const char *sqlstate;		/* NULL: no error */
	const char *message;
} FlowHappening;

/*
 * Makes the hooks ready that wait for it.  Costs nothing if the definition has
 * none.  Needs the run locked, SPI, and must be raised.
 */
extern void FlowHookRaise(const FlowRunRef *run, const FlowHappening *what,
						  FlowChanges *changes);

/* The same for the end of a run; the error is what its row says. */
extern void FlowHookRaiseEnd(const FlowRunRef *run, FlowRunStatus status,
							 FlowChanges *changes);

/* The same for the end of a step that has run. */
extern void FlowHookRaiseStep(const FlowItem *item, FlowChanges *changes);

/* The same where a client's call has locked the run; it becomes "status". */
extern void FlowHookRaiseRow(const FlowRunRow *row, FlowRunStatus status,
							 const char *reason, FlowChanges *changes);

#endif							/* FLOW_HOOK_H */
