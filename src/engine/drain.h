/*-------------------------------------------------------------------------
 * drain.h
 *	  Run what is ready in a client's session.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_DRAIN_H
#define FLOW_DRAIN_H

#include "flow.h"

/*
 * Runs what is ready of the runs that belong to the current user, or of one
 * run (0: all), at most max_steps attempts (0: no limit).  With skip_time, due
 * times of that run elapse at once.  Returns the number of attempts.  Needs a
 * connection to SPI; everything is part of the caller's transaction.
 */
extern int	FlowDrain(int64 run_id, int max_steps, bool skip_time);

#endif							/* FLOW_DRAIN_H */
