/*-------------------------------------------------------------------------
 * scheduler.h
 *	  The process that keeps one database's workflows moving.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SCHEDULER_H
#define FLOW_SCHEDULER_H

#include "postmaster/bgworker.h"

typedef void (*FlowSchedulerBody) (int64 home, void *arg);

/*
 * Runs body in a transaction, connected to SPI and raised, and commits it.
 * If that fails, says in the log what could not be done, makes the scheduler
 * pause for a moment and look at everything after it, and returns false; also
 * when the extension is not installed (any more).  Scheduler only, outside a
 * transaction.
 */
/*
 * The same for work that may fail without harm to the rest: an error is
 * logged, and nothing else waits for it.
 */
extern bool FlowSchedulerTry(const char *doing, FlowSchedulerBody body,
							 void *arg);

extern bool FlowSchedulerTransact(const char *doing, FlowSchedulerBody body,
								  void *arg);

/* Registers a scheduler; NULL if the server has no slot for it. */
extern BackgroundWorkerHandle *FlowSchedulerRegister(Oid database);

extern PGDLLEXPORT void FlowSchedulerMain(Datum main_arg);

#endif							/* FLOW_SCHEDULER_H */
