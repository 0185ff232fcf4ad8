/*-------------------------------------------------------------------------
 * scheduler.c
 *	  One per database: the loop, as verbs.
 *
 * Connected as the bootstrap superuser, it runs nothing but the fixed
 * statements of catalog/, raised to the owner of the tables, each piece of
 * work in a guarded transaction of its own: an error is logged and tried
 * again, and never ends the process.
 *
 * It polls nothing.  Backends leave requests in shared memory and set its
 * latch; due times are the timeout of its wait.  Everything is looked at at
 * the start and on request; once a minute after there was work, ready steps
 * are swept for, in one transaction.
 * When nothing has happened for a while it leaves, and the launcher, which
 * knows the next due time, starts another when there is something to do.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"

#include "base/guard.h"
#include "base/identity.h"
#include "base/install.h"
#include "catalog/cat_release.h"
#include "catalog/cat_sweep.h"
#include "compat.h"
#include "flow.h"
#include "guc.h"
#include "shmem/database.h"
#include "shmem/facts.h"
#include "shmem/queue.h"
#include "shmem/recorder.h"
#include "shmem/reload.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"
#include "worker/admit.h"
#include "worker/emit.h"
#include "worker/orphan.h"
#include "worker/prune.h"
#include "worker/refill.h"
#include "worker/repair.h"
#include "worker/scheduler.h"
#include "worker/staff.h"
#include "worker/timer.h"

#define SCHEDULER_LINGER		10000	/* ms without work before it leaves */
#define SCHEDULER_SWEEP			60000	/* ms between two sweeps */
#define SCHEDULER_MIN_PAUSE		1000	/* ms after an error; doubled */
#define SCHEDULER_MAX_PAUSE		60000

/* What the guarded body needs, and finds out */
typedef struct Transaction
{
	FlowSchedulerBody body;
	void	   *arg;
	bool		absent;
	bool		changed;
	bool		foreign;
} Transaction;

/* What look_around has found */
typedef struct Found
{
	char	   *version;
	char	   *additions;		/* NULL: none */
} Found;

static MemoryContext scratch;
static uint32 known_generation; /* of the installation we work for */
static bool is_known = false;	/* it has been looked at */
static bool is_absent = false;	/* there is no extension here */
static bool is_foreign = false; /* its version is not ours */
static bool is_excluded = false;	/* flow.databases does not name it */
static bool look_at_all = true; /* read everything from the tables */
static TimestampTz swept_at = 0;
static int	n_sweeps = 0;		/* since all was looked at */
static TimestampTz busy_at = 0; /* when there was something to do */
static TimestampTz active_at = 0;	/* the same, or an idle worker */
static TimestampTz paused_until = 0;	/* after an error */
static int	pause_length = 0;	/* ms, of the last pause */
static TimestampTz pursue_at = 0;	/* look whether cancelled steps stop */

static void begin(Oid database);
static void reload_if_asked(void);
static bool must_leave(void);
static void look_around(void);
static void look_body(int64 home, void *arg);
static void names_body(int64 home, void *arg);
static void note_version(const char *version);
static void note_additions(const char *additions);
static void start_anew(void);
static void work(uint32 asked, TimestampTz now);
static void pursue(TimestampTz now);
static FlowRefillMode choose_sweep(bool all, TimestampTz now);
static bool note_activity(TimestampTz now);
static TimestampTz compute_wake_time(TimestampTz now);
static void sleep_until(TimestampTz wake);
static void leave(void);
static ErrorData *transact(const char *doing, FlowSchedulerBody body, void *arg,
						   bool *present);
static void transaction_body(void *arg);
static void note_failure(const ErrorData *error, const char *doing);

BackgroundWorkerHandle *
FlowSchedulerRegister(Oid database)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "flow",
		.bgw_function_name = "FlowSchedulerMain",
		.bgw_type = "flow scheduler",
		.bgw_main_arg = ObjectIdGetDatum(database),
		.bgw_notify_pid = MyProcPid
	};
	BackgroundWorkerHandle *handle;

	snprintf(worker.bgw_name, BGW_MAXLEN, "flow scheduler for database %u",
			 database);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return NULL;
	return handle;
}

