/*-------------------------------------------------------------------------
 * cat_workflow.h
 *	  Workflows, their definitions and who may use them: rows and structs.
 *
 * Every function needs a transaction and raises its identity by itself; a
 * connection to SPI is made inside.  Results are in the caller's memory
 * context.  None checks a privilege: that is done before, as the caller.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_WORKFLOW_H
#define FLOW_CAT_WORKFLOW_H

#include "base/json.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* A workflow that has not been dropped */
typedef struct FlowWorkflow
{
	int32		id;
	char	   *name;
	Oid			owner;
	char	   *owner_name;
	bool		enabled;
	int32		definition_id;	/* of the newest version */
	int32		version;
	char	   *description;	/* NULL: none */
	char	   *notify;			/* "none", "run" */
	int64		home;
	FlowValue	keep;			/* intervals; unset: for ever */
	FlowValue	keep_data;
	int32		max_runs;		/* 0: any number */
	char	   *max_runs_by;	/* SQL; NULL: of all runs together */
} FlowWorkflow;

/* The workflow of that name and of this home; false if there is none. */
extern bool FlowWorkflowLoad(const char *name, FlowWorkflow *out);

/*
 * The same, of any home, locked until the end of the transaction, so that
 * those who define or drop one name queue.
 */
extern bool FlowWorkflowLock(const char *name, FlowWorkflow *out);

/* The name of a workflow, dropped or not; NULL if there is none. */
extern char *FlowWorkflowName(int32 workflow_id);

/* Names of all workflows of this home, in order; a List of char *. */
extern List *FlowWorkflowNames(void);

/*
 * Inserts a workflow and draws its id and that of its first definition.
 * False if somebody else was first with that name: lock it and look.
 */
extern bool FlowWorkflowInsert(FlowWorkflow *workflow);

/* Stores what may change in place, and which version is the newest. */
extern void FlowWorkflowSave(const FlowWorkflow *workflow);

extern void FlowWorkflowMarkDropped(int32 workflow_id);

/* Unfinished runs of a workflow, or of one of its definitions (0: of all). */
extern int64 *FlowWorkflowUnfinished(int32 workflow_id, int32 definition_id,
									 int *n);

/* Sets it; false if it already was so. */
extern bool FlowWorkflowSetEnabled(int32 workflow_id, bool enabled);

/* Stores owner and owner_name. */
extern void FlowWorkflowSaveOwner(const FlowWorkflow *workflow);

/* The owner now of a workflow of this home, dropped or not; else InvalidOid. */
extern Oid	FlowWorkflowOwner(int32 workflow_id);

/*
 * True if the current user, or a role whose privileges it has, was granted that
 * privilege; NULL: any privilege.  The other asks the same for any role.
 */
extern bool FlowWorkflowHasGrant(int32 workflow_id, const char *privilege);
extern bool FlowWorkflowIsGranted(int32 workflow_id, const char *privilege,
								  Oid user);

/* Role 0 is PUBLIC.  Revoking NULL revokes all. */
extern void FlowWorkflowGrant(int32 workflow_id, Oid role,
							  const char *privilege);
extern void FlowWorkflowRevoke(int32 workflow_id, Oid role,
							   const char *privilege);

#endif							/* FLOW_CAT_WORKFLOW_H */
