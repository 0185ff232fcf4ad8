/*-------------------------------------------------------------------------
 * lane.c
 *	  The entries of the ready queue, and where in its lane each one is.
 *
 * An entry is in one of three places: in the lane's heap; in a second heap of
 * steps that only one worker at a time may run, while another one does; or
 * aside, behind a gate (gate.c).  What is in the heaps is counted in "entries",
 * and is in the list by age as well.  Wherever it is, it is counted in the share
 * of its workflow (share.c).
 *
 * A workflow that has few entries always gets some more: when its lane or the
 * pool is full, one that has many gives one up.
 *
 * The heaps are the server's own; only their roots are kept in shared memory,
 * since the address of the comparison function is not the same in all
 * processes.  All functions but the first three externs want the lock held.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/proc.h"

#include "compat.h"
#include "shmem/lane.h"
#include "shmem/shmem.h"

#define LANE_LIMIT		(FLOW_QUEUE_POOL / 4 * 3)	/* entries of one lane */
#define SHARE_LIMIT		(FLOW_QUEUE_POOL / 4)	/* entries of one workflow */

/*
 * The same, for what lies past the mark of a share: the room above is for
 * steps before it, so that they do not take the mark back to themselves.
 */
#define SHARE_FILL_LIMIT	FLOW_SHARE_FILL_LIMIT

/* Entries looked at to find one that can be given up */
#define MAX_EVICT_STEPS	64

static FlowQueue *queue = NULL;

static bool has_room(FlowLane *lane, const FlowShare *share);
static FlowLane *find_longest(void);
static bool evict(FlowLane *lane, bool any);
static int	compare(const pairingheap_node *a, const pairingheap_node *b,
					void *arg);

void
FlowLaneInit(FlowQueue *shared)
{
	queue = shared;
}

FlowLane *
FlowLaneLock(int number)
{
	if (!FlowShmemIsAvailable() || number < 0)
		return NULL;
	Assert(number < FLOW_MAX_LANES);
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	return &queue->lanes[number];
}

FlowLane *
FlowLanePeek(int number)
{
	if (!FlowShmemIsAvailable() || number < 0)
		return NULL;
	return &queue->lanes[number];
}

FlowLaneWorker *
FlowLaneWorkers(void)
{
	return queue->workers;
}

FlowLaneEntry *
FlowLaneBest(FlowLane *lane)
{
	pairingheap_node *best = lane->root;

	if (lane->turn_root != NULL && FlowLaneMayTakeTurn(lane) &&
		(best == NULL || compare(lane->turn_root, best, NULL) > 0))
		best = lane->turn_root;
	return best == NULL ? NULL : pairingheap_container(FlowLaneEntry, node, best);
}

bool
FlowLaneMayTakeTurn(const FlowLane *lane)
{
	return lane->turn < 0 || lane->turn == FlowMyProcNumber();
}

FlowLaneEntry *
FlowLaneMakeEntry(FlowLane *lane, const FlowReady *ready, TimestampTz now)
{
	FlowShare  *share = FlowLaneShare(lane, ready);
	FlowLaneEntry *entry;
	int			limit;

	if (share == NULL)
	{
		lane->lost = true;
		return NULL;
	}
	limit = FlowShareIsPastMark(share, &ready->key) ? SHARE_FILL_LIMIT : SHARE_LIMIT;
	if (share->entries >= limit || !has_room(lane, share))
	{
		FlowLaneRefuse(lane, share, &ready->key);
		return NULL;
	}
	entry = &queue->pool[queue->free[--queue->n_free]];
	entry->ready = *ready;
	entry->pushed_at = now;
	entry->share = share;
	FlowShareAdd(&lane->shares, share);
	return entry;
}

FlowShare *
FlowLaneShare(const FlowLane *lane, const FlowReady *ready)
{
	return FlowShareGet((int) (lane - queue->lanes), ready->workflow_id,
						ready->priority);
}

/* An estimate: what has to give up an entry for it may find none. */
int
FlowLaneRoom(const FlowLane *lane, const FlowShare *share)
{
	int			limit = Min(SHARE_FILL_LIMIT, LANE_LIMIT / Max(lane->shares.n_active, 1));
	int			room = Min(LANE_LIMIT - lane->entries - lane->aside, queue->n_free);

	room = Max(room, FLOW_LANE_RESERVE - share->entries);
	return Max(Min(room, Max(limit, 1) - share->entries), 0);
}

