/*-------------------------------------------------------------------------
 * execute.h
 *	  Executes one step.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_EXECUTE_H
#define FLOW_EXECUTE_H

#include "engine/batch.h"

/*
 * Runs the step's SQL in the current transaction, as the current user, under
 * its workflow's search_path and its time limits, and notes in the item what
 * came out.  Everything it set in the session is undone.  An error is thrown
 * as it is; batch->current tells whose it was.
 */
extern void FlowExecuteItem(FlowBatch *batch, FlowItem *item);

/*
 * Around a step that runs outside a transaction of ours, which FlowExecuteItem
 * has looked at: what FlowExecuteItem does around one, but that the settings
 * are for the session (FlowSessionReset), that no lock it waits for
 * interrupts it, and that the slot stays published.
 */
extern void FlowExecuteBeginOutside(FlowBatch *batch, FlowItem *item);
extern void FlowExecuteEndOutside(FlowBatch *batch, FlowItem *item);

/*
 * Notes, before a batch is rolled back, that its step has met its time limit:
 * whoever claims the step before that is recorded must not run it again.  For
 * FlowGuardRunNoting.
 */
extern void FlowExecuteNote(const struct ErrorData *error, void *arg);

#endif							/* FLOW_EXECUTE_H */
