/*-------------------------------------------------------------------------
 * refill.c
 *	  Fills the ready queue from the tables: after a start, on overflow, in
 *	  the rare sweep.
 *
 * The queue is bounded, so starting many runs at once overflows it; reading
 * the rest from flow_internal.task as the lane drains is then the normal
 * path.  Ready tasks are read group by group (owner and workflow), a chunk of
 * each in turn, so that a long queue of one workflow does not hide another.
 *
 * The place where a group's reading stopped is kept, and moves forward only
 * until the group's end, where it wraps: else each refill would begin with
 * the dead index entries of what has been done since.  A lane counts as
 * complete once each of its groups has been read once around in one go.
 *
 * Nothing is locked and nothing is written.  A step pushed twice is noticed
 * by the worker that claims it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/cat_sweep.h"
#include "shmem/queue.h"
#include "shmem/testpoint.h"
#include "worker/refill.h"
#include "worker/scheduler.h"

#define REFILL_CHUNK		256 /* tasks of one group at a time */
#define REFILL_GROUPS		1024	/* groups looked at in one go */
#define REFILL_RETRY		100 /* ms, when there was no room */

/* Where the reading of a group has stopped; kept over runs */
typedef struct RefillPlace
{
	FlowReadyGroup group;		/* hash key */
	FlowReadyPosition position;
} RefillPlace;

/* The reading of one group in this run */
typedef struct RefillGroup
{
	RefillPlace *place;			/* NULL: a sweep, which keeps no place */
	FlowReadyGroup group;
	FlowReadyPosition position; /* the last one read */
	FlowReadyPosition stop;		/* once wrapped, read up to here */
	TimestampTz before;			/* only what became ready before */
	bool		wrapped;
	bool		full;			/* the queue takes no more of it */
	bool		done;
} RefillGroup;

typedef struct Refill
{
	FlowRefillMode mode;
	int			n_lanes;
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	bool		overflown[FLOW_MAX_LANES];	/* to be filled again */
	int			n_groups;
	RefillGroup groups[REFILL_GROUPS];
} Refill;

static const FlowReadyPosition first_position = {INT_MAX, {0, -1, -1}};

static HTAB *places = NULL;

static void choose_lanes(Refill *refill);
static void refill_body(int64 home, void *arg);
static void find_groups(Refill *refill, int64 home);
static void add_group(Refill *refill, FlowReadyGroup group);
static const FlowLaneInfo *find_lane(const Refill *refill, Oid role,
									 bool *overflown);
static bool read_around(Refill *refill, int64 home);
static void read_chunk(RefillGroup *group, int64 home);
static int	push(const RefillGroup *group, const FlowReady *ready, int n);
static void mark_unfinished(const RefillGroup *group);
static void end_reached(RefillGroup *group);
static int	compare_positions(const FlowReadyPosition *a,
							  const FlowReadyPosition *b);