void
FlowSchedulerMain(Datum main_arg)
{
	uint32		asked = 0;

	begin(DatumGetObjectId(main_arg));
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		CHECK_FOR_INTERRUPTS();
		reload_if_asked();
		pursue(now);

		/*
		 * Requests are taken before the look that answers them: one left over
		 * when we find nothing installed is newer than the look.
		 */
		if (now >= paused_until)
		{
			asked |= FlowDatabaseTake(MyDatabaseId);
			look_around();
		}
		if (must_leave())
			break;
		if (now >= paused_until)
		{
			work(asked, now);
			asked = 0;
		}
		if (!note_activity(now))
			break;
		MemoryContextReset(scratch);
		sleep_until(compute_wake_time(now));
	}
	leave();
	proc_exit(0);
}

static void
begin(Oid database)
{
	FlowReloadListen();
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);	/* a cancel is for statements of users */
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);

	scratch = AllocSetContextCreate(TopMemoryContext, "flow scheduler",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	SetConfigOption("application_name", "flow scheduler", PGC_USERSET,
					PGC_S_SESSION);

	/* of a deadlock with a command on our tables we are the victim */
	SetConfigOption("deadlock_timeout", "10ms", PGC_SUSET, PGC_S_OVERRIDE);

	/*
	 * What it commits a standby may lose, since it would be done again; were
	 * it to wait for one, nobody would be started meanwhile.
	 */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
	FLOW_TEST_POINT("scheduler-start");
	FlowSlotAttach(FLOW_PROCESS_SCHEDULER, MyDatabaseId, GetUserId());
	FlowRecorderAttach(MyDatabaseId);
	FlowDatabaseAttach(MyDatabaseId);
	FlowStaffReset();
	active_at = GetCurrentTimestamp();
}

static void
reload_if_asked(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	is_known = false;			/* flow.databases may have changed */
	FlowPruneReset();			/* flow.signal_keep, too */
	FlowStaffForgive();
}

static bool
must_leave(void)
{
	return is_absent || is_foreign || is_excluded || !FlowEnabled ||
		FlowDatabaseIsLetGo(MyDatabaseId);
}

/*
 * What is installed here, and is it ours to run?  Looked up at the start, when
 * everything is to be looked at, after a reload and after an error.
 */
static void
look_around(void)
{
	Found		found = {0};

	if (is_known)
		return;
	if (!FlowSchedulerTransact("look up the extension", look_body, &found))
		return;
	is_known = true;
	note_version(found.version);
	note_additions(found.additions);
}

/* The launcher starts another now and then, so what is wrong is said once. */
static void
note_version(const char *version)
{
	is_foreign = strcmp(version, FLOW_LIBRARY_VERSION) != 0;
	if (!FlowDatabaseSetForeign(MyDatabaseId, is_foreign) && is_foreign)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"flow\" has version %s, but the server has loaded version %s of its library",
						version, FLOW_LIBRARY_VERSION),
				 errdetail("Workflows of the database with OID %u do not run.",
						   MyDatabaseId),
				 errhint("Run ALTER EXTENSION flow UPDATE, or restart the server if the library is the older one.")));
	else if (!is_excluded)
		(void) FlowSchedulerTry("follow renamed roles", names_body, NULL);
}

static void
note_additions(const char *additions)
{
	if (!FlowDatabaseSetAdditions(MyDatabaseId, additions != NULL) &&
		additions != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("tables of extension \"flow\" have something on them that is not its own"),
				 errdetail("In the database with OID %u: %s.", MyDatabaseId,
						   additions),
				 errhint("It can stop workflows, or change what they do.  Drop it, and let all tables have one owner.")));
}

static void
look_body(int64 home, void *arg)
{
	Found	   *found = arg;
	char	   *version = FlowSweepExtensionVersion();
	char	   *additions = FlowSweepAdditions();
	char	   *name = get_database_name(MyDatabaseId);

	found->version = MemoryContextStrdup(scratch, version ? version : "");
	if (additions != NULL)
		found->additions = MemoryContextStrdup(scratch, additions);
	is_excluded = name == NULL || !FlowGucIncludesDatabase(name);
}

static void
names_body(int64 home, void *arg)
{
	FlowReleaseFollowNames(home);
}

/* A new installation: what was known of the one before is void. */
static void
start_anew(void)
{
	FlowTimerReset();
	FlowEmitReset();
	FlowPruneReset();
	FlowAdmitReset();
	is_known = false;
	look_at_all = true;
}

