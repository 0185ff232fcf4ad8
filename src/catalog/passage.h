/*-------------------------------------------------------------------------
 * passage.h
 *	  One statement of ours, for callers that are neither raised nor connected.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PASSAGE_H
#define FLOW_PASSAGE_H

#include "base/identity.h"
#include "base/spi.h"

/* What it was before */
typedef struct FlowPassage
{
	MemoryContext caller;
	FlowIdentity identity;
} FlowPassage;

/*
 * In between: connected to SPI, in its memory context, and raised.  Needs a
 * transaction; an error needs no care.
 */
extern void FlowPassageEnter(FlowPassage *passage);
extern void FlowPassageLeave(FlowPassage *passage);

/* A statement that returns nothing, passed through; the rows it changed. */
extern uint64 FlowPassageExecute(FlowStatement *statement, Datum *values,
								 const bool *nulls);

/* A statement that returns one integer at most, passed through; 0 if none. */
extern int32 FlowPassageFetchInt(FlowStatement *statement, Datum *values);

#endif							/* FLOW_PASSAGE_H */
