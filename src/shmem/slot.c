/*-------------------------------------------------------------------------
 * slot.c
 *	  Who runs what right now, and how to interrupt exactly that.
 *
 * Each process of ours, and each client in flow_drain, owns a slot and
 * publishes there the step it runs.  Who cancels a run leaves (run, epoch) in
 * the slot of whoever runs it, then signals; the interrupted process compares
 * that with what it runs by then, and so tells a cancel of its run from one
 * that came too late and from an operator's.
 *
 * A cancel of a run that is about to be run is not lost either: the worker
 * publishes its step and then asks for cancels, the canceller notes the
 * cancel and then looks at the slots, both with a full barrier in between, so
 * that at least one sees the other.
 *
 * SQL can catch the interrupt and go on.  So the scheduler looks after those
 * who were interrupted, repeats the signal, and in the end asks the worker to
 * end, which SQL cannot catch.  A client in flow_drain is never ended.
 *
 * A slot is protected by its spinlock, the list of the last cancels by
 * another; both are held for a few instructions, never together, and no
 * signal is sent meanwhile.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "shmem/shmem.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"

#define CANCELS_KEPT	64
#define PURSUE_PATIENCE	5000	/* ms after which its worker is ended */
#define STALE_AFTER		10000	/* ms that an interrupt may be on its way */

/* A cancel of a run: what it does at a lower epoch is void */
typedef struct Cancel
{
	Oid			database;
	int64		run_id;
	int32		epoch;
} Cancel;

/* all of it protected by mutex */
typedef struct Slot
{
	slock_t		mutex;
	FlowSlotInfo info;			/* pid 0: free; changed by its owner only */
	TimestampTz interrupted_at; /* "cancel" says why; 0: it was not */
	Cancel		cancel;
	bool		ended;			/* it was asked to end */
} Slot;

typedef struct SlotShared
{
	slock_t		mutex;			/* protects cancels, and who may write
								 * generation */
	pg_atomic_uint64 generation;	/* number of cancels so far */
	Cancel		cancels[CANCELS_KEPT];	/* by number modulo size */
	Slot		slots[FLOW_MAX_SLOTS];
} SlotShared;

static SlotShared *shared = NULL;
static Slot *my_slot = NULL;

/* Nest level of the transaction in which a client has taken its slot */
static int	my_nest_level = 0;

static bool claim(Slot *slot, const FlowSlotInfo *info);
static void register_exit(void);
static void slot_exit(int code, Datum arg);
static void register_abort(void);
static void slot_abort(XactEvent event, void *arg);
static void slot_abort_sub(SubXactEvent event, SubTransactionId mine,
						   SubTransactionId parent, void *arg);
static void note_cancel(Cancel cancel);
static int	mark_interrupted(Slot *slot, Cancel cancel, TimestampTz now);
static bool goes_on(const Slot *slot);
static int	choose_signal(Slot *slot, Oid database, TimestampTz now,
						  FlowSlotInfo *info);
static bool copy_slot(Slot *slot, FlowSlotInfo *out);
static bool ask_to_end(Slot *slot, const FlowSlotInfo *info, bool gently);
static void note_asked(Slot *slot, int pid);

Size
FlowSlotShmemSize(void)
{
	return MAXALIGN(sizeof(SlotShared));
}

void
FlowSlotShmemInit(void)
{
	bool		found;

	shared = ShmemInitStruct("flow slots", FlowSlotShmemSize(), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(SlotShared));
	SpinLockInit(&shared->mutex);
	pg_atomic_init_u64(&shared->generation, 0);
	for (int i = 0; i < FLOW_MAX_SLOTS; i++)
		SpinLockInit(&shared->slots[i].mutex);
}

/* A slot this process has already is used again. */
void
FlowSlotAttach(FlowProcessType type, Oid database, Oid role)
{
	FlowSlotInfo info = {
		.pid = MyProcPid,
		.type = type,
		.database = database,
		.role = role,
		.since = GetCurrentTimestamp()
	};

	if (!FlowShmemIsAvailable())
		return;
	FlowSlotDetach();
	register_exit();
	if (type == FLOW_PROCESS_DRAIN)
		register_abort();
	for (int i = 0; i < FLOW_MAX_SLOTS; i++)
		if (claim(&shared->slots[i], &info))
		{
			my_slot = &shared->slots[i];
			my_nest_level = GetCurrentTransactionNestLevel();
			return;
		}
}

static bool
claim(Slot *slot, const FlowSlotInfo *info)
{
	bool		claimed;

	SpinLockAcquire(&slot->mutex);
	claimed = slot->info.pid == 0;
	if (claimed)
	{
		slot->info = *info;
		slot->interrupted_at = 0;
		slot->ended = false;
	}
	SpinLockRelease(&slot->mutex);
	return claimed;
}

static void
register_exit(void)
{
	static bool registered = false;

	if (registered)
		return;
	on_shmem_exit(slot_exit, (Datum) 0);
	registered = true;
}

static void
slot_exit(int code, Datum arg)
{
	FlowSlotDetach();
}

/*
 * An error that ends flow_drain itself must not leave the client listed as
 * running a step: a cancel of that run would hit its next statement.
 */
