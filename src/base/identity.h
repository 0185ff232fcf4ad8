/*-------------------------------------------------------------------------
 * identity.h
 *	  Become the owner of the tables, under pinned settings, and come back.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_IDENTITY_H
#define FLOW_IDENTITY_H

typedef struct FlowIdentity
{
	Oid			user;
	int			sec_context;
	int			guc_nest;
} FlowIdentity;

/*
 * From here to FlowIdentityRestore() this backend is the owner of the flow
 * tables, with search_path = pg_catalog, pg_temp and with every setting
 * pinned that a role could have turned against the engine's own statements.
 * Only fixed, schema-qualified statements of catalog/ run in between, and
 * nothing deferred may be queued.  Needs a transaction.  An error in between
 * needs no care: the abort restores all of it.
 */
extern void FlowIdentityRaise(FlowIdentity *saved);
extern void FlowIdentityRestore(const FlowIdentity *saved);

/* True if the session belongs to another role than the current one. */
extern bool FlowIdentityIsForeign(void);

/*
 * From here to FlowIdentityRelease() the current role cannot become another
 * one: it keeps its own rights, and has no way back to those of the session.
 */
extern void FlowIdentityConfine(FlowIdentity *saved);
extern void FlowIdentityRelease(const FlowIdentity *saved);

#endif							/* FLOW_IDENTITY_H */
