/*-------------------------------------------------------------------------
 * emit.c
 *	  Events to NOTIFY, coalesced.
 *
 * A transaction that sends NOTIFY takes a cluster-wide lock at its commit, so
 * batches of steps never do: they write event rows, and the scheduler
 * announces those in transactions of its own, at most one every 50 ms.
 *
 * Event ids come from a sequence, and who draws the lower id may commit
 * later.  So beside what follows the last id sent, each round looks at the
 * gaps: ids of the window below it that have not been seen yet.  NOTIFY is a
 * hint; what falls out of the window is still a row of flow.event.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "catalog/cat_sweep.h"
#include "shmem/facts.h"
#include "shmem/testpoint.h"
#include "worker/emit.h"
#include "worker/scheduler.h"

#define EMIT_CHANNEL	"flow"
#define EMIT_MAX		1000	/* events in one transaction */
#define EMIT_INTERVAL	50		/* ms between two rounds */
#define EMIT_MIN_DELAY	1000	/* ms, after a failure, doubling */
#define EMIT_MAX_DELAY	60000
#define EMIT_WINDOW		1024	/* ids in which a gap may still be filled */
#define EMIT_CATCH_UP	60000	/* ms; older events are not announced by a
								 * scheduler that does not know the last */

typedef struct EmitRound
{
	int64		floor;			/* in: no gaps at or below; -1: unknown */
	int64		last;			/* in: the highest id sent before */
	int64		gaps[EMIT_WINDOW];
	int			n_gaps;
	int			n;				/* out: ids seen */
	int64		ids[EMIT_MAX];
} EmitRound;

static bool emit_pending = true;
static TimestampTz emit_next = 0;	/* not before */
static int	emit_delay = 0;		/* ms, after a failure */
static int64 emit_floor = -1;
static int64 emit_last = 0;
static int64 emit_sent[EMIT_WINDOW];	/* by id modulo the window */

static void find_gaps(EmitRound *round);
static void emit_body(int64 home, void *arg);
static void begin_reading(EmitRound *round, FlowEventRange *range);
static void announce(const FlowEventRow *event);
static void remember(const EmitRound *round);

void
FlowEmitReset(void)
{
	emit_pending = true;
	emit_next = 0;
	emit_floor = -1;
	emit_last = FlowDatabaseGetEmitted(MyDatabaseId);
	memset(emit_sent, 0, sizeof(emit_sent));
}

void
FlowEmitRun(bool asked)
{
	TimestampTz now = GetCurrentTimestamp();
	EmitRound  *round;

	emit_pending |= asked;
	if (!emit_pending || now < emit_next)
		return;
	emit_next = TimestampTzPlusMilliseconds(now, EMIT_INTERVAL);

	round = palloc(sizeof(EmitRound));
	round->floor = emit_floor;
	round->last = emit_last;
	round->n = 0;
	find_gaps(round);
	if (FlowSchedulerTry("announce events", emit_body, round))
	{
		remember(round);
		emit_pending = round->n == EMIT_MAX;
		emit_delay = 0;
	}
	else
	{
		/* such as a full notify queue: steps must not wait for it */
		emit_delay = Min(EMIT_MAX_DELAY, Max(EMIT_MIN_DELAY, 2 * emit_delay));
		emit_next = TimestampTzPlusMilliseconds(now, emit_delay);
	}
	pfree(round);
}

TimestampTz
FlowEmitNext(void)
{
	return emit_pending ? emit_next : DT_NOEND;
}

static void
find_gaps(EmitRound *round)
{
	int64		id = Max(round->last - EMIT_WINDOW, round->floor) + 1;

	round->n_gaps = 0;
	for (; round->floor >= 0 && id <= round->last; id++)
		if (emit_sent[id % EMIT_WINDOW] != id)
			round->gaps[round->n_gaps++] = id;
}

static void
emit_body(int64 home, void *arg)
{
	EmitRound  *round = arg;
	FlowEventRow *events = palloc(EMIT_MAX * sizeof(FlowEventRow));
	FlowEventRange range = {
		.home = home,
		.gaps = round->gaps,
		.n_gaps = round->n_gaps,
		.after = round->last,
		.since = DT_NOBEGIN
	};

	if (round->floor < 0)
		begin_reading(round, &range);
	round->n = FlowSweepReadEvents(&range, events, EMIT_MAX);
	FLOW_TEST_POINT("emit-send");
	for (int i = 0; i < round->n; i++)
	{
		announce(&events[i]);
		round->ids[i] = events[i].id;
	}
}

/*
 * The first round of this scheduler.  Where the last one stopped is in shared
 * memory; after a restart, or when the tables are new ones, it is not.  Then
 * what happened a moment ago is announced, since a scheduler is often started
 * by the very event it shall announce.
 */
static void
begin_reading(EmitRound *round, FlowEventRange *range)
{
	int64		last = FlowSweepLastEvent();

	if (round->last == 0 || round->last > last)
	{
		TimestampTz recent = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 -EMIT_CATCH_UP);

		round->last = last;
		range->after = Max(last - EMIT_WINDOW, 0);
		range->since = Max(recent, PgStartTime);
	}
	round->floor = round->last;
}

/* Names are at most 58 bytes and keys 500, so all of it fits. */
static void
announce(const FlowEventRow *event)
{
	if (!event->announce)
		return;
	Async_Notify(EMIT_CHANNEL, event->payload);
	if (event->workflow != NULL)
		Async_Notify(psprintf("%s.%s", EMIT_CHANNEL, event->workflow),
					 event->payload);
}

static void
remember(const EmitRound *round)
{
	emit_floor = round->floor;
	emit_last = round->last;
	for (int i = 0; i < round->n; i++)
	{
		emit_sent[round->ids[i] % EMIT_WINDOW] = round->ids[i];
		emit_last = Max(emit_last, round->ids[i]);
	}
	FlowDatabaseSetEmitted(MyDatabaseId, emit_last);
}
