/*-------------------------------------------------------------------------
 * policy.h
 *	  What a definition says about trying a step again (engine/retry.c).
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_POLICY_H
#define FLOW_POLICY_H

typedef struct FlowRetryPolicy
{
	int			retries;		/* attempts after the first */
	int64		delay;			/* microseconds before the first retry */
	double		backoff;		/* factor from one delay to the next */
	int64		max_delay;		/* microseconds */
	double		jitter;			/* 0 .. 1 */
	bool		has_retry_on;	/* else every error but the permanent ones */
	bool		has_no_retry_on;	/* else the default list of those */
	int			n_retry_on;
	char		(*retry_on)[6]; /* SQLSTATE, or class of two characters */
	int			n_no_retry_on;
	char		(*no_retry_on)[6];
} FlowRetryPolicy;

#endif							/* FLOW_POLICY_H */
