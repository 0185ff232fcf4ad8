/*-------------------------------------------------------------------------
 * workflow.h
 *	  Define, show, check, drop, enable and grant workflows.
 *
 * Each checks the caller's rights first and needs a transaction.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WORKFLOW_H
#define FLOW_WORKFLOW_H

#include "catalog/cat_workflow.h"
#include "define/document.h"
#include "define/problem.h"

/*
 * Stores the specification unless it is what the newest version says, and
 * returns the version.  The first problem of it is raised.
 */
extern int32 FlowWorkflowDefine(FlowSpec *spec);

/*
 * Loads the workflow of that name; raises 42704 if there is none, or none that
 * the current user may see.
 */
extern void FlowWorkflowRequire(const char *name, FlowWorkflow *workflow);

/*
 * Loads and locks it for a change that members of its owner may make; raises
 * as above, or 42501.
 */
extern void FlowWorkflowLockAsMember(const char *name, FlowWorkflow *workflow);

/* Version 0 is the newest. */
extern Jsonb *FlowWorkflowDocument(const char *name, int32 version);

/* Collects what is wrong with a stored workflow, or with a document. */
extern void FlowWorkflowCheck(const char *name, FlowProblems *problems);
extern void FlowWorkflowCheckSpec(FlowSpec *spec, FlowProblems *problems);

/* True if the current user may see it: as a member, or by any grant. */
extern bool FlowWorkflowIsVisible(const char *name);

/*
 * Drops a workflow, or one version of it (0: all).  Unfinished runs are an
 * error, or, with force, are handed to cancel one by one.  False if there is
 * no such workflow or version.  What has run stays in the history.
 */
extern bool FlowWorkflowDrop(const char *name, int32 version, bool force,
							 void (*cancel) (int64 run_id));

/* False if it already was so. */
extern bool FlowWorkflowEnable(const char *name, bool enabled);

/* Role 0 is PUBLIC.  privilege NULL: all of them (revoke only). */
extern void FlowWorkflowGrantTo(const char *name, Oid role,
								const char *privilege);
extern void FlowWorkflowRevokeFrom(const char *name, Oid role,
								   const char *privilege);

#endif							/* FLOW_WORKFLOW_H */