static void
work(uint32 asked, TimestampTz now)
{
	bool		all = look_at_all || (asked & FLOW_ASK_SWEEP) != 0;
	FlowRefillMode mode = choose_sweep(all, now);

	look_at_all = false;
	if (asked & FLOW_ASK_SWEEP)
		is_known = false;
	if (asked != 0)
		busy_at = now;

	if (!FlowRepairRun(mode != FLOW_REFILL_OVERFLOWN))
		return;
	if (mode != FLOW_REFILL_OVERFLOWN)
		FlowOrphanRun();
	if (mode != FLOW_REFILL_OVERFLOWN || asked & FLOW_ASK_REFILL ||
		FlowRefillNext() != DT_NOEND)
		FlowRefillRun(mode);
	FlowTimerRun(all);
	FlowAdmitRun(mode != FLOW_REFILL_OVERFLOWN || (asked & FLOW_ASK_ADMIT) != 0);
	FlowEmitRun(all || (asked & FLOW_ASK_EMIT) != 0);
	FlowStaffRun();
	FlowPruneRun(all, (asked & FLOW_ASK_PRUNE) != 0,
				 (asked & FLOW_ASK_SIGNALS) != 0);
	if (paused_until <= now)
		pause_length = 0;
}

/*
 * Needs no table, so a pause after an error does not hold it up.  Called before
 * the requests are taken.
 */
static void
pursue(TimestampTz now)
{
	FlowDatabaseInfo info;

	if (pursue_at <= now)
		pursue_at = FlowSlotPursue(MyDatabaseId);
	else if (FlowDatabaseGet(MyDatabaseId, &info) && info.asked & FLOW_ASK_CANCEL)
		pursue_at = Min(pursue_at, TimestampTzPlusMilliseconds(now, FLOW_PURSUE_INTERVAL));
}

/*
 * Once a minute, lanes that are empty are swept; a lane that never is, is swept
 * with every tenth.
 */
static FlowRefillMode
choose_sweep(bool all, TimestampTz now)
{
	if (!all && (busy_at <= swept_at ||
				 !TimestampDifferenceExceeds(swept_at, now, SCHEDULER_SWEEP)))
		return FLOW_REFILL_OVERFLOWN;
	swept_at = now;
	n_sweeps = all ? 0 : n_sweeps + 1;
	return n_sweeps % 10 == 0 ? FLOW_REFILL_SWEEP_ALL :
		FLOW_REFILL_SWEEP_EMPTY;
}

/*
 * Notes whether there is live work: queued steps, busy workers, a due time
 * close by.  Returns false when it is time to leave: nothing of that, and no
 * idle worker either, for a while.
 */
static bool
note_activity(TimestampTz now)
{
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	int			n = FlowQueueLanes(MyDatabaseId, lanes, FLOW_MAX_LANES);
	TimestampTz soon = TimestampTzPlusMilliseconds(now, SCHEDULER_LINGER);

	for (int i = 0; i < n; i++)
	{
		if (lanes[i].entries > 0 || lanes[i].aside > 0 || lanes[i].starting > 0 ||
			lanes[i].overflown || lanes[i].workers > lanes[i].idle)
			busy_at = now;
		if (lanes[i].workers > 0)
			active_at = now;
	}
	if (FlowTimerNext() < soon || FlowAdmitNext() < soon || FlowEmitNext() != DT_NOEND ||
		FlowRefillNext() != DT_NOEND || pursue_at != DT_NOEND ||
		paused_until > now)
		busy_at = now;
	active_at = Max(active_at, FlowPruneNext() < soon ? now : busy_at);
	return !TimestampDifferenceExceeds(active_at, now, SCHEDULER_LINGER);
}

static TimestampTz
compute_wake_time(TimestampTz now)
{
	TimestampTz wake = Min(FlowTimerNext(), FlowEmitNext());

	wake = Min(wake, pursue_at);
	if (paused_until > now)
		return Min(paused_until, pursue_at);
	if (!is_known)
		return now;
	wake = Min(wake, FlowAdmitNext());
	wake = Min(wake, FlowStaffNext());
	wake = Min(wake, FlowRefillNext());
	wake = Min(wake, FlowPruneNext());
	if (busy_at > swept_at)
		wake = Min(wake, TimestampTzPlusMilliseconds(swept_at,
													 SCHEDULER_SWEEP));
	return Min(wake, TimestampTzPlusMilliseconds(active_at,
												 SCHEDULER_LINGER));
}

/*
 * The latch may have been set for a request while we worked, and reset in a
 * wait for a lock; so the requests themselves are looked at once more.
 */
static void
sleep_until(TimestampTz wake)
{
	TimestampTz now = GetCurrentTimestamp();
	long		timeout = TimestampDifferenceMilliseconds(now, wake);

	if (wake <= now ||
		(paused_until <= now && FlowDatabaseHasAsked(MyDatabaseId)))
		return;
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) pgstat_report_stat(true);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(timeout, 1), FlowWaitEvent("FlowScheduler"));
	ResetLatch(MyLatch);
}

