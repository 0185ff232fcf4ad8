/*-------------------------------------------------------------------------
 * queue.c
 *	  The ready queue and the workers that wait at it.
 *
 * One pool of entries serves all databases and roles.  Each lane is a heap of
 * entries, best first: priority, then a fair place, then the key.  share.c
 * gives out the places, so that a workflow with 100 000 runs and one with a
 * single run take turns.
 *
 * What finds no room is marked in its share, and refill.c reads it from the
 * tables.
 *
 * All of it is protected by FlowShmemLock(), which the externs take.  Under
 * it nothing allocates, fails or waits, so they can be called in a commit
 * callback.  The heaps are the server's own; only their roots are kept in
 * shared memory, since the address of the comparison function is not the
 * same in all processes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shmem/queue.h"
#include "shmem/share.h"
#include "shmem/shmem.h"

#define POOL_SIZE		16384	/* entries */
#define LANE_LIMIT		(POOL_SIZE / 4 * 3) /* entries of one lane */
#define SHARE_LIMIT		(POOL_SIZE / 4) /* entries of one workflow */

/*
 * The same, for what lies past the mark of a share: the room above is for
 * steps before it, so that they do not take the mark back to themselves.
 */
#define SHARE_FILL_LIMIT	(SHARE_LIMIT / 4 * 3)

/* More than flow.workers can be: those that are ending still have theirs */
#define MAX_WORKERS		128

typedef struct Entry
{
	pairingheap_node node;		/* in its lane's heap */
	dlist_node	by_age;			/* in its lane's list, oldest first */
	TimestampTz pushed_at;
	uint64		sequence;		/* lower first, among equal priorities */
	FlowShare  *share;
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
	FlowShareLane shares;
	bool		lost;			/* entries were refused, of which no share
								 * knows */
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
static FlowShare *find_share(const Lane *lane, const FlowReady *ready);
static bool make_room(const Lane *for_lane);
static void refuse(Lane *lane, FlowShare *share, const FlowStepKey *from);
static void release(Lane *lane, Entry *entry);
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
		FlowShareNoteTaken(first->share, first->sequence);
		release(from, first);
	}
	from->root = heap.ph_root;
	LWLockRelease(FlowShmemLock());
	return taken;
}

