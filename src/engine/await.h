/*-------------------------------------------------------------------------
 * await.h
 *	  Wait until a run has finished.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_AWAIT_H
#define FLOW_AWAIT_H

#include "datatype/timestamp.h"

/*
 * Sleeps until the run has finished, or until that time (DT_NOEND: for ever).
 * Refuses, with 55000, what could only wait for itself.  Needs a transaction
 * and SPI.
 */
extern void FlowAwait(int64 run_id, TimestampTz until);

#endif							/* FLOW_AWAIT_H */
