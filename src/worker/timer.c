/*-------------------------------------------------------------------------
 * timer.c
 *	  Due tasks: fire, and say when to wake.
 *
 * Due times live in a heap of the scheduler's own, fed at each commit through
 * a ring in shared memory.  The table is read from its beginning only at the
 * start, when the ring was full and on a sweep, and from the horizon on when
 * that has come; so firing does not wade through index entries of tasks that
 * are gone.
 *
 * The heap knows every due time up to the horizon and none after it, which
 * bounds its size.  An entry may be stale or there twice: tasks are fired by
 * key, and only if the table agrees that they are due.  One that somebody has
 * locked stays in the heap, and hides nothing that comes after it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/cat_sweep.h"
#include "shmem/ring.h"
#include "shmem/share.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"
#include "worker/scheduler.h"
#include "worker/timer.h"

#define TIMER_MAX			100000	/* entries in the heap */
#define TIMER_READ_MAX		10000	/* read from the table at once */
#define TIMER_TAKE_MAX		512 /* taken from the ring at once */
#define TIMER_CHUNK			500 /* fired in one transaction */
#define TIMER_CHUNKS		10	/* fired before the scheduler looks elsewhere */
#define TIMER_LOCKED_DELAY	50	/* ms until a locked task is tried again ... */
#define TIMER_LOCKED_EACH	2	/* ... more for each other one of its chunk */
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
	FlowDue		after;
	int			n;
	FlowDue    *dues;
} TimerRead;

static MemoryContext timer_context = NULL;
static pairingheap timer_heap;
static int	timer_count = 0;
static FlowDue timer_horizon;	/* the last one read, or DT_NOEND */
static bool timer_must_read = true;

static int	compare_due(const pairingheap_node *a, const pairingheap_node *b,
						void *arg);
static bool is_due(TimestampTz now);
static void take_ring(void);
static bool is_past_horizon(const FlowDue *due);
static void add_due(const FlowDue *due);
static bool read_table_of_dues(bool from_start);
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
	timer_horizon.due_at = DT_NOEND;
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
	if ((timer_must_read || read_table) && !read_table_of_dues(true))
		return;
	for (int i = 0; i < TIMER_CHUNKS; i++)
	{
		if (!is_due(now) &&
			(timer_horizon.due_at > now || !read_table_of_dues(false)))
			break;
		if (!fire_chunk(now))
			break;
	}
}

static bool
is_due(TimestampTz now)
{
	pairingheap_node *first;

	if (pairingheap_is_empty(&timer_heap))
		return false;
	first = pairingheap_first(&timer_heap);
	return pairingheap_container(TimerEntry, node, first)->due.due_at <= now;
}

TimestampTz
FlowTimerNext(void)
{
	TimestampTz next = timer_horizon.due_at;
	pairingheap_node *first;
	TimerEntry *entry;

	if (timer_must_read)
		next = Min(next, TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 TIMER_FAILED_DELAY));
	if (pairingheap_is_empty(&timer_heap))
		return next;
	first = pairingheap_first(&timer_heap);
	entry = pairingheap_container(TimerEntry, node, first);
	return Min(entry->due.due_at, next);
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
			if (!is_past_horizon(&dues[i]))
				add_due(&dues[i]);
		if (lost)
			timer_must_read = true;
	} while (n == TIMER_TAKE_MAX);
}

static bool
is_past_horizon(const FlowDue *due)
{
	if (due->due_at != timer_horizon.due_at)
		return due->due_at > timer_horizon.due_at;
	return FlowShareCompareKeys(&due->key, &timer_horizon.key) > 0;
}

static void
add_due(const FlowDue *due)
{
	TimerEntry *entry;

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

/* Reads what comes after the horizon, or all anew; returns false on error. */
static bool
read_table_of_dues(bool from_start)
{
	TimerRead	read = {
		.after = timer_horizon,
		.dues = palloc(TIMER_READ_MAX * sizeof(FlowDue))
	};
	bool		done;

	if (from_start)
		read.after.due_at = DT_NOBEGIN;
	done = FlowSchedulerTransact("read due times", read_body, &read);
	if (!from_start && timer_must_read)
		done = false;			/* the tables are new ones */
	if (done)
	{
		if (from_start)
			FlowTimerReset();
		timer_must_read = false;
		for (int i = 0; i < read.n; i++)
			add_due(&read.dues[i]);
		timer_horizon.due_at = DT_NOEND;
		if (read.n == TIMER_READ_MAX)
			timer_horizon = read.dues[read.n - 1];
	}
	pfree(read.dues);
	return done;
}

static void
read_body(int64 home, void *arg)
{
	TimerRead  *read = arg;

	read->n = FlowSweepReadDue(home, &read->after, read->dues, TIMER_READ_MAX);
}

/* Fires up to a chunk; returns false on error. */
static bool
fire_chunk(TimestampTz now)
{
	TimerChunk *chunk = palloc(sizeof(TimerChunk));
	bool		done;

	take_due(chunk, now);
	done = chunk->n == 0 ||
		FlowSchedulerTransact("fire due steps", fire_body, chunk);
	if (done)
		for (int i = 0; i < chunk->n_locked; i++)
			put_back(&chunk->locked[i], now,
					 TIMER_LOCKED_DELAY + TIMER_LOCKED_EACH * chunk->n_locked);
	else
		for (int i = 0; i < chunk->n; i++)
			put_back(&chunk->dues[i].key, now, TIMER_FAILED_DELAY);
	pfree(chunk);
	return done;
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
