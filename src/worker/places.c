/*-------------------------------------------------------------------------
 * places.c
 *	  Which of the steps that wait get a place under their limits.
 *
 * A step needs a place under each of its limits, and is given all or none, so
 * that two that name the same limits in another order cannot wait for each
 * other.  Higher priority comes first, then who has waited longest.  One that
 * is stopped by a limit that is full keeps, under its other limits, the place
 * that it would have got, so that those who need fewer cannot overtake it for
 * ever; one that is stopped by a rate does not, since that may be for hours.
 *
 * What somebody has locked is chosen like the rest, since mostly nothing is.  If
 * it could not be taken, the choice is made again among what is free: a client
 * that idles in a transaction keeps nobody else waiting.
 *
 * The max_parallel of a run is a limit as well, of its own steps alone.  A limit
 * that does not exist holds nobody.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "catalog/cat_place.h"
#include "shmem/wake.h"
#include "worker/places.h"

#define READ_GROUPS		1000	/* read at once */
#define FORGET_EVERY	60000	/* ms, between two looks for old starts */

/* What is left under a limit, for one key */
typedef struct RoomKey
{
	char		name[FLOW_MAX_STEP_NAME + 1];
	char		key[FLOW_MAX_LIMIT_KEY + 2];	/* as stored */
} RoomKey;

typedef struct Room
{
	RoomKey		key;			/* hash key */
	bool		known;			/* the rate has been looked at */
	bool		has_rate;
	int			places;
	int			starts;
	TimestampTz next_at;		/* when the rate lets the next one in */
} Room;

/* One that waits, with its line */
typedef struct Candidate
{
	FlowPlaceWaiter waiter;
	FlowPlaceGroup *group;
	bool		taken;
} Candidate;

typedef struct Giving
{
	int64		home;
	int			most;
	FlowPlacesGiven *given;
	List	   *limits;			/* of FlowLimitRow */
	FlowLimitRow of_run;		/* the last one that is the places of a run */
	bool		only_free;		/* look at nothing that somebody has locked */
	HTAB	   *rooms;
	int			n;				/* candidates */
	int			max;
	Candidate  *candidates;
	int			n_paused;
	FlowStepKey *paused;		/* steps of paused runs, which need not wait */
} Giving;

static void give(Giving *giving);
static void begin(Giving *giving);
static void add_taken(Giving *giving, const FlowPlaceGroup *group);
static const FlowLimitRow *limit_of(Giving *giving, const char *name);
static Room *room_of(Giving *giving, const FlowLimitRow *limit, const char *key);
static void read_lines(Giving *giving);
static void read_line(Giving *giving, FlowPlaceGroup *group);
static int	room_for(Giving *giving, const FlowPlaceGroup *group, bool *by_rate);
static int	compare(const void *a, const void *b);
static void choose(Giving *giving);
static void take(Giving *giving, Candidate *candidate);
static void reserve(Giving *giving, const Candidate *candidate);
static void let_in(Giving *giving);
static void note_start(Giving *giving, const FlowStepKey *key);
static void put_back_paused(Giving *giving);
static void announce(const FlowAdmitted *admitted, int n);
static void forget_starts(const Giving *giving);

void
FlowPlacesGive(int64 home, int most, FlowPlacesGiven *given)
{
	Giving		giving = {.home = home,.most = most,.given = given};

	memset(given, 0, sizeof(*given));
	given->next_at = DT_NOEND;
	give(&giving);
	if (given->locked)
	{
		giving.only_free = true;
		give(&giving);
	}
	put_back_paused(&giving);
	forget_starts(&giving);
}

static void
give(Giving *giving)
{
	begin(giving);
	read_lines(giving);
	choose(giving);
	let_in(giving);
}

