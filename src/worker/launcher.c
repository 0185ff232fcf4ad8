/*-------------------------------------------------------------------------
 * launcher.c
 *	  One per cluster: a scheduler in every database that has the extension.
 *
 * The launcher is connected to no database, so it cannot see where the
 * extension is installed: after a start it probes each database once, by
 * starting a scheduler there that leaves again if there is nothing.  From
 * then on it is told, at the commit of CREATE EXTENSION, of requests to
 * databases whose scheduler rests, and by the postmaster of schedulers that
 * have ended.  It sleeps until then, or until the next due time.
 *
 * What it knows of databases is in shared memory (shmem/database.c); here are
 * only the handles of its processes and how long to hold back after failures.
 * It must never exit with code 0, which would unregister it for good.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "shmem/database.h"
#include "shmem/facts.h"
#include "shmem/queue.h"
#include "shmem/recorder.h"
#include "shmem/reload.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"
#include "worker/launcher.h"
#include "worker/repair.h"
#include "worker/scheduler.h"

#define LAUNCHER_RESTART		1	/* s until the postmaster restarts it */
#define LAUNCHER_PROBES			2	/* schedulers starting at once */
#define LAUNCHER_PROBE_DELAY	100 /* ms until the next look for a place */
#define LAUNCHER_ORPHAN			5000	/* ms; see judge_orphan */
#define LAUNCHER_FLEETING		5000	/* ms; what rests sooner has failed */
#define LAUNCHER_MIN_DELAY		1000	/* ms after a failure; doubled */
#define LAUNCHER_MAX_DELAY		60000

/* What this process knows of a database */
typedef struct Entry
{
	Oid			database;		/* hash key */
	BackgroundWorkerHandle *handle; /* NULL: no process of ours there */
	bool		ended;			/* its process has ended, not yet judged */
	TimestampTz started_at;		/* when its last process was registered */
	TimestampTz not_before;		/* no scheduler before */
	TimestampTz orphan_since;	/* a state without a process of ours; 0: no */
	int			delay;			/* ms, of the last failure; 0: none */
} Entry;

/* A row of pg_database */
typedef struct Database
{
	Oid			oid;
	bool		may_run;
} Database;

static MemoryContext scratch;
static HTAB *entries;
static bool slot_complaint = false;

static void begin(void);
static bool reload_if_asked(void);
static void forget_delays(void);
static List *read_databases(void);
static bool may_run(Form_pg_database row);
static void discover(void);
static TimestampTz serve(void);
static void note_ended(void);
static Entry *find_entry(Oid database);
static void judge(const FlowDatabaseInfo *info, Entry *entry,
				  TimestampTz now);
static void judge_orphan(const FlowDatabaseInfo *info, Entry *entry,
						 TimestampTz now);
static void hold_back(Entry *entry, TimestampTz now);
static TimestampTz compute_start(const FlowDatabaseInfo *info,
								 const Entry *entry);
static void start_scheduler(Entry *entry, TimestampTz now);
static void complain_of_slots(void);
static void sleep_until(TimestampTz wake);

void
FlowLauncherInit(void)
{
	BackgroundWorker worker = {
		.bgw_name = "flow launcher",
		.bgw_type = "flow launcher",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = LAUNCHER_RESTART,
		.bgw_library_name = "flow",
		.bgw_function_name = "FlowLauncherMain"
	};

	RegisterBackgroundWorker(&worker);
}

void
FlowLauncherMain(Datum main_arg)
{
	bool		discovered = false;

	begin();
	for (;;)
	{
		TimestampTz wake = DT_NOEND;

		CHECK_FOR_INTERRUPTS();
		if (reload_if_asked())
			discovered = false;
		if (FlowEnabled && !discovered)
		{
			discover();
			discovered = true;
		}
		if (FlowEnabled)
			wake = FlowRepairHeldUntil();
		if (FlowEnabled && wake == 0)
			wake = serve();
		MemoryContextSwitchTo(scratch);
		MemoryContextReset(scratch);
		sleep_until(wake);
	}
}

