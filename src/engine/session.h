/*-------------------------------------------------------------------------
 * session.h
 *	  What a step leaves behind in the session, and how it goes.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SESSION_H
#define FLOW_SESSION_H

/* Installs the hooks that notice.  From _PG_init. */
extern void FlowSessionInit(void);

/*
 * A step begins: what it leaves is noted until FlowSessionEnd.  With
 * "transient", the session is a client's, and what the step made is remembered by
 * name.
 */
extern void FlowSessionBegin(bool transient);

/*
 * The step has ended well.  In a client's session, drops what it made; returns true if it left
 * something in a worker's session, which then must commit and be cleaned.
 */
extern bool FlowSessionEnd(void);

/*
 * Worker only, outside a transaction: forgets everything that steps have left
 * since the last time, if they have.  Session-level locks go here, so after the
 * commit of what they protected.
 */
extern void FlowSessionClean(void);

/*
 * The same, and settings, the role included, after what could commit them.  A
 * session that cannot be reset is ended.
 */
extern void FlowSessionReset(void);

#endif							/* FLOW_SESSION_H */
