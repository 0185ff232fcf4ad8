/*-------------------------------------------------------------------------
 * owner.h
 *	  A workflow is given to another role.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_OWNER_H
#define FLOW_OWNER_H

/*
 * New runs belong to that role, and its members may do with the workflow and
 * all of its runs what an owner may.  Runs that have been started go on as who
 * they were started for.  Needs a transaction; locks the workflow's row.
 */
extern void FlowOwnerChange(const char *name, Oid role);

#endif							/* FLOW_OWNER_H */
