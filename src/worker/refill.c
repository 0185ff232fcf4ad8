/*-------------------------------------------------------------------------
 * refill.c
 *	  Fills the ready queue from the tables: after a start, on overflow, in
 *	  the rare sweep.
 *
 * The queue is bounded, so starting many runs at once overflows it; reading
 * the rest from flow_internal.task as the queue drains is then the normal
 * path.  For each workflow and priority the queue knows from which step on
 * it has refused some, and they are read from there, a chunk of each in
 * turn, so that a long queue of one workflow does not hide another.  What
 * lies before is not looked at: there are the dead index entries of all that
 * has been done, which a snapshot held somewhere keeps for long.
 *
 * A sweep looks for what nobody has marked: it finds the groups in the table
 * and reads each from its beginning.
 *
 * Nothing is locked and nothing is written.  A step pushed twice is noticed
 * by the worker that claims it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "catalog/cat_sweep.h"
#include "shmem/queue.h"
#include "shmem/testpoint.h"
#include "worker/refill.h"
#include "worker/scheduler.h"

#define REFILL_CHUNK		256 /* tasks of one group at a time */
#define REFILL_GROUPS		1024	/* groups read together */
#define REFILL_RETRY		100 /* ms, when there was no room */
#define REFILL_LANE_RETRY	1000	/* ms, when there was no lane */

/* The reading of one group */
typedef struct RefillGroup
{
	FlowReadyGroup group;
	FlowStepKey from;			/* not yet read */
	TimestampTz before;			/* only what became ready before */
	bool		done;			/* read to its end, or the queue is full */
} RefillGroup;

typedef struct Refill
{
	FlowRefillMode mode;
	int			n_lanes;
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	bool		lost[FLOW_MAX_LANES];	/* to be swept in any mode */
	bool		sweeps;			/* some lane is */
	int			n_refused;		/* marks that were taken */
	FlowReady	refused[REFILL_GROUPS];
	int			refused_in[REFILL_GROUPS];	/* their lanes */
	int			n_groups;
	RefillGroup groups[REFILL_GROUPS];
} Refill;

/* Somebody's steps had no lane, or are lost: look for them again */
static bool lane_missing = false;

static void choose_lanes(Refill *refill);
static void mark_again(const Refill *refill);
static void refill_body(int64 home, void *arg);
static void add_refused(Refill *refill);
static bool is_swept(const Refill *refill, int found, TimestampTz *before);
static void sweep(Refill *refill, int64 home);
static void add_group(Refill *refill, FlowReadyGroup group, FlowStepKey from,
					  TimestampTz before);
static int	find_lane(const Refill *refill, Oid role);
static void read_around(Refill *refill, int64 home);
static void read_chunk(RefillGroup *group, int64 home);
static void fill(RefillGroup *group, int lane, int64 home);

void
FlowRefillRun(FlowRefillMode mode)
{
	Refill	   *refill = palloc(sizeof(Refill));

	refill->mode = mode;
	if (lane_missing && mode == FLOW_REFILL_OVERFLOWN)
		refill->mode = FLOW_REFILL_SWEEP_EMPTY;
	lane_missing = false;
	choose_lanes(refill);
	if (!FlowSchedulerTransact("fill the ready queue", refill_body, refill))
		mark_again(refill);
	pfree(refill);
}

TimestampTz
FlowRefillNext(void)
{
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	TimestampTz now = GetCurrentTimestamp();
	int			n = FlowQueueLanes(MyDatabaseId, lanes, FLOW_MAX_LANES);

	for (int i = 0; i < n; i++)
		if (FlowQueueIsHungry(lanes[i].lane))
			return TimestampTzPlusMilliseconds(now, REFILL_RETRY);
	if (lane_missing)
		return TimestampTzPlusMilliseconds(now, REFILL_LANE_RETRY);
	return DT_NOEND;
}

/*
 * The marks are taken before anything is read, so that a push that finds no
 * room while we read marks its lane again.
 */
static void
choose_lanes(Refill *refill)
{
	refill->n_refused = 0;
	refill->sweeps = refill->mode != FLOW_REFILL_OVERFLOWN;
	refill->n_lanes = FlowQueueLanes(MyDatabaseId, refill->lanes,
									 FLOW_MAX_LANES);
	for (int i = 0; i < refill->n_lanes; i++)
	{
		int			lane = refill->lanes[i].lane;
		int			n = FlowQueueTakeRefused(lane, refill->refused + refill->n_refused,
											 REFILL_GROUPS - refill->n_refused);

		for (int j = 0; j < n; j++)
			refill->refused_in[refill->n_refused++] = i;
		refill->lost[i] = FlowQueueTakeLost(lane);
		refill->sweeps |= refill->lost[i];
	}
}

