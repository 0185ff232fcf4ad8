/*-------------------------------------------------------------------------
 * cat_event.h
 *	  What a run leaves beside its steps: events, and data of flow_set.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_EVENT_H
#define FLOW_CAT_EVENT_H

#include "datatype/timestamp.h"
#include "flow.h"

typedef struct FlowEventRow
{
	int64		run_id;
	int32		workflow_id;
	const char *key;			/* of the run; NULL: none */
	const char *status;
	TimestampTz at;
	const char *by_role;
	const char *reason;			/* NULL: none */
} FlowEventRow;

extern void FlowEventInsert(const FlowEventRow *rows, int n);

/* A value of flow_set, with the snapshot that is active.  False: none. */
extern bool FlowDataLoad(int64 run_id, const char *key, Datum *value);
extern void FlowDataSave(int64 run_id, const char *key, Datum value);
extern void FlowDataRemove(int64 run_id, const char *key);

/* Copies the data of a run to another. */
extern void FlowDataCopy(int64 from_run, int64 to_run);

#endif							/* FLOW_CAT_EVENT_H */
