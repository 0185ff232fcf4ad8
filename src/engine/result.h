/*-------------------------------------------------------------------------
 * result.h
 *	  A step's result set, turned into its output while it is produced.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RESULT_H
#define FLOW_RESULT_H

#include "flow.h"
#include "tcop/dest.h"

/*
 * A receiver for the rows of a step's last statement.  The output is built in
 * the given memory context, with the rights of whoever runs the statement.
 * Too many rows, or too large a result, is an error at once.
 */
extern DestReceiver *FlowResultCreate(FlowResultMode mode,
									  MemoryContext context);

/* The output, in the context given above. */
extern Datum FlowResultTake(DestReceiver *receiver, bool *isnull);

#endif							/* FLOW_RESULT_H */
