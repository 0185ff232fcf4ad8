/*-------------------------------------------------------------------------
 * take.h
 *	  A worker takes steps off its lane and runs them.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_TAKE_BATCH_H
#define FLOW_TAKE_BATCH_H

/*
 * Takes entries off the lane, runs them and commits; gives back what it did
 * not do.  Returns the number of entries taken; 0 if there were none.  Worker only,
 * outside a transaction; allocates in the current memory context.
 */
extern int	FlowBatchRun(int lane);

#endif							/* FLOW_TAKE_BATCH_H */
