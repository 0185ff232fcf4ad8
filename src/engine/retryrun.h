/*-------------------------------------------------------------------------
 * retryrun.h
 *	  A run that came to a bad end goes on.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RETRYRUN_H
#define FLOW_RETRYRUN_H

#include "catalog/cat_run.h"

/*
 * Lets a run that failed or was cancelled go on from where it was; with a step,
 * if that one is enough for it; with an item of that, if that is (0: all that
 * failed).  Raises WF001 if not, WF003 if another run has its key now.  Needs the
 * run locked, SPI, and must be raised.
 */
extern void FlowRetryRun(const FlowRunRow *run, const char *step, int32 item_no);

#endif							/* FLOW_RETRYRUN_H */
