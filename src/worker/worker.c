/*-------------------------------------------------------------------------
 * worker.c
 *	  The loop of a role's worker.
 *
 * It is connected as the role that owns the workflows it runs, so that
 * whatever a step leaves behind can reach nobody else.  It takes entries off
 * its role's lane, batch by batch, until the lane is empty for a while or
 * another role needs its place.  No transaction is open while it sleeps.
 *
 * Its place among the workers is taken when it is registered and given back
 * by an exit callback, however it ends.  The callback runs after the
 * transaction is aborted, so that what this worker had claimed can be claimed
 * again by whoever is told.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/install.h"
#include "compat.h"
#include "engine/park.h"
#include "engine/take.h"
#include "guc.h"
#include "shmem/aside.h"
#include "shmem/database.h"
#include "shmem/parcel.h"
#include "shmem/queue.h"
#include "shmem/recorder.h"
#include "shmem/reload.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"
#include "worker/staff.h"
#include "worker/worker.h"

#define ROLE_CHECK			500 /* ms after which the role is looked at again */
#define WORKER_QUANTUM		200 /* ms it keeps its place, if it has work */

static FlowWorkerArgs worker_args;
static int	worker_lane = -1;
static bool worker_attached = false;
static TimestampTz attached_at = 0;
static TimestampTz busy_at = 0; /* when it last had work */
static char *database_name = NULL;
static bool is_excluded = false;	/* flow.databases names others */
static bool is_barred = false;	/* the role may not work any more */
static TimestampTz checked_at = 0;	/* when that was looked at */
static bool is_idle = false;	/* the lane was empty a moment ago */

static void begin(void);
static void end(int code, Datum arg);
static void ensure_role(void);
static void attach(void);
static void note_role(void);
static void reload_if_asked(void);
static bool must_end(void);
static void note_work(void);
static bool sleep_for_work(void);
static long compute_timeout(TimestampTz now);

BackgroundWorkerHandle *
FlowWorkerRegister(FlowWorkerArgs args)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "flow",
		.bgw_function_name = "FlowWorkerMain",
		.bgw_type = "flow worker",
		.bgw_notify_pid = MyProcPid
	};
	BackgroundWorkerHandle *handle;

	snprintf(worker.bgw_name, BGW_MAXLEN, "flow worker for role %u in database %u",
			 args.role, args.database);
	memcpy(worker.bgw_extra, &args, sizeof(args));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return NULL;
	return handle;
}

void
FlowWorkerMain(Datum main_arg)
{
	MemoryContext scratch;

	begin();
	scratch = AllocSetContextCreate(TopMemoryContext, "flow worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	for (;;)
	{
		QueryCancelPending = false; /* no step runs that it could be for */
		CHECK_FOR_INTERRUPTS();
		reload_if_asked();
		if (TimestampDifferenceExceeds(checked_at, GetCurrentTimestamp(), ROLE_CHECK))
			note_role();
		if (must_end())
			break;
		is_idle = FlowBatchRun(worker_lane) == 0;
		if (FlowQueueIsHungry(worker_lane))
			FlowDatabaseAsk(worker_args.database, FLOW_ASK_REFILL);
		if (!is_idle)
			note_work();
		else if (!must_end() && !sleep_for_work())
			break;
		MemoryContextSwitchTo(scratch);
		MemoryContextReset(scratch);
	}
	FLOW_TEST_POINT("worker-retire");
	FlowParkReturnAll(worker_lane);
	proc_exit(0);
}

static void
begin(void)
{
	memcpy(&worker_args, MyBgworkerEntry->bgw_extra, sizeof(worker_args));
	worker_lane = FlowQueuePinLane(worker_args.database, worker_args.role);
	if (worker_lane < 0)
		proc_exit(1);
	on_shmem_exit(end, (Datum) 0);

	FlowReloadListen();
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (FlowDatabaseIsLetGo(worker_args.database))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(worker_args.database,
											  worker_args.role,
											  FLOW_WORKER_CONNECT_FLAGS);
	ensure_role();
	FLOW_TEST_POINT("worker-start");
	attach();
}

/*
 * Gives the place back, and tells the scheduler.  A worker that ends in an
 * error takes with it the entries it had popped, so the tables are to be
 * looked at.
 */
static void
end(int code, Datum arg)
{
	if (worker_attached)
		FlowQueueWorkerDetach(worker_lane);
	else
		FlowQueueWorkerStarting(worker_lane, -1);
	FlowQueueUnpinLane(worker_lane);
	FlowDatabaseAsk(worker_args.database,
					code == 0 || !worker_attached ? FLOW_ASK_STAFF :
					FLOW_ASK_STAFF | FLOW_ASK_SWEEP);
}

/*
 * A role's own settings apply as in a login, and "role" may be one of them.
 * Steps must run as the owner and nobody else.
 */
static void
ensure_role(void)
{
	if (GetUserId() != worker_args.role)
		SetConfigOption("role", "none", PGC_USERSET, PGC_S_OVERRIDE);
	if (GetUserId() != worker_args.role ||
		GetSessionUserId() != worker_args.role)
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("flow worker could not become the role with OID %u",
						worker_args.role),
				 errdetail("A setting of the role or the database makes it another one."),
				 errhint("Use ALTER ROLE ... RESET role.")));
}

