/*-------------------------------------------------------------------------
 * lane.c
 *	  The entries of the ready queue, and where in its lane each one is.
 *
 * An entry is in one of three places: in the lane's heap; in a second heap of
 * steps that only one worker at a time may run, while another one does; or
 * aside, behind a gate (gate.c).  What is in the heaps is counted in "entries",
 * and is in the list by age as well.
 *
 * The heaps are the server's own; only their roots are kept in shared memory,
 * since the address of the comparison function is not the same in all
 * processes.  All functions but the first three externs want the lock held.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/proc.h"

#include "compat.h"
#include "shmem/lane.h"
#include "shmem/shmem.h"

#define LANE_LIMIT		(FLOW_QUEUE_POOL / 4 * 3)	/* entries of one lane */
#define WORKFLOW_LIMIT	(FLOW_QUEUE_POOL / 4)	/* entries of one workflow */

static FlowQueue *queue = NULL;

static bool make_room(const FlowLane *for_lane);
static void stamp(FlowLane *lane, FlowLaneEntry *entry);
static int *workflow_counter(Oid database, int32 workflow_id);
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
	int		   *counter = workflow_counter(lane->database, ready->workflow_id);
	int			held = lane->entries + lane->aside;
	FlowLaneEntry *entry;

	if (held >= LANE_LIMIT || *counter >= WORKFLOW_LIMIT)
		return NULL;
	if (queue->n_free == 0 && (held >= FLOW_LANE_RESERVE || !make_room(lane)))
		return NULL;
	entry = &queue->pool[queue->free[--queue->n_free]];
	entry->ready = *ready;
	entry->pushed_at = now;
	(*counter)++;
	return entry;
}

void
FlowLaneEnqueue(FlowLane *lane, FlowLaneEntry *entry)
{
	stamp(lane, entry);
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

/*
 * Every lane has a right to a few entries: the longest one gives up its youngest,
 * which the table still knows.
 */
static bool
make_room(const FlowLane *for_lane)
{
	FlowLane   *longest = NULL;

	for (int i = 0; i < queue->n_lanes; i++)
	{
		FlowLane   *lane = &queue->lanes[i];
		int			held = lane->entries + lane->aside;

		if (lane != for_lane && held > FLOW_LANE_RESERVE &&
			(longest == NULL || held > longest->entries + longest->aside))
			longest = lane;
	}
	if (longest == NULL)
		return false;
	longest->overflown = true;
	if (longest->aside > longest->entries)
		FlowLaneDropAside(longest);
	else
	{
		FlowLaneEntry *youngest = dlist_container(FlowLaneEntry, by_age,
												  dlist_tail_node(&longest->by_age));

		FlowLaneRemoveFromHeap(longest, youngest);
		FlowLaneRelease(longest, youngest);
	}
	return true;
}

void
FlowLaneDropAside(FlowLane *lane)
{
	dlist_node *node = NULL;

	for (int i = 0; i < lane->gates.used && node == NULL; i++)
		node = FlowGateRemove(&lane->gates.gates[i]);
	lane->aside--;
	FlowLaneFreeEntry(lane, dlist_container(FlowLaneEntry, by_age, node));
}

/* Gives the entry its place among those of other workflows. */
static void
stamp(FlowLane *lane, FlowLaneEntry *entry)
{
	uint32		hash = murmurhash32((uint32) entry->ready.workflow_id);
	uint64	   *tag = &lane->tags[hash % FLOW_LANE_TAGS];

	*tag = Max(lane->virtual_time, *tag) + 1;
	entry->sequence = *tag;
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
	(*workflow_counter(lane->database, entry->ready.workflow_id))--;
	queue->free[queue->n_free++] = (int) (entry - queue->pool);
}

static int *
workflow_counter(Oid database, int32 workflow_id)
{
	uint32		hash = hash_combine(murmurhash32(database),
									murmurhash32((uint32) workflow_id));

	return &queue->workflow_entries[hash % FLOW_QUEUE_COUNTERS];
}

/* Greater is what runs first. */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const FlowLaneEntry *x = pairingheap_const_container(FlowLaneEntry, node, a);
	const FlowLaneEntry *y = pairingheap_const_container(FlowLaneEntry, node, b);
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

void
FlowLaneAddAside(FlowLane *lane, FlowGate *gate, FlowLaneEntry *entry)
{
	FlowGateAdd(gate, &entry->by_age);
	lane->aside++;
}
