/*-------------------------------------------------------------------------
 * cat_command.h
 *	  Commands that run: rows of flow_internal.task, and texts that were built.
 *
 * Every function needs a connection to SPI and must be called raised.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_COMMAND_H
#define FLOW_CAT_COMMAND_H

#include "datatype/timestamp.h"
#include "flow.h"
#include "nodes/pg_list.h"

/* A command as the worker that runs it knows it */
typedef struct FlowCommandRow
{
	FlowStepKey key;
	int32		attempt;		/* from 1 */
	int32		worker;			/* process */
} FlowCommandRow;

/* The row, which this transaction has locked, is that worker's from now on. */
extern void FlowCommandBegin(const FlowCommandRow *row);

/* What the text of the command is, in this attempt. */
extern void FlowCommandNote(const FlowCommandRow *row, const char *sql);

/*
 * The step is ready again, to be settled with that result, or without one (0) as
 * if the attempt had not been made.  False: the row is not that worker's.
 */
extern bool FlowCommandEnd(const FlowCommandRow *row, TimestampTz started_at,
						   Datum result);

/* All that run, or did, in this home: a list of FlowCommandRow *. */
extern List *FlowCommandList(int64 home);

/*
 * The worker is gone: the step is ready again, and the attempt has its row.
 * False: the row is not that worker's any more.
 */
extern bool FlowCommandRelease(const FlowCommandRow *row);

#endif							/* FLOW_CAT_COMMAND_H */
