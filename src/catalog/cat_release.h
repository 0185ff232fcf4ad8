/*-------------------------------------------------------------------------
 * cat_release.h
 *	  Rows that came from another home: made rows of this one.
 *
 * These raise their identity by themselves and make their own connection to
 * SPI; they need a transaction.  Results are in the caller's memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_RELEASE_H
#define FLOW_CAT_RELEASE_H

#include "nodes/pg_list.h"

/* Which rows are meant */
typedef struct FlowReleaseScope
{
	Oid			caller;			/* only what this role may act for */
	int32		workflow_id;	/* 0: of every workflow */
	Oid			stand_in;		/* for owners that are no role here; 0: their
								 * rows stay held */
} FlowReleaseScope;

/* What has been done */
typedef struct FlowReleased
{
	int64		workflows;
	int64		runs;			/* all of them, ended ones too */
	int64		unfinished;		/* those that go on */
	int64		schedules;
	List	   *lost_roles;		/* of char *: grants to them were dropped */
} FlowReleased;

/*
 * Makes rows of other homes rows of this one, with all their roles looked up
 * by name: workflows with their grants, the runs of workflows that are of this
 * home then, with their tasks, and schedules.  Ready tasks are not announced.
 */
extern void FlowReleaseRows(const FlowReleaseScope *scope, FlowReleased *done);

/*
 * Stores the present names of roles that have been renamed, so that they are
 * right in the next dump; those in runs are read from their workflow.  Unlike the
 * others this one needs SPI and the raised identity.
 */
extern void FlowReleaseFollowNames(int64 home);

/*
 * The name of the owner of the workflow of that name, if it is one of another
 * home; else NULL.
 */
extern char *FlowReleaseHeldOwner(const char *workflow);

/* True if that run is of another home. */
extern bool FlowReleaseIsHeld(int64 run_id);

/* The home that a run was started in, as the active snapshot sees it. */
extern int64 FlowReleaseOrigin(int64 run_id);

#endif							/* FLOW_CAT_RELEASE_H */
