/*-------------------------------------------------------------------------
 * database.c
 *	  The databases that have the extension, and what their schedulers are
 *	  asked to do.
 *
 * One slot per database: its state as the launcher sees it, the requests
 * waiting for its scheduler, and how to wake that.  A request never gets
 * lost: it stays until a scheduler takes it, and if there is none, or it
 * leaves, the launcher is woken and starts one.
 *
 * next_due makes AskDue cheap.  At rest it is when to start a scheduler.
 * While one runs, it is the earliest time it has been told of since it last
 * took its requests: a later one needs no second call, and taking starts
 * anew, because what is put into the ring afterwards has to be told again.
 *
 * Slots are reused: one of a database without the extension says no more
 * than that it has been probed, and gives way when all are taken.
 *
 * What else is known of a database, and only kept here, is set and asked for
 * in facts.c.
 *
 * All of it is protected by FlowShmemLock.  Requests are left in commit
 * callbacks, so nothing here allocates or raises.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shmem/database.h"
#include "shmem/shmem.h"
#include "shmem/slot.h"

#define RESTART_DELAY	1000	/* ms, after a scheduler that just ended */

typedef struct DatabaseSlot
{
	FlowDatabaseInfo info;		/* database InvalidOid: free */
	int			scheduler_procno;	/* if info.scheduler_pid is set */
} DatabaseSlot;

typedef struct DatabaseShared
{
	int			launcher_pid;	/* 0: none */
	int			launcher_procno;	/* if launcher_pid is set */
	DatabaseSlot slots[FLOW_MAX_DATABASES];
} DatabaseShared;

static DatabaseShared *shared = NULL;

/* The database this process is the scheduler of */
static Oid	attached_database = InvalidOid;

static DatabaseSlot *find(Oid database);
static DatabaseSlot *find_or_make(Oid database);
static DatabaseSlot *find_place(void);
static void leave_request(DatabaseSlot *slot, uint32 ask);
static uint64 exchange(void *field, size_t size, uint64 value);
static void wake(int procno);
static void wake_launcher(void);
static void scheduler_exit(int code, Datum arg);
static void launcher_exit(int code, Datum arg);

Size
FlowDatabaseShmemSize(void)
{
	return MAXALIGN(sizeof(DatabaseShared));
}

void
FlowDatabaseShmemInit(void)
{
	bool		found;

	shared = ShmemInitStruct("flow databases", FlowDatabaseShmemSize(),
							 &found);
	if (!found)
		memset(shared, 0, sizeof(DatabaseShared));
}

void
FlowDatabaseAsk(Oid database, uint32 ask)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find_or_make(database);
	if (slot != NULL)
		leave_request(slot, ask);
	else
		wake_launcher();
	LWLockRelease(FlowShmemLock());
}

void
FlowDatabaseAskDue(Oid database, TimestampTz due)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find_or_make(database);
	if (slot == NULL)
		wake_launcher();
	else if (due < slot->info.next_due)
	{
		slot->info.next_due = due;
		leave_request(slot, FLOW_ASK_TIMERS);
	}
	LWLockRelease(FlowShmemLock());
}

/*
 * A scheduler that is just starting looks by itself whether the extension is
 * there, and finds the request if it looked too early.
 */
void
FlowDatabaseProbe(Oid database)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find_or_make(database);
	if (slot != NULL)
	{
		leave_request(slot, FLOW_ASK_SWEEP);
		if (slot->info.scheduler_pid == 0 &&
			slot->info.state != FLOW_DATABASE_STARTING)
		{
			slot->info.state = FLOW_DATABASE_UNKNOWN;
			slot->info.at_once = true;
		}
	}
	wake_launcher();
	LWLockRelease(FlowShmemLock());
}

static DatabaseSlot *
find(Oid database)
{
	for (int i = 0; i < FLOW_MAX_DATABASES; i++)
		if (shared->slots[i].info.database == database)
			return &shared->slots[i];
	return NULL;
}

/* NULL if all slots are taken. */
static DatabaseSlot *
find_or_make(Oid database)
{
	DatabaseSlot *slot = find(database);

	Assert(OidIsValid(database));
	if (slot != NULL)
		return slot;
	slot = find_place();
	if (slot == NULL)
		return NULL;
	memset(slot, 0, sizeof(DatabaseSlot));
	slot->info.database = database;
	slot->info.state = FLOW_DATABASE_UNKNOWN;
	slot->info.next_due = DT_NOEND;
	slot->info.signals_due = DT_NOEND;
	slot->info.prepared = -1;
	return slot;
}

