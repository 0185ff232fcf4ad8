/*-------------------------------------------------------------------------
 * access.h
 *	  Who may do what; asked before anything is read or raised.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ACCESS_H
#define FLOW_ACCESS_H

#include "catalog/cat_workflow.h"

/* Raises 42501 unless the current user has USAGE on schema flow. */
extern void FlowAccessRequireRead(void);

/*
 * The same for a function that writes; it also refuses security-restricted
 * operations, parallel workers, read-only transactions and standbys.
 */
extern void FlowAccessRequireUse(void);

/* The same for a function that defines: CREATE on schema flow too. */
extern void FlowAccessRequireCreate(void);

/* True if the current user has the privileges of that role. */
extern bool FlowAccessIsMember(Oid owner);

/* True if the current user is that too, or has any privilege on the workflow. */
extern bool FlowAccessMaySee(const FlowWorkflow *workflow);

/* Raises 42501 unless the current user is a member of the workflow's owner. */
extern void FlowAccessRequireMember(const FlowWorkflow *workflow);

/*
 * True if the current user is a member of the role that a run's steps run as,
 * or of the one that owns its workflow now.
 */
extern bool FlowAccessOwnsRun(Oid run_owner, int32 workflow_id);

/*
 * True if the current user is that too, has started the run, or has a privilege
 * on its workflow other than to start: whoever the views show the run to.
 */
extern bool FlowAccessMaySeeRun(Oid run_owner, Oid started_by,
								int32 workflow_id);

/* Raises unless that role can own workflows on this server. */
extern void FlowAccessRequireOwner(Oid owner);

/*
 * Raises 42501 unless the current user could define a workflow as that role: it
 * may SET ROLE to it, and that role has CREATE on schema flow.
 */
extern void FlowAccessRequireCreateAs(Oid role);

#endif							/* FLOW_ACCESS_H */
