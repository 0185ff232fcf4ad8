/*-------------------------------------------------------------------------
 * repair.h
 *	  After a crash: who ran what, before anything runs again.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_REPAIR_H
#define FLOW_REPAIR_H

#include "datatype/timestamp.h"

/*
 * Stores what the flight recorder knows of processes that have died in this
 * database, and whether anything is under suspicion at all; with "look", or the
 * first time, even if nobody has died since.  Returns false if that failed:
 * then nothing may be started yet.  Scheduler only, outside a transaction.
 */
extern bool FlowRepairRun(bool look);

/*
 * For the launcher: until when no workflow may run because the server crashed
 * time and again; 0: it may.  Says so in the log, once.
 */
extern TimestampTz FlowRepairHeldUntil(void);

#endif							/* FLOW_REPAIR_H */