static void
register_abort(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(slot_abort, NULL);
	RegisterSubXactCallback(slot_abort_sub, NULL);
	registered = true;
}

static void
slot_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT && my_slot != NULL &&
		my_slot->info.type == FLOW_PROCESS_DRAIN)
		FlowSlotDetach();
}

/* The subtransactions of the steps are deeper than the one of the drain. */
static void
slot_abort_sub(SubXactEvent event, SubTransactionId mine,
			   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && my_slot != NULL &&
		my_slot->info.type == FLOW_PROCESS_DRAIN &&
		GetCurrentTransactionNestLevel() <= my_nest_level)
		FlowSlotDetach();
}

void
FlowSlotDetach(void)
{
	Slot	   *slot = my_slot;

	if (slot == NULL)
		return;
	my_slot = NULL;
	SpinLockAcquire(&slot->mutex);
	memset(&slot->info, 0, sizeof(FlowSlotInfo));
	slot->interrupted_at = 0;
	SpinLockRelease(&slot->mutex);
}

/* Called for each step.  The barrier is half of what the file header says. */
bool
FlowSlotIsAttached(void)
{
	return my_slot != NULL;
}

void
FlowSlotBegin(const FlowStepKey *key, int32 definition_id, int32 epoch,
			  int32 attempt, TimestampTz since)
{
	Slot	   *slot = my_slot;

	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		slot->info.busy = true;
		slot->info.key = *key;
		slot->info.definition_id = definition_id;
		slot->info.epoch = epoch;
		slot->info.attempt = attempt;
		slot->info.since = since;
		slot->info.deadline = 0;
		slot->info.cancelled_at = 0;
		SpinLockRelease(&slot->mutex);
	}
	pg_memory_barrier();
}

void
FlowSlotSetDeadline(TimestampTz deadline)
{
	Slot	   *slot = my_slot;

	if (slot == NULL)
		return;
	SpinLockAcquire(&slot->mutex);
	slot->info.deadline = deadline;
	SpinLockRelease(&slot->mutex);
}

/*
 * The step stays in the slot, only no longer as running: FlowSlotTakeInterrupt
 * may be called after this.
 */
void
FlowSlotEnd(void)
{
	Slot	   *slot = my_slot;
	TimestampTz now;

	if (slot == NULL)
		return;
	now = GetCurrentTimestamp();
	SpinLockAcquire(&slot->mutex);
	slot->info.busy = false;
	slot->info.since = now;
	SpinLockRelease(&slot->mutex);
}

int
FlowSlotList(FlowSlotInfo *out, int max)
{
	int			n = 0;

	if (!FlowShmemIsAvailable())
		return 0;
	for (int i = 0; i < FLOW_MAX_SLOTS && n < max; i++)
		if (copy_slot(&shared->slots[i], &out[n]))
			n++;
	return n;
}

/* Returns false if the slot is free. */
static bool
copy_slot(Slot *slot, FlowSlotInfo *out)
{
	SpinLockAcquire(&slot->mutex);
	*out = slot->info;
	SpinLockRelease(&slot->mutex);
	return out->pid != 0;
}

bool
FlowSlotCancelRun(int64 run_id, int32 epoch)
{
	Cancel		cancel = {MyDatabaseId, run_id, epoch};
	TimestampTz now = GetCurrentTimestamp();
	bool		found = false;

	if (!FlowShmemIsAvailable())
		return false;
	FLOW_TEST_POINT("cancel-note");
	note_cancel(cancel);
	pg_memory_barrier();
	for (int i = 0; i < FLOW_MAX_SLOTS; i++)
	{
		int			pid = mark_interrupted(&shared->slots[i], cancel, now);

		if (pid == 0)
			continue;
		found = true;
		FLOW_TEST_POINT("cancel-signal");
		(void) kill(pid, SIGINT);
	}
	return found;
}

static void
note_cancel(Cancel cancel)
{
	uint64		generation;

	SpinLockAcquire(&shared->mutex);
	generation = pg_atomic_read_u64(&shared->generation);
	shared->cancels[generation % CANCELS_KEPT] = cancel;
	pg_atomic_write_u64(&shared->generation, generation + 1);
	SpinLockRelease(&shared->mutex);
}

/* Returns the process to signal; 0 if it does not run that. */
static int
mark_interrupted(Slot *slot, Cancel cancel, TimestampTz now)
{
	int			pid = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->info.pid != 0 && slot->info.busy &&
		slot->info.database == cancel.database &&
		slot->info.key.run_id == cancel.run_id &&
		slot->info.epoch < cancel.epoch)
	{
		pid = slot->info.pid;
		slot->interrupted_at = now;
		slot->cancel = cancel;
		if (slot->info.cancelled_at == 0)
			slot->info.cancelled_at = now;
	}
	SpinLockRelease(&slot->mutex);
	return pid;
}