static DatabaseSlot *
find_place(void)
{
	DatabaseSlot *slot = find(InvalidOid);
	TimestampTz now;

	if (slot != NULL)
		return slot;
	now = GetCurrentTimestamp();
	for (int i = 0; i < FLOW_MAX_DATABASES; i++)
	{
		slot = &shared->slots[i];
		if (slot->info.state == FLOW_DATABASE_ABSENT &&
			slot->info.scheduler_pid == 0 && slot->info.asked == 0 &&
			slot->info.let_go_until <= now)
			return slot;
	}
	return NULL;
}

/*
 * Who has something to ask for has the extension, whatever an earlier probe
 * has seen.
 */
static void
leave_request(DatabaseSlot *slot, uint32 ask)
{
	slot->info.asked |= ask;
	if (slot->info.state == FLOW_DATABASE_ABSENT)
		slot->info.state = FLOW_DATABASE_UNKNOWN;
	if (slot->info.scheduler_pid != 0)
		wake(slot->scheduler_procno);
	else
		wake_launcher();
}

/*
 * Under the lock, which an exiting process takes to detach: so the latch
 * still belongs to who attached.
 */
static void
wake(int procno)
{
	SetLatch(&GetPGProcByNumber(procno)->procLatch);
}

static void
wake_launcher(void)
{
	if (shared->launcher_pid != 0)
		wake(shared->launcher_procno);
}

/*
 * Makes this process the scheduler of the database.  The callback takes a
 * lock, so it must run before this process has lost its PGPROC.
 */
void
FlowDatabaseAttach(Oid database)
{
	static bool registered = false;
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return;
	if (!registered)
		before_shmem_exit(scheduler_exit, (Datum) 0);
	registered = true;

	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find_or_make(database);
	if (slot != NULL)
	{
		slot->info.state = FLOW_DATABASE_PRESENT;
		slot->info.scheduler_pid = MyProcPid;
		slot->scheduler_procno = FlowMyProcNumber();
		slot->info.next_due = DT_NOEND;
		if (slot->info.prepared < 0)
			slot->info.prepared = max_prepared_xacts;
		attached_database = database;
	}
	LWLockRelease(FlowShmemLock());
}

/*
 * Nobody has heard of what it knew to be due, so another one looks soon, but
 * not at once, or one that cannot start would be started all the time.  One
 * that was told to let go has not failed.
 */
static void
scheduler_exit(int code, Datum arg)
{
	if (OidIsValid(attached_database))
		FlowDatabaseDetach(attached_database,
						   FlowDatabaseIsLetGo(attached_database) ?
						   FLOW_DATABASE_UNKNOWN : FLOW_DATABASE_RESTING,
						   TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   RESTART_DELAY));
}

/* With requests waiting, "absent" would be a guess from before them. */
void
FlowDatabaseDetach(Oid database, FlowDatabaseState state,
				   TimestampTz next_due)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL && slot->info.scheduler_pid == MyProcPid)
	{
		if (state == FLOW_DATABASE_ABSENT && slot->info.asked != 0)
			state = FLOW_DATABASE_UNKNOWN;
		slot->info.state = state;
		slot->info.scheduler_pid = 0;
		slot->info.next_due = Min(slot->info.next_due, next_due);
		slot->info.wanted = 0;
		slot->info.no_slot = false;
		wake_launcher();
	}
	attached_database = InvalidOid;
	LWLockRelease(FlowShmemLock());
}

uint32
FlowDatabaseTake(Oid database)
{
	DatabaseSlot *slot;
	uint32		asked = 0;

	if (!FlowShmemIsAvailable())
		return 0;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		asked = slot->info.asked;
		slot->info.asked = 0;
		slot->info.next_due = DT_NOEND;
	}
	LWLockRelease(FlowShmemLock());
	return asked;
}

bool
FlowDatabaseHasAsked(Oid database)
{
	FlowDatabaseInfo info;

	return FlowDatabaseGet(database, &info) && info.asked != 0;
}

uint64
FlowDatabaseSetField(Oid database, size_t offset, size_t size, uint64 value)
{
	DatabaseSlot *slot;
	uint64		before = 0;

	if (!FlowShmemIsAvailable())
		return 0;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
		before = exchange((char *) &slot->info + offset, size, value);
	LWLockRelease(FlowShmemLock());
	return before;
}

/* In one store: some fields are read without the lock. */
static uint64
exchange(void *field, size_t size, uint64 value)
{
	uint64		before;

	switch (size)
	{
		case sizeof(bool):
			before = *(bool *) field;
			*(bool *) field = value != 0;
			break;
		case sizeof(int):
			before = *(int *) field;
			*(int *) field = (int) value;
			break;
		default:
			Assert(size == sizeof(uint64));
			before = *(uint64 *) field;
			*(uint64 *) field = value;
			break;
	}
	return before;
}

