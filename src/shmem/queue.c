/*-------------------------------------------------------------------------
 * queue.c
 *	  The ready queue and the workers that wait at it.
 *
 * One pool of entries serves all databases and roles.  Each lane is a heap of
 * entries, best first: priority, then a fair sequence, then the key.  The fair
 * sequence is start-time fair queueing by workflow: an entry is stamped one
 * above the last entry of its workflow, or above the lane's virtual time if
 * that is later, so that a workflow with 100 000 runs and one with a single
 * run take turns.
 *
 * All of it is protected by FlowShmemLock(), which the externs take.  Under
 * it nothing allocates, fails or waits, so they can be called in a commit
 * callback.  The heaps are the server's own; only their roots are kept in
 * shared memory, since the address of the comparison function is not the
 * same in all processes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shmem/queue.h"
#include "shmem/shmem.h"

#define POOL_SIZE		16384	/* entries */
#define LANE_LIMIT		(POOL_SIZE / 4 * 3) /* entries of one lane */
#define WORKFLOW_LIMIT	(POOL_SIZE / 4) /* entries of one workflow */

/* Workflows are told apart by a hash; those that share one share its limit */
#define WORKFLOW_COUNTERS	1024
#define LANE_TAGS		32

/* More than flow.workers can be: those that are ending still have theirs */
#define MAX_WORKERS		128

typedef struct Entry
{
	pairingheap_node node;		/* in its lane's heap */
	dlist_node	by_age;			/* in its lane's list, oldest first */
	TimestampTz pushed_at;
	uint64		sequence;		/* lower first, among equal priorities */
	FlowReady	ready;
} Entry;

typedef struct Lane
{
	Oid			database;		/* InvalidOid: not in use */
	Oid			role;
	int			pins;
	int			entries;
	int			workers;		/* attached */
	int			idle;			/* of these, asleep */
	int			starting;		/* registered, not yet attached */
	bool		overflown;		/* entries were refused */
	uint64		virtual_time;	/* highest sequence taken so far */
	uint64		tags[LANE_TAGS];	/* last sequence given, by workflow */
	pairingheap_node *root;		/* of the heap */
	dlist_head	by_age;
} Lane;

typedef struct Worker
{
	int			lane;			/* -1: free */
	int			procno;
	bool		sleeping;
} Worker;

typedef struct Queue
{
	int			n_lanes;		/* lanes behind have never been used */
	int			n_workers;		/* attached or starting, in all lanes */
	Lane		lanes[FLOW_MAX_LANES];
	Worker		workers[MAX_WORKERS];
	int			workflow_entries[WORKFLOW_COUNTERS];
	int			n_free;
	int			free[POOL_SIZE];	/* the first n_free are free entries */
	Entry		pool[POOL_SIZE];
} Queue;

static Queue *queue = NULL;

/* This process in queue->workers, or -1 */
static int	my_worker = -1;

static Lane *lock_lane(int number);
static int	find_lane(Oid database, Oid role);
static bool lane_is_reusable(const Lane *lane);
static bool push(Lane *lane, const FlowReady *ready, TimestampTz now);
static bool make_room(const Lane *for_lane);
static void stamp(Lane *lane, Entry *entry);
static void release(Lane *lane, Entry *entry);
static int *workflow_counter(Oid database, int32 workflow_id);
static pairingheap heap_of(Lane *lane);
static int	compare(const pairingheap_node *a, const pairingheap_node *b,
					void *arg);
static void clear_lane(Lane *lane);
static void describe_lane(int number, FlowLaneInfo *info);
static void note_awake(Lane *lane);
static int	take_sleepers(int number, int n, int *procnos);

Size
FlowQueueShmemSize(void)
{
	return sizeof(Queue);
}

void
FlowQueueShmemInit(void)
{
	bool		found;

	queue = ShmemInitStruct("flow queue", sizeof(Queue), &found);
	if (found)
		return;

	memset(queue, 0, sizeof(Queue));
	for (int i = 0; i < MAX_WORKERS; i++)
		queue->workers[i].lane = -1;
	for (int i = 0; i < POOL_SIZE; i++)
		queue->free[i] = i;
	queue->n_free = POOL_SIZE;
}

int
FlowQueuePinLane(Oid database, Oid role)
{
	int			number;

	if (!FlowShmemIsAvailable())
		return -1;

	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	number = find_lane(database, role);
	if (number >= 0)
		queue->lanes[number].pins++;
	LWLockRelease(FlowShmemLock());
	return number;
}

