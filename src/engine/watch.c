/*-------------------------------------------------------------------------
 * watch.c
 *	  The time limits of the running step.
 *
 * The server arms statement_timeout only in its client message loop, so a
 * worker must watch by itself; a client in flow_drain needs a limit per step
 * beside its own.  The handler runs in a signal: it sets flags, no more.
 * Whether the step ended because of them is decided after the step, by flag.
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

static TimeoutId timeout_id = MAX_TIMEOUTS;
static bool watching = false;
static int64 armed_usec = 0;
static FlowWatchCause armed_for = FLOW_WATCH_NONE;
static volatile sig_atomic_t fired = FLOW_WATCH_NONE;

static void interrupt(void);

void
FlowWatchBegin(int64 limit, int64 overrun)
{
	int64		usec = limit;

	fired = FLOW_WATCH_NONE;
	armed_for = FLOW_WATCH_LIMIT;
	if (overrun > 0 && (limit == 0 || overrun < limit))
	{
		usec = overrun;
		armed_for = FLOW_WATCH_OVERRUN;
	}
	armed_usec = usec;
	watching = usec > 0;
	if (!watching)
		return;
	if (timeout_id == MAX_TIMEOUTS)
		timeout_id = RegisterTimeout(USER_TIMEOUT, interrupt);
	enable_timeout_every(timeout_id, GetCurrentTimestamp() + usec, REPEAT_AFTER);
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
	return armed_usec / 1000.0;
}

static void
interrupt(void)
{
	fired = armed_for;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}
