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
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "shmem/shmem.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"

#define CANCELS_KEPT	64

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
	bool		interrupted;	/* "cancel" says why */
	Cancel		cancel;
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
static int	mark_interrupted(Slot *slot, Cancel cancel);
static bool copy_slot(Slot *slot, FlowSlotInfo *out);

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
		slot->interrupted = false;
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
	slot->interrupted = false;
	SpinLockRelease(&slot->mutex);
}

/* Called for each step.  The barrier is half of what the file header says. */
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
		SpinLockRelease(&slot->mutex);
	}
	pg_memory_barrier();
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

void
FlowSlotCancelRun(int64 run_id, int32 epoch)
{
	Cancel		cancel = {MyDatabaseId, run_id, epoch};

	if (!FlowShmemIsAvailable())
		return;
	FLOW_TEST_POINT("cancel-note");
	note_cancel(cancel);
	pg_memory_barrier();
	for (int i = 0; i < FLOW_MAX_SLOTS; i++)
	{
		int			pid = mark_interrupted(&shared->slots[i], cancel);

		if (pid == 0)
			continue;
		FLOW_TEST_POINT("cancel-signal");
		(void) kill(pid, SIGINT);
	}
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
mark_interrupted(Slot *slot, Cancel cancel)
{
	int			pid = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->info.pid != 0 && slot->info.busy &&
		slot->info.database == cancel.database &&
		slot->info.key.run_id == cancel.run_id &&
		slot->info.epoch < cancel.epoch)
	{
		pid = slot->info.pid;
		slot->interrupted = true;
		slot->cancel = cancel;
	}
	SpinLockRelease(&slot->mutex);
	return pid;
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

	if (slot == NULL)
		return FLOW_INTERRUPT_NONE;
	SpinLockAcquire(&slot->mutex);
	if (slot->interrupted)
		interrupt = slot->cancel.run_id == run_id &&
			slot->cancel.epoch > slot->info.epoch ?
			FLOW_INTERRUPT_RUN : FLOW_INTERRUPT_STALE;
	slot->interrupted = false;
	SpinLockRelease(&slot->mutex);
	return interrupt;
}

int
FlowSlotTerminate(Oid database)
{
	FlowSlotInfo info;
	int			n = 0;

	if (!FlowShmemIsAvailable() || !OidIsValid(database))
		return 0;
	for (int i = 0; i < FLOW_MAX_SLOTS; i++)
		if (copy_slot(&shared->slots[i], &info) &&
			info.database == database && info.pid != MyProcPid &&
			info.type != FLOW_PROCESS_DRAIN &&
			kill(info.pid, SIGTERM) == 0)
			n++;
	return n;
}
