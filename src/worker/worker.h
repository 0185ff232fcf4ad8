/*-------------------------------------------------------------------------
 * worker.h
 *	  The process that runs the steps of one role in one database.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WORKER_H
#define FLOW_WORKER_H

#include "postmaster/bgworker.h"

/* What a worker is told, in bgw_extra */
typedef struct FlowWorkerArgs
{
	Oid			database;
	Oid			role;
} FlowWorkerArgs;

StaticAssertDecl(sizeof(FlowWorkerArgs) <= BGW_EXTRALEN,
				 "arguments of a worker must fit");

/*
 * Registers a worker; NULL if the server has no slot for it.  The lane must
 * have been told of it (FlowQueueWorkerStarting).
 */
extern BackgroundWorkerHandle *FlowWorkerRegister(FlowWorkerArgs args);

extern PGDLLEXPORT void FlowWorkerMain(Datum main_arg);

#endif							/* FLOW_WORKER_H */
