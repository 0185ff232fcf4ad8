/*-------------------------------------------------------------------------
 * kind.h
 *	  What a kind of step does when it is executed.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_KIND_H
#define FLOW_KIND_H

#include "engine/batch.h"

/*
 * Executes the entered step as its owner, in the batch's transaction, and
 * sets its output.  An error is a failed attempt.  One that has to wait sets the
 * status of the item (waiting.h).
 */
typedef void (*FlowKindExecute) (FlowBatch *batch, FlowItem *item);

/* The function of a kind.  A kind that cannot be executed is an error. */
extern FlowKindExecute FlowKindExecuteOf(FlowStepKind kind);

/* kinds/approval.c */
extern void FlowKindApprovalExecute(FlowBatch *batch, FlowItem *item);

/* kinds/command.c */
extern void FlowKindCommandExecute(FlowBatch *batch, FlowItem *item);

/* kinds/choice.c */
extern void FlowKindChoiceExecute(FlowBatch *batch, FlowItem *item);

/* kinds/subflow.c */
extern void FlowKindSubflowExecute(FlowBatch *batch, FlowItem *item);

/* kinds/delay.c */
extern void FlowKindDelayExecute(FlowBatch *batch, FlowItem *item);

/* kinds/sql.c */
extern void FlowKindSqlExecute(FlowBatch *batch, FlowItem *item);

/* kinds/wait.c */
extern void FlowKindWaitExecute(FlowBatch *batch, FlowItem *item);

#endif							/* FLOW_KIND_H */
