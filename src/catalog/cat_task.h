/*-------------------------------------------------------------------------
 * cat_task.h
 *	  Live steps: rows of flow_internal.task.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_TASK_H
#define FLOW_CAT_TASK_H

#include "base/held.h"
#include "catalog/cat_run.h"
#include "datatype/timestamp.h"
#include "flow.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"

/*
 * What a step has come to that ran in a transaction of its own isolation
 * level, kept in its row until it is settled
 */
typedef struct FlowTaskEnd
{
	TimestampTz started_at;
	TimestampTz finished_at;
	int32		worker;			/* process that ran it */
	Datum		output;			/* jsonb */
	bool		has_output;
	Datum		asked;			/* jsonb: data it set, controls it called */
	bool		has_asked;
} FlowTaskEnd;

/* A claimed step, with what is needed of its run */
typedef struct FlowTaskRow
{
	FlowStepKey key;
	ItemPointerData tid;
	int32		attempt;		/* attempts made so far */
	int32		attempt_base;
	const FlowRunClaimed *run;	/* of claimed rows only, as is what follows */
	bool		admitted;		/* it has its place under its limits */
	bool		has_result;		/* a command has come to an end, or ... */
	FlowTaskEnd end;			/* ... it has ended, as this */
	bool		ended;			/* it has run, and is to be settled */
	bool		waits;			/* it waits; of those that are listed only */
} FlowTaskRow;

/* A step to be made ready, or put to sleep */
typedef struct FlowTaskNew
{
	FlowStepKey key;
	Oid			owner;
	int32		workflow_id;
	int32		definition_id;
	int32		priority;
	FlowStepStatus status;
	int32		attempt;
	int32		attempt_base;
	TimestampTz due_at;			/* DT_NOBEGIN: none */
	Datum		asked;			/* jsonb: what a hook runs for */
	bool		has_asked;
	const char *limit_key;		/* of a run that waits for its place
								 * (cat_limit.h) */
} FlowTaskNew;

/*
 * Locks those of the keys that are ready, belong to that owner and are not
 * locked by somebody else, and reads them with their runs, in the order of the
 * keys.  Returns how many.
 */
extern int	FlowTaskClaim(const FlowStepKey *keys, int n, Oid owner,
						  FlowTaskRow **rows);

/* Those of the keys that are ready, locked or not: a list of FlowReady *. */
extern List *FlowTaskPeek(const FlowStepKey *keys, int n, Oid owner);

/* The ready steps of one run, or of all runs of an owner (run_id 0). */
extern List *FlowTaskReadyOf(Oid owner, int64 run_id, int limit);

/*
 * Makes the steps ready that are due: of that owner, of that run or of all
 * (0).  With skip_time, those that are not due yet as well.  Skips locked ones.
 */
extern void FlowTaskWakeDue(Oid owner, int64 run_id, bool skip_time);

extern void FlowTaskInsert(const FlowTaskNew *rows, int n);

/* The same, but a row that is there already stays as it is. */
extern void FlowTaskInsertMissing(const FlowTaskNew *rows, int n);

/*
 * Puts locked rows to sleep until their due_at, after one more attempt; those
 * without are ready again.
 */
extern void FlowTaskSleep(const FlowTaskNew *rows, int n);

/* Holds back rows that this transaction has locked, until released. */
extern void FlowTaskHoldBack(const ItemPointerData *tids, int n);

/* Deletes rows that this transaction has locked. */
extern void FlowTaskDelete(const ItemPointerData *tids, int n);

/*
 * Locks the row of a step that is ready, has not ended, and of which so many
 * attempts were made; gone if it is not so any more.  For transactions of any
 * isolation level, and without SQL.
 */
extern FlowHold FlowTaskHold(const FlowStepKey *key, int32 attempt,
							 FlowHeldRow *row);

/* Marks it as ended, to be settled by whoever claims it. */
extern void FlowTaskSetEnded(FlowHeldRow *row, const FlowTaskEnd *end);

#endif							/* FLOW_CAT_TASK_H */
