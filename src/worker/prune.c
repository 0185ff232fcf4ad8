/*-------------------------------------------------------------------------
 * prune.c
 *	  Runs, and untaken signals, that have been kept long enough go.
 *
 * Workflows may say how long finished runs, or their payloads, are kept.  A
 * round goes through the runs of each such workflow in order of their ids, a
 * chunk at a time, each chunk a transaction of its own with the scheduler's
 * other work in between, until it meets one that was created too late.
 *
 * Nothing polls: a round finds out when the next one can have something to do,
 * from when the oldest runs that it left were created or ended; the time that
 * it adds, so that many go together, is a tenth of how long they are kept, and
 * an hour at most.  An old run that has not ended is not in that time, since
 * the commit that ends a run asks for a round (FLOW_ASK_PRUNE).
 *
 * A round begins with signals that no step has taken.  Who sends one asks for a
 * round only if it expires before all that the last one has found: every other
 * signal will be found by the round for that one.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "engine/retention.h"
#include "guc.h"
#include "shmem/database.h"
#include "shmem/facts.h"
#include "worker/prune.h"
#include "worker/scheduler.h"

#define PRUNE_MAX_SLACK		(USECS_PER_HOUR)
#define PRUNE_MIN_PAUSE		100 /* ms between two rounds */
#define PRUNE_HELD_DELAY	10000	/* ms until what was locked is tried again */
#define PRUNE_SPARED_DELAY	3600000 /* ms, the same for a run at work */
#define PRUNE_SIGNALS		1000	/* that go in one transaction */
#define PRUNE_FAILED_DELAY	60000	/* ms after an error */

/* One workflow's part of a round */
typedef struct Part
{
	FlowRetention retention;
	int64		kept;			/* microseconds */
} Part;

typedef struct Round
{
	bool		with_signals;	/* they come first */
	List	   *parts;			/* of Part, those that are not done yet */
	int64		shortest;		/* microseconds that something is kept; 0:
								 * none */
	TimestampTz next;			/* when the round after it has something to do */
} Round;

static MemoryContext round_context = NULL;
static Round *current = NULL;	/* NULL: none is under way */
static TimestampTz prune_next = 0;	/* 0: at once */
static TimestampTz failed_until = 0;	/* nothing before */
static int64 prune_shortest = 0;	/* as of the last round */
static TimestampTz signals_due = DT_NOEND;	/* when the oldest expires */

static void come_back(TimestampTz due);
static int64 lengthen(int64 kept);
static bool begin_round(void);
static void begin_body(int64 home, void *arg);
static void add_part(Round *round, const FlowPruneWorkflow *workflow,
					 TimestampTz before, bool erases);
static void run_chunk(Round *round);
static void chunk_body(int64 home, void *arg);
static void note_signals(TimestampTz due);
static void run_signals(Round *round);
static void signals_body(int64 home, void *arg);
static void end_part(Round *round, const Part *part);
static void end_round(void);
static void forget_round(void);
static void note_failure(void);

void
FlowPruneReset(void)
{
	forget_round();
	prune_next = 0;
}

void
FlowPruneRun(bool look, bool ended, bool sent)
{
	TimestampTz now = GetCurrentTimestamp();

	if (look)
		FlowPruneReset();
	if (ended && prune_shortest > 0)
		come_back(now + lengthen(prune_shortest));
	if (sent)
	{
		note_signals(now + FlowSignalKeep * USECS_PER_SEC);
		come_back(now + lengthen(FlowSignalKeep * USECS_PER_SEC));
	}
	if (failed_until > now)
		return;
	if (current == NULL && (prune_next > now || !begin_round()))
		return;
	if (current->with_signals)
		run_signals(current);
	else if (current->parts != NIL)
		run_chunk(current);
	if (current != NULL && !current->with_signals && current->parts == NIL)
		end_round();
}

/* By then there is another round. */
static void
come_back(TimestampTz due)
{
	prune_next = Min(prune_next, due);
	if (current != NULL)
		current->next = Min(current->next, due);
}

/* Kept a little longer, so that many go at once.  Pure. */
static int64
lengthen(int64 kept)
{
	return kept + Min(kept / 10, PRUNE_MAX_SLACK);
}

TimestampTz
FlowPruneNext(void)
{
	return Max(current != NULL ? 0 : prune_next, failed_until);
}