void
FlowQueueUnpinLane(int lane)
{
	Lane	   *pinned = lock_lane(lane);

	if (pinned == NULL)
		return;
	Assert(pinned->pins > 0);
	pinned->pins--;
	LWLockRelease(FlowShmemLock());
}

int
FlowQueuePush(int lane, const FlowReady *entries, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	Lane	   *to = lock_lane(lane);
	int			pushed = 0;

	if (to == NULL)
		return 0;
	for (int i = 0; i < n; i++)
	{
		/* a full workflow must not keep others out, so go on to the end */
		if (push(to, &entries[i], now))
			pushed++;
		else
			to->overflown = true;
	}
	LWLockRelease(FlowShmemLock());
	return pushed;
}

int
FlowQueuePop(int lane, FlowReady *entries, int max,
			 FlowTakePolicy policy, void *arg)
{
	Lane	   *from = lock_lane(lane);
	pairingheap heap;
	FlowTake	take = FLOW_TAKE;
	int			taken = 0;

	if (from == NULL)
		return 0;
	heap = heap_of(from);
	while (taken < max && take == FLOW_TAKE && !pairingheap_is_empty(&heap))
	{
		Entry	   *first = pairingheap_container(Entry, node,
												  pairingheap_first(&heap));

		if (policy != NULL)
			take = policy(&first->ready, taken, arg);
		if (take == FLOW_LEAVE)
			break;
		(void) pairingheap_remove_first(&heap);
		entries[taken++] = first->ready;
		from->virtual_time = Max(from->virtual_time, first->sequence);
		release(from, first);
	}
	from->root = heap.ph_root;
	LWLockRelease(FlowShmemLock());
	return taken;
}

/*
 * The next two read one word without the lock: whoever needs to be sure asks
 * FlowQueueWorkerSleep.
 */
int
FlowQueueLength(int lane)
{
	return lane < 0 ? 0 : ((volatile Queue *) queue)->lanes[lane].entries;
}

bool
FlowQueueIsOverflown(int lane)
{
	return lane >= 0 && ((volatile Queue *) queue)->lanes[lane].overflown;
}

void
FlowQueueForget(Oid database)
{
	if (!FlowShmemIsAvailable())
		return;

	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	for (int i = 0; i < queue->n_lanes; i++)
		if (queue->lanes[i].database == database)
			clear_lane(&queue->lanes[i]);
	LWLockRelease(FlowShmemLock());
}

void
FlowQueueMarkOverflown(Oid database)
{
	if (!FlowShmemIsAvailable())
		return;

	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	for (int i = 0; i < queue->n_lanes; i++)
		if (queue->lanes[i].database == database)
			queue->lanes[i].overflown = true;
	LWLockRelease(FlowShmemLock());
}

void
FlowQueueMarkLaneOverflown(int lane)
{
	Lane	   *marked = lock_lane(lane);

	if (marked == NULL)
		return;
	marked->overflown = true;
	LWLockRelease(FlowShmemLock());
}

bool
FlowQueueTakeOverflown(int lane)
{
	Lane	   *marked = lock_lane(lane);
	bool		was;

	if (marked == NULL)
		return false;
	was = marked->overflown;
	marked->overflown = false;
	LWLockRelease(FlowShmemLock());
	return was;
}

int
FlowQueueLanes(Oid database, FlowLaneInfo *lanes, int max)
{
	int			n = 0;

	if (!FlowShmemIsAvailable())
		return 0;

	LWLockAcquire(FlowShmemLock(), LW_SHARED);
	for (int i = 0; i < queue->n_lanes && n < max; i++)
		if (queue->lanes[i].database == database)
			describe_lane(i, &lanes[n++]);
	LWLockRelease(FlowShmemLock());
	return n;
}

void
FlowQueueWorkerStarting(int lane, int delta)
{
	Lane	   *at = lock_lane(lane);
	int			before;

	if (at == NULL)
		return;
	before = at->starting;
	at->starting = Max(before + delta, 0);
	queue->n_workers += at->starting - before;
	LWLockRelease(FlowShmemLock());
}

