/*-------------------------------------------------------------------------
 * queue.c
 *	  The ready queue and the workers that wait at it.
 *
 * One pool of entries serves all databases and roles.  Each lane is a heap of
 * entries, best first: priority, then a fair place, then the key.  share.c
 * gives out the places, so that a workflow with 100 000 runs and one with a
 * single run take turns.  What finds no room is marked in its share, and
 * refill.c reads it from the tables.
 *
 * Beside the heap a lane has entries that cannot be taken now: steps that only
 * one worker at a time may run, while another does (a heap of their own, so
 * that they hide nothing behind them), and steps behind somebody's lock
 * (gate.c).  Every entry is in exactly one of the three.
 *
 * All of it is protected by FlowShmemLock(), which the externs take.  Under
 * it nothing allocates, fails or waits, so they can be called in a commit
 * callback.
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
#include "shmem/gate.h"
#include "shmem/lane.h"
#include "shmem/queue.h"
#include "shmem/share.h"
#include "shmem/shmem.h"

/* Entries that one FlowQueuePop passes over, to bound its work */
#define MAX_PASSED		1000

/* Short names, here */
typedef FlowLaneEntry Entry;
typedef FlowLane Lane;
typedef FlowLaneWorker Worker;
typedef FlowQueue Queue;

static Queue *queue = NULL;

/* This process in queue->workers, or -1 */
static int	my_worker = -1;

static int	find_lane(Oid database, Oid role);
static bool lane_is_reusable(const Lane *lane);
static bool pass_over(Lane *lane, Entry *entry, bool turn);
static bool push(Lane *lane, const FlowReady *ready, TimestampTz now);
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
	FlowLaneInit(queue);
	if (found)
		return;

	memset(queue, 0, sizeof(Queue));
	for (int i = 0; i < FLOW_QUEUE_WORKERS; i++)
		queue->workers[i].lane = -1;
	for (int i = 0; i < FLOW_QUEUE_POOL; i++)
		queue->free[i] = i;
	queue->n_free = FLOW_QUEUE_POOL;
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
	Lane	   *pinned = FlowLaneLock(lane);

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
	Lane	   *to = FlowLaneLock(lane);
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
			 const FlowTakePolicy *policy, void *arg)
{
	Lane	   *from = FlowLaneLock(lane);
	FlowTake	take = FLOW_TAKE;
	Entry	   *first;
	bool		turn;
	int			passed = 0;
	int			taken = 0;

	if (from == NULL)
		return 0;
	while (taken < max && take == FLOW_TAKE && passed < MAX_PASSED &&
		   (first = FlowLaneBest(from)) != NULL)
	{
		turn = policy->takes_turns(&first->ready, arg);
		if (pass_over(from, first, turn))
		{
			passed++;
			continue;
		}
		take = policy->choose(&first->ready, taken, arg);
		if (take == FLOW_LEAVE)
			break;
		if (turn)
			from->turn = FlowMyProcNumber();
		FlowLaneRemoveFromHeap(from, first);
		entries[taken++] = first->ready;
		FlowShareNoteTaken(first->share, first->sequence);
		FlowLaneRelease(from, first);
	}
	LWLockRelease(FlowShmemLock());
	return taken;
}

/* Puts the entry where it hides nothing if it cannot be taken now. */
static bool
pass_over(Lane *lane, Entry *entry, bool turn)
{
	FlowGate   *gate = FlowGateFind(&lane->gates, entry->ready.definition_id,
									entry->ready.key.step_no);

	if (gate != NULL && FlowGateIsClosed(gate))
	{
		FlowLaneRemoveFromHeap(lane, entry);
		dlist_delete(&entry->by_age);
		lane->entries--;
		FlowLaneAddAside(lane, gate, entry, false);
		return true;
	}
	if (!turn || FlowLaneMayTakeTurn(lane))
		return false;
	FlowLaneRemoveFromHeap(lane, entry);
	FlowLaneAddToHeap(lane, entry, true);
	return true;
}

bool
FlowQueueTakeTurn(int lane)
{
	Lane	   *at = FlowLaneLock(lane);
	bool		mine;

	if (at == NULL)
		return false;
	mine = FlowLaneMayTakeTurn(at);
	if (mine)
		at->turn = FlowMyProcNumber();
	LWLockRelease(FlowShmemLock());
	return mine;
}

void
FlowQueueEndTurn(int lane)
{
	Lane	   *at = FlowLaneLock(lane);
	int			waiting;

	if (at == NULL)
		return;
	if (at->turn == FlowMyProcNumber())
		at->turn = -1;
	waiting = at->turn_entries;
	LWLockRelease(FlowShmemLock());
	if (waiting > 0)
		(void) FlowQueueWake(lane, 1);
}

