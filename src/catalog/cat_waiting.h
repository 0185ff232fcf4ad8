/*-------------------------------------------------------------------------
 * cat_waiting.h
 *	  Steps that wait: rows of flow_internal.waiting and what they wait for,
 *	  flow_internal.signal and flow_internal.decision.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_WAITING_H
#define FLOW_CAT_WAITING_H

#include "datatype/timestamp.h"
#include "flow.h"
#include "nodes/pg_list.h"

/* A signal that is sent */
typedef struct FlowSignalNew
{
	int64		run_id;			/* 0: to a key */
	int32		workflow_id;
	const char *key;			/* NULL: to a run */
	const char *name;
	Datum		payload;		/* jsonb */
	bool		has_payload;
	const char *signal_id;		/* NULL: none */
	const char *sent_by;
} FlowSignalNew;

/* A signal that a step may take */
typedef struct FlowSignalRow
{
	int64		id;
	Datum		payload;
	bool		has_payload;
} FlowSignalRow;

/* What somebody has decided about an approval */
typedef struct FlowDecisionRow
{
	bool		approved;
	const char *by;				/* role of the session */
	const char *approver;		/* as claimed; NULL: nobody */
	const char *comment;
} FlowDecisionRow;

/*
 * Since when a step waits, and until when (DT_NOEND: for ever).  False if it has
 * not begun to; then "since" is when it became ready.
 */
extern bool FlowWaitingLoad(const FlowStepKey *key, TimestampTz *since,
							TimestampTz *due_at);

/* A row that is there already stays as it is. */
extern void FlowWaitingInsert(const FlowStepKey *key, TimestampTz since,
							  TimestampTz due_at);
extern void FlowWaitingDelete(const FlowStepKey *key);

/* Lets the time pass that the steps of a run, and of those it started, wait for. */
extern void FlowWaitingElapse(int64 run_id);

/* Keys of the steps of the run that wait, and are not locked: FlowStepKey *. */
extern List *FlowWaitingLockOf(int64 run_id);

/* A step that waits, locked, is ready. */
extern void FlowWaitingSetReady(const FlowStepKey *key);

/* The next number of a message.  Needs neither SPI nor identity. */
extern int64 FlowSignalNextId(void);

/* The id of a new signal; 0 if its signal_id is known already. */
extern int64 FlowSignalInsert(const FlowSignalNew *new);

/*
 * The oldest signal of that name which a run can take, after the one that
 * signal->id says (0: any); false: none.
 */
extern bool FlowSignalFind(int64 run_id, int32 workflow_id, const char *run_key,
						   const char *name, FlowSignalRow *signal);

/* False if somebody else has taken it. */
extern bool FlowSignalTake(int64 id, const FlowStepKey *by);

/* False if there is a decision already; waits for whoever makes it. */
extern bool FlowDecisionInsert(const FlowStepKey *key,
							   const FlowDecisionRow *decision);
extern bool FlowDecisionLoad(const FlowStepKey *key, FlowDecisionRow *decision);
extern void FlowDecisionDelete(const FlowStepKey *key);

/* The status of a step, live or ended, and its SQLSTATE; NULL: neither. */
extern char *FlowWaitingStatus(const FlowStepKey *key, char **sqlstate);

#endif							/* FLOW_CAT_WAITING_H */
