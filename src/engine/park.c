/*-------------------------------------------------------------------------
 * park.c
 *	  Steps that a worker has put aside for a moment.
 *
 * They are kept in this process, and go back to the queue when their time has
 * come.  A step that comes again waits twice as long as the time before: up
 * to a second if somebody has locked its task, which costs no more than a
 * look; up to a minute if nothing of it could be recorded.
 *
 * A step that has run, and then met a run that a client holds in an open or
 * prepared transaction, would run in vain each time.  So it stays here until
 * that run can be locked, which is tried in a transaction of its own.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_run.h"
#include "engine/batch.h"
#include "engine/park.h"
#include "shmem/queue.h"
#include "shmem/share.h"

#define MAX_PARKED		1024
#define PARK_MIN		50		/* ms; doubled */
#define PARK_LOCKED_MAX 1000	/* ms */
#define PARK_UNRECORDED_MAX 60000	/* ms */
#define DELAYS			1024

typedef struct Parked
{
	FlowReady	ready;
	int64		held_run;		/* to be locked first; 0: none */
	TimestampTz until;
} Parked;

/* How long a step was put aside last, to put it aside longer the next time */
typedef struct Delay
{
	FlowStepKey key;
	int			ms;
	TimestampTz until;
} Delay;

/* Runs to be locked; those that cannot be, remain */
typedef struct Probe
{
	int			n;
	int64		ids[MAX_PARKED];
} Probe;

static Parked parked[MAX_PARKED];
static int	n_parked = 0;
static Delay delays[DELAYS];	/* by hash of the key */

static int	park(int lane, const FlowReady *ready, int64 held_run, int most);
static int	delay_of(const FlowStepKey *key, TimestampTz now, int most);
static void find_held(Probe *probe, TimestampTz now);
static void probe_body(void *arg);
static bool has(const Probe *probe, int64 run_id);

void
FlowParkLocked(int lane, List *steps)
{
	ListCell   *cell;

	foreach(cell, steps)
		(void) park(lane, lfirst(cell), 0, PARK_LOCKED_MAX);
}

void
FlowParkHeld(int lane, List *steps)
{
	ListCell   *cell;

	foreach(cell, steps)
	{
		FlowHeld   *held = lfirst(cell);

		(void) park(lane, &held->ready, held->run_id, PARK_LOCKED_MAX);
	}
}

bool
FlowParkUnrecorded(int lane, List *steps)
{
	bool		is_new = false;
	ListCell   *cell;

	foreach(cell, steps)
		is_new |= park(lane, lfirst(cell), 0, PARK_UNRECORDED_MAX) == PARK_MIN;
	return is_new;
}

/* Returns for how long. */
static int
park(int lane, const FlowReady *ready, int64 held_run, int most)
{
	TimestampTz now = GetCurrentTimestamp();
	int			ms = delay_of(&ready->key, now, most);
	Parked	   *added;

	if (n_parked == MAX_PARKED)
	{
		FlowQueueRefuse(lane, ready);
		return ms;
	}
	added = &parked[n_parked++];
	added->ready = *ready;
	added->held_run = held_run;
	added->until = TimestampTzPlusMilliseconds(now, ms);
	return ms;
}

/* The time that a step needs to run, and to fail, lies between two delays. */
static int
delay_of(const FlowStepKey *key, TimestampTz now, int most)
{
	uint32		hash = hash_bytes((const unsigned char *) key, sizeof(FlowStepKey));
	Delay	   *delay = &delays[hash % DELAYS];

	if (FlowShareCompareKeys(&delay->key, key) != 0 ||
		now > TimestampTzPlusMilliseconds(delay->until, PARK_UNRECORDED_MAX))
		delay->ms = 0;
	delay->key = *key;
	delay->ms = Min(most, Max(PARK_MIN, 2 * delay->ms));
	delay->until = TimestampTzPlusMilliseconds(now, delay->ms);
	return delay->ms;
}

void
FlowParkReturnDue(int lane)
{
	TimestampTz now;
	Probe		probe;
	int			n = n_parked;

	if (n_parked == 0)
		return;
	now = GetCurrentTimestamp();
	find_held(&probe, now);
	n_parked = 0;
	for (int i = 0; i < n; i++)
	{
		Parked		entry = parked[i];

		if (entry.until > now)
			parked[n_parked++] = entry;
		else if (entry.held_run != 0 && has(&probe, entry.held_run))
			(void) park(lane, &entry.ready, entry.held_run, PARK_LOCKED_MAX);
		else
			(void) FlowQueuePush(lane, &entry.ready, 1);
	}
}

/* An error, as when the tables are gone, is met again by who claims the step. */
static void
find_held(Probe *probe, TimestampTz now)
{
	probe->n = 0;
	for (int i = 0; i < n_parked; i++)
		if (parked[i].held_run != 0 && parked[i].until <= now &&
			!has(probe, parked[i].held_run))
			probe->ids[probe->n++] = parked[i].held_run;
	if (probe->n > 0 &&
		FlowGuardRun(FLOW_GUARD_TRANSACTION, probe_body, probe) != NULL)
		probe->n = 0;
}

/* One after the other, in any order: nothing is waited for. */
static void
probe_body(void *arg)
{
	Probe	   *probe = arg;
	FlowIdentity saved;
	int			kept = 0;

	FlowIdentityRaise(&saved);
	for (int i = 0; i < probe->n; i++)
	{
		FlowRunRow *rows;
		FlowRunRow	row;

		if (FlowRunLock(&probe->ids[i], 1, true, &rows) == 0 &&
			FlowRunLoad(probe->ids[i], &row))
			probe->ids[kept++] = probe->ids[i];
	}
	FlowIdentityRestore(&saved);
	probe->n = kept;
}

static bool
has(const Probe *probe, int64 run_id)
{
	for (int i = 0; i < probe->n; i++)
		if (probe->ids[i] == run_id)
			return true;
	return false;
}

void
FlowParkReturnAll(int lane)
{
	for (int i = 0; i < n_parked; i++)
		(void) FlowQueuePush(lane, &parked[i].ready, 1);
	n_parked = 0;
}

long
FlowParkDelay(void)
{
	TimestampTz first = DT_NOEND;

	for (int i = 0; i < n_parked; i++)
		first = Min(first, parked[i].until);
	if (TIMESTAMP_IS_NOEND(first))
		return -1;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), first);
}
