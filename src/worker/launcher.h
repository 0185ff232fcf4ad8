/*-------------------------------------------------------------------------
 * launcher.h
 *	  One per cluster: a scheduler in every database that has the extension.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_LAUNCHER_H
#define FLOW_LAUNCHER_H

/* Registers the launcher with the postmaster.  From _PG_init, when preloading. */
extern void FlowLauncherInit(void);

extern PGDLLEXPORT void FlowLauncherMain(Datum main_arg);

#endif							/* FLOW_LAUNCHER_H */