void
FlowRefillReset(void)
{
	HASHCTL		control = {
		.keysize = sizeof(FlowReadyGroup),
		.entrysize = sizeof(RefillPlace),
		.hcxt = TopMemoryContext
	};

	if (places != NULL)
		hash_destroy(places);
	places = hash_create("flow refill places", 64, &control,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
FlowRefillRun(FlowRefillMode mode)
{
	Refill	   *refill = palloc(sizeof(Refill));

	refill->mode = mode;
	refill->n_groups = 0;
	choose_lanes(refill);
	if (!FlowSchedulerTransact("fill the ready queue", refill_body, refill))
		FlowQueueMarkOverflown(MyDatabaseId);
	pfree(refill);
}

TimestampTz
FlowRefillNext(void)
{
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	int			n = FlowQueueLanes(MyDatabaseId, lanes, FLOW_MAX_LANES);

	for (int i = 0; i < n; i++)
		if (lanes[i].overflown && lanes[i].entries < FLOW_REFILL_LOW_WATER)
			return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											   REFILL_RETRY);
	return DT_NOEND;
}

/*
 * The marks are taken before anything is read, so that a push that finds no
 * room while we read marks its lane again.
 */
static void
choose_lanes(Refill *refill)
{
	refill->n_lanes = FlowQueueLanes(MyDatabaseId, refill->lanes,
									 FLOW_MAX_LANES);
	for (int i = 0; i < refill->n_lanes; i++)
		refill->overflown[i] = refill->lanes[i].overflown &&
			refill->lanes[i].entries < FLOW_REFILL_LOW_WATER &&
			FlowQueueTakeOverflown(refill->lanes[i].lane);
}

static void
refill_body(int64 home, void *arg)
{
	Refill	   *refill = arg;

	FLOW_TEST_POINT("refill-read");
	find_groups(refill, home);
	while (read_around(refill, home))
		;
	for (int i = 0; i < refill->n_groups; i++)
	{
		RefillGroup *group = &refill->groups[i];

		if (group->place != NULL)
			group->place->position = group->position;
		if (!group->done)
			mark_unfinished(group);
	}
}

/* If there are more groups than fit, the rest comes with the next refill. */
static void
find_groups(Refill *refill, int64 home)
{
	FlowReadyGroup *found = palloc(REFILL_GROUPS * sizeof(FlowReadyGroup));
	FlowReadyGroup none = {InvalidOid, 0};
	int			n;

	n = FlowSweepReadGroups(home, none, found, REFILL_GROUPS);
	for (int i = 0; i < n; i++)
		add_group(refill, found[i]);
	if (n == REFILL_GROUPS)
		FlowQueueMarkOverflown(MyDatabaseId);
}

/*
 * Decides whether and how a group is read.  In a lane with entries of which
 * none has been taken, what became ready since they wait is queued already;
 * only what is older can have been lost.
 */
static void
add_group(Refill *refill, FlowReadyGroup group)
{
	RefillGroup *added = &refill->groups[refill->n_groups];
	bool		overflown = false;
	const FlowLaneInfo *lane = find_lane(refill, group.owner, &overflown);
	bool		waiting = lane != NULL && lane->entries + lane->aside > 0;
	bool		known = false;

	if (!overflown &&
		(refill->mode == FLOW_REFILL_OVERFLOWN ||
		 (lane != NULL && lane->overflown) ||
		 (waiting && refill->mode == FLOW_REFILL_SWEEP_EMPTY)))
		return;

	memset(added, 0, sizeof(RefillGroup));
	added->group = group;
	added->position = first_position;
	added->before = DT_NOEND;
	if (overflown)
		added->place = hash_search(places, &group, HASH_ENTER, &known);
	else if (waiting && lane->workers == 0)
		added->before = lane->oldest;
	if (known)
		added->position = added->place->position;
	added->stop = added->position;
	refill->n_groups++;
}

static const FlowLaneInfo *
find_lane(const Refill *refill, Oid role, bool *overflown)
{
	for (int i = 0; i < refill->n_lanes; i++)
		if (refill->lanes[i].role == role)
		{
			*overflown = refill->overflown[i];
			return &refill->lanes[i];
		}
	return NULL;
}

/*
 * One chunk of each group; returns false when there is no more to do.  However full
 * the queue is, each lane may have some room left of its own.
 */
static bool
read_around(Refill *refill, int64 home)
{
	bool		more = false;

	for (int i = 0; i < refill->n_groups; i++)
	{
		RefillGroup *group = &refill->groups[i];

		if (group->done || group->full)
			continue;
		read_chunk(group, home);
		more |= !group->done && !group->full;
	}
	return more;
}

/* All of a chunk is one workflow's, so what is refused is the end of it. */
static void
read_chunk(RefillGroup *group, int64 home)
{
	FlowReady	ready[REFILL_CHUNK];
	int			n;
	int			pushed;

	n = FlowSweepReadReady(home, group->group, &group->position,
						   group->before, ready, REFILL_CHUNK);
	pushed = push(group, ready, n);
	if (pushed > 0)
	{
		group->position.priority = ready[pushed - 1].priority;
		group->position.key = ready[pushed - 1].key;
	}
	group->full = pushed < n;
	if (group->full)
		return;
	if (n < REFILL_CHUNK)
		end_reached(group);
	else if (group->wrapped &&
			 compare_positions(&group->position, &group->stop) >= 0)
		group->done = true;
}

static int
push(const RefillGroup *group, const FlowReady *ready, int n)
{
	int			lane;
	int			pushed;

	if (n == 0)
		return 0;
	lane = FlowQueuePinLane(MyDatabaseId, group->group.owner);
	if (lane < 0)
		return 0;
	pushed = FlowQueuePush(lane, ready, n);
	(void) FlowQueueWake(lane, pushed);
	FlowQueueUnpinLane(lane);
	return pushed;
}

static void
mark_unfinished(const RefillGroup *group)
{
	int			lane = FlowQueuePinLane(MyDatabaseId, group->group.owner);

	if (lane < 0)
		return;
	FlowQueueMarkLaneOverflown(lane);
	FlowQueueUnpinLane(lane);
}

/* What began in the middle goes on from the beginning, once. */
static void
end_reached(RefillGroup *group)
{
	group->done = group->wrapped || group->place == NULL ||
		compare_positions(&group->stop, &first_position) == 0;
	group->wrapped = true;
	group->position = first_position;
}

/* In the order in which they are read.  Pure. */
static int
compare_positions(const FlowReadyPosition *a, const FlowReadyPosition *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if (a->key.run_id != b->key.run_id)
		return a->key.run_id < b->key.run_id ? -1 : 1;
	if (a->key.step_no != b->key.step_no)
		return a->key.step_no < b->key.step_no ? -1 : 1;
	if (a->key.item_no != b->key.item_no)
		return a->key.item_no < b->key.item_no ? -1 : 1;
	return 0;
}
