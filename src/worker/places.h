/*-------------------------------------------------------------------------
 * places.h
 *	  Which of the steps that wait get a place under their limits.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PLACES_H
#define FLOW_PLACES_H

#include "datatype/timestamp.h"

typedef struct FlowPlacesGiven
{
	int			n;				/* steps that do not wait any more */
	bool		locked;			/* somebody had one of them: look again soon */
	bool		waits;			/* some wait still, or may */
	TimestampTz next_at;		/* when a rate lets more in; DT_NOEND: none */
} FlowPlacesGiven;

/*
 * Gives places to at most so many steps.  Scheduler only, in a transaction,
 * connected to SPI and raised.
 */
extern void FlowPlacesGive(int64 home, int most, FlowPlacesGiven *given);

#endif							/* FLOW_PLACES_H */