/*
 * Says how this database is left.  What has been asked in the meantime is
 * kept in shared memory, and the launcher acts upon it.
 */
static void
leave(void)
{
	FlowDatabaseState state = FLOW_DATABASE_RESTING;
	TimestampTz next_due = DT_NOEND;

	FLOW_TEST_POINT("scheduler-leave");
	if (is_absent)
	{
		state = FLOW_DATABASE_ABSENT;
		FlowDatabaseSetEmitted(MyDatabaseId, 0);
		FlowRecorderForget(MyDatabaseId);
	}
	else if (is_excluded || !FlowEnabled || FlowDatabaseIsLetGo(MyDatabaseId))
		state = FLOW_DATABASE_UNKNOWN;
	else if (!is_foreign)
		next_due = Min(Min(FlowTimerNext(), FlowAdmitNext()), FlowPruneNext());
	if (is_absent || is_foreign || is_excluded)
		FlowQueueForget(MyDatabaseId);
	if (is_foreign)
		(void) FlowSlotTerminate(MyDatabaseId, true);	/* workers, idle ones
														 * too */
	FlowDatabaseDetach(MyDatabaseId, state, next_due);
	FlowSlotDetach();
}

bool
FlowSchedulerTransact(const char *doing, FlowSchedulerBody body, void *arg)
{
	bool		present;
	ErrorData  *error = transact(doing, body, arg, &present);

	if (error != NULL)
		note_failure(error, doing);
	return error == NULL && present;
}

bool
FlowSchedulerTry(const char *doing, FlowSchedulerBody body, void *arg)
{
	bool		present;
	ErrorData  *error = transact(doing, body, arg, &present);

	/* a table that is not there: the extension is being dropped */
	if (error != NULL && error->sqlerrcode != ERRCODE_UNDEFINED_TABLE)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("flow scheduler could not %s: %s", doing, error->message),
				 errdetail("In the database with OID %u.", MyDatabaseId),
				 error->hint ? errhint("%s", error->hint) : 0));
	return error == NULL && present;
}

static ErrorData *
transact(const char *doing, FlowSchedulerBody body, void *arg, bool *present)
{
	Transaction transaction = {
		.body = body,
		.arg = arg
	};
	ErrorData  *error;

	pgstat_report_activity(STATE_RUNNING, doing);
	FlowRecorderBegin();
	error = FlowGuardRun(FLOW_GUARD_TRANSACTION, transaction_body, &transaction);
	FlowRecorderEnd(false);
	if (transaction.absent)
		is_absent = true;
	if (transaction.changed)
		start_anew();
	if (transaction.foreign)
		is_known = false;
	*present = !transaction.absent && !transaction.foreign;
	return error;
}

static void
transaction_body(void *arg)
{
	Transaction *transaction = arg;
	const FlowInstall *install;
	FlowIdentity saved;

	AcceptInvalidationMessages();
	install = FlowInstallGet();
	if (install == NULL)
	{
		transaction->absent = true;
		return;
	}
	if (install->generation != known_generation)
	{
		known_generation = install->generation;
		transaction->changed = true;
	}
	if (!install->is_current && transaction->body != look_body)
	{
		transaction->foreign = true;
		return;
	}
	FlowIdentityRaise(&saved);
	transaction->body(install->home, transaction->arg);
	FlowIdentityRestore(&saved);
}

/*
 * After an error, wait; then look at everything, since nobody knows what has
 * been missed.  A table that is not there may mean that the extension is being
 * dropped, so the first time nothing is said.
 */
static void
note_failure(const ErrorData *error, const char *doing)
{
	bool		quiet = error->sqlerrcode == ERRCODE_UNDEFINED_TABLE &&
	pause_length == 0;

	look_at_all = true;
	is_known = false;
	pause_length = pause_length == 0 ? SCHEDULER_MIN_PAUSE :
		Min(pause_length * 2, SCHEDULER_MAX_PAUSE);
	paused_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											   pause_length);
	if (quiet)
		return;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("flow scheduler could not %s: %s", doing, error->message),
			 errdetail("In the database with OID %u; the next try is in %d ms.%s%s",
					   MyDatabaseId, pause_length,
					   error->detail ? " " : "",
					   error->detail ? error->detail : ""),
			 error->hint ? errhint("%s", error->hint) : 0));
}
