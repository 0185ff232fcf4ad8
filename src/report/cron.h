/*-------------------------------------------------------------------------
 * cron.h
 *	  The clock of schedules: pg_cron, as far as it is there.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CRON_H
#define FLOW_CRON_H

#include "datatype/timestamp.h"

/* The longest name of a job, in bytes */
#define FLOW_MAX_JOB_NAME	63

/*
 * Raises, saying what to do, unless pg_cron is in this database and the
 * current user may use it.  Needs a transaction.
 */
extern void FlowCronRequire(void);

/*
 * Makes or replaces the current user's job of that name; returns its id.
 * Needs SPI and the user's own identity.
 */
extern int64 FlowCronSchedule(const char *job, const char *cron,
							  const char *command);

/*
 * Removes a job.  Does nothing if it is gone, or pg_cron is, or if the job of
 * that id is called otherwise: after a restore it can be anybody's.
 */
extern void FlowCronUnschedule(int64 job_id, const char *job);

/*
 * True if the job exists, by id and by name, and is switched on.  Needs no
 * privilege: it reads one boolean of a table that this database may not have.
 */
extern bool FlowCronJobIsActive(int64 job_id, const char *job);

/* The name of the time zone that pg_cron reads its schedules in. */
extern const char *FlowCronTimezone(void);

/* The slot that a schedule is for when it fires at that moment.  Pure. */
extern TimestampTz FlowCronComputeSlot(const char *cron, TimestampTz fired_at);

#endif							/* FLOW_CRON_H */
