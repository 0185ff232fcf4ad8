/*-------------------------------------------------------------------------
 * reload.h
 *	  Did this process miss a reload of the configuration as it started?
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RELOAD_H
#define FLOW_RELOAD_H

/* A setting of ours was assigned.  For assign hooks: cannot fail. */
extern void FlowReloadNote(void);

/*
 * Handles SIGHUP from now on, and asks for a reload of the configuration if
 * one was missed.  For a process of ours that starts, with signals blocked.
 */
extern void FlowReloadListen(void);

extern Size FlowReloadShmemSize(void);
extern void FlowReloadShmemInit(void);

#endif							/* FLOW_RELOAD_H */
