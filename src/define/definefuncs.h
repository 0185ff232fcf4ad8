/*-------------------------------------------------------------------------
 * definefuncs.h
 *	  SQL functions that define: called by the server only.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_DEFINEFUNCS_H
#define FLOW_DEFINEFUNCS_H

#endif							/* FLOW_DEFINEFUNCS_H */