/* Counts who has a place; paused runs need none. */
static void
begin(Giving *giving)
{
	HASHCTL		info = {
		.keysize = sizeof(RoomKey),
		.entrysize = sizeof(Room),
		.hcxt = CurrentMemoryContext
	};
	FlowAdmitted *taken = palloc(sizeof(FlowAdmitted) * giving->most);
	ListCell   *cell;

	giving->rooms = hash_create("flow places", 64, &info,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	giving->limits = FlowPlaceListLimits();
	announce(taken, FlowPlaceTakeBack(giving->home, taken, giving->most));
	foreach(cell, FlowPlaceCount(giving->home))
		add_taken(giving, lfirst(cell));
}

static void
add_taken(Giving *giving, const FlowPlaceGroup *group)
{
	for (int i = 0; i < group->n_limits; i++)
	{
		const FlowLimitRow *limit = limit_of(giving, group->limits[i]);

		if (limit != NULL && limit->running > 0)
			room_of(giving, limit, group->key)->places -= group->n;
	}
}

/* NULL for one that does not exist. */
static const FlowLimitRow *
limit_of(Giving *giving, const char *name)
{
	ListCell   *cell;

	giving->of_run.running = FlowPlaceOfRunIs(name);
	giving->of_run.name = unconstify(char *, name);
	if (giving->of_run.running > 0)
		return &giving->of_run;

	foreach(cell, giving->limits)
		if (strcmp(((FlowLimitRow *) lfirst(cell))->name, name) == 0)
		return lfirst(cell);
	return NULL;
}

static Room *
room_of(Giving *giving, const FlowLimitRow *limit, const char *key)
{
	RoomKey		which;
	Room	   *room;
	bool		found;

	memset(&which, 0, sizeof(which));
	strlcpy(which.name, limit->name, sizeof(which.name));
	strlcpy(which.key, limit == &giving->of_run ? FLOW_LIMIT_NO_KEY : key,
			sizeof(which.key));
	room = hash_search(giving->rooms, &which, HASH_ENTER, &found);
	if (!found)
	{
		room->known = false;
		room->has_rate = limit->rate > 0;
		room->places = limit->running > 0 ? limit->running : PG_INT32_MAX;
		room->starts = PG_INT32_MAX;
		room->next_at = DT_NOEND;
	}
	return room;
}

static void
read_lines(Giving *giving)
{
	const FlowPlaceGroup *after = NULL;
	List	   *groups;
	ListCell   *cell;

	giving->max = giving->most;
	giving->candidates = palloc(sizeof(Candidate) * giving->max);
	giving->paused = palloc(sizeof(FlowStepKey) * giving->most);
	giving->n = giving->n_paused = 0;
	do
	{
		groups = FlowPlaceReadGroups(giving->home, after, READ_GROUPS);
		foreach(cell, groups)
		{
			giving->given->waits = true;
			after = lfirst(cell);
			read_line(giving, lfirst(cell));
		}
	} while (list_length(groups) == READ_GROUPS);
}

/*
 * As many of a line as there is room for.  Of one without room the first, which
 * may keep a place elsewhere.
 */
static void
read_line(Giving *giving, FlowPlaceGroup *group)
{
	bool		by_rate;
	int			room = Min(room_for(giving, group, &by_rate), giving->most);
	FlowPlaceWaiter *waiters;
	int			n;

	if (room <= 0 && (by_rate || group->n_limits == 1))
		return;
	room = Max(room, 1);
	waiters = palloc(sizeof(FlowPlaceWaiter) * room);
	n = FlowPlaceReadWaiters(giving->home, group, giving->only_free, waiters, room);
	for (int i = 0; i < n; i++)
	{
		if (waiters[i].paused && giving->n_paused < giving->most)
			giving->paused[giving->n_paused++] = waiters[i].key;
		if (waiters[i].paused)
			continue;
		if (giving->n == giving->max)
		{
			giving->max *= 2;
			giving->candidates = repalloc_huge(giving->candidates,
											   sizeof(Candidate) * giving->max);
		}
		giving->candidates[giving->n].waiter = waiters[i];
		giving->candidates[giving->n].group = group;
		giving->candidates[giving->n++].taken = false;
	}
	pfree(waiters);
}

/* How many more of a line there is room for; if none, whether a rate says so. */
static int
room_for(Giving *giving, const FlowPlaceGroup *group, bool *by_rate)
{
	int			left = PG_INT32_MAX;

	*by_rate = false;
	for (int i = 0; i < group->n_limits; i++)
	{
		const FlowLimitRow *limit = limit_of(giving, group->limits[i]);
		Room	   *room;

		if (limit == NULL)
			continue;
		room = room_of(giving, limit, group->key);
		if (room->has_rate && !room->known)
			room->starts = FlowPlaceRateLeft(limit, group->key, &room->next_at);
		room->known = true;
		left = Min(left, Min(room->places, room->starts));
		if (room->starts > 0)
			continue;
		*by_rate = true;
		giving->given->next_at = Min(giving->given->next_at, room->next_at);
	}
	return left;
}

static int
compare(const void *a, const void *b)
{
	const FlowPlaceWaiter *x = &((const Candidate *) a)->waiter;
	const FlowPlaceWaiter *y = &((const Candidate *) b)->waiter;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	if (x->since != y->since)
		return x->since < y->since ? -1 : 1;
	if (x->key.run_id != y->key.run_id)
		return x->key.run_id < y->key.run_id ? -1 : 1;
	if (x->key.step_no != y->key.step_no)
		return x->key.step_no < y->key.step_no ? -1 : 1;
	return x->key.item_no < y->key.item_no ? -1 : x->key.item_no > y->key.item_no;
}

static void
choose(Giving *giving)
{
	FlowPlacesGiven *given = giving->given;

	qsort(giving->candidates, giving->n, sizeof(Candidate), compare);
	for (int i = 0; i < giving->n && given->n < giving->most; i++)
	{
		Candidate  *candidate = &giving->candidates[i];
		bool		by_rate;

		if (room_for(giving, candidate->group, &by_rate) > 0)
			take(giving, candidate);
		else if (!by_rate && candidate->group->n == 0)
			reserve(giving, candidate);
	}
}

/* Of a rate that is used up, the next look finds when it goes on. */
static void
take(Giving *giving, Candidate *candidate)
{
	const FlowPlaceGroup *group = candidate->group;

	candidate->taken = true;
	giving->given->n++;
	for (int i = 0; i < group->n_limits; i++)
	{
		const FlowLimitRow *limit = limit_of(giving, group->limits[i]);
		Room	   *room;

		if (limit == NULL)
			continue;
		room = room_of(giving, limit, group->key);
		if (limit->running > 0)
			room->places--;
		if (!room->has_rate)
			continue;
		room->starts--;
		room->next_at = 0;
	}
}

/* Once for each line. */
static void
reserve(Giving *giving, const Candidate *candidate)
{
	FlowPlaceGroup *group = candidate->group;

	group->n = 1;
	for (int i = 0; i < group->n_limits; i++)
	{
		const FlowLimitRow *limit = limit_of(giving, group->limits[i]);

		if (limit != NULL && limit->running > 0)
			room_of(giving, limit, group->key)->places--;
	}
}

static void
let_in(Giving *giving)
{
	FlowPlacesGiven *given = giving->given;
	FlowStepKey *keys = palloc(sizeof(FlowStepKey) * Max(given->n, 1));
	FlowAdmitted *admitted = palloc(sizeof(FlowAdmitted) * Max(given->n, 1));
	int			n = 0;
	int			found;

	if (given->n == 0)
		return;
	for (int i = 0; i < giving->n; i++)
		if (giving->candidates[i].taken)
			keys[n++] = giving->candidates[i].waiter.key;
	found = FlowPlaceAdmit(giving->home, keys, n, true, admitted);
	announce(admitted, found);
	given->locked |= found < n;
	for (int i = 0; i < found; i++)
		note_start(giving, &admitted[i].ready.key);
}

static void
note_start(Giving *giving, const FlowStepKey *key)
{
	const FlowPlaceGroup *group = NULL;

	for (int i = 0; i < giving->n && group == NULL; i++)
		if (memcmp(&giving->candidates[i].waiter.key, key, sizeof(FlowStepKey)) == 0)
			group = giving->candidates[i].group;
	for (int i = 0; group != NULL && i < group->n_limits; i++)
	{
		const FlowLimitRow *limit = limit_of(giving, group->limits[i]);

		if (limit != NULL && limit->rate > 0)
		{
			FlowPlaceNoteStart(limit->name, group->key, key);
			giving->given->next_at = 0;
		}
	}
}

/* Ready without a place: whoever resumes the run has them claimed again. */
static void
put_back_paused(Giving *giving)
{
	FlowAdmitted *admitted = palloc(sizeof(FlowAdmitted) * Max(giving->n_paused, 1));

	if (giving->n_paused == 0)
		return;
	announce(admitted, FlowPlaceAdmit(giving->home, giving->paused,
									  giving->n_paused, false, admitted));
	giving->given->n += giving->n_paused;
	giving->given->next_at = 0; /* they may have hidden others */
}

static void
announce(const FlowAdmitted *admitted, int n)
{
	for (int i = 0; i < n; i++)
		FlowWakeNoteReady(admitted[i].owner, &admitted[i].ready);
}

static void
forget_starts(const Giving *giving)
{
	static TimestampTz forgotten_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (giving->limits == NIL ||
		!TimestampDifferenceExceeds(forgotten_at, now, FORGET_EVERY))
		return;
	FlowPlaceForgetStarts();
	forgotten_at = now;
}
