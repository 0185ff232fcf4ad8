/*-------------------------------------------------------------------------
 * cat_run.h
 *	  Runs: rows of flow_internal.run and flow_internal.run_key.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_RUN_H
#define FLOW_CAT_RUN_H

#include "base/held.h"
#include "datatype/timestamp.h"
#include "flow.h"
#include "storage/itemptr.h"

typedef struct FlowRunNew
{
	int64		id;
	int32		workflow_id;
	int32		definition_id;
	Oid			owner;
	const char *owner_name;
	FlowRunStatus status;
	int32		priority;
	const char *notify;
	const char *key;			/* NULL: none */
	TimestampTz slot;			/* DT_NOBEGIN: none */
	Datum		input;			/* jsonb */
	Oid			started_by;
	const char *started_by_name;
	const char *started_by_app;
	TimestampTz created_at;
	bool		early;			/* steps have ended before their turn */
	FlowStepKey parent;			/* step that starts it; run_id 0: none */
	int32		depth;
} FlowRunNew;

/* What a run has lost: values of flow_internal.run.erased */
typedef enum FlowErased
{
	FLOW_ERASED_NOTHING,
	FLOW_ERASED_DATA,			/* its payloads */
	FLOW_ERASED_KEY				/* and its key, which is a hash now */
} FlowErased;

/* SQL for what stands in the place of a key */
#define FLOW_KEY_HASH(key) \
	"pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(" key ", 'UTF8')), 'hex')"

typedef struct FlowRunRow
{
	int64		id;
	int32		workflow_id;
	int32		definition_id;
	Oid			owner;
	FlowRunStatus status;
	int32		epoch;
	bool		failing;
	int32		priority;
	bool		notify;
	char	   *key;
	Oid			started_by;
	bool		started;
	bool		early;			/* steps may have ended before their turn */
	FlowStepKey parent;			/* step that has started it; run_id 0: none */
	int32		depth;
	FlowErased	erased;
	ItemPointerData tid;		/* valid while we hold the lock, until the row
								 * is changed */
} FlowRunRow;

/* A run as a claim of its steps finds it, not locked */
typedef struct FlowRunClaimed
{
	FlowRunRow	row;
	Datum		input;			/* jsonb */
	TimestampTz slot;			/* or when it was created */
} FlowRunClaimed;

/* How a run ends */
typedef struct FlowRunEnd
{
	int64		id;
	ItemPointerData tid;
	FlowRunStatus status;
	int32		workflow_id;
	const char *key;			/* NULL: none */
	Datum		output;			/* jsonb */
	bool		has_output;
} FlowRunEnd;

/* The next run id.  Needs neither SPI nor identity. */
extern int64 FlowRunNextId(void);

extern void FlowRunInsert(const FlowRunNew *run);

/* Reads a run of our home without locking it.  False if there is none. */
extern bool FlowRunLoad(int64 run_id, FlowRunRow *row);

/* What a run was started with (slot DT_NOBEGIN: none), and what came of it. */
extern void FlowRunRequest(int64 run_id, Datum *input, TimestampTz *slot);
extern void FlowRunResult(int64 run_id, NullableDatum *output,
						  NullableDatum *error);

/*
 * Reads runs of any home, one after the other, as of the active snapshot; NULL:
 * there is none.  FlowLookEnd ends it.  Needs neither SPI nor identity.
 */
extern void FlowRunLookBegin(FlowLook *look);
extern FlowRunClaimed *FlowRunLookAt(FlowLook *look, int64 run_id);

/* True if flow_await may return: finished, as of the latest snapshot. */
extern bool FlowRunIsOver(int64 run_id);

/*
 * Locks runs in ascending order of id, and reads them: at most n rows, returned
 * count.  With skip, those locked by others are left out; else each is waited
 * for (as lock_timeout allows).
 */
extern int	FlowRunLock(const int64 *run_ids, int n, bool skip,
						FlowRunRow **rows);

/*
 * Locks one run as it is now, waiting as lock_timeout allows.  For transactions
 * of any isolation level, and without SQL.
 */
extern FlowHold FlowRunHold(int64 run_id, FlowRunStatus *status, int32 *epoch);

/* Changes of a locked run; *tid becomes where the row is now. */
extern void FlowRunEndAll(const FlowRunEnd *ends, int n);
extern void FlowRunSetStatus(int64 run_id, FlowRunStatus status,
							 const char *reason);

/*
 * Cancelled, or to be so when the steps that always run have ended, and what
 * the run has done is undone.
 */
extern void FlowRunSetCancelled(int64 run_id, bool at_once, bool undo,
								const char *reason);

/* What a failed run has done is being undone; how it was: NULL if not at all. */
extern void FlowRunSetCompensating(int64 run_id, ItemPointerData *tid);
extern void FlowRunSetCompensated(int64 run_id, const char *how,
								  ItemPointerData *tid);

/* none, running, complete or partial */
extern char *FlowRunCompensation(int64 run_id);

/* True if what the run has done has been, or is being, undone. */
extern bool FlowRunIsCompensated(int64 run_id);
extern void FlowRunSetFailing(int64 run_id, Datum error, ItemPointerData *tid);
extern void FlowRunSetError(int64 run_id, Datum error, ItemPointerData *tid);
extern void FlowRunSetEarly(int64 run_id);
extern void FlowRunSetRetried(int64 run_id);
extern void FlowRunSetStarted(int64 run_id, ItemPointerData *tid);

#endif							/* FLOW_CAT_RUN_H */