static void
mark_again(const Refill *refill)
{
	for (int i = 0; i < refill->n_refused; i++)
	{
		int			lane = FlowQueuePinLane(MyDatabaseId,
											refill->lanes[refill->refused_in[i]].role);

		FlowQueueRefuse(lane, &refill->refused[i]);
		FlowQueueUnpinLane(lane);
	}
	for (int i = 0; i < refill->n_lanes; i++)
		if (refill->lost[i])
			lane_missing = true;
}

static void
refill_body(int64 home, void *arg)
{
	Refill	   *refill = arg;

	FLOW_TEST_POINT("refill-read");
	add_refused(refill);
	read_around(refill, home);
	if (refill->sweeps)
		sweep(refill, home);
}

/* What will be swept from its beginning need not be read before. */
static void
add_refused(Refill *refill)
{
	refill->n_groups = 0;
	for (int i = 0; i < refill->n_refused; i++)
	{
		const FlowReady *first = &refill->refused[i];
		int			lane = refill->refused_in[i];
		FlowReadyGroup group = {
			refill->lanes[lane].role, first->workflow_id, first->priority
		};
		TimestampTz before;

		if (!is_swept(refill, lane, &before) || !TIMESTAMP_IS_NOEND(before))
			add_group(refill, group, first->key, DT_NOEND);
	}
}

/*
 * Decides whether and how the groups of a lane are swept.  In a lane with
 * entries of which none has been taken, what became ready since they wait is
 * queued already, or marked; only what is older can have been lost.
 */
static bool
is_swept(const Refill *refill, int found, TimestampTz *before)
{
	const FlowLaneInfo *lane = found < 0 ? NULL : &refill->lanes[found];
	bool		waiting = lane != NULL && lane->entries + lane->aside > 0;

	*before = DT_NOEND;
	if (lane != NULL && refill->lost[found])
		return true;
	if (waiting && lane->workers == 0)
		*before = lane->oldest;
	return refill->mode == FLOW_REFILL_SWEEP_ALL ||
		(refill->mode == FLOW_REFILL_SWEEP_EMPTY && !waiting);
}

static void
sweep(Refill *refill, int64 home)
{
	FlowReadyGroup *found = palloc(REFILL_GROUPS * sizeof(FlowReadyGroup));
	FlowReadyGroup after = {InvalidOid, 0, 0};
	FlowStepKey first = {0, -1, -1};
	int			n;

	do
	{
		n = FlowSweepReadGroups(home, after, found, REFILL_GROUPS);
		refill->n_groups = 0;
		for (int i = 0; i < n; i++)
		{
			TimestampTz before;

			if (is_swept(refill, find_lane(refill, found[i].owner), &before))
				add_group(refill, found[i], first, before);
		}
		read_around(refill, home);
		if (n > 0)
			after = found[n - 1];
	} while (n == REFILL_GROUPS);
}

static void
add_group(Refill *refill, FlowReadyGroup group, FlowStepKey from,
		  TimestampTz before)
{
	RefillGroup *added = &refill->groups[refill->n_groups++];

	added->group = group;
	added->from = from;
	added->before = before;
	added->done = false;
}

/* Its place in refill->lanes; -1 if it has none. */
static int
find_lane(const Refill *refill, Oid role)
{
	for (int i = 0; i < refill->n_lanes; i++)
		if (refill->lanes[i].role == role)
			return i;
	return -1;
}

/* A chunk of each group in turn, until nothing is left to do. */
static void
read_around(Refill *refill, int64 home)
{
	bool		more = true;

	while (more)
	{
		more = false;
		for (int i = 0; i < refill->n_groups; i++)
		{
			if (refill->groups[i].done)
				continue;
			read_chunk(&refill->groups[i], home);
			more |= !refill->groups[i].done;
		}
	}
}

static void
read_chunk(RefillGroup *group, int64 home)
{
	int			lane = FlowQueuePinLane(MyDatabaseId, group->group.owner);

	if (lane >= 0)
		fill(group, lane, home);
	else
		group->done = lane_missing = true;
	FlowQueueUnpinLane(lane);
}

/* What is refused has been marked; what was not read is marked here. */
static void
fill(RefillGroup *group, int lane, int64 home)
{
	FlowReady	ready[REFILL_CHUNK];
	FlowReady	rest = {
		.key = group->from,
		.workflow_id = group->group.workflow_id,
		.priority = group->group.priority
	};
	int			max = Min(FlowQueueRoom(lane, &rest), REFILL_CHUNK);
	int			n = 0;
	int			pushed = 0;

	if (max > 0)
	{
		n = FlowSweepReadReady(home, group->group, group->from, group->before,
							   ready, max);
		pushed = FlowQueuePush(lane, ready, n);
		(void) FlowQueueWake(lane, pushed);
		if (n > 0)
			group->from = ready[n - 1].key;
		group->from.item_no++;
		rest.key = group->from;
	}
	group->done = pushed < n || n < max || max == 0;
	if (pushed == n && n == max && max < REFILL_CHUNK)
	{
		FlowQueueRefuse(lane, &rest);
		group->done = true;
	}
}