void
FlowQueueWorkerAttach(int lane)
{
	Lane	   *at = lock_lane(lane);

	if (at == NULL)
		return;
	for (int i = 0; i < MAX_WORKERS && my_worker < 0; i++)
		if (queue->workers[i].lane < 0)
			my_worker = i;

	/* without a place it works all the same, but nobody can wake it */
	if (my_worker >= 0)
	{
		queue->workers[my_worker].lane = lane;
		queue->workers[my_worker].procno = FlowMyProcNumber();
		queue->workers[my_worker].sleeping = false;
	}
	at->workers++;
	if (at->starting > 0)
		at->starting--;
	else
		queue->n_workers++;
	LWLockRelease(FlowShmemLock());
}

void
FlowQueueWorkerDetach(int lane)
{
	Lane	   *at = lock_lane(lane);

	if (at == NULL)
		return;
	note_awake(at);
	if (my_worker >= 0)
		queue->workers[my_worker].lane = -1;
	my_worker = -1;
	Assert(at->workers > 0);
	at->workers--;
	queue->n_workers--;
	LWLockRelease(FlowShmemLock());
}

int
FlowQueueWorkerTotal(void)
{
	return FlowShmemIsAvailable() ? ((volatile Queue *) queue)->n_workers : 0;
}

bool
FlowQueueWorkerSleep(int lane)
{
	Lane	   *at = lock_lane(lane);
	bool		is_empty;

	if (at == NULL)
		return true;
	is_empty = at->entries == 0;
	if (is_empty && my_worker >= 0 && !queue->workers[my_worker].sleeping)
	{
		queue->workers[my_worker].sleeping = true;
		at->idle++;
	}
	LWLockRelease(FlowShmemLock());
	return is_empty;
}

void
FlowQueueWorkerWake(int lane)
{
	Lane	   *at = lock_lane(lane);

	if (at == NULL)
		return;
	note_awake(at);
	LWLockRelease(FlowShmemLock());
}

int
FlowQueueWake(int lane, int n)
{
	int			procnos[MAX_WORKERS];
	int			taken;

	if (lock_lane(lane) == NULL)
		return 0;
	taken = take_sleepers(lane, n, procnos);
	LWLockRelease(FlowShmemLock());

	/* if one has gone by now, its successor wakes in vain, which is harmless */
	for (int i = 0; i < taken; i++)
		SetLatch(&GetPGProcByNumber(procnos[i])->procLatch);
	return taken;
}

/* The lane, with the lock taken; NULL, and no lock, if there is none. */
static Lane *
lock_lane(int number)
{
	if (!FlowShmemIsAvailable() || number < 0)
		return NULL;
	Assert(number < FLOW_MAX_LANES);
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	return &queue->lanes[number];
}

/* The lane of this role, made if there is none; -1 when all are in use. */
static int
find_lane(Oid database, Oid role)
{
	int			reusable = -1;
	Lane	   *lane;

	for (int i = 0; i < queue->n_lanes; i++)
	{
		lane = &queue->lanes[i];
		if (lane->database == database && lane->role == role)
			return i;
		if (reusable < 0 && lane_is_reusable(lane))
			reusable = i;
	}
	if (reusable < 0 && queue->n_lanes < FLOW_MAX_LANES)
		reusable = queue->n_lanes++;
	if (reusable < 0)
		return -1;

	lane = &queue->lanes[reusable];
	memset(lane, 0, sizeof(Lane));
	lane->database = database;
	lane->role = role;
	dlist_init(&lane->by_age);
	return reusable;
}

/* An overflown lane stands for work that is only in the table. */
static bool
lane_is_reusable(const Lane *lane)
{
	return lane->pins == 0 && lane->entries == 0 && lane->workers == 0 &&
		lane->starting == 0 && !lane->overflown;
}

/* False if there is no room. */
static bool
push(Lane *lane, const FlowReady *ready, TimestampTz now)
{
	int		   *counter = workflow_counter(lane->database, ready->workflow_id);
	Entry	   *entry;
	pairingheap heap;

	if (lane->entries >= LANE_LIMIT || *counter >= WORKFLOW_LIMIT)
		return false;
	if (queue->n_free == 0 &&
		(lane->entries >= FLOW_LANE_RESERVE || !make_room(lane)))
		return false;

	heap = heap_of(lane);
	entry = &queue->pool[queue->free[--queue->n_free]];
	entry->ready = *ready;
	entry->pushed_at = now;
	stamp(lane, entry);
	pairingheap_add(&heap, &entry->node);
	lane->root = heap.ph_root;
	dlist_push_tail(&lane->by_age, &entry->by_age);
	lane->entries++;
	(*counter)++;
	return true;
}

