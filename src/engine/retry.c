/*-------------------------------------------------------------------------
 * retry.c
 *	  Decides whether an attempt is followed by another, and when.
 *
 * Pure: a policy, a count, an SQLSTATE and a time in; a time out.  Errors of
 * the classes below cannot heal by trying again, unless the step says
 * otherwise with retry_on or no_retry_on.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/timestamp.h"

#include "engine/retry.h"

/* feature not supported, data, integrity, authorization, routine, name, syntax */
static char permanent[][6] = {"0A", "22", "23", "28", "2F", "3F", "42"};

static bool may_retry(const FlowRetryPolicy *policy, const char *sqlstate);
static bool listed(char (*list)[6], int n, const char *sqlstate);

TimestampTz
FlowRetryComputeNext(const FlowRetryPolicy *policy, int failures,
					 const char *sqlstate, TimestampTz failed_at, double chance)
{
	TimestampTz next;

	if (failures > policy->retries || !may_retry(policy, sqlstate))
		return DT_NOEND;
	next = failed_at + FlowRetryComputeDelay(policy, failures, chance);
	return next < failed_at ? DT_NOEND - 1 : next;
}

int64
FlowRetryComputeDelay(const FlowRetryPolicy *policy, int retry, double chance)
{
	double		delay = policy->delay * pow(policy->backoff, retry - 1);

	if (delay > (double) policy->max_delay)
		delay = (double) policy->max_delay;
	return (int64) (delay * (1.0 - policy->jitter * chance));
}

bool
FlowRetryIsTransient(const char *sqlstate)
{
	return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0;
}

/*
 * A list of what to retry replaces the list of what is permanent; what both
 * of the step's own lists name is not retried.
 */
static bool
may_retry(const FlowRetryPolicy *policy, const char *sqlstate)
{
	if (policy->has_no_retry_on &&
		listed(policy->no_retry_on, policy->n_no_retry_on, sqlstate))
		return false;
	if (policy->has_retry_on)
		return listed(policy->retry_on, policy->n_retry_on, sqlstate);
	if (policy->has_no_retry_on)
		return true;
	return !listed(permanent, lengthof(permanent), sqlstate);
}

/* An entry of two characters stands for a class. */
static bool
listed(char (*list)[6], int n, const char *sqlstate)
{
	for (int i = 0; i < n; i++)
		if (strncmp(list[i], sqlstate, strlen(list[i])) == 0)
			return true;
	return false;
}
