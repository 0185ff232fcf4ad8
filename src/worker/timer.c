/*-------------------------------------------------------------------------
 * timer.c
 *	  Due tasks: fire, and say when to wake.
 *
 * Due times live in a heap of the scheduler's own, fed at each commit through
 * a ring in shared memory.  The table is read only at the start, when the
 * ring was full, on a sweep, and past the horizon; so firing does not wade
 * through index entries of tasks that are gone.
 *
 * The heap knows every due time before the horizon and none after it, which
 * bounds its size.  An entry may be stale or there twice: tasks are fired by
 * key, and only if the table agrees that they are due.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/cat_sweep.h"
#include "shmem/ring.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"
#include "worker/scheduler.h"
#include "worker/timer.h"

#define TIMER_MAX			100000	/* entries in the heap */
#define TIMER_READ_MAX		10000	/* read from the table at once */
#define TIMER_TAKE_MAX		512 /* taken from the ring at once */
#define TIMER_CHUNK			500 /* fired in one transaction */
#define TIMER_CHUNKS		10	/* fired before the scheduler looks elsewhere */
#define TIMER_LOCKED_DELAY	50	/* ms until a locked task is tried again */
#define TIMER_FAILED_DELAY	1000	/* ms, the same after an error */

typedef struct TimerEntry
{
	pairingheap_node node;
	FlowDue		due;
} TimerEntry;

typedef struct TimerChunk
{
	int			n;
	FlowDue		dues[TIMER_CHUNK];
	int			n_locked;
	FlowStepKey locked[TIMER_CHUNK];
} TimerChunk;

typedef struct TimerRead
{
	int			n;
	FlowDue    *dues;
} TimerRead;

static MemoryContext timer_context = NULL;
static pairingheap timer_heap;
static int	timer_count = 0;
static TimestampTz timer_horizon = DT_NOEND;
static bool timer_must_read = true;

static int	compare_due(const pairingheap_node *a, const pairingheap_node *b,
						void *arg);
static void take_ring(void);
static void add_due(const FlowDue *due);
static void read_table_of_dues(void);
static void read_body(int64 home, void *arg);
static bool fire_chunk(TimestampTz now);
static void take_due(TimerChunk *chunk, TimestampTz now);
static void put_back(const FlowStepKey *key, TimestampTz now, int delay);
static void fire_body(int64 home, void *arg);

void
FlowTimerReset(void)
{
	if (timer_context == NULL)
		timer_context = AllocSetContextCreate(TopMemoryContext, "flow timers",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(timer_context);
	pairingheap_reset(&timer_heap);
	timer_heap.ph_compare = compare_due;
	timer_count = 0;
	timer_horizon = DT_NOEND;
	timer_must_read = true;
}

/* The earliest is the first. */
static int
compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz x = pairingheap_const_container(TimerEntry, node, a)->due.due_at;
	TimestampTz y = pairingheap_const_container(TimerEntry, node, b)->due.due_at;

	return x < y ? 1 : (x > y ? -1 : 0);
}

void
FlowTimerRun(bool read_table)
{
	TimestampTz now = GetCurrentTimestamp();

	take_ring();
	if (timer_must_read || read_table || timer_horizon <= now)
		read_table_of_dues();
	for (int i = 0; i < TIMER_CHUNKS; i++)
		if (!fire_chunk(now))
			break;
}

TimestampTz
FlowTimerNext(void)
{
	pairingheap_node *first;
	TimerEntry *entry;

	if (pairingheap_is_empty(&timer_heap))
		return timer_horizon;
	first = pairingheap_first(&timer_heap);
	entry = pairingheap_container(TimerEntry, node, first);
	return Min(entry->due.due_at, timer_horizon);
}

/*
 * Empties the ring.  Before the table is read, never after: what is put in
 * later has been committed later, and will be taken the next time.
 */