/* Reads without the lock: a worker asks after each batch. */
bool
FlowQueueIsHungry(int lane)
{
	volatile Lane *asked;

	if (lane < 0)
		return false;
	asked = &((volatile Queue *) queue)->lanes[lane];
	return asked->shares.n_hungry > 0 ||
		(asked->lost && asked->entries < FLOW_SHARE_LOW_WATER);
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

int
FlowQueueRoom(int lane, const FlowReady *example)
{
	Lane	   *asked = lock_lane(lane);
	FlowShare  *share;
	int			room = 0;

	if (asked == NULL)
		return 0;
	share = find_share(asked, example);
	if (share != NULL)
	{
		room = Max(SHARE_FILL_LIMIT - share->entries, 0);
		FlowShareDrop(share);
	}
	LWLockRelease(FlowShmemLock());
	return room;
}

void
FlowQueueRefuse(int lane, const FlowReady *first)
{
	Lane	   *marked = lock_lane(lane);

	if (marked == NULL)
		return;
	refuse(marked, find_share(marked, first), &first->key);
	LWLockRelease(FlowShmemLock());
}

void
FlowQueueMarkLost(int lane)
{
	Lane	   *marked = lock_lane(lane);

	if (marked == NULL)
		return;
	marked->lost = true;
	LWLockRelease(FlowShmemLock());
}

bool
FlowQueueTakeLost(int lane)
{
	Lane	   *marked = lock_lane(lane);
	bool		taken;

	if (marked == NULL)
		return false;
	taken = marked->lost && marked->entries < FLOW_SHARE_LOW_WATER;
	if (taken)
		marked->lost = false;
	LWLockRelease(FlowShmemLock());
	return taken;
}

int
FlowQueueTakeRefused(int lane, FlowReady *firsts, int max)
{
	Lane	   *from = lock_lane(lane);
	dlist_mutable_iter iter;
	int			n = 0;

	if (from == NULL)
		return 0;
	dlist_foreach_modify(iter, &from->shares.refused)
	{
		FlowShare  *share = dlist_container(FlowShare, by_lane, iter.cur);

		if (n == max)
			break;
		if (!share->hungry)
			continue;
		memset(&firsts[n], 0, sizeof(FlowReady));
		firsts[n].key = share->from;
		firsts[n].workflow_id = share->key.workflow_id;
		firsts[n++].priority = share->key.priority;
		FlowShareForgive(&from->shares, share);
	}
	LWLockRelease(FlowShmemLock());
	return n;
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
	dlist_init(&lane->shares.refused);
	return reusable;
}

/* A lane of which steps were refused stands for work that is only in the table. */
static bool
lane_is_reusable(const Lane *lane)
{
	return lane->pins == 0 && lane->entries == 0 && lane->workers == 0 &&
		lane->starting == 0 && lane->shares.n_refused == 0 && !lane->lost;
}

/* False if there is no room; then that is marked. */
static bool
push(Lane *lane, const FlowReady *ready, TimestampTz now)
{
	FlowShare  *share = find_share(lane, ready);
	Entry	   *entry;
	pairingheap heap;
	int			limit;

	if (share == NULL)
	{
		lane->lost = true;
		return false;
	}
	limit = FlowShareIsPastMark(share, &ready->key) ? SHARE_FILL_LIMIT : SHARE_LIMIT;
	if (share->entries >= limit || lane->entries >= LANE_LIMIT ||
		(queue->n_free == 0 &&
		 (lane->entries >= FLOW_LANE_RESERVE || !make_room(lane))))
	{
		refuse(lane, share, &ready->key);
		return false;
	}

	entry = &queue->pool[queue->free[--queue->n_free]];
	entry->ready = *ready;
	entry->pushed_at = now;
	entry->share = share;
	entry->sequence = FlowShareAdd(&lane->shares, share);
	heap = heap_of(lane);
	pairingheap_add(&heap, &entry->node);
	lane->root = heap.ph_root;
	dlist_push_tail(&lane->by_age, &entry->by_age);
	lane->entries++;
	return true;
}

/* NULL if there are too many. */
static FlowShare *
find_share(const Lane *lane, const FlowReady *ready)
{
	return FlowShareGet((int) (lane - queue->lanes), ready->workflow_id,
						ready->priority);
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
	refuse(longest, youngest->share, &youngest->ready.key);
	release(longest, youngest);
	return true;
}

/* Without a share to mark, all of the lane has to be read again. */
static void
refuse(Lane *lane, FlowShare *share, const FlowStepKey *from)
{
	if (share == NULL)
		lane->lost = true;
	else
		FlowShareRefuse(&lane->shares, share, from);
}

/* Gives back an entry that is not in the heap any more. */
static void
release(Lane *lane, Entry *entry)
{
	dlist_delete(&entry->by_age);
	FlowShareRemove(&lane->shares, entry->share);
	lane->entries--;
	queue->free[queue->n_free++] = (int) (entry - queue->pool);
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

	if (x->ready.priority != y->ready.priority)
		return x->ready.priority > y->ready.priority ? 1 : -1;
	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? 1 : -1;
	return FlowShareCompareKeys(&y->ready.key, &x->ready.key);
}

static void
clear_lane(Lane *lane)
{
	dlist_mutable_iter iter;

	lane->root = NULL;
	dlist_foreach_modify(iter, &lane->by_age)
		release(lane, dlist_container(Entry, by_age, iter.cur));
	dlist_foreach_modify(iter, &lane->shares.refused)
		FlowShareForgive(&lane->shares, dlist_container(FlowShare, by_lane, iter.cur));
	lane->lost = false;
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
	info->overflown = lane->shares.n_refused > 0 || lane->lost;
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
