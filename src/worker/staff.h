/*-------------------------------------------------------------------------
 * staff.h
 *	  Start workers for roles that have work, within flow.workers.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_STAFF_H
#define FLOW_STAFF_H

#include "datatype/timestamp.h"

/* Forgets what is known of roles.  Once, at the scheduler's start. */
extern void FlowStaffReset(void);

/* The settings have changed: roles that were refused are looked at again. */
extern void FlowStaffForgive(void);

/*
 * Registers workers where steps wait for one.  Scheduler only, outside a
 * transaction; never waits for the workers.
 */
extern void FlowStaffRun(void);

/* When to run again even if nobody asks, or DT_NOEND. */
extern TimestampTz FlowStaffNext(void);

/*
 * For a worker: true if its place is needed by a role that has waited long
 * enough and has no worker, or if there are more workers than there may be.
 */
extern bool FlowStaffShouldGiveWay(void);

#endif							/* FLOW_STAFF_H */
