/*-------------------------------------------------------------------------
 * cat_item.h
 *	  Items of steps that run once for each (flow_internal.map, item).
 *
 * A map is the step that has the items.  Rows of both tables have its number;
 * rows of task, outcome and attempt have that of the step that runs for each
 * (define/item.h).  Every function needs a connection to SPI and must be
 * called raised; results are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_ITEM_H
#define FLOW_CAT_ITEM_H

#include "datatype/timestamp.h"
#include "flow.h"
#include "nodes/pg_list.h"
#include "utils/tuplestore.h"

/* How far a map is; changed with its run locked */
typedef struct FlowMapRow
{
	int64		run_id;
	int32		step_no;
	int32		total;			/* items there are */
	int32		next;			/* first that has not been made ready yet */
	int32		live;			/* that have a row in task */
	int32		done;			/* that have ended, and not failed */
	int32		failed;
	TimestampTz started_at;
} FlowMapRow;

/* One that may be made ready */
typedef struct FlowItemNext
{
	int32		item_no;
	int32		attempt;		/* failed ones so far */
} FlowItemNext;

/* How one has ended */
typedef struct FlowItemEnd
{
	int32		item_no;
	FlowStepStatus status;
	int32		attempt;
	NullableDatum output;		/* jsonb */
	NullableDatum emits;
	NullableDatum error;
} FlowItemEnd;

extern bool FlowMapLoad(int64 run_id, int32 step_no, FlowMapRow *map);
extern void FlowMapInsert(const FlowMapRow *map);
extern void FlowMapUpdate(const FlowMapRow *map);

/* Inserts the items of a map, numbered from 1. */
extern void FlowItemInsert(int64 run_id, int32 step_no, const Datum *items, int n);

/* Reads items: of the maps "steps", by the run and item number of the keys. */
extern void FlowItemRead(const FlowStepKey *keys, const int32 *steps, int n,
						 NullableDatum *items);

/* Forgets ends of items of a step that it turned out not to have. */
extern void FlowItemForgetBeyond(int64 run_id, int32 step_no, int32 total);

/* How many have ended well, and failed, of a step that runs for each. */
extern void FlowItemCount(int64 run_id, int32 step_no, int32 total,
						  int32 *done, int32 *failed);

/*
 * The first items from a number on that have neither ended nor a row in task:
 * at most n of them are written to "next".  Returns how many.
 */
extern int	FlowItemFind(const FlowMapRow *map, int32 step_no, int n,
						 FlowItemNext *next);

/* All that have ended, in the order of their numbers: list of FlowItemEnd *. */
extern List *FlowItemListEnds(int64 run_id, int32 step_no);

/*
 * All items of a map and how they have ended, with the snapshot that is active:
 * adds rows (item_no, item, status, output, sqlstate, message).
 */
extern void FlowItemListAll(int64 run_id, int32 map_no, int32 step_no,
							Tuplestorestate *result);

/* The first that has failed.  False: none. */
extern bool FlowItemFailure(int64 run_id, int32 step_no, FlowItemEnd *end);

/*
 * The last that has completed and is not undone, given the step that undoes
 * them; 0: none.
 */
extern int32 FlowItemLastDone(int64 run_id, int32 step_no, int32 undo_no);

/* How many were undone, and could not be, of a step that runs for each. */
extern void FlowItemCountUndone(int64 run_id, int32 step_no, int32 *undone,
								int32 *failed);

/* True if an item of that step has completed. */
extern bool FlowItemAnyDone(int64 run_id, int32 step_no);

/*
 * Forgets that items have failed, been skipped or cancelled (item_no 0: all
 * such), and what they waited for; with "all" also that they have completed.
 */
extern void FlowItemForget(int64 run_id, int32 step_no, int32 item_no, bool all);

/* Forgets a map and its items, so that they are computed anew. */
extern void FlowMapForget(int64 run_id, int32 step_no);

/* Copies the maps of these steps, and their items, to another run. */
extern void FlowMapCopy(int64 from_run, int64 to_run, const int *steps, int n);

#endif							/* FLOW_CAT_ITEM_H */
