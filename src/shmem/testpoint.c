/*-------------------------------------------------------------------------
 * testpoint.c
 *	  Named places in the code at which a test can stop, fail or kill a process.
 *
 * A race is a test when both sides stand where it happens.  A test arms a
 * point from SQL; the process that reaches it waits until it is released, raises
 * an error, ends, or is killed.  Nothing of this is in a normal build.
 *
 * Points are reached also in the commit callback, after the commit, where an
 * error would be a PANIC: where interrupts are held off, nothing is raised.
 * Orders and waiters are protected by one spinlock, held for a few
 * instructions.  Whoever waits polls a flag, since it has no latch to itself.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef FLOW_TEST

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/pmsignal.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "shmem/testpoint.h"

#define MAX_WAITERS		64
#define MAX_ARGUMENT	64
#define POLL_USEC		500

/* All points; a test can arm no other.  test/races/points.pl compares. */
static const char *const points[] = {
	"admit-done",				/* runs have places, which is not committed */
	"cancel-note",				/* committed, not yet known to workers */
	"cancel-signal",			/* its victim is marked, not yet interrupted */
	"claim-begin",				/* before the statement that locks the steps */
	"claim-end",				/* after it */
	"command-claimed",			/* a command is marked, and not run */
	"command-run",				/* it has run, and that is not stored */
	"commit",					/* before a commit that has to announce */
	"control-locked",			/* a run is about to be changed by hand */
	"emit-send",				/* events are read, not yet announced */
	"execute-begin",			/* before the SQL of a step */
	"execute-end",				/* after it */
	"execute-publish",			/* listed as running, cancels not looked at */
	"flush-begin",				/* before the runs are locked */
	"flush-locked",				/* they are; nothing is decided yet */
	"flush-written",			/* all is written but not committed */
	"isolated-begin",			/* before a step with a snapshot of its own */
	"isolated-ended",			/* it has ended, but is not committed */
	"launcher-start",			/* before a scheduler is registered */
	"letgo-wait",				/* our processes are told to leave a database */
	"map-end",					/* a step is to end with the last of its items */
	"map-park",					/* items are to be stored */
	"places-done",				/* the same of steps */
	"push-begin",				/* committed, nobody is told yet */
	"push-end",					/* everybody is */
	"record-begin",				/* before a failed attempt is recorded */
	"refill-read",				/* before ready steps are read */
	"repair-store",				/* what ran in a crash is written, not
								 * committed */
	"repair-stored",			/* it is, but the recorder does not know */
	"retention-read",			/* runs to prune are read, not yet locked */
	"scheduler-leave",			/* it has decided to end */
	"scheduler-start",			/* before it says that it is there */
	"staff-start",				/* before a worker is registered */
	"start-insert",				/* the key is taken, no row written */
	"start-key",				/* before the key is taken */
	"take-popped",				/* entries are off the queue, not yet claimed */
	"timer-fire",				/* before due steps are made ready */
	"timer-fired",				/* they are, but not committed */
	"waiting-look",				/* before what a run was sent is looked at */
	"waiting-park",				/* a step that waits on is to be put aside */
	"worker-retire",			/* it has decided to end */
	"worker-start",				/* connected, not yet listed */
};

typedef enum Action
{
	ACTION_COUNT,
	ACTION_WAIT,
	ACTION_ERROR,
	ACTION_FATAL,
	ACTION_KILL,
	ACTION_SLEEP
} Action;

static const char *const actions[] = {
	[ACTION_COUNT] = "count",
	[ACTION_WAIT] = "wait",
	[ACTION_ERROR] = "error",
	[ACTION_FATAL] = "fatal",
	[ACTION_KILL] = "kill",
	[ACTION_SLEEP] = "sleep",
};

typedef struct Order
{
	bool		armed;
	Action		action;
	char		argument[MAX_ARGUMENT]; /* SQLSTATE of an error; ms of sleep */
	int			skip;
	int			every;
	int			times;			/* -1: no limit */
	char		process[NAMEDATALEN];	/* empty: any */
	Oid			database;		/* InvalidOid: any */
	int64		passed;
	int			acted;
} Order;

typedef struct Waiter
{
	int			pid;			/* 0: free */
	int			point;
	uint64		arrival;
	bool		released;
} Waiter;

typedef struct TestShared
{
	slock_t		mutex;
	int			n_armed;		/* read without it, too */
	uint64		arrivals;
	Order		orders[lengthof(points)];
	Waiter		waiters[MAX_WAITERS];
} TestShared;