static void
begin(void)
{
	HASHCTL		control = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(Entry),
		.hcxt = TopMemoryContext
	};

	FlowReloadListen();
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);	/* a cancel is for statements of users */
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	scratch = AllocSetContextCreate(TopMemoryContext, "flow launcher",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	entries = hash_create("flow databases", 32, &control,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	FlowSlotAttach(FLOW_PROCESS_LAUNCHER, InvalidOid, InvalidOid);
	FlowRecorderAttach(InvalidOid);
	FlowDatabaseLauncherAttach();
}

static bool
reload_if_asked(void)
{
	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	forget_delays();
	return true;
}

static void
forget_delays(void)
{
	HASH_SEQ_STATUS status;
	Entry	   *entry;

	hash_seq_init(&status, entries);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		entry->not_before = 0;
		entry->delay = 0;
	}
}

/* All databases, in scratch.  Scans the table: there are no system caches. */
static List *
read_databases(void)
{
	List	   *found = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext caller = MemoryContextSwitchTo(scratch);
		Database   *database = palloc(sizeof(Database));

		database->oid = row->oid;
		database->may_run = may_run(row);
		found = lappend(found, database);
		MemoryContextSwitchTo(caller);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(scratch);
	return found;
}

/*
 * Not in templates, since a process there would stand in the way of CREATE
 * DATABASE; nor in what a cancelled DROP DATABASE has left, whose connection
 * limit is -2.
 */
static bool
may_run(Form_pg_database row)
{
	return row->datallowconn && !row->datistemplate &&
		row->datconnlimit != -2 &&
		FlowGucIncludesDatabase(NameStr(row->datname));
}

/* Marks databases to be probed: those we know nothing of, or nothing good. */
static void
discover(void)
{
	FlowDatabaseInfo known[FLOW_MAX_DATABASES];
	int			n = FlowDatabaseList(known, FLOW_MAX_DATABASES);
	List	   *databases = read_databases();
	ListCell   *cell;

	foreach(cell, databases)
	{
		Database   *database = lfirst(cell);
		bool		probe = database->may_run;

		for (int i = 0; i < n; i++)
			if (known[i].database == database->oid)
				probe = probe && (known[i].is_foreign ||
								  known[i].state == FLOW_DATABASE_ABSENT);
		if (probe)
			FlowDatabaseProbe(database->oid);
	}
}

/* Starts schedulers where there is something to do; returns when to wake. */
static TimestampTz
serve(void)
{
	FlowDatabaseInfo infos[FLOW_MAX_DATABASES];
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wake = DT_NOEND;
	int			starting = 0;
	int			n;

	note_ended();
	n = FlowDatabaseList(infos, FLOW_MAX_DATABASES);
	for (int i = 0; i < n; i++)
	{
		judge(&infos[i], find_entry(infos[i].database), now);
		if (infos[i].state == FLOW_DATABASE_STARTING)
			starting++;
	}
	n = FlowDatabaseList(infos, FLOW_MAX_DATABASES);
	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = find_entry(infos[i].database);
		TimestampTz start = compute_start(&infos[i], entry);

		if (entry->orphan_since != 0)
			start = TimestampTzPlusMilliseconds(entry->orphan_since,
												LAUNCHER_ORPHAN);
		else if (start <= now && starting < LAUNCHER_PROBES)
		{
			start_scheduler(entry, now);
			starting++;
			start = Max(entry->not_before, now);
			if (entry->handle != NULL)
				continue;
		}
		wake = Min(wake, Max(start, TimestampTzPlusMilliseconds(now,
																LAUNCHER_PROBE_DELAY)));
	}
	return wake;
}

/*
 * Looks which processes have ended, before their databases' states are read:
 * a scheduler says how it leaves first and ends then.
 */
static void
note_ended(void)
{
	HASH_SEQ_STATUS status;
	Entry	   *entry;
	pid_t		pid;

	hash_seq_init(&status, entries);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->handle != NULL &&
			GetBackgroundWorkerPid(entry->handle, &pid) == BGWH_STOPPED)
		{
			pfree(entry->handle);
			entry->handle = NULL;
			entry->ended = true;
		}
}

static Entry *
find_entry(Oid database)
{
	bool		found;
	Entry	   *entry = hash_search(entries, &database, HASH_ENTER, &found);

	if (!found)
	{
		memset(entry, 0, sizeof(Entry));
		entry->database = database;
	}
	return entry;
}

