/*-------------------------------------------------------------------------
 * changes.h
 *	  What is about to be written, gathered so that few statements do it.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CHANGES_H
#define FLOW_CHANGES_H

#include "catalog/cat_event.h"
#include "catalog/cat_outcome.h"
#include "catalog/cat_run.h"
#include "catalog/cat_task.h"

/* A growing array of rows of one type */
typedef struct FlowRows
{
	char	   *rows;
	Size		size;			/* of one row */
	int			n;
	int			room;
} FlowRows;

typedef struct FlowChanges
{
	FlowRows	outcomes;		/* FlowOutcomeRow */
	FlowRows	attempts;		/* FlowAttemptRow */
	FlowRows	deletes;		/* ItemPointerData: tasks locked by us */
	FlowRows	holds;			/* ItemPointerData: tasks locked by us */
	FlowRows	sleeps;			/* FlowTaskNew */
	FlowRows	inserts;		/* FlowTaskNew */
	FlowRows	missing;		/* FlowTaskNew: may be there already */
	FlowRows	ends;			/* FlowRunEnd */
	FlowRows	events;			/* FlowEventRow */
} FlowChanges;

/* Allocates in the current memory context, now and later. */
extern void FlowChangesInit(FlowChanges *changes);
extern void FlowRowsAdd(FlowRows *rows, const void *row);

/* True if that row of task is among those to be deleted. */
extern bool FlowChangesDeletes(const FlowChanges *changes, const ItemPointerData *tid);

/*
 * Writes them all, and notes for the commit what others wait for: steps that
 * fall due, ends of runs, events.  Needs SPI; must be raised, with the rows of the runs
 * locked.
 */
extern void FlowChangesWrite(FlowChanges *changes);

#endif							/* FLOW_CHANGES_H */
