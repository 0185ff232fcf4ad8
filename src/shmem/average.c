/*-------------------------------------------------------------------------
 * average.c
 *	  Moving averages of how each step behaves.
 *
 * A hash table of fixed size without chains: a step that finds all its places
 * taken by others drives one out.  No lock protects it.  Two processes that
 * write the same entry at once lose one of the two measurements, or leave one
 * with the key of another; the next runs put it right.  No value that may
 * result is invalid, so readers need no care.
 *
 * Without shared memory a process keeps a table of its own.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "guc.h"
#include "shmem/average.h"

#define TABLE_SIZE		4096	/* entries */
#define MAX_PROBES		4

#define TIME_WEIGHT		8		/* a new run counts for 1/8 */
#define FAILURE_WEIGHT	16
#define MAX_RUNS		1000000 /* counting on would tell nothing */

#define MIN_PENALTY		256		/* runs */
#define MAX_PENALTY		65536
#define PENALTY_GROWTH	4
#define MAX_TURN_CONFLICTS	3	/* within a penalty */
#define MAX_CONTENDED	1024	/* penalty, if taking turns does not help */

typedef struct Entry
{
	Oid			database;		/* InvalidOid: free */
	int32		definition_id;
	int32		step_no;
	int32		last_penalty;	/* what the last conflict has cost; 0: none
								 * met so far */
	int32		turn_conflicts; /* within it */
	FlowAverage average;
} Entry;

static Entry *table = NULL;

static Entry *get_table(void);
static Entry *find(int32 definition_id, int32 step_no);
static Entry *find_or_make(int32 definition_id, int32 step_no);
static Entry *place_of(int32 definition_id, int32 step_no, int probe);
static bool is_of(const Entry *entry, int32 definition_id, int32 step_no);
static int32 next_penalty(const Entry *entry);
static void serve_penalty(Entry *entry);

Size
FlowAverageShmemSize(void)
{
	return TABLE_SIZE * sizeof(Entry);
}

void
FlowAverageShmemInit(void)
{
	bool		found;

	table = ShmemInitStruct("flow average", FlowAverageShmemSize(), &found);
	if (!found)
		memset(table, 0, FlowAverageShmemSize());
}

FlowAverage
FlowAverageGet(int32 definition_id, int32 step_no)
{
	static const FlowAverage unknown = {0};
	const Entry *entry = find(definition_id, step_no);

	return entry ? entry->average : unknown;
}

void
FlowAverageNoteRun(int32 definition_id, int32 step_no, int64 usec, bool failed)
{
	Entry	   *entry = find_or_make(definition_id, step_no);
	FlowAverage *average = &entry->average;
	float		failure = failed ? 1.0f : 0.0f;

	if (average->runs == 0)
		average->usec = (float) usec;
	else
		average->usec += ((float) usec - average->usec) / TIME_WEIGHT;
	average->failures += (failure - average->failures) / FAILURE_WEIGHT;
	if (average->runs < MAX_RUNS)
		average->runs++;
	if (!failed)
		serve_penalty(entry);
}

void
FlowAverageNoteAlone(int32 definition_id, int32 step_no)
{
	find_or_make(definition_id, step_no)->average.alone = true;
}

void
FlowAverageNoteConflict(int32 definition_id, int32 step_no, bool in_turn)
{
	Entry	   *entry = find_or_make(definition_id, step_no);
	FlowAverage *average = &entry->average;

	if (in_turn && ++entry->turn_conflicts >= MAX_TURN_CONFLICTS)
		average->contended = true;
	if (average->penalty <= 0)
		entry->last_penalty = next_penalty(entry);
	if (average->contended)
		entry->last_penalty = Min(entry->last_penalty, MAX_CONTENDED);
	average->penalty = entry->last_penalty;
}

/* More each time that a penalty is followed by a conflict soon after. */
static int32
next_penalty(const Entry *entry)
{
	if (entry->last_penalty == 0 ||
		entry->average.penalty <= -entry->last_penalty)
		return MIN_PENALTY;
	return Min(entry->last_penalty * PENALTY_GROWTH, MAX_PENALTY);
}

/* Many of them in one batch, with nobody to conflict with, are fastest. */
bool
FlowAverageTakesTurns(FlowAverage average)
{
	return average.penalty > 0 && !average.contended && average.runs > 0 &&
		!average.alone && average.usec <= FlowBatchTime * 1000.0;
}

static Entry *
get_table(void)
{
	if (table == NULL)
		table = MemoryContextAllocZero(TopMemoryContext,
									   FlowAverageShmemSize());
	return table;
}

/* NULL if nothing is known. */
static Entry *
find(int32 definition_id, int32 step_no)
{
	for (int i = 0; i < MAX_PROBES; i++)
	{
		Entry	   *entry = place_of(definition_id, step_no, i);

		if (is_of(entry, definition_id, step_no))
			return entry;
	}
	return NULL;
}

/* The step's entry, if need be in the place of another. */
static Entry *
find_or_make(int32 definition_id, int32 step_no)
{
	Entry	   *entry = find(definition_id, step_no);

	if (entry != NULL)
		return entry;

	for (int i = 0; i < MAX_PROBES; i++)
	{
		entry = place_of(definition_id, step_no, i);
		if (entry->database == InvalidOid)
			break;
	}
	memset(entry, 0, sizeof(Entry));
	entry->database = MyDatabaseId;
	entry->definition_id = definition_id;
	entry->step_no = step_no;
	return entry;
}

static Entry *
place_of(int32 definition_id, int32 step_no, int probe)
{
	uint32		hash = hash_combine(murmurhash32(MyDatabaseId),
									murmurhash32((uint32) definition_id));

	hash = hash_combine(hash, murmurhash32((uint32) step_no));
	return &get_table()[(hash + probe) % TABLE_SIZE];
}

static bool
is_of(const Entry *entry, int32 definition_id, int32 step_no)
{
	return entry->database == MyDatabaseId &&
		entry->definition_id == definition_id && entry->step_no == step_no;
}

/* After a run without conflict; below zero, it counts those since. */
static void
serve_penalty(Entry *entry)
{
	FlowAverage *average = &entry->average;

	if (entry->last_penalty == 0 || average->penalty <= -entry->last_penalty)
		return;
	average->penalty--;
	if (average->penalty == 0)
	{
		entry->turn_conflicts = 0;
		average->contended = false;
	}
}
