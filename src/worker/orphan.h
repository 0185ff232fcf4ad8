/*-------------------------------------------------------------------------
 * orphan.h
 *	  Commands whose worker is gone.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ORPHAN_H
#define FLOW_ORPHAN_H

/*
 * Makes steps ready again that ran a command in a process that is no more.
 * Before the queue is refilled; scheduler only, outside a transaction.
 */
extern void FlowOrphanRun(void);

#endif							/* FLOW_ORPHAN_H */
