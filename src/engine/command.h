/*-------------------------------------------------------------------------
 * command.h
 *	  Steps that run one statement outside a transaction block.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_COMMAND_H
#define FLOW_COMMAND_H

#include "catalog/cat_task.h"
#include "engine/batch.h"

/* What an item knows of its command */
typedef struct FlowCommand
{
	const char *sql;			/* to be run; NULL: it has been, and this ... */
	Datum		result;			/* ... jsonb has come of it ... */
	TimestampTz started_at;		/* ... since then */
	bool		repeats;		/* it met a conflict, and is run at once again */
} FlowCommand;

/* True if the command of the item has been run. */
extern bool FlowCommandHasRun(const FlowItem *item);

/* The command of a claimed step has been run. */
extern void FlowCommandNoteRun(FlowItem *item, const FlowTaskEnd *end);

/* True for a claimed command that has not been run. */
extern bool FlowCommandIs(const FlowItem *item);

/* True if the batch may run it: it is a worker's, and the step alone in it. */
extern bool FlowCommandMayRun(const FlowBatch *batch);

/*
 * In place of the flush: if the step of the batch is to run a command, its row is
 * this worker's from the commit that follows.
 */
extern bool FlowCommandPrepare(FlowBatch *batch);

/*
 * After that commit, outside a transaction: runs the command, and leaves what has
 * come of it in the row.  Raises nothing.
 */
extern void FlowCommandRun(FlowBatch *batch);

/* Plans for what is to be settled, or to be run alone, put to others. */
extern List *FlowCommandPlans(FlowBatch *batch, List *rest);

/* Takes what has come of the command as the output, or the failure, of the item. */
extern void FlowCommandRecall(FlowBatch *batch, FlowItem *item);

/* Raises if the item is a command that runs: what it asks for could not be done. */
extern void FlowCommandRefuse(const FlowItem *item, const char *function);

#endif							/* FLOW_COMMAND_H */
