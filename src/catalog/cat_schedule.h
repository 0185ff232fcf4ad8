/*-------------------------------------------------------------------------
 * cat_schedule.h
 *	  Schedules, and what was decided for each of their slots.
 *
 * All of these need SPI and the raised identity; what they return is in the
 * current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_SCHEDULE_H
#define FLOW_CAT_SCHEDULE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct FlowSchedule
{
	char	   *name;
	int64		home;
	Oid			owner;			/* here, whatever home the row is of */
	char	   *owner_name;		/* as stored; may be out of date */
	int64		job_id;			/* of cron.job */
	char	   *cron;
	int32		workflow_id;
	Datum		input;			/* jsonb */
	char	   *overlap;
	char	   *catchup;
	/* read with it, from its workflow */
	char	   *workflow;		/* NULL: has been dropped */
	bool		enabled;
} FlowSchedule;

/* What became of a slot; decision is 'started', 'skipped' or 'missed' */
typedef struct FlowSlotDecision
{
	const char *decision;
	const char *reason;			/* or NULL */
	int64		run_id;			/* or 0 */
} FlowSlotDecision;

/*
 * The schedule of that name, locked until the transaction ends, so that its
 * slots are decided one after the other; NULL if there is none.
 */
extern FlowSchedule *FlowScheduleLock(const char *name);

/* The schedules of this home that start that workflow, not locked. */
extern List *FlowScheduleListOf(int32 workflow_id);

/*
 * Inserts or replaces; false if another role has one of that name.  One of
 * another home is replaced: its owner is to be checked before, locked.
 */
extern bool FlowScheduleSave(const FlowSchedule *schedule);

/* Deletes a schedule and the record of its slots. */
extern void FlowScheduleDelete(const char *name);

/* The decision for a slot; false if there is none yet. */
extern bool FlowScheduleSlotFind(const char *name, TimestampTz slot,
								 FlowSlotDecision *decision);
extern void FlowScheduleSlotInsert(const char *name, TimestampTz slot,
								   const FlowSlotDecision *decision);

/* The last run it started, if that has not ended; or 0. */
extern int64 FlowScheduleUnfinishedRun(const char *name);

/* Notes in a run that this schedule started it. */
extern void FlowScheduleMarkRun(int64 run_id, const char *name);

#endif							/* FLOW_CAT_SCHEDULE_H */
