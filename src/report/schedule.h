/*-------------------------------------------------------------------------
 * schedule.h
 *	  Schedules: made, removed, fired.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SCHEDULE_H
#define FLOW_SCHEDULE_H

/*
 * All of these need SPI; the caller has asked for access as the user.
 */

/* What flow_schedule was given */
typedef struct FlowScheduleSpec
{
	char	   *name;
	char	   *cron;
	char	   *workflow;
	Datum		input;			/* jsonb */
	char	   *overlap;
	char	   *catchup;
	char	   *condition;		/* NULL: none */
} FlowScheduleSpec;

/*
 * Makes or replaces a schedule of the current user, with its job; returns the
 * job's id.  Raises for everything that would keep it from firing.
 */
extern int64 FlowScheduleCreate(const FlowScheduleSpec *spec);

/* Removes a schedule and its job; false if there is none. */
extern bool FlowScheduleDrop(const char *name);

/*
 * Decides the current slot, once, and starts its run if nothing is against it.
 * Returns the slot's run, or 0 if it has none.
 */
extern int64 FlowScheduleFire(const char *name);

/* The name of a schedule's job in pg_cron. */
extern char *FlowScheduleJobName(const char *schedule);

#endif							/* FLOW_SCHEDULE_H */
