/*-------------------------------------------------------------------------
 * take.c
 *	  A worker takes steps off its lane and runs them.
 *
 * Entries are taken before the transaction begins, so that now() in a step
 * is never before its dependencies ended.  How many share the batch is
 * decided by what is known of each step: one of which nothing is known, or
 * that is slow, is taken alone; failures make batches small; a step that met
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
#include "shmem/average.h"
#include "shmem/database.h"
#include "shmem/queue.h"

#define MAX_BAD			4		/* batches in vain, before this worker rests */
#define REST_MIN		100		/* ms; doubled */
#define REST_MAX		10000
#define REST_SLICE		500		/* ms, after which other reasons to end are
								 * looked at */

/* What the entries taken so far leave room for */
typedef struct Room
{
	double		usec;			/* of run time */
	int			steps;
} Room;

static int	n_bad = 0;			/* batches in which nothing could be recorded,
								 * and of new steps */
static TimestampTz rest_until = 0;

/* Moving average of the steps that one entry has led to in its batch */
static double steps_per_entry = 1;

static void note_expansion(int entries, int steps);
static FlowTake choose(const FlowReady *next, int taken, void *arg);
static FlowPlan *make_plan(const FlowReady *entries, int n);
static int	compare_keys(const void *a, const void *b);
static void release(FlowBatch *batch);
static void give_back(int lane, List *entries, int others);
static void note_bad(bool settled, bool is_new);
static bool rests(void);

int
FlowBatchRun(int lane)
{
	FlowReady	entries[FLOW_BATCH_MAX_STEPS];
	Room		room;
	FlowBatch	batch;
	int			n;

	if (rests())
		return 1;
	FlowParkReturnDue(lane);
	room.usec = FlowBatchTime * 1000.0;
	room.steps = Max(1, (int) (FLOW_BATCH_MAX_STEPS / steps_per_entry));
	n = FlowQueuePop(lane, entries, FLOW_BATCH_MAX_STEPS, choose, &room);
	if (n == 0)
		return 0;

	memset(&batch, 0, sizeof(batch));
	batch.scope = FLOW_GUARD_TRANSACTION;
	batch.plan_context = CurrentMemoryContext;
	batch.lane = lane;
	batch.release = release;
	FlowBatchDo(&batch, make_plan(entries, n));
	note_expansion(n - batch.n_left, batch.n_done);
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
}

/*
 * A chain that runs to its end in one batch needs room for all its steps; what
 * was claimed and had no room has to go back to the queue.
 */
static void
note_expansion(int entries, int steps)
{
	if (entries > 0 && steps > 0)
		steps_per_entry += (Max(1.0, (double) steps / entries) - steps_per_entry) / 4;
}

/*
 * Called under the queue's lock.  The row that stands for a run costs nothing
 * by itself.
 */
static FlowTake
choose(const FlowReady *next, int taken, void *arg)
{
	Room	   *room = arg;
	FlowAverage average;

	if (next->key.step_no == FLOW_STEP_RUN)
		return FLOW_TAKE;
	average = FlowAverageGet(next->definition_id, next->key.step_no);
	if (average.runs == 0 || average.usec > FlowBatchTime * 1000.0)
		return taken == 0 ? FLOW_TAKE_LAST : FLOW_LEAVE;

	room->usec -= average.usec * steps_per_entry;
	if (taken > 0 && room->usec < 0)
		return FLOW_LEAVE;
	if (average.failures > 0)
		room->steps = Min(room->steps, Max(1, (int) (1 / sqrt(average.failures))));
	if (average.penalty > 0 || taken + 1 >= room->steps)
		return FLOW_TAKE_LAST;
	return FLOW_TAKE;
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
