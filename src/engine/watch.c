/*-------------------------------------------------------------------------
 * watch.c
 *	  The time limits of the running step.
 *
 * The server arms statement_timeout only in its client message loop, so a
 * worker must watch by itself; a client in flow_drain needs a limit per step
 * beside its own.  The handler runs in a signal: it sets flags, no more.
 * Whether the step ended because of them is decided after the step, by flag.
 *
 * A step whose SQL catches the interrupt and goes on is interrupted again, and
 * after a while its worker is ended, which nothing can catch.  One that just
 * has not looked for interrupts yet is given the time to: it may end well.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "engine/watch.h"

/* A step that goes on is interrupted again after so many milliseconds */
#define REPEAT_AFTER	200

/* One that has swallowed interrupts for so many microseconds is ended */
#define END_AFTER		5000000

static TimeoutId timeout_id = MAX_TIMEOUTS;
static bool watching = false;
static int64 limit_usec = 0;
static TimestampTz limit_at = 0;	/* 0: no limit */
static bool may_end = false;

/* The handler's */
static volatile sig_atomic_t fired = FLOW_WATCH_NONE;
static volatile sig_atomic_t ending = FLOW_WATCH_NONE;
static volatile sig_atomic_t swallowed = false;
static volatile TimestampTz first_at = 0;

static void interrupt(void);

void
FlowWatchBegin(int64 limit, int64 overrun, bool ends)
{
	TimestampTz now;
	int64		usec = limit;

	if (overrun > 0 && (limit == 0 || overrun < limit))
		usec = overrun;
	fired = FLOW_WATCH_NONE;
	watching = usec > 0;
	if (!watching)
		return;
	if (timeout_id == MAX_TIMEOUTS)
		timeout_id = RegisterTimeout(USER_TIMEOUT, interrupt);
	now = GetCurrentTimestamp();
	limit_usec = limit;
	limit_at = limit > 0 ? now + limit : 0;
	may_end = ends;
	swallowed = false;
	first_at = 0;
	enable_timeout_every(timeout_id, now + usec, REPEAT_AFTER);
}

void
FlowWatchEnd(void)
{
	if (watching)
		disable_timeout(timeout_id, false);
	watching = false;
}

FlowWatchCause
FlowWatchTake(void)
{
	FlowWatchCause cause;

	FlowWatchEnd();
	cause = fired;
	fired = FLOW_WATCH_NONE;
	if (cause != FLOW_WATCH_NONE)
		QueryCancelPending = false; /* ours, and taken note of */
	return cause;
}

double
FlowWatchLimit(void)
{
	return limit_usec / 1000.0;
}

FlowWatchCause
FlowWatchEnding(void)
{
	return ending;
}

/* An interrupt that is not pending any more, while the step goes on, was caught. */
static void
interrupt(void)
{
	TimestampTz now = GetCurrentTimestamp();

	fired = limit_at != 0 && now >= limit_at ? FLOW_WATCH_LIMIT : FLOW_WATCH_OVERRUN;
	if (first_at == 0)
		first_at = now;
	else if (!QueryCancelPending)
		swallowed = true;
	if (may_end && swallowed && now - first_at >= END_AFTER)
	{
		ending = fired;
		ProcDiePending = true;
	}
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}
