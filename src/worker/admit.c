/*-------------------------------------------------------------------------
 * admit.c
 *	  Lets in what waits for a place under a limit.
 *
 * The only place where that is decided, in the only process of its kind, so
 * that what is counted and what is given away are seen by one pair of eyes.
 * Each look reads everything that waits, a group at a time, of which only the
 * first few matter; nothing is remembered from one to the next, and nothing is
 * looked at unless somebody has asked (shmem/wake.c).
 *
 * A paused run that comes first is put back among the ready ones, where it
 * hides nobody; resuming it puts it in again, at its old place.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "catalog/cat_limit.h"
#include "shmem/database.h"
#include "shmem/facts.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"
#include "worker/admit.h"
#include "worker/places.h"
#include "worker/scheduler.h"

#define ADMIT_CHUNK		500		/* let in by one transaction */
#define ADMIT_CHUNKS	10		/* before the scheduler looks elsewhere */
#define ADMIT_READ		1000	/* groups read at once */
#define ADMIT_RETRY		100		/* ms, after something was locked */

/* One look, in one transaction */
typedef struct Look
{
	int			n;				/* taken from those that wait */
	bool		locked;			/* something could not be taken */
	uint64		awaits;			/* bits of what still waits, or may */
	TimestampTz next_at;		/* when a rate lets more in */
} Look;

/* How many runs of a key have a place */
typedef struct KeyCount
{
	char		key[FLOW_MAX_LIMIT_KEY + 2];	/* hash key, as stored */
	int			n;
} KeyCount;

static TimestampTz admit_next = DT_NOEND;

static bool look(Look *sum);
static void steps_body(int64 home, void *arg);
static void runs_body(int64 home, void *arg);
static void admit_workflow(int64 home, const FlowRunLimit *limit, Look *look);
static int	admit_key(int64 home, const FlowRunLimit *limit, const char *key,
					  int room, Look *look);
static HTAB *count_keys(int64 home, const FlowRunLimit *limit);
static int	count_of(HTAB *counts, const char *key);

void
FlowAdmitReset(void)
{
	admit_next = 0;
}

TimestampTz
FlowAdmitNext(void)
{
	return admit_next;
}

/*
 * Whoever gives a place back while we look asks for another look, since all is
 * awaited until it is known what is.
 */
void
FlowAdmitRun(bool asked)
{
	Look		sum = {0};
	int			chunks = 0;

	if (!asked && admit_next > GetCurrentTimestamp())
		return;
	admit_next = DT_NOEND;
	FlowDatabaseSetAwaits(MyDatabaseId, FLOW_AWAITS_ANY);
	do
	{
		if (!look(&sum))
			return;				/* all is looked at again after an error */
	} while (sum.n >= ADMIT_CHUNK && ++chunks < ADMIT_CHUNKS);
	FlowDatabaseSetAwaits(MyDatabaseId, sum.awaits);
	admit_next = sum.next_at;
	if (sum.n >= ADMIT_CHUNK)
		admit_next = 0;
	else if (sum.locked)
		admit_next = Min(admit_next, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ADMIT_RETRY));
}

static bool
look(Look *sum)
{
	memset(sum, 0, sizeof(Look));
	sum->next_at = DT_NOEND;
	return FlowSchedulerTransact("let runs in", runs_body, sum) &&
		FlowSchedulerTransact("let steps in", steps_body, sum);
}

static void
runs_body(int64 home, void *arg)
{
	Look	   *look = arg;
	FlowRunLimit *limits = palloc(sizeof(FlowRunLimit) * ADMIT_READ);
	int32		after = 0;
	int			n;

	do
	{
		n = FlowLimitReadWorkflows(home, after, limits, ADMIT_READ);
		for (int i = 0; i < n && look->n < ADMIT_CHUNK; i++)
		{
			look->awaits |= FLOW_AWAITS_PLACE(limits[i].workflow_id);
			admit_workflow(home, &limits[i], look);
		}
		if (n > 0)
			after = limits[n - 1].workflow_id;
	} while (n == ADMIT_READ && look->n < ADMIT_CHUNK);
	FLOW_TEST_POINT("admit-done");
}

/* Under each key the oldest come first; a key that is full stops no other. */
static void
admit_workflow(int64 home, const FlowRunLimit *limit, Look *look)
{
	HTAB	   *counts = count_keys(home, limit);
	const char *after = "";
	List	   *keys;
	ListCell   *cell;

	do
	{
		keys = FlowLimitReadKeys(home, limit->workflow_id, after, ADMIT_READ);
		foreach(cell, keys)
		{
			int			room = ADMIT_CHUNK - look->n;

			after = lfirst(cell);
			if (limit->max_runs > 0)
				room = Min(room, limit->max_runs - count_of(counts, after));
			while (room > 0)
			{
				int			placed = admit_key(home, limit, after, room, look);

				if (placed < 0)
					break;
				room -= placed;
			}
		}
	} while (list_length(keys) == ADMIT_READ && look->n < ADMIT_CHUNK);
	hash_destroy(counts);
}

/* Returns how many were given a place; -1: nobody is left who could be. */
static int
admit_key(int64 home, const FlowRunLimit *limit, const char *key, int room,
		  Look *look)
{
	FlowAdmitted *admitted = palloc(sizeof(FlowAdmitted) * room);
	int			placed = 0;
	int			n = FlowLimitAdmitRuns(home, limit->workflow_id, key, room, admitted);

	for (int i = 0; i < n; i++)
	{
		FlowWakeNoteReady(admitted[i].owner, &admitted[i].ready);
		placed += admitted[i].placed;
	}
	look->n += n;
	if (n == room)
		return placed;
	if (FlowLimitAnyWaits(home, limit->workflow_id, key))
		look->locked = true;
	return -1;
}

static HTAB *
count_keys(int64 home, const FlowRunLimit *limit)
{
	HASHCTL		info = {
		.keysize = sizeof(((KeyCount *) NULL)->key),
		.entrysize = sizeof(KeyCount),
		.hcxt = CurrentMemoryContext
	};
	HTAB	   *counts = hash_create("flow runs by key", 64, &info,
									 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	ListCell   *cell;

	if (limit->max_runs == 0)
		return counts;			/* it was taken back: all may begin */
	foreach(cell, FlowLimitCountRuns(home, limit->workflow_id))
	{
		const FlowKeyCount *count = lfirst(cell);
		KeyCount   *entry = hash_search(counts, count->key, HASH_ENTER, NULL);

		entry->n = count->n;
	}
	return counts;
}

static int
count_of(HTAB *counts, const char *key)
{
	const KeyCount *entry = hash_search(counts, key, HASH_FIND, NULL);

	return entry == NULL ? 0 : entry->n;
}

/* Each look has room for some steps, however many runs it has let in. */
static void
steps_body(int64 home, void *arg)
{
	Look	   *look = arg;
	FlowPlacesGiven given;

	FlowPlacesGive(home, ADMIT_CHUNK, &given);
	look->n += given.n;
	look->locked |= given.locked;
	look->next_at = given.next_at;
	if (given.waits)
		look->awaits |= FLOW_AWAITS_PLACE(0);
	FLOW_TEST_POINT("places-done");
}
