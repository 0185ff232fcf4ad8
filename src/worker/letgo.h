/*-------------------------------------------------------------------------
 * letgo.h
 *	  Commands of others that the processes of this extension must know of.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_LETGO_H
#define FLOW_LETGO_H

/* Installs the hooks.  From _PG_init, when preloading. */
extern void FlowLetGoInit(void);

#endif							/* FLOW_LETGO_H */