/* The tables may turn out to be new ones, and then the round is void. */
static bool
begin_round(void)
{
	MemoryContext caller;

	if (round_context == NULL)
		round_context = AllocSetContextCreate(TopMemoryContext, "flow pruning",
											  ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(round_context);
	current = palloc0(sizeof(Round));
	current->next = DT_NOEND;
	current->with_signals = true;
	MemoryContextSwitchTo(caller);

	/* from here on whoever sends one asks for a round, until it is known */
	signals_due = DT_NOEND;
	note_signals(DT_NOEND);
	if (!FlowSchedulerTry("see which runs are kept for how long", begin_body, current))
	{
		note_failure();
		return false;
	}
	if (current == NULL)
		return false;
	prune_shortest = current->shortest;
	FlowDatabaseSetKeeps(MyDatabaseId, prune_shortest > 0);
	return true;
}

static void
begin_body(int64 home, void *arg)
{
	Round	   *round = arg;
	MemoryContext caller = MemoryContextSwitchTo(round_context);
	ListCell   *cell;

	foreach(cell, FlowPruneListKeeping(home))
	{
		FlowPruneWorkflow *workflow = lfirst(cell);

		add_part(round, workflow, workflow->prune_before, false);
		add_part(round, workflow, workflow->erase_before, true);
	}
	for (int i = 0; i < list_length(round->parts); i++)
		((Part *) list_nth(round->parts, i))->retention.home = home;
	MemoryContextSwitchTo(caller);
}

static void
add_part(Round *round, const FlowPruneWorkflow *workflow, TimestampTz before,
		 bool erases)
{
	Part	   *part;

	if (TIMESTAMP_IS_NOBEGIN(before))
		return;
	part = palloc(sizeof(Part));
	FlowRetentionInit(&part->retention, 0, workflow->id, before);
	part->retention.erases = erases;
	part->kept = Max(workflow->now - before, 1);
	round->parts = lappend(round->parts, part);
	if (round->shortest == 0 || part->kept < round->shortest)
		round->shortest = part->kept;
}

static void
run_chunk(Round *round)
{
	Part	   *part = linitial(round->parts);

	if (!FlowSchedulerTry("prune finished runs", chunk_body, part))
	{
		note_failure();
		return;
	}
	if (current == NULL)
		return;
	if (part->retention.is_over)
	{
		end_part(round, part);
		round->parts = list_delete_first(round->parts);
	}
}

static void
chunk_body(int64 home, void *arg)
{
	Part	   *part = arg;

	FlowRetentionRun(&part->retention);
}

static void
note_signals(TimestampTz due)
{
	signals_due = Min(signals_due, due);
	FlowDatabaseSetSignalsDue(MyDatabaseId, signals_due);
}

static void
run_signals(Round *round)
{
	if (!FlowSchedulerTry("remove old signals", signals_body, round))
		note_failure();
}

/* A chunk of what has expired; the last one finds out when it is time again. */
static void
signals_body(int64 home, void *arg)
{
	Round	   *round = arg;
	int64		kept = FlowSignalKeep * USECS_PER_SEC;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz oldest;
	bool		spared;

	if (FlowPruneSignals(home, now - kept, PRUNE_SIGNALS) == PRUNE_SIGNALS)
		return;
	round->with_signals = false;
	oldest = FlowPruneOldestSignal(home, &spared);
	if (TIMESTAMP_IS_NOEND(oldest))
		return;
	note_signals(oldest + kept);
	if (oldest + kept > now)
		come_back(oldest + lengthen(kept));
	else
		come_back(TimestampTzPlusMilliseconds(now, spared ? PRUNE_SPARED_DELAY :
											  PRUNE_HELD_DELAY));
}

static void
end_part(Round *round, const Part *part)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TIMESTAMP_IS_NOEND(part->retention.next))
		round->next = Min(round->next,
						  part->retention.next + lengthen(part->kept));
	if (part->retention.n_held > 0)
		round->next = Min(round->next,
						  TimestampTzPlusMilliseconds(now, PRUNE_HELD_DELAY));
}

static void
end_round(void)
{
	TimestampTz soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   PRUNE_MIN_PAUSE);

	prune_next = Max(current->next, soon);
	forget_round();
}

static void
forget_round(void)
{
	current = NULL;
	if (round_context != NULL)
		MemoryContextReset(round_context);
}

/* Such as a lock_timeout or a full disk: everything else goes on. */
static void
note_failure(void)
{
	FlowPruneReset();
	failed_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											   PRUNE_FAILED_DELAY);
}