static void
take_ring(void)
{
	FlowDue		dues[TIMER_TAKE_MAX];
	bool		lost = false;
	int			n;

	do
	{
		n = FlowRingTake(MyDatabaseId, dues, TIMER_TAKE_MAX, &lost);
		for (int i = 0; i < n; i++)
			add_due(&dues[i]);
		if (lost)
			timer_must_read = true;
	} while (n == TIMER_TAKE_MAX);
}

static void
add_due(const FlowDue *due)
{
	TimerEntry *entry;

	if (due->due_at >= timer_horizon)
		return;
	if (timer_count >= TIMER_MAX)
	{
		timer_must_read = true;
		return;
	}
	entry = MemoryContextAlloc(timer_context, sizeof(TimerEntry));
	entry->due = *due;
	pairingheap_add(&timer_heap, &entry->node);
	timer_count++;
}

static void
read_table_of_dues(void)
{
	TimerRead	read = {
		.dues = palloc(TIMER_READ_MAX * sizeof(FlowDue))
	};

	if (FlowSchedulerTransact("read due times", read_body, &read))
	{
		FlowTimerReset();
		for (int i = 0; i < read.n; i++)
			add_due(&read.dues[i]);
		if (read.n == TIMER_READ_MAX)
			timer_horizon = read.dues[read.n - 1].due_at;
		timer_must_read = false;
	}
	pfree(read.dues);
}

static void
read_body(int64 home, void *arg)
{
	TimerRead  *read = arg;

	read->n = FlowSweepReadDue(home, read->dues, TIMER_READ_MAX);
}

/* Fires up to a chunk; returns false if there is nothing more to do now. */
static bool
fire_chunk(TimestampTz now)
{
	TimerChunk *chunk = palloc(sizeof(TimerChunk));
	bool		done;
	bool		full;

	take_due(chunk, now);
	full = chunk->n == TIMER_CHUNK;
	done = chunk->n == 0 ||
		FlowSchedulerTransact("fire due steps", fire_body, chunk);
	if (done)
		for (int i = 0; i < chunk->n_locked; i++)
			put_back(&chunk->locked[i], now, TIMER_LOCKED_DELAY);
	else
		for (int i = 0; i < chunk->n; i++)
			put_back(&chunk->dues[i].key, now, TIMER_FAILED_DELAY);
	pfree(chunk);
	return full && done;
}

/* Takes up to a chunk of what is due off the heap. */
static void
take_due(TimerChunk *chunk, TimestampTz now)
{
	chunk->n = 0;
	chunk->n_locked = 0;
	while (chunk->n < TIMER_CHUNK && !pairingheap_is_empty(&timer_heap))
	{
		pairingheap_node *first = pairingheap_first(&timer_heap);
		TimerEntry *entry = pairingheap_container(TimerEntry, node, first);

		if (entry->due.due_at > now)
			break;
		chunk->dues[chunk->n++] = entry->due;
		(void) pairingheap_remove_first(&timer_heap);
		pfree(entry);
		timer_count--;
	}
}

static void
put_back(const FlowStepKey *key, TimestampTz now, int delay)
{
	FlowDue		due = {
		.key = *key,
		.due_at = TimestampTzPlusMilliseconds(now, delay)
	};

	add_due(&due);
}

/* The steps are pushed, and workers woken, when this commits. */
static void
fire_body(int64 home, void *arg)
{
	TimerChunk *chunk = arg;
	Oid		   *owners = palloc(chunk->n * sizeof(Oid));
	FlowReady  *ready = palloc(chunk->n * sizeof(FlowReady));
	int			n;

	FLOW_TEST_POINT("timer-fire");
	n = FlowSweepFire(home, chunk->dues, chunk->n, owners, ready);
	for (int i = 0; i < n; i++)
		FlowWakeNoteReady(owners[i], &ready[i]);
	FLOW_TEST_POINT("timer-fired");
	if (n < chunk->n)
		chunk->n_locked = FlowSweepReadLocked(home, chunk->dues, chunk->n,
											  chunk->locked);
}
