/*-------------------------------------------------------------------------
 * cronspec.h
 *	  When a schedule of five fields fires next.  Pure.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CRONSPEC_H
#define FLOW_CRONSPEC_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/*
 * The first minute after "after" that the schedule names, read in that zone.
 * DT_NOEND if it names none within eight years, or is none of five fields or
 * of the names @hourly, @daily, @midnight, @weekly, @monthly, @yearly and
 * @annually.
 */
extern TimestampTz FlowCronspecComputeNext(const char *cron, pg_tz *zone,
										   TimestampTz after);

#endif							/* FLOW_CRONSPEC_H */