/*
 * flow.databases may have changed since this worker was registered, and before
 * it was forked, which no SIGHUP tells.
 *
 * The short deadlock timeout makes a batch the victim of a deadlock, and never
 * the client it has met: the batch can be done again.
 */
static void
attach(void)
{
	SetConfigOption("deadlock_timeout", "10ms", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", "flow worker", PGC_USERSET,
					PGC_S_SESSION);
	note_role();
	StartTransactionCommand();
	database_name = MemoryContextStrdup(TopMemoryContext,
										get_database_name(MyDatabaseId));
	is_excluded = !FlowGucIncludesDatabase(database_name);
	CommitTransactionCommand();
	FlowSlotAttach(FLOW_PROCESS_WORKER, MyDatabaseId, worker_args.role);
	FlowRecorderAttach(MyDatabaseId);
	FlowQueueWorkerAttach(worker_lane);
	FlowWakeSetOwnLane(worker_lane);
	worker_attached = true;
	attached_at = GetCurrentTimestamp();
	busy_at = attached_at;
}

/*
 * Whether the role may work now, not whether it could when it logged in; and
 * what is installed, for FlowInstallIsForeign.
 */
static void
note_role(void)
{
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) FlowInstallGet();
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(worker_args.role));
	is_barred = !HeapTupleIsValid(tuple) ||
		(FLOW_OWNER_MUST_LOG_IN && !((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin) ||
		(superuser_arg(worker_args.role) && !FlowAllowSuperuser) ||
		FlowDatabaseAclCheck(MyDatabaseId, worker_args.role, ACL_CONNECT) != ACLCHECK_OK;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	CommitTransactionCommand();
	checked_at = GetCurrentTimestamp();
}

static void
reload_if_asked(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	is_excluded = !FlowGucIncludesDatabase(database_name);
	note_role();
}

/*
 * A worker that has work keeps its place for a quantum, so that few processes
 * serve many roles without starting one for each batch.
 */
static bool
must_end(void)
{
	if (!FlowEnabled || is_excluded || FlowDatabaseIsLetGo(worker_args.database) ||
		is_barred || FlowInstallIsForeign())
		return true;
	if (!is_idle &&
		!TimestampDifferenceExceeds(attached_at, GetCurrentTimestamp(),
									WORKER_QUANTUM))
		return false;
	return FlowStaffShouldGiveWay();
}

/* After a batch */
static void
note_work(void)
{
	busy_at = GetCurrentTimestamp();
	(void) pgstat_report_stat(false);
}

/* Returns false if it was idle for too long. */
static bool
sleep_for_work(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		timeout;
	int			events;

	if (TimestampDifferenceExceeds(busy_at, now, FlowWorkerIdleTimeout * 1000) &&
		FlowParkDelay() < 0 && FlowAsideNextTry(worker_lane) == DT_NOEND)
		return false;
	timeout = compute_timeout(now);
	if (timeout == 0 || !FlowQueueWorkerSleep(worker_lane))
		return true;
	pgstat_report_activity(STATE_IDLE, NULL);
	events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   timeout, FlowWaitEvent("FlowWorker"));
	FlowQueueWorkerWake(worker_lane);
	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	return true;
}

/* How long to sleep, in ms: statistics still to be told, too, end a sleep. */
static long
compute_timeout(TimestampTz now)
{
	TimestampTz until = TimestampTzPlusMilliseconds(busy_at,
													FlowWorkerIdleTimeout * INT64CONST(1000));
	long		timeout = TimestampDifferenceMilliseconds(now, until);
	long		statistics = (long) pgstat_report_stat(false);
	long		parked = FlowParkDelay();

	timeout = Max(timeout, 1);
	if (statistics > 0)
		timeout = Min(timeout, statistics);
	if (parked >= 0)
		timeout = Min(timeout, parked);
	timeout = Min(timeout, TimestampDifferenceMilliseconds(now, FlowAsideNextTry(worker_lane)));
	return timeout;
}