/* Without a share to mark, all of the lane has to be read again. */
void
FlowLaneRefuse(FlowLane *lane, FlowShare *share, const FlowStepKey *from)
{
	if (share == NULL)
		lane->lost = true;
	else
		FlowShareRefuse(&lane->shares, share, from);
}

/*
 * Every lane, and every share in its lane, has a right to a few entries; for
 * these the longest lane, or the lane itself, gives one up.
 */
static bool
has_room(FlowLane *lane, const FlowShare *share)
{
	bool		is_small = share->entries < FLOW_LANE_RESERVE;
	int			held = lane->entries + lane->aside;
	FlowLane   *longest;

	if (held >= LANE_LIMIT)
		return is_small && evict(lane, false);
	if (queue->n_free > 0)
		return true;
	if (!is_small && held >= FLOW_LANE_RESERVE)
		return false;
	longest = find_longest();
	return evict(longest, longest != lane);
}

static FlowLane *
find_longest(void)
{
	FlowLane   *longest = &queue->lanes[0];

	for (int i = 1; i < queue->n_lanes; i++)
	{
		FlowLane   *lane = &queue->lanes[i];

		if (lane->entries + lane->aside > longest->entries + longest->aside)
			longest = lane;
	}
	return longest;
}

/*
 * The lane gives up an entry that is aside, if most of its entries are; else
 * the youngest of a share that has many; failing that, and if any will do, its
 * youngest.  The table still knows it.
 */
static bool
evict(FlowLane *lane, bool any)
{
	FlowLaneEntry *chosen = NULL;
	dlist_iter	iter;
	int			steps = 0;

	if (lane->aside > lane->entries)
	{
		FlowLaneDropAside(lane);
		return true;
	}
	dlist_reverse_foreach(iter, &lane->by_age)
	{
		FlowLaneEntry *entry = dlist_container(FlowLaneEntry, by_age, iter.cur);
		bool		has_many = entry->share->entries > FLOW_LANE_RESERVE;

		if (has_many || (any && chosen == NULL))
			chosen = entry;
		if (has_many || ++steps == MAX_EVICT_STEPS)
			break;
	}
	if (chosen == NULL)
		return false;
	FlowLaneRefuse(lane, chosen->share, &chosen->ready.key);
	FlowLaneRemoveFromHeap(lane, chosen);
	FlowLaneRelease(lane, chosen);
	return true;
}

void
FlowLaneEnqueue(FlowLane *lane, FlowLaneEntry *entry)
{
	entry->sequence = FlowSharePlace(entry->share);
	FlowLaneAddToHeap(lane, entry, false);
	dlist_push_tail(&lane->by_age, &entry->by_age);
	lane->entries++;
}

void
FlowLaneAddToHeap(FlowLane *lane, FlowLaneEntry *entry, bool in_turn)
{
	pairingheap_node **root = in_turn ? &lane->turn_root : &lane->root;
	pairingheap heap = {compare, NULL, *root};

	entry->in_turn = in_turn;
	if (in_turn)
		lane->turn_entries++;
	pairingheap_add(&heap, &entry->node);
	*root = heap.ph_root;
}

void
FlowLaneRemoveFromHeap(FlowLane *lane, FlowLaneEntry *entry)
{
	pairingheap_node **root = entry->in_turn ? &lane->turn_root : &lane->root;
	pairingheap heap = {compare, NULL, *root};

	if (entry->in_turn)
		lane->turn_entries--;
	pairingheap_remove(&heap, &entry->node);
	*root = heap.ph_root;
}

/* It is in the table only, from now on. */
void
FlowLaneDropAside(FlowLane *lane)
{
	dlist_node *node = NULL;
	FlowLaneEntry *dropped;

	for (int i = 0; i < lane->gates.used && node == NULL; i++)
		node = FlowGateRemove(&lane->gates.gates[i]);
	dropped = dlist_container(FlowLaneEntry, by_age, node);
	FlowLaneNoteNotAside(lane, dropped);
	FlowLaneRefuse(lane, dropped->share, &dropped->ready.key);
	FlowLaneFreeEntry(lane, dropped);
}