static TestShared *shared = NULL;

static int	find_point(const char *name);
static TestShared *require_shared(void);
static Action decide(int point, char *argument);
static bool is_meant(const Order *order);
static const char *process_name(void);
static void raise_error(const char *name, const char *argument, int level);
static void wait_for_release(int point);
static Waiter *enter(int point);
static bool leave(Waiter *waiter);
static void heed_interrupts(void);
static int	release(int point, int pid);
static void set_order(Order *order, const FlowTestOrder *wanted, Action action);
static Action find_action(const char *name);
static bool is_alive(const Waiter *waiter, int point);

Size
FlowTestShmemSize(void)
{
	return MAXALIGN(sizeof(TestShared));
}

void
FlowTestShmemInit(void)
{
	bool		found;

	shared = ShmemInitStruct("flow test points", FlowTestShmemSize(), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(TestShared));
	SpinLockInit(&shared->mutex);
}

void
FlowTestPoint(const char *name)
{
	char		argument[MAX_ARGUMENT];
	int			point;

	if (shared == NULL || ((volatile TestShared *) shared)->n_armed == 0)
		return;
	point = find_point(name);
	switch (decide(point, argument))
	{
		case ACTION_COUNT:
			break;
		case ACTION_WAIT:
			wait_for_release(point);
			break;
		case ACTION_ERROR:
			raise_error(name, argument, ERROR);
			break;
		case ACTION_FATAL:
			raise_error(name, argument, FATAL);
			break;
		case ACTION_KILL:
			(void) kill(MyProcPid, SIGKILL);
			break;
		case ACTION_SLEEP:
			pg_usleep(atol(argument) * 1000L);
			break;
	}
}

void
FlowTestArm(const FlowTestOrder *order)
{
	int			point = find_point(order->point);
	Action		action = find_action(order->action);
	Order	   *armed = &require_shared()->orders[point];

	SpinLockAcquire(&shared->mutex);
	if (!armed->armed)
		shared->n_armed++;
	set_order(armed, order, action);
	SpinLockRelease(&shared->mutex);
}

void
FlowTestDisarm(const char *name)
{
	int			only = name ? find_point(name) : -1;

	(void) require_shared();
	for (int i = 0; i < lengthof(points); i++)
	{
		if (only >= 0 && i != only)
			continue;
		SpinLockAcquire(&shared->mutex);
		if (shared->orders[i].armed)
			shared->n_armed--;
		memset(&shared->orders[i], 0, sizeof(Order));
		SpinLockRelease(&shared->mutex);
		(void) release(i, 0);
	}
}

int
FlowTestRelease(const char *name, int pid)
{
	(void) require_shared();
	return release(find_point(name), pid);
}

int
FlowTestWaiters(const char *name, int *pids, int max)
{
	int			point = find_point(name);
	uint64		last = 0;
	int			n = 0;

	(void) require_shared();
	while (n < max)
	{
		Waiter	   *next = NULL;

		SpinLockAcquire(&shared->mutex);
		for (int i = 0; i < MAX_WAITERS; i++)
		{
			Waiter	   *waiter = &shared->waiters[i];

			if (is_alive(waiter, point) && waiter->arrival > last &&
				(next == NULL || waiter->arrival < next->arrival))
				next = waiter;
		}
		if (next != NULL)
		{
			last = next->arrival;
			pids[n++] = next->pid;
		}
		SpinLockRelease(&shared->mutex);
		if (next == NULL)
			break;
	}
	return n;
}

int64
FlowTestPassed(const char *name)
{
	int			point = find_point(name);

	return ((volatile TestShared *) require_shared())->orders[point].passed;
}

static int
find_point(const char *name)
{
	for (int i = 0; i < lengthof(points); i++)
		if (strcmp(points[i], name) == 0)
			return i;
	elog(ERROR, "there is no test point \"%s\"", name);
}

static TestShared *
require_shared(void)
{
	if (shared == NULL)
		elog(ERROR, "test points need the library to be preloaded");
	return shared;
}

static Action
find_action(const char *name)
{
	for (int i = 0; i < lengthof(actions); i++)
		if (strcmp(actions[i], name) == 0)
			return i;
	elog(ERROR, "there is no action \"%s\"", name);
}

static void
set_order(Order *order, const FlowTestOrder *wanted, Action action)
{
	memset(order, 0, sizeof(Order));
	order->armed = true;
	order->action = action;
	order->skip = wanted->skip;
	order->every = Max(wanted->every, 1);
	order->times = wanted->times;
	order->database = wanted->database;
	if (wanted->argument)
		strlcpy(order->argument, wanted->argument, MAX_ARGUMENT);
	if (wanted->process)
		strlcpy(order->process, wanted->process, NAMEDATALEN);
}

