/*-------------------------------------------------------------------------
 * emission.h
 *	  Events that a step emits.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_EMISSION_H
#define FLOW_EMISSION_H

#include "catalog/cat_outcome.h"
#include "engine/batch.h"
#include "utils/jsonb.h"

/* One event of a step of this batch */
typedef struct FlowEmission
{
	char	   *event;
	Datum		payload;		/* jsonb */
	bool		isnull;
	int			level;			/* of the (sub)transaction it was emitted in */
} FlowEmission;

/*
 * Notes that the step which is executed emits an event; copies what it is
 * given.  Raises for a name that the step cannot emit.
 */
extern void FlowEmissionAdd(FlowItem *item, const char *event, Datum payload,
							bool isnull);

/* Notes that a step emits one of the events that every definition knows. */
extern void FlowEmissionNote(FlowItem *item, FlowEventNo no);

/* Notes what a failure for good emits beside "failed". */
extern void FlowEmissionNoteFailure(FlowItem *item);

/* Of an item that has ended: the events as bits, those by its status included. */
extern uint64 FlowEmissionMask(const FlowItem *item);

/* The same of a stored end of a step of that definition. */
extern uint64 FlowEmissionStoredMask(const FlowDefinition *definition,
									 const FlowOutcomeRow *row);

/* Stored form: [{"event": ..., "payload": ...}, ...], in order; and back. */
extern Datum FlowEmissionsToJsonb(List *emissions);
extern List *FlowEmissionsFromJsonb(Jsonb *stored);

/*
 * An array of the payloads of one event of an ended step upstream, in the order
 * in which they were emitted.  Needs a transaction.
 */
extern Datum FlowEmissionPayloads(FlowItem *item, const FlowStepDef *step,
								  const char *event);

#endif							/* FLOW_EMISSION_H */