/* Reads without the lock, as the next does: a worker asks after each batch. */
int
FlowQueueLength(int lane)
{
	return lane < 0 ? 0 : ((volatile Queue *) queue)->lanes[lane].entries;
}

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
	Lane	   *asked = FlowLaneLock(lane);
	FlowShare  *share;
	int			room = 0;

	if (asked == NULL)
		return 0;
	share = FlowLaneShare(asked, example);
	if (share != NULL)
	{
		room = FlowLaneRoom(asked, share);
		FlowShareDrop(share);
	}
	LWLockRelease(FlowShmemLock());
	return room;
}

void
FlowQueueRefuse(int lane, const FlowReady *first)
{
	Lane	   *marked = FlowLaneLock(lane);

	if (marked == NULL)
		return;
	FlowLaneRefuse(marked, FlowLaneShare(marked, first), &first->key);
	LWLockRelease(FlowShmemLock());
}

void
FlowQueueMarkLost(int lane)
{
	Lane	   *marked = FlowLaneLock(lane);

	if (marked == NULL)
		return;
	marked->lost = true;
	LWLockRelease(FlowShmemLock());
}

bool
FlowQueueTakeLost(int lane)
{
	Lane	   *marked = FlowLaneLock(lane);
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
	Lane	   *from = FlowLaneLock(lane);
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

#ifdef USE_ASSERT_CHECKING
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	FlowLaneCheck();
	LWLockRelease(FlowShmemLock());
#endif
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
	Lane	   *at = FlowLaneLock(lane);
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
	Lane	   *at = FlowLaneLock(lane);

	if (at == NULL)
		return;
	for (int i = 0; i < FLOW_QUEUE_WORKERS && my_worker < 0; i++)
		if (queue->workers[i].lane < 0)
			my_worker = i;

	/* without a place it works all the same, but nobody can wake it */
	if (my_worker >= 0)
	{
		queue->workers[my_worker].lane = lane;
		queue->workers[my_worker].procno = FlowMyProcNumber();
		queue->workers[my_worker].sleeping = false;
		queue->workers[my_worker].waiting_since = 0;
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
	Lane	   *at = FlowLaneLock(lane);

	if (at == NULL)
		return;
	note_awake(at);
	if (at->turn == FlowMyProcNumber())
		at->turn = -1;
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
	Lane	   *at = FlowLaneLock(lane);
	bool		is_empty;

	if (at == NULL)
		return true;
	is_empty = FlowLaneTakeable(at, GetCurrentTimestamp()) == 0;
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
	Lane	   *at = FlowLaneLock(lane);

	if (at == NULL)
		return;
	note_awake(at);
	LWLockRelease(FlowShmemLock());
}

int
FlowQueueWake(int lane, int n)
{
	int			procnos[FLOW_QUEUE_WORKERS];
	int			taken;

	if (FlowLaneLock(lane) == NULL)
		return 0;
	taken = take_sleepers(lane, n, procnos);
	LWLockRelease(FlowShmemLock());

	/* if one has gone by now, its successor wakes in vain, which is harmless */
	for (int i = 0; i < taken; i++)
		SetLatch(&GetPGProcByNumber(procnos[i])->procLatch);
	return taken;
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
	lane->turn = -1;
	dlist_init(&lane->by_age);
	dlist_init(&lane->shares.refused);
	return reusable;
}

/* A lane of which steps were refused stands for work that is only in the table. */
static bool
lane_is_reusable(const Lane *lane)
{
	return lane->pins == 0 && lane->entries == 0 && lane->aside == 0 &&
		lane->workers == 0 && lane->starting == 0 &&
		lane->shares.n_refused == 0 && !lane->lost;
}

/* False if there is no room. */
static bool
push(Lane *lane, const FlowReady *ready, TimestampTz now)
{
	Entry	   *entry = FlowLaneMakeEntry(lane, ready, now);

	if (entry != NULL)
		FlowLaneEnqueue(lane, entry);
	return entry != NULL;
}

static void
clear_lane(Lane *lane)
{
	dlist_mutable_iter iter;

	lane->root = lane->turn_root = NULL;
	lane->turn_entries = 0;
	dlist_foreach_modify(iter, &lane->by_age)
		FlowLaneRelease(lane, dlist_container(Entry, by_age, iter.cur));
	while (lane->aside > 0)
		FlowLaneDropAside(lane);
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
	info->takeable = FlowLaneTakeable(lane, GetCurrentTimestamp());
	info->aside = lane->aside;
	info->next_try = FlowGateNext(&lane->gates);
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

	for (int i = 0; i < FLOW_QUEUE_WORKERS && taken < n && lane->idle > 0; i++)
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
