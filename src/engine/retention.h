/*-------------------------------------------------------------------------
 * retention.h
 *	  Finished runs are pruned, their payloads erased.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RETENTION_H
#define FLOW_RETENTION_H

#include "catalog/cat_prune.h"

/* A look through the runs of one workflow, and how far it has come */
typedef struct FlowRetention
{
	int64		home;
	FlowPrunePlace place;
	bool		erases;			/* payloads only; else the runs go */
	TimestampTz before;			/* of those that have ended up to then */
	bool		is_over;
	int64		n_done;
	int			n_held;			/* passed over: somebody has them locked */
	TimestampTz next;			/* no run that is left, and has ended or will
								 * have, did so earlier; DT_NOEND: there is
								 * none */
} FlowRetention;

extern void FlowRetentionInit(FlowRetention *retention, int64 home,
							  int32 workflow_id, TimestampTz before);

/*
 * Does so many runs of it that a transaction stays short.  Runs that have not
 * ended, though they are old, do not count in "next": their end is heard of.
 * Needs SPI and must be raised.
 */
extern void FlowRetentionRun(FlowRetention *retention);

/*
 * What flow_prune does: deletes runs that ended longer ago than that, of the
 * workflows of that name (NULL: of all) that the current user may operate, and
 * returns how many.  Needs SPI.
 */
extern int64 FlowRetentionPrune(const Interval *older_than,
								const char *workflow);

/* What flow_delete_data does; false if it was done already.  Needs SPI. */
extern bool FlowRetentionErase(int64 run_id, bool with_key);

#endif							/* FLOW_RETENTION_H */
