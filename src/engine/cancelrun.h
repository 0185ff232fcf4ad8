/*-------------------------------------------------------------------------
 * cancelrun.h
 *	  A run is cancelled.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CANCELRUN_H
#define FLOW_CANCELRUN_H

#include "catalog/cat_run.h"
#include "engine/control.h"

/*
 * From this commit on no effect of the run commits: its epoch is raised, and
 * whoever runs a step of it is interrupted after the commit.  Sets the status
 * of "run" to what it has become: cancelled, or, with something left to do,
 * compensating.  Needs the run locked, SPI, and must be raised.
 */
extern void FlowCancelRun(FlowRunRow *run, const FlowControl *control);

#endif							/* FLOW_CANCELRUN_H */