TimestampTz
FlowSlotPursue(Oid database)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;
	FlowSlotInfo info;

	for (int i = 0; FlowShmemIsAvailable() && i < FLOW_MAX_SLOTS; i++)
	{
		int			signal = choose_signal(&shared->slots[i], database, now, &info);

		if (signal == 0)
			continue;
		if (signal == SIGTERM)
			ereport(LOG,
					(errmsg("ending flow worker %d, since a step of run " INT64_FORMAT " goes on although the run was cancelled",
							info.pid, info.key.run_id),
					 errdetail("Step number %d, attempt %d, does not react to its cancel.",
							   info.key.step_no, info.attempt)));
		else
			next = TimestampTzPlusMilliseconds(now, FLOW_PURSUE_INTERVAL);
		(void) kill(info.pid, signal);
	}
	return next;
}

/* Copies the slot if its process is to be signalled; 0: it is not. */
static int
choose_signal(Slot *slot, Oid database, TimestampTz now, FlowSlotInfo *info)
{
	int			signal = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->info.database == database && goes_on(slot))
	{
		signal = SIGINT;
		if (slot->info.type == FLOW_PROCESS_WORKER &&
			now - slot->info.cancelled_at >= PURSUE_PATIENCE * INT64CONST(1000))
		{
			signal = SIGTERM;
			slot->ended = true;
		}
		slot->interrupted_at = now;
		*info = slot->info;
	}
	SpinLockRelease(&slot->mutex);
	return signal;
}

/* True if the step that was interrupted is still running. */
static bool
goes_on(const Slot *slot)
{
	return slot->info.pid != 0 && slot->info.busy && !slot->ended &&
		slot->info.cancelled_at != 0 &&
		slot->info.key.run_id == slot->cancel.run_id &&
		slot->info.epoch < slot->cancel.epoch;
}

uint64
FlowSlotCancelGeneration(void)
{
	if (!FlowShmemIsAvailable())
		return 0;
	return pg_atomic_read_u64(&shared->generation);
}

/*
 * Almost always the first comparison answers.  The barrier of FlowSlotBegin is
 * what makes reading the generation without the lock right.
 */
bool
FlowSlotIsCancelled(int64 run_id, int32 epoch, uint64 generation)
{
	bool		cancelled;
	uint64		last;

	if (!FlowShmemIsAvailable() ||
		pg_atomic_read_u64(&shared->generation) == generation)
		return false;

	SpinLockAcquire(&shared->mutex);
	last = pg_atomic_read_u64(&shared->generation);
	cancelled = last - generation > CANCELS_KEPT;
	for (uint64 i = generation; !cancelled && i < last; i++)
	{
		const Cancel *cancel = &shared->cancels[i % CANCELS_KEPT];

		cancelled = cancel->database == MyDatabaseId &&
			cancel->run_id == run_id && cancel->epoch > epoch;
	}
	SpinLockRelease(&shared->mutex);
	return cancelled;
}

FlowInterrupt
FlowSlotTakeInterrupt(int64 run_id)
{
	Slot	   *slot = my_slot;
	FlowInterrupt interrupt = FLOW_INTERRUPT_NONE;
	TimestampTz now = GetCurrentTimestamp();

	if (slot == NULL)
		return FLOW_INTERRUPT_NONE;
	SpinLockAcquire(&slot->mutex);
	if (slot->interrupted_at != 0 &&
		!TimestampDifferenceExceeds(slot->interrupted_at, now, STALE_AFTER))
		interrupt = slot->cancel.run_id == run_id &&
			slot->cancel.epoch > slot->info.epoch ?
			FLOW_INTERRUPT_RUN : FLOW_INTERRUPT_STALE;
	slot->interrupted_at = 0;
	SpinLockRelease(&slot->mutex);
	return interrupt;
}

int
FlowSlotTerminate(Oid database, bool gently)
{
	FlowSlotInfo info;
	int			n = 0;

	if (!FlowShmemIsAvailable() || !OidIsValid(database))
		return 0;
	for (int i = 0; i < FLOW_MAX_SLOTS; i++)
		if (copy_slot(&shared->slots[i], &info) &&
			info.database == database && info.pid != MyProcPid &&
			info.type != FLOW_PROCESS_DRAIN &&
			ask_to_end(&shared->slots[i], &info, gently))
			n++;
	return n;
}

/* Returns false if there is no such process any more. */
static bool
ask_to_end(Slot *slot, const FlowSlotInfo *info, bool gently)
{
	PGPROC	   *proc;

	if (info->busy || !gently)
	{
		note_asked(slot, info->pid);
		return kill(info->pid, SIGTERM) == 0;
	}
	proc = BackendPidGetProc(info->pid);
	if (proc != NULL)
		SetLatch(&proc->procLatch);
	return proc != NULL;
}

static void
note_asked(Slot *slot, int pid)
{
	SpinLockAcquire(&slot->mutex);
	if (slot->info.pid == pid)
		slot->ended = true;
	SpinLockRelease(&slot->mutex);
}

bool
FlowSlotIsAskedToEnd(void)
{
	Slot	   *slot = my_slot;
	bool		asked;

	if (slot == NULL)
		return false;
	SpinLockAcquire(&slot->mutex);
	asked = slot->ended;
	SpinLockRelease(&slot->mutex);
	return asked;
}