/* What the end of a scheduler means for when the next one may start */
static void
judge(const FlowDatabaseInfo *info, Entry *entry, TimestampTz now)
{
	bool		claims = info->state == FLOW_DATABASE_STARTING ||
	info->state == FLOW_DATABASE_PRESENT;

	if (!claims)
		entry->orphan_since = 0;
	if (entry->ended)
	{
		entry->ended = false;
		if (claims)
		{
			FlowDatabaseSetState(info->database, FLOW_DATABASE_UNKNOWN);
			hold_back(entry, now);
		}
		else if (info->state == FLOW_DATABASE_RESTING &&
				 !TimestampDifferenceExceeds(entry->started_at, now,
											 LAUNCHER_FLEETING))
			hold_back(entry, now);
		else
			entry->delay = 0;
	}
	else if (claims && entry->handle == NULL)
		judge_orphan(info, entry, now);
	if (info->at_once)
	{
		entry->not_before = 0;
		entry->delay = 0;
	}
}

/*
 * A scheduler that a launcher before us has started.  If its process is gone,
 * or it never came, somebody must say so.
 */
static void
judge_orphan(const FlowDatabaseInfo *info, Entry *entry, TimestampTz now)
{
	if (info->scheduler_pid != 0 && kill(info->scheduler_pid, 0) == 0)
	{
		entry->orphan_since = now;
		return;
	}
	if (entry->orphan_since == 0)
		entry->orphan_since = now;
	if (!TimestampDifferenceExceeds(entry->orphan_since, now, LAUNCHER_ORPHAN))
		return;
	entry->orphan_since = 0;
	FlowDatabaseSetState(info->database, FLOW_DATABASE_UNKNOWN);
}

static void
hold_back(Entry *entry, TimestampTz now)
{
	entry->delay = entry->delay == 0 ? LAUNCHER_MIN_DELAY :
		Min(entry->delay * 2, LAUNCHER_MAX_DELAY);
	entry->not_before = TimestampTzPlusMilliseconds(now, entry->delay);
}

/* When a scheduler is to be started; DT_NOEND: not as things are.  Pure. */
static TimestampTz
compute_start(const FlowDatabaseInfo *info, const Entry *entry)
{
	TimestampTz start = Max(info->let_go_until, entry->not_before);

	switch (info->state)
	{
		case FLOW_DATABASE_UNKNOWN:
			return start;
		case FLOW_DATABASE_RESTING:
			return info->asked ? start : Max(start, info->next_due);
		case FLOW_DATABASE_ABSENT:	/* a request makes it unknown */
		case FLOW_DATABASE_FREE:
		case FLOW_DATABASE_STARTING:
		case FLOW_DATABASE_PRESENT:
			break;
	}
	return DT_NOEND;
}

static void
start_scheduler(Entry *entry, TimestampTz now)
{
	List	   *databases = read_databases();
	ListCell   *cell;
	Database   *database = NULL;
	MemoryContext caller;

	foreach(cell, databases)
	{
		if (((Database *) lfirst(cell))->oid == entry->database)
			database = lfirst(cell);
	}
	if (database == NULL)
	{
		FlowQueueForget(entry->database);
		FlowRecorderForget(entry->database);
		FlowDatabaseForget(entry->database);
		return;
	}
	if (!database->may_run)
	{
		hold_back(entry, now);
		FlowDatabaseSetState(entry->database, FLOW_DATABASE_ABSENT);
		return;
	}

	/* the state first: the scheduler may attach before we return */
	FlowDatabaseSetState(entry->database, FLOW_DATABASE_STARTING);
	entry->started_at = now;
	FLOW_TEST_POINT("launcher-start");
	caller = MemoryContextSwitchTo(TopMemoryContext);
	entry->handle = FlowSchedulerRegister(entry->database);
	MemoryContextSwitchTo(caller);
	if (entry->handle == NULL)
	{
		FlowDatabaseSetState(entry->database, FLOW_DATABASE_UNKNOWN);
		hold_back(entry, now);
		complain_of_slots();
	}
	else
		slot_complaint = false;
	FlowDatabaseSetNoSlot(entry->database, entry->handle == NULL);
}

static void
complain_of_slots(void)
{
	if (slot_complaint)
		return;
	slot_complaint = true;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker slot is free for a scheduler of \"flow\""),
			 errdetail("Workflows of its database wait until one is free."),
			 errhint("Raise max_worker_processes.")));
}

static void
sleep_until(TimestampTz wake)
{
	long		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														  wake);

	pgstat_report_activity(STATE_IDLE, NULL);
	(void) pgstat_report_stat(true);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(timeout, 1), FlowWaitEvent("FlowLauncher"));
	ResetLatch(MyLatch);
}
