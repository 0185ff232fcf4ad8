/*-------------------------------------------------------------------------
 * rerun.h
 *	  A new run with the ends of steps of an earlier one.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RERUN_H
#define FLOW_RERUN_H

/*
 * Starts a run of the same version, key and slot as an earlier one, which has
 * finished.  With from_step it takes over how the steps have ended that do not
 * lie downstream of it; with input it sees that instead of the earlier one's.
 * Returns its id.  Needs a transaction and SPI.
 */
extern int64 FlowRunAgain(int64 run_id, const char *from_step,
						  NullableDatum input);

#endif							/* FLOW_RERUN_H */
