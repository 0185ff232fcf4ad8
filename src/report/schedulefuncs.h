/*-------------------------------------------------------------------------
 * schedulefuncs.h
 *	  The SQL functions of schedules.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SCHEDULEFUNCS_H
#define FLOW_SCHEDULEFUNCS_H

#include "fmgr.h"

extern Datum flow_schedule(PG_FUNCTION_ARGS);
extern Datum flow_unschedule(PG_FUNCTION_ARGS);
extern Datum flow_fire(PG_FUNCTION_ARGS);
extern Datum flow_cron_job_is_active(PG_FUNCTION_ARGS);
extern Datum flow_cron_timezone(PG_FUNCTION_ARGS);
extern Datum flow_cron_next(PG_FUNCTION_ARGS);

#endif							/* FLOW_SCHEDULEFUNCS_H */