void
FlowLaneRelease(FlowLane *lane, FlowLaneEntry *entry)
{
	dlist_delete(&entry->by_age);
	lane->entries--;
	FlowLaneFreeEntry(lane, entry);
}

void
FlowLaneFreeEntry(FlowLane *lane, FlowLaneEntry *entry)
{
	FlowShareRemove(&lane->shares, entry->share);
	queue->free[queue->n_free++] = (int) (entry - queue->pool);
}

/* Greater is what runs first. */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const FlowLaneEntry *x = pairingheap_const_container(FlowLaneEntry, node, a);
	const FlowLaneEntry *y = pairingheap_const_container(FlowLaneEntry, node, b);

	if (x->ready.priority != y->ready.priority)
		return x->ready.priority > y->ready.priority ? 1 : -1;
	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? 1 : -1;
	return FlowShareCompareKeys(&y->ready.key, &x->ready.key);
}

int
FlowLaneTakeable(const FlowLane *lane, TimestampTz now)
{
	const volatile FlowLane *at = lane;
	int			n = at->entries;

	if (at->turn >= 0)
		n -= at->turn_entries;
	if (FlowGateNext(&lane->gates) <= now)
		n++;
	return n;
}

#ifdef USE_ASSERT_CHECKING

static int	lane_number;		/* being checked */

static void
forget_count(const FlowLaneEntry *entry)
{
	entry->share->counted = entry->share->counted_aside = 0;
}

static void
count(const FlowLaneEntry *entry)
{
	Assert(entry->share->key.lane == lane_number);
	Assert(entry->share->key.workflow_id == entry->ready.workflow_id);
	Assert(entry->share->key.priority == entry->ready.priority);
	entry->share->counted++;
}

static void
count_aside(const FlowLaneEntry *entry)
{
	entry->share->counted_aside++;
}

static void
compare_count(const FlowLaneEntry *entry)
{
	Assert(entry->share->counted == entry->share->entries);
	Assert(entry->share->counted_aside == entry->share->aside);
}

static int
visit(const dlist_head *entries, void (*each) (const FlowLaneEntry *))
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, unconstify(dlist_head *, entries))
	{
		each(dlist_container(FlowLaneEntry, by_age, iter.cur));
		n++;
	}
	return n;
}

static int
visit_aside(const FlowGate *gate, void (*each) (const FlowLaneEntry *))
{
	return visit(&gate->untried, each) + visit(&gate->met, each);
}

/* Wherever they are.  Returns how many of them are in the heaps. */
static int
visit_all(const FlowLane *lane, void (*each) (const FlowLaneEntry *))
{
	int			aside = 0;

	for (int i = 0; i < lane->gates.used; i++)
		aside += visit_aside(&lane->gates.gates[i], each);
	Assert(aside == lane->aside);
	return visit(&lane->by_age, each);
}

void
FlowLaneCheck(void)
{
	int			n_free = FLOW_QUEUE_POOL;

	for (lane_number = 0; lane_number < queue->n_lanes; lane_number++)
	{
		FlowLane   *lane = &queue->lanes[lane_number];
		int			n = visit_all(lane, forget_count);

		(void) visit_all(lane, count);
		for (int i = 0; i < lane->gates.used; i++)
			(void) visit_aside(&lane->gates.gates[i], count_aside);
		(void) visit_all(lane, compare_count);
		Assert(n == lane->entries);
		Assert((lane->turn_root == NULL) == (lane->turn_entries == 0));
		Assert((lane->root == NULL) == (lane->turn_entries == lane->entries));
		n_free -= lane->entries + lane->aside;
	}
	Assert(n_free == queue->n_free);
}

#endif							/* USE_ASSERT_CHECKING */

void
FlowLaneAddAside(FlowLane *lane, FlowGate *gate, FlowLaneEntry *entry, bool met)
{
	FlowGateAdd(gate, &entry->by_age, met);
	lane->aside++;
	FlowShareNoteAside(&lane->shares, entry->share, 1);
}

void
FlowLaneNoteNotAside(FlowLane *lane, FlowLaneEntry *entry)
{
	lane->aside--;
	FlowShareNoteAside(&lane->shares, entry->share, -1);
}
