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
#include "storage/proc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "engine/watch.h"
#include "shmem/aside.h"

/* A step that goes on is interrupted again after so many milliseconds */
#define REPEAT_AFTER	200

/* One that has swallowed interrupts for so many microseconds is ended */
#define END_AFTER		5000000

/* ms between two looks at whether it waits for a lock */
#define LOOK_EVERY		20

/* ms of waiting for a lock that make an overrun the lock's */
#define MIN_LOCK_WAIT	10

/* What the handler that looks for locks needs to know */
typedef struct LockWatch
{
	int			lane;
	int32		definition_id;
	int32		step_no;
	int64		patience;		/* microseconds */
} LockWatch;

static TimeoutId timeout_id = MAX_TIMEOUTS;
static TimeoutId look_id = MAX_TIMEOUTS;
static bool watching = false;
static bool looking = false;
static LockWatch lock_watch;
static TimestampTz began = 0;	/* of the step */
static int64 limit_usec = 0;
static TimestampTz limit_at = 0;	/* 0: no limit */
static bool may_end = false;

/* The handlers' */
static volatile sig_atomic_t fired = FLOW_WATCH_NONE;
static volatile sig_atomic_t ending = FLOW_WATCH_NONE;
static volatile sig_atomic_t swallowed = false;
static volatile TimestampTz first_at = 0;

static void look(void);
static TimestampTz waits_since(void);
static void interrupt(void);
static void cancel(FlowWatchCause cause);

void
FlowWatchBegin(TimestampTz start, int64 limit, int64 overrun, bool ends)
{
	int64		usec = limit;

	began = start;
	limit_usec = limit;
	limit_at = limit > 0 ? start + limit : 0;
	may_end = ends;
	swallowed = false;
	first_at = 0;
	if (overrun > 0 && (limit == 0 || overrun < limit))
		usec = overrun;
	fired = FLOW_WATCH_NONE;
	watching = usec > 0;
	if (!watching)
		return;
	if (timeout_id == MAX_TIMEOUTS)
		timeout_id = RegisterTimeout(USER_TIMEOUT, interrupt);
	enable_timeout_every(timeout_id, start + usec, REPEAT_AFTER);
}

void
FlowWatchForLocks(const FlowBatch *batch, int patience)
{
	const FlowStepDef *step = batch->current->step;

	lock_watch.lane = batch->lane;
	lock_watch.definition_id = step->definition->id;
	lock_watch.step_no = step->no;
	lock_watch.patience = (int64) patience * 1000;
	if (look_id == MAX_TIMEOUTS)
		look_id = RegisterTimeout(USER_TIMEOUT, look);
	looking = true;
	enable_timeout_every(look_id, began + lock_watch.patience, LOOK_EVERY);
}

/* The longer a step has run, the more is lost by giving it up. */
static void
look(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz since = waits_since();

	if (since == 0 || fired != FLOW_WATCH_NONE ||
		now - since < Max(lock_watch.patience, since - began))
		FlowAsideNoteGoingOn();
	else if (FlowAsideNoteWaiting(lock_watch.lane, lock_watch.definition_id,
								  lock_watch.step_no, since))
		cancel(FLOW_WATCH_BLOCKED);
}

/* 0 if the step does not wait for a lock. */
static TimestampTz
waits_since(void)
{
	TimestampTz since;

	/* a process that ends gives its PGPROC back while the timer still runs */
	if (MyProc == NULL || *(LOCK *volatile *) &MyProc->waitLock == NULL)
		return 0;
	since = (TimestampTz) pg_atomic_read_u64(&MyProc->waitStart);
	return since < began ? 0 : since;	/* not yet set, else */
}

void
FlowWatchEnd(void)
{
	if (watching)
		disable_timeout(timeout_id, false);
	if (looking)
	{
		disable_timeout(look_id, false);
		FlowAsideNoteGoingOn();
	}
	watching = looking = false;
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

FlowWatchCause
FlowWatchPeek(void)
{
	return fired;
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
	TimestampTz since = waits_since();

	if (first_at == 0)
		first_at = now;
	else if (!QueryCancelPending)
		swallowed = true;
	if (limit_at != 0 && now >= limit_at)
		cancel(FLOW_WATCH_LIMIT);
	else if (since != 0 && now - since >= MIN_LOCK_WAIT * 1000)
		cancel(FLOW_WATCH_BLOCKED);
	else
		cancel(FLOW_WATCH_OVERRUN);
	if (may_end && swallowed && now - first_at >= END_AFTER)
	{
		ending = fired;
		ProcDiePending = true;
	}
}

static void
cancel(FlowWatchCause cause)
{
	fired = cause;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}
