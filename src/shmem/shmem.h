/*-------------------------------------------------------------------------
 * shmem.h
 *	  The one piece of shared memory, of fixed size, and its lock.
 *
 * Each structure in it has a file of its own that says what protects it;
 * shmem.c adds up their sizes and initialises them in turn.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SHMEM_H
#define FLOW_SHMEM_H

#include "storage/lwlock.h"

/* Registers the request and startup hooks.  From _PG_init, when preloading. */
extern void FlowShmemInit(void);

/* True if the library was preloaded, so that workers exist. */
extern bool FlowShmemIsAvailable(void);

/*
 * The lock of the ready queue, of the databases and of who works where.  Held
 * for bounded work only: no allocation, no error, no other lock inside.
 */
extern LWLock *FlowShmemLock(void);

#endif							/* FLOW_SHMEM_H */
