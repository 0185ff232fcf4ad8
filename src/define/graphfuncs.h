/*-------------------------------------------------------------------------
 * graphfuncs.h
 *	  SQL functions by which tests drive graph.c: called by the server only.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_GRAPHFUNCS_H
#define FLOW_GRAPHFUNCS_H

#endif							/* FLOW_GRAPHFUNCS_H */
