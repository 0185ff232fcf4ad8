/*-------------------------------------------------------------------------
 * take.c
 *	  A worker takes steps off its lane and runs them.
 *
 * Entries are taken before the transaction begins, so that now() in a step
 * is never before its dependencies ended.  How many share the batch is
 * decided by what is known of each step: one of which nothing is known, that
 * is slow, or that never shares a transaction, is taken alone; failures make batches small; a step that met
 * a conflict comes last in its batch, which commits at once after it.
 *
 * What cannot be done now is put aside by park.c.  When step after step can
 * neither be done nor be recorded as failed, such as on a full disk, this
 * worker rests in between.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "engine/batch.h"
#include "engine/park.h"
#include "engine/take.h"
#include "guc.h"
#include "shmem/aside.h"
#include "shmem/average.h"
#include "shmem/database.h"
#include "shmem/facts.h"
#include "shmem/queue.h"
#include "shmem/testpoint.h"

#define MAX_BAD			4		/* batches in vain, before this worker rests */
#define REST_MIN		100		/* ms; doubled */
#define REST_MAX		10000
#define REST_SLICE		500		/* ms, after which other reasons to end are
								 * looked at */

#define LONG_STEP		500000	/* us */

/* What the entries taken so far leave room for */
typedef struct Room
{
	double		usec;			/* of run time */
	int			steps;
	FlowAverage average;		/* of the entry that is looked at */
	bool		in_turn;		/* some are of the kind that takes turns */
} Room;

static int	n_bad = 0;			/* batches in which nothing could be recorded,
								 * and of new steps */
static TimestampTz rest_until = 0;

/*
 * Moving average of the steps that one entry has led to in its batch, or would
 * have if there had been room; a guess until there has been one.
 */
static double steps_per_entry = 4;
static bool has_measured = false;

static bool may_be_long(const FlowReady *entry);
static void note_expansion(int entries, int steps);
static bool takes_turns(const FlowReady *next, void *arg);
static FlowTake choose(const FlowReady *next, int taken, void *arg);
static bool is_first(const FlowReady *entry);
static FlowPlan *make_plan(const FlowReady *entries, int n);
static int	compare_keys(const void *a, const void *b);
static void release(FlowBatch *batch);
static void give_back(int lane, List *entries, int others);
static void end_try(int lane, const FlowReady *entry);
static void call_others(int lane, int others);
static void end_turn(FlowBatch *batch);
static void note_bad(bool settled, bool is_new);
static bool rests(void);

static const FlowTakePolicy policy = {takes_turns, choose};

int
FlowBatchRun(int lane)
{
	FlowReady	entries[FLOW_BATCH_MAX_STEPS];
	Room		room;
	FlowBatch	batch;
	FlowPlan   *plan;
	bool		tried;
	int			n = 1;

	if (rests())
		return 1;
	FlowParkReturnDue(lane);
	room.in_turn = false;
	room.usec = FlowBatchTime * 1000.0;
	room.steps = Max(1, (int) (FLOW_BATCH_MAX_STEPS / steps_per_entry));
	tried = FlowAsidePopTry(lane, entries);
	if (!tried)
		n = FlowQueuePop(lane, entries, FLOW_BATCH_MAX_STEPS, &policy, &room);
	if (n == 0)
		return 0;
	FLOW_TEST_POINT("take-popped");
	if (may_be_long(&entries[0]))
	{
		FlowParkReturnAll(lane);
		call_others(lane, FlowQueueLength(lane));
	}

	memset(&batch, 0, sizeof(batch));
	batch.scope = FLOW_GUARD_TRANSACTION;
	batch.plan_context = CurrentMemoryContext;
	batch.lane = lane;
	batch.in_turn = room.in_turn;
	batch.release = release;
	plan = make_plan(entries, n);
	plan->tried = tried;
	plan->careful = n == 1 && is_first(&entries[0]);
	plan->alone = plan->tried || plan->careful;
	FlowBatchDo(&batch, plan);
	end_turn(&batch);
	if (tried)
		end_try(lane, &entries[0]);
	note_expansion(n - batch.n_left, batch.n_done + batch.n_cut);
	give_back(lane, batch.left, list_length(batch.left) - 1);
	FlowParkLocked(lane, batch.unclaimed);
	FlowParkHeld(lane, batch.held);
	note_bad(batch.n_settled > 0, FlowParkUnrecorded(lane, batch.unrecorded));
	return n;
}

/*
 * What comes next may take long, such as a step that waits alone for a lock;
 * what was claimed and not run must not wait for it.
 */
static void
release(FlowBatch *batch)
{
	give_back(batch->lane, batch->left, list_length(batch->left));
	FlowParkLocked(batch->lane, batch->unclaimed);
	FlowParkHeld(batch->lane, batch->held);
	batch->left = NIL;
	batch->unclaimed = NIL;
	batch->held = NIL;
	end_turn(batch);
}

static void
end_turn(FlowBatch *batch)
{
	if (batch->in_turn)
		FlowQueueEndTurn(batch->lane);
	batch->in_turn = false;
}

