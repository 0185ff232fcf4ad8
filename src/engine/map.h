/*-------------------------------------------------------------------------
 * map.h
 *	  Steps that run once for each item: their items become ready, and end.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_MAP_H
#define FLOW_MAP_H

#include "engine/batch.h"
#include "engine/changes.h"

/*
 * Executes a step that has items: computes them, unless that was done before.
 * It completes if there are none, and else is running.  For execute.c.
 */
extern void FlowMapExecute(FlowBatch *batch, FlowItem *item);

/* Reads the values of the items that the batch has claimed.  Needs SPI. */
extern void FlowMapReadItems(FlowBatch *batch);

/*
 * Stores the items of a step that is running.  Needs the run locked, SPI, and
 * must be raised; so the rest.
 */
extern void FlowMapPark(FlowItem *item);

/* Notes that an item has ended, and its row in task goes. */
extern void FlowMapNoteEnd(const FlowItem *item);

/*
 * What the ends of items mean for the steps they belong to: more become ready,
 * or the step ends and is settled.
 */
extern void FlowMapSettle(FlowBatch *batch, FlowChanges *changes);

/*
 * The step has an end already; what this batch has run of its items must not be
 * committed, and those that it holds are not run.
 */
extern void FlowMapOvertake(FlowBatch *batch, FlowRunRef *run, int step_no);

#endif							/* FLOW_MAP_H */
