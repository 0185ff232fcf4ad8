/*-------------------------------------------------------------------------
 * parcel.c
 *	  What a transaction sends at its commit: who is woken for what.
 *
 * Called by wake.c with what it has noted, in three moves:
 *
 *	before the commit: look up and pin the lanes, lay out what is to be copied;
 *	after it: copy and wake; an error here would be a PANIC, so nothing
 *	allocates, looks anything up or raises;
 *	after it or after an abort: unpin the lanes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "shmem/database.h"
#include "shmem/facts.h"
#include "shmem/parcel.h"
#include "shmem/recorder.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"
#include "shmem/waiters.h"

/* One lane's share, laid out before the commit */
typedef struct Parcel
{
	int			lane;			/* pinned; -1: there is none */
	bool		lost;			/* more than can be marked */
	int			n_marks;
	FlowReady	marks[FLOW_MAX_MARKS];	/* first of those not in here */
	int			n;
	FlowReady	ready[FLOW_MAX_READY];
} Parcel;

typedef struct Outgoing
{
	bool		is_ready;		/* laid out */
	Parcel	  **parcels;
	int			n_parcels;
	FlowDue    *dues;
	int			n_dues;
	TimestampTz first_due;
} Outgoing;

static Outgoing outgoing;		/* what it points to is in memory of the
								 * transaction */
static int	own_lane = -1;

static Parcel *lay_out_role(const FlowRoleNotes *notes);
static void lay_out_dues(const FlowNotes *notes);
static void send_all(const FlowNoteLevel *level);
static uint32 send_parcel(const Parcel *parcel);

void
FlowWakeSetOwnLane(int lane)
{
	own_lane = lane;
}

/*
 * Everything that can fail.  A lane is counted as soon as it is pinned, so that
 * an error in between leaves none pinned for ever.
 */
void
FlowParcelLayOut(const FlowNoteLevel *level)
{
	int			n_roles = 0;

	Assert(level->outer == NULL);
	for (const FlowRoleNotes *notes = level->roles; notes; notes = notes->next)
		n_roles++;

	outgoing.parcels = MemoryContextAlloc(TopTransactionContext,
										  (n_roles + 1) * sizeof(Parcel *));
	for (const FlowRoleNotes *notes = level->roles; notes; notes = notes->next)
	{
		Parcel	   *parcel = lay_out_role(notes);

		parcel->lane = FlowQueuePinLane(MyDatabaseId, notes->role);
		outgoing.parcels[outgoing.n_parcels++] = parcel;
	}
	lay_out_dues(&level->dues);
	outgoing.is_ready = true;
}

static Parcel *
lay_out_role(const FlowRoleNotes *notes)
{
	int			n = notes->ready.count;
	Parcel	   *parcel;

	parcel = MemoryContextAlloc(TopTransactionContext,
								offsetof(Parcel, ready) +
								n * sizeof(FlowReady));
	parcel->lost = notes->lost;
	parcel->n_marks = 0;
	for (const FlowNote *note = notes->marks.first; note; note = note->next)
		parcel->marks[parcel->n_marks++] = note->u.ready;
	parcel->n = 0;
	for (const FlowNote *note = notes->ready.first; note; note = note->next)
		parcel->ready[parcel->n++] = note->u.ready;
	return parcel;
}

static void
lay_out_dues(const FlowNotes *notes)
{
	if (notes->count == 0)
		return;
	outgoing.dues = MemoryContextAllocHuge(TopTransactionContext,
										   notes->count * sizeof(FlowDue));
	outgoing.first_due = DT_NOEND;
	for (const FlowNote *note = notes->first; note != NULL; note = note->next)
	{
		outgoing.dues[outgoing.n_dues++] = note->u.due;
		outgoing.first_due = Min(outgoing.first_due, note->u.due.due_at);
	}
}

void
FlowParcelSend(const FlowNoteLevel *level)
{
	if (!outgoing.is_ready)
		return;
	FLOW_TEST_POINT("push-begin");
	send_all(level);
	FLOW_TEST_POINT("push-end");
}

/*
 * After the commit.  Cancels go first: a worker that takes one of the steps sent
 * next must find them.
 */
static void
send_all(const FlowNoteLevel *level)
{
	uint32		ask = level->events ? FLOW_ASK_EMIT : 0;

	if (level->sweep)
		ask |= FLOW_ASK_SWEEP;

	for (const FlowNote *note = level->cancels.first; note; note = note->next)
		if (FlowSlotCancelRun(note->u.run.run_id, note->u.run.epoch))
			ask |= FLOW_ASK_CANCEL;
	for (int i = 0; i < outgoing.n_parcels; i++)
		ask |= send_parcel(outgoing.parcels[i]);
	if (outgoing.n_dues > 0)
	{
		FlowRingPut(MyDatabaseId, outgoing.dues, outgoing.n_dues);
		FlowDatabaseAskDue(MyDatabaseId, outgoing.first_due);
	}
	for (const FlowNote *note = level->ended.first; note; note = note->next)
		FlowWaitersWake(note->u.run.run_id);
	if (level->ended.count > 0 && FlowDatabaseKeeps(MyDatabaseId))
		ask |= FLOW_ASK_PRUNE;
	if (level->admit || (level->freed != 0 &&
						 (level->freed & FlowDatabaseAwaits(MyDatabaseId)) != 0))
		ask |= FLOW_ASK_ADMIT;
	if (level->signals && FlowDatabaseMissesSignals(MyDatabaseId))
		ask |= FLOW_ASK_SIGNALS;
	if (ask != 0)
		FlowDatabaseAsk(MyDatabaseId, ask);
	if (level->installed)
		FlowDatabaseProbe(MyDatabaseId);
	if (level->released)
	{
		FlowRecorderRelease();
		FlowDatabaseWakeLauncher();
	}
}

/* Returns what the scheduler has to be asked for. */
static uint32
send_parcel(const Parcel *parcel)
{
	uint32		ask = 0;
	int			pushed;
	int			wanted;

	if (parcel->lane < 0)
		return FLOW_ASK_SWEEP;

	pushed = FlowQueuePush(parcel->lane, parcel->ready, parcel->n);
	for (int i = 0; i < parcel->n_marks; i++)
		FlowQueueRefuse(parcel->lane, &parcel->marks[i]);
	if (parcel->lost)
		FlowQueueMarkLost(parcel->lane);
	if (parcel->n_marks > 0 || parcel->lost || pushed < parcel->n)
		ask |= FLOW_ASK_REFILL;

	/* this process comes back to its own lane at once, and takes one itself */
	wanted = parcel->lane == own_lane ? pushed - 1 : pushed;
	if (wanted > 0 && FlowQueueWake(parcel->lane, wanted) < wanted)
		ask |= FLOW_ASK_STAFF;
	return ask;
}

void
FlowParcelForget(void)
{
	for (int i = 0; i < outgoing.n_parcels; i++)
		FlowQueueUnpinLane(outgoing.parcels[i]->lane);
	memset(&outgoing, 0, sizeof(outgoing));
}
