/*-------------------------------------------------------------------------
 * guard.h
 *	  Run a function so that an error becomes a value; the only PG_TRY.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_GUARD_H
#define FLOW_GUARD_H

typedef enum FlowGuardScope
{
	FLOW_GUARD_TRANSACTION,		/* a transaction of a background worker */
	FLOW_GUARD_REPEATABLE_READ, /* the same, at that isolation level */
	FLOW_GUARD_SERIALIZABLE,
	FLOW_GUARD_BARE,			/* the same at READ COMMITTED, and body may
								 * end it and begin others */
	FLOW_GUARD_SUBTRANSACTION	/* a subtransaction of the caller's */
} FlowGuardScope;

typedef void (*FlowGuardBody) (void *arg);
typedef void (*FlowGuardNote) (const struct ErrorData *error, void *arg);

/*
 * Runs body in a transaction or subtransaction of its own, connected to SPI,
 * and commits it.  Returns NULL when it is committed; else everything body did is
 * rolled back, and a copy of the error, made in the memory context that was
 * current at the call, is returned.  FATAL passes through.
 *
 * FLOW_GUARD_TRANSACTION must be called outside a transaction, in a
 * background worker; it is READ COMMITTED and read-write whatever the
 * settings of the role say; so are the two after it, but for their level.
 * FLOW_GUARD_BARE is a transaction without SPI and without a snapshot: what is
 * run in it counts as not being in a transaction block.
 * FLOW_GUARD_SUBTRANSACTION needs a transaction.
 * The memory context that was current at the call is current again after.
 * Interrupts that came for the failed body are forgotten.
 */
extern struct ErrorData *FlowGuardRun(FlowGuardScope scope,
									  FlowGuardBody body, void *arg);

/*
 * The same, but not in a subtransaction, and note is called with the error
 * before the rollback: whoever finds what body had locked free again finds
 * what was noted, too.  It must not fail.
 */
extern struct ErrorData *FlowGuardRunNoting(FlowGuardScope scope,
											FlowGuardBody body,
											FlowGuardNote note, void *arg);

#endif							/* FLOW_GUARD_H */