/*
 * Every lane has a right to a few entries: the longest one gives up its youngest,
 * which the table still knows.
 */
static bool
make_room(const Lane *for_lane)
{
	Lane	   *longest = NULL;
	Entry	   *youngest;
	pairingheap heap;

	for (int i = 0; i < queue->n_lanes; i++)
	{
		Lane	   *lane = &queue->lanes[i];

		if (lane != for_lane && lane->entries > FLOW_LANE_RESERVE &&
			(longest == NULL || lane->entries > longest->entries))
			longest = lane;
	}
	if (longest == NULL)
		return false;
	youngest = dlist_container(Entry, by_age, dlist_tail_node(&longest->by_age));
	heap = heap_of(longest);
	pairingheap_remove(&heap, &youngest->node);
	longest->root = heap.ph_root;
	release(longest, youngest);
	longest->overflown = true;
	return true;
}

/* Gives the entry its place among those of other workflows. */
static void
stamp(Lane *lane, Entry *entry)
{
	uint32		hash = murmurhash32((uint32) entry->ready.workflow_id);
	uint64	   *tag = &lane->tags[hash % LANE_TAGS];

	*tag = Max(lane->virtual_time, *tag) + 1;
	entry->sequence = *tag;
}

/* Gives back an entry that is not in the heap any more. */
static void
release(Lane *lane, Entry *entry)
{
	dlist_delete(&entry->by_age);
	(*workflow_counter(lane->database, entry->ready.workflow_id))--;
	lane->entries--;
	queue->free[queue->n_free++] = (int) (entry - queue->pool);
}

static int *
workflow_counter(Oid database, int32 workflow_id)
{
	uint32		hash = hash_combine(murmurhash32(database),
									murmurhash32((uint32) workflow_id));

	return &queue->workflow_entries[hash % WORKFLOW_COUNTERS];
}

/* The heap, for one operation; its root is to be stored in the lane after. */
static pairingheap
heap_of(Lane *lane)
{
	pairingheap heap = {compare, NULL, lane->root};

	return heap;
}

/* Greater is what runs first. */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Entry *x = pairingheap_const_container(Entry, node, a);
	const Entry *y = pairingheap_const_container(Entry, node, b);
	const FlowStepKey *p = &x->ready.key;
	const FlowStepKey *q = &y->ready.key;

	if (x->ready.priority != y->ready.priority)
		return x->ready.priority > y->ready.priority ? 1 : -1;
	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? 1 : -1;
	if (p->run_id != q->run_id)
		return p->run_id < q->run_id ? 1 : -1;
	if (p->step_no != q->step_no)
		return p->step_no < q->step_no ? 1 : -1;
	return (p->item_no < q->item_no) - (p->item_no > q->item_no);
}

static void
clear_lane(Lane *lane)
{
	dlist_mutable_iter iter;

	lane->root = NULL;
	dlist_foreach_modify(iter, &lane->by_age)
		release(lane, dlist_container(Entry, by_age, iter.cur));
	lane->overflown = false;
}

static void
describe_lane(int number, FlowLaneInfo *info)
{
	Lane	   *lane = &queue->lanes[number];

	info->lane = number;
	info->role = lane->role;
	info->entries = lane->entries;
	info->workers = lane->workers;
	info->idle = lane->idle;
	info->starting = lane->starting;
	info->overflown = lane->overflown;
	info->oldest = DT_NOEND;
	if (!dlist_is_empty(&lane->by_age))
		info->oldest = dlist_head_element(Entry, by_age,
										  &lane->by_age)->pushed_at;
}

/* This worker does not sleep, unless somebody has marked that already. */
static void
note_awake(Lane *lane)
{
	if (my_worker < 0 || !queue->workers[my_worker].sleeping)
		return;
	queue->workers[my_worker].sleeping = false;
	lane->idle--;
}

/* Marks up to n sleeping workers as awake, so that the next wakes others. */
static int
take_sleepers(int number, int n, int *procnos)
{
	Lane	   *lane = &queue->lanes[number];
	int			taken = 0;

	for (int i = 0; i < MAX_WORKERS && taken < n && lane->idle > 0; i++)
	{
		Worker	   *worker = &queue->workers[i];

		if (worker->lane != number || !worker->sleeping)
			continue;
		worker->sleeping = false;
		lane->idle--;
		procnos[taken++] = worker->procno;
	}
	return taken;
}
