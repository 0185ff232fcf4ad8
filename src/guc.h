/*-------------------------------------------------------------------------
 * guc.h
 *	  The settings of the extension.
 *
 * All of them concern what every role shares, so all are PGC_SIGHUP: none can
 * be changed by a role, a database or a session.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_GUC_H
#define FLOW_GUC_H

extern bool FlowAllowSuperuser; /* workflows of superusers run */
extern int	FlowBatchTime;		/* ms that steps may share a transaction */
extern int	FlowCrashDelay;		/* s to wait after repeated crashes */
extern char *FlowDatabases;		/* list of names; empty: every database */
extern bool FlowEnabled;		/* off: nothing is executed */
extern int	FlowMaxDepth;		/* of runs that are steps of each other */
extern int	FlowMaxResultSize;	/* kB, of one step's output */
extern int	FlowSignalKeep;		/* s that untaken signals are kept */
extern int	FlowStepTimeout;	/* ms for each attempt; 0: none */
extern int	FlowWorkerIdleTimeout;	/* s until an idle worker ends */
extern int	FlowWorkers;		/* most workers at once in the cluster */

/* Defines the settings.  From _PG_init. */
extern void FlowGucInit(void);

/* True if flow.databases is empty or names this database.  Allocates. */
extern bool FlowGucIncludesDatabase(const char *name);

#endif							/* FLOW_GUC_H */
