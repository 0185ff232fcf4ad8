/*-------------------------------------------------------------------------
 * cat_prune.h
 *	  Finished runs that go: rows read in order, deleted, or erased.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.  Rows of another home are
 * never touched, and nobody's lock is waited for.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_PRUNE_H
#define FLOW_CAT_PRUNE_H

#include "catalog/cat_run.h"
#include "nodes/pg_list.h"

/* A workflow, dropped or not, whose finished runs may go */
typedef struct FlowPruneWorkflow
{
	int32		id;
	Oid			owner;
	TimestampTz now;			/* when the next two were computed */
	TimestampTz prune_before;	/* runs that ended up to then; DT_NOBEGIN:
								 * none */
	TimestampTz erase_before;	/* payloads likewise */
} FlowPruneWorkflow;

/* A run that may go, some day */
typedef struct FlowPruneCandidate
{
	int64		id;
	TimestampTz created_at;
	TimestampTz finished_at;	/* DT_NOEND: it has not */
} FlowPruneCandidate;

/* Workflows that keep their runs, or their payloads, for a while only. */
extern List *FlowPruneListKeeping(int64 home);

/* Workflows of that name, or all, without times; as FlowPruneWorkflow *. */
extern List *FlowPruneListNamed(int64 home, const char *name);

/*
 * Where a look through the runs of one workflow is: they are read by what they
 * have lost, and by id.
 */
typedef struct FlowPrunePlace
{
	int32		workflow_id;
	FlowErased	erased;
	int64		after;			/* id */
} FlowPrunePlace;

/* The runs behind that place, in order; returns how many, at most max. */
extern int	FlowPruneRead(int64 home, const FlowPrunePlace *place,
						  FlowPruneCandidate *runs, int max);

/*
 * Of those runs, deletes the ones that have ended up to that time, with all that
 * belongs to them; returns how many.  Those that somebody has locked, or that
 * have a step somebody has not let go of yet, stay.
 */
extern int	FlowPruneDelete(const int64 *run_ids, int n, TimestampTz before);

/* Erases payloads likewise. */
extern int	FlowPruneErase(const int64 *run_ids, int n, TimestampTz before);

/*
 * The same of one finished run that the caller has locked; with the key,
 * unless that is a hash already.
 */
extern void FlowPruneEraseRun(int64 run_id, bool with_key);

/*
 * Deletes up to max signals sent before that time that no step has taken, and
 * returns how many.  Those of a run that is paused or held stay, and of one that
 * a worker has something to do for, since that may be to take them.
 */
extern int	FlowPruneSignals(int64 home, TimestampTz before, int max);

/*
 * When the oldest of the signals that may go was sent; DT_NOEND: there is
 * none.  *spared: some stay for the work of their runs.
 */
extern TimestampTz FlowPruneOldestSignal(int64 home, bool *spared);

#endif							/* FLOW_CAT_PRUNE_H */
