/*-------------------------------------------------------------------------
 * context.h
 *	  What the running step can ask: its run, its names, the run's data.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CONTEXT_H
#define FLOW_CONTEXT_H

#include "engine/batch.h"
#include "nodes/params.h"
#include "utils/tuplestore.h"

/* A value of flow_set, not yet written */
typedef struct FlowDatum
{
	char	   *key;
	Datum		value;			/* jsonb */
	bool		isnull;			/* remove it */
	int			level;			/* of the (sub)transaction it was set in */
} FlowDatum;

/* Registers a callback for subtransactions.  From _PG_init. */
extern void FlowContextInit(void);

/* The step this backend is executing, or NULL. */
extern FlowItem *FlowContextItem(void);

/* The same, but raises 55000 naming the function if there is none. */
extern FlowItem *FlowContextRequire(const char *function);

/* Enters a step, or leaves it (NULL). */
extern void FlowContextEnter(FlowBatch *batch, FlowItem *item);

/*
 * The step's names as parameters, to be read while it is entered.  Values
 * are fetched when they are used.  Allocated in the current memory context.
 */
extern ParamListInfo FlowContextParams(const FlowDefinition *definition);

/*
 * The output of an ended step of the run; *isnull if it has none.  Needs a
 * transaction.  The value lives as long as the batch.
 */
extern Datum FlowContextOutput(FlowRunRef *run, int step_no, bool *isnull);

/*
 * Adds the items of an ended step to the result of flow_items().  Needs a
 * transaction.
 */
extern void FlowContextItems(const FlowRunRef *run, const FlowStepDef *step,
							 Tuplestorestate *result);

/* What a hook runs for, as jsonb. */
extern Datum FlowContextHookEvent(FlowItem *item, bool *isnull);

/* The error of an ended step, in the current memory context; likewise. */
extern Datum FlowContextError(FlowRunRef *run, int step_no, bool *isnull);

/* Data of the run, with what this batch has set; false: no such key. */
extern bool FlowContextGetData(FlowItem *item, const char *key, Datum *value);
extern void FlowContextSetData(FlowItem *item, const char *key, Datum value,
							   bool isnull);

#endif							/* FLOW_CONTEXT_H */