/* What is to be done at this pass, and with what */
static Action
decide(int point, char *argument)
{
	Order	   *order = &shared->orders[point];
	Action		action = ACTION_COUNT;

	SpinLockAcquire(&shared->mutex);
	if (is_meant(order))
	{
		int64		pass = ++order->passed - order->skip;

		if (pass > 0 && (pass - 1) % order->every == 0 &&
			(order->times < 0 || order->acted < order->times))
		{
			order->acted++;
			action = order->action;
		}
		memcpy(argument, order->argument, MAX_ARGUMENT);
	}
	SpinLockRelease(&shared->mutex);
	if (InterruptHoldoffCount > 0 &&
		(action == ACTION_ERROR || action == ACTION_FATAL))
		action = ACTION_COUNT;
	return action;
}

static bool
is_meant(const Order *order)
{
	if (!order->armed)
		return false;
	if (OidIsValid(order->database) && order->database != MyDatabaseId)
		return false;
	return order->process[0] == '\0' ||
		strcmp(order->process, process_name()) == 0;
}

static const char *
process_name(void)
{
	static const char prefix[] = "flow ";

	if (MyBgworkerEntry == NULL)
		return "client";
	if (strncmp(MyBgworkerEntry->bgw_type, prefix, strlen(prefix)) == 0)
		return MyBgworkerEntry->bgw_type + strlen(prefix);
	return MyBgworkerEntry->bgw_type;
}

static void
raise_error(const char *name, const char *argument, int level)
{
	int			sqlstate = ERRCODE_INTERNAL_ERROR;

	if (strlen(argument) == 5)
		sqlstate = MAKE_SQLSTATE(argument[0], argument[1], argument[2],
								 argument[3], argument[4]);
	ereport(level,
			(errcode(sqlstate),
			 errmsg("test point \"%s\" was told to fail", name),
			 errdetail("A test has ordered it."),
			 errhint("Stop the test if it is none that you have started.")));
}

/*
 * An interrupt ends the waiting only if it ends what the process is doing.
 * Nobody waits longer than the postmaster lives.
 */
static void
wait_for_release(int point)
{
	bool		released = false;

	while (!released)
	{
		Waiter	   *waiter = enter(point);

		if (waiter == NULL)
			return;
		do
		{
			pg_usleep(POLL_USEC);
			if (!PostmasterIsAlive())
				_exit(1);
		} while (!((volatile Waiter *) waiter)->released &&
				 !(InterruptPending && INTERRUPTS_CAN_BE_PROCESSED()));
		released = leave(waiter);
		if (!released)
			heed_interrupts();
	}
}

static Waiter *
enter(int point)
{
	Waiter	   *entered = NULL;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_WAITERS && entered == NULL; i++)
		if (shared->waiters[i].pid == 0)
			entered = &shared->waiters[i];
	if (entered != NULL)
	{
		entered->pid = MyProcPid;
		entered->point = point;
		entered->arrival = ++shared->arrivals;
		entered->released = false;
	}
	SpinLockRelease(&shared->mutex);
	return entered;
}

/* Returns whether it was released. */
static bool
leave(Waiter *waiter)
{
	bool		released;

	SpinLockAcquire(&shared->mutex);
	released = waiter->released;
	waiter->pid = 0;
	SpinLockRelease(&shared->mutex);
	return released;
}

/* A cancel means nothing to a process of ours between two transactions. */
static void
heed_interrupts(void)
{
	if (IsTransactionState())
		CHECK_FOR_INTERRUPTS();
	else
	{
		HOLD_CANCEL_INTERRUPTS();
		CHECK_FOR_INTERRUPTS();
		RESUME_CANCEL_INTERRUPTS();
	}
}

static int
release(int point, int pid)
{
	int			n = 0;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_WAITERS; i++)
	{
		Waiter	   *waiter = &shared->waiters[i];

		if (!is_alive(waiter, point) || (pid != 0 && waiter->pid != pid))
			continue;
		waiter->released = true;
		n++;
	}
	SpinLockRelease(&shared->mutex);
	return n;
}

/* Waits there, and has not been released yet */
static bool
is_alive(const Waiter *waiter, int point)
{
	return waiter->pid != 0 && waiter->point == point && !waiter->released;
}

#endif							/* FLOW_TEST */
