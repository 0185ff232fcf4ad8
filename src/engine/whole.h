/*-------------------------------------------------------------------------
 * whole.h
 *	  A whole run at once, in the caller's transaction: flow_execute.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WHOLE_H
#define FLOW_WHOLE_H

/*
 * Starts a run of the workflow and runs it to its end here and now; delays
 * elapse at once.  Returns its output; anything but a completed run is an
 * error, so that either all of it is done by this transaction or nothing.
 * Needs a transaction and SPI.
 */
extern Datum FlowWholeExecute(const char *workflow, Datum input, bool *isnull);

#endif							/* FLOW_WHOLE_H */