const volatile FlowDatabaseInfo *
FlowDatabasePeek(Oid database)
{
	for (int i = 0; FlowShmemIsAvailable() && i < FLOW_MAX_DATABASES; i++)
	{
		const volatile FlowDatabaseInfo *info = &shared->slots[i].info;

		if (info->database == database)
			return info;
	}
	return NULL;
}

void
FlowDatabaseNotePrepared(Oid database)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find_or_make(database);
	if (slot != NULL)
		slot->info.prepared = Max(slot->info.prepared, 0) + 1;
	LWLockRelease(FlowShmemLock());
}

bool
FlowDatabaseTakePrepared(Oid database)
{
	DatabaseSlot *slot;
	bool		taken;

	if (!FlowShmemIsAvailable())
		return false;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find(database);
	taken = slot != NULL && slot->info.prepared > 0;
	if (taken)
		slot->info.prepared--;
	LWLockRelease(FlowShmemLock());
	return taken;
}

int
FlowDatabaseWanted(void)
{
	int			wanted = 0;

	if (!FlowShmemIsAvailable())
		return 0;
	LWLockAcquire(FlowShmemLock(), LW_SHARED);
	for (int i = 0; i < FLOW_MAX_DATABASES; i++)
		wanted += shared->slots[i].info.wanted;
	LWLockRelease(FlowShmemLock());
	return wanted;
}

bool
FlowDatabaseIsWanted(void)
{
	bool		wanted = false;

	for (int i = 0; FlowShmemIsAvailable() && i < FLOW_MAX_DATABASES; i++)
		wanted |= ((volatile DatabaseSlot *) shared->slots)[i].info.wanted > 0;
	return wanted;
}

void
FlowDatabaseLauncherAttach(void)
{
	static bool registered = false;

	if (!FlowShmemIsAvailable())
		return;
	if (!registered)
		before_shmem_exit(launcher_exit, (Datum) 0);
	registered = true;

	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	shared->launcher_procno = FlowMyProcNumber();
	LWLockRelease(FlowShmemLock());
}

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	if (shared->launcher_pid == MyProcPid)
		shared->launcher_pid = 0;
	LWLockRelease(FlowShmemLock());
}

int
FlowDatabaseList(FlowDatabaseInfo *out, int max)
{
	int			n = 0;

	if (!FlowShmemIsAvailable())
		return 0;
	LWLockAcquire(FlowShmemLock(), LW_SHARED);
	for (int i = 0; i < FLOW_MAX_DATABASES && n < max; i++)
		if (OidIsValid(shared->slots[i].info.database))
			out[n++] = shared->slots[i].info;
	LWLockRelease(FlowShmemLock());
	return n;
}

/* Returns false if the database has no slot. */
bool
FlowDatabaseGet(Oid database, FlowDatabaseInfo *out)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return false;
	LWLockAcquire(FlowShmemLock(), LW_SHARED);
	slot = find(database);
	if (slot != NULL)
		*out = slot->info;
	LWLockRelease(FlowShmemLock());
	return slot != NULL;
}

/*
 * Makes the slot if there is none.  A scheduler may attach before the launcher
 * has said that it is starting.
 */
void
FlowDatabaseSetState(Oid database, FlowDatabaseState state)
{
	DatabaseSlot *slot;

	Assert(state != FLOW_DATABASE_FREE);
	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find_or_make(database);
	if (slot != NULL && slot->info.scheduler_pid == 0)
	{
		slot->info.state = state;
		slot->info.at_once = false;
	}
	LWLockRelease(FlowShmemLock());
}

/* Frees the slot of a database that is no more. */
void
FlowDatabaseForget(Oid database)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL && slot->info.scheduler_pid == 0)
		memset(slot, 0, sizeof(DatabaseSlot));
	LWLockRelease(FlowShmemLock());
}

void
FlowDatabaseWakeLauncher(void)
{
	if (!FlowShmemIsAvailable())
		return;
	LWLockAcquire(FlowShmemLock(), LW_SHARED);
	wake_launcher();
	LWLockRelease(FlowShmemLock());
}

/*
 * What has been asked for is kept: if the command that wants the database for
 * itself fails, work goes on.
 */
int
FlowDatabaseLetGo(Oid database, TimestampTz until, bool gently)
{
	DatabaseSlot *slot;

	if (!FlowShmemIsAvailable())
		return 0;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	slot = find_or_make(database);
	if (slot != NULL)
		slot->info.let_go_until = until;
	wake_launcher();
	LWLockRelease(FlowShmemLock());

	if (until <= GetCurrentTimestamp())
		return 0;
	return FlowSlotTerminate(database, gently);
}

bool
FlowDatabaseIsLetGo(Oid database)
{
	FlowDatabaseInfo info;

	return FlowDatabaseGet(database, &info) &&
		GetCurrentTimestamp() < info.let_go_until;
}