/* What is parked here must not wait for it. */
static bool
may_be_long(const FlowReady *entry)
{
	FlowAverage average = FlowAverageGet(entry->definition_id, entry->key.step_no);

	return entry->key.step_no != FLOW_STEP_RUN && FlowParkDelay() >= 0 &&
		(average.runs == 0 || average.usec > LONG_STEP);
}

/*
 * A chain that runs to its end in one batch needs room for all its steps; what
 * was claimed and had no room has to go back to the queue.
 */
static void
note_expansion(int entries, int steps)
{
	double		measured;

	if (entries <= 0 || steps <= 0)
		return;
	measured = Max(1.0, (double) steps / entries);
	steps_per_entry += (measured - steps_per_entry) / (has_measured ? 4 : 1);
	has_measured = true;
}

/* Called under the queue's lock, before the next for the same entry. */
static bool
takes_turns(const FlowReady *next, void *arg)
{
	Room	   *room = arg;

	room->average = FlowAverageGet(next->definition_id, next->key.step_no);
	return FlowAverageTakesTurns(room->average);
}

/*
 * Called under the queue's lock.  The row that stands for a run costs nothing
 * by itself.
 */
static FlowTake
choose(const FlowReady *next, int taken, void *arg)
{
	Room	   *room = arg;
	FlowAverage average = room->average;

	if (next->key.step_no == FLOW_STEP_RUN)
		return FLOW_TAKE;
	if (average.runs == 0 || average.usec > FlowBatchTime * 1000.0 ||
		average.alone)
		return taken == 0 ? FLOW_TAKE_LAST : FLOW_LEAVE;

	room->usec -= average.usec * steps_per_entry;
	if (taken > 0 && room->usec < 0)
		return FLOW_LEAVE;
	if (average.failures > 0)
		room->steps = Min(room->steps, Max(1, (int) (1 / sqrt(average.failures))));
	if (FlowAverageTakesTurns(average))
		room->in_turn = true;
	else if (average.penalty > 0)
		return FLOW_TAKE_LAST;
	if (taken + 1 >= room->steps)
		return FLOW_TAKE_LAST;
	return FLOW_TAKE;
}

/* The first of its step on a server that has been promoted */
static bool
is_first(const FlowReady *entry)
{
	return FlowDatabaseIsPromoted(MyDatabaseId) &&
		entry->key.step_no != FLOW_STEP_RUN &&
		FlowAverageGet(entry->definition_id, entry->key.step_no).runs == 0;
}

/* The queue may hold an entry twice, the plan may not. */
static FlowPlan *
make_plan(const FlowReady *entries, int n)
{
	FlowPlan   *plan = palloc0(sizeof(FlowPlan));
	FlowStepKey *sorted = palloc(sizeof(FlowStepKey) * n);
	int			repeated = 0;

	plan->keys = palloc(sizeof(FlowStepKey) * n);
	plan->max_steps = FLOW_BATCH_MAX_STEPS;
	for (int i = 0; i < n; i++)
		plan->keys[i] = sorted[i] = entries[i].key;
	plan->n_keys = n;

	qsort(sorted, n, sizeof(FlowStepKey), compare_keys);
	for (int i = 1; i < n; i++)
		if (compare_keys(&sorted[i - 1], &sorted[i]) == 0)
			repeated++;
	if (repeated > 0)
	{
		plan->n_keys = 0;
		for (int i = 0; i < n; i++)
			if (i == 0 || compare_keys(&sorted[i - 1], &sorted[i]) != 0)
				plan->keys[plan->n_keys++] = sorted[i];
	}
	return plan;
}

static int
compare_keys(const void *a, const void *b)
{
	const FlowStepKey *x = a;
	const FlowStepKey *y = b;

	if (x->run_id != y->run_id)
		return x->run_id < y->run_id ? -1 : 1;
	if (x->step_no != y->step_no)
		return x->step_no < y->step_no ? -1 : 1;
	return x->item_no < y->item_no ? -1 : x->item_no > y->item_no;
}

/* Wakes so many others for them; where there are too few, the scheduler. */
static void
give_back(int lane, List *entries, int others)
{
	ListCell   *cell;

	foreach(cell, entries)
		(void) FlowQueuePush(lane, lfirst(cell), 1);
	call_others(lane, others);
}

/* If it got through, all that were set aside are queued again. */
static void
end_try(int lane, const FlowReady *entry)
{
	FlowAsideEndTry(lane, entry);
	call_others(lane, FlowQueueLength(lane) - 1);
}

static void
call_others(int lane, int others)
{
	if (others > 0 && FlowQueueWake(lane, others) < others)
		FlowDatabaseAsk(MyDatabaseId, FLOW_ASK_STAFF);
}

/*
 * One step that cannot be recorded holds up nobody; when it is met by ever
 * further steps, it has nothing to do with them.
 */
static void
note_bad(bool settled, bool is_new)
{
	if (settled)
		n_bad = 0;
	else if (is_new && ++n_bad > MAX_BAD)
		rest_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 Min(REST_MAX, REST_MIN << Min(n_bad - MAX_BAD, 16)));
}

/* Returns true if nothing is to be taken now. */
static bool
rests(void)
{
	long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), rest_until);

	if (left <= 0)
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(left, REST_SLICE), FlowWaitEvent("FlowRest"));
	ResetLatch(MyLatch);
	return true;
}
