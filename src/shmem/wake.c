/*-------------------------------------------------------------------------
 * wake.c
 *	  What this transaction will announce once it has committed.
 *
 * Notes are kept per level of subtransaction, in the memory of that level: a
 * subcommit hands them to the level above, a subabort drops them.  What
 * remains of them at the end is sent in three moves:
 *
 *	before the commit: look up and pin the lanes, lay out what is to be copied;
 *	after it: copy and wake; an error here would be a PANIC, so nothing
 *	allocates, looks anything up or raises;
 *	after it or after an abort: unpin the lanes.
 *
 * At most so many ready steps per lane are sent; of the others, the first of
 * each workflow and priority is marked, and the scheduler reads from there on.
 * PREPARE TRANSACTION sends nothing: a sweep finds the work.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "shmem/database.h"
#include "shmem/facts.h"
#include "shmem/recorder.h"
#include "shmem/ring.h"
#include "shmem/share.h"
#include "shmem/shmem.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"
#include "shmem/waiters.h"
#include "shmem/wake.h"

#define MAX_READY	256			/* sent to one lane by one transaction */
#define MAX_MARKS	64			/* of what is not sent */

/* A singly linked list that can be put behind another without allocation */
typedef struct Note
{
	struct Note *next;
	union
	{
		FlowReady	ready;
		FlowDue		due;
		struct
		{
			int64		run_id;
			int32		epoch;	/* of a cancel */
		}			run;
	}			u;
} Note;

typedef struct Notes
{
	int			count;
	Note	   *first;
	Note	   *last;
} Notes;

/* The ready steps of one role */
typedef struct RoleNotes
{
	struct RoleNotes *next;
	Oid			role;
	bool		lost;			/* more than can be marked */
	Notes		ready;
	Notes		marks;			/* first of those not kept, by workflow and
								 * priority */
} RoleNotes;

/* What one level of subtransaction has noted */
typedef struct Level
{
	struct Level *outer;		/* the nearest one that has noted something */
	int			nest;
	bool		has_ready;
	bool		events;
	bool		signals;
	bool		sweep;
	bool		admit;
	uint64		freed;			/* bits of database.h */
	bool		installed;
	bool		released;
	RoleNotes  *roles;
	Notes		dues;
	Notes		ended;
	Notes		cancels;
} Level;

/* One lane's share, laid out before the commit */
typedef struct Parcel
{
	int			lane;			/* pinned; -1: there is none */
	bool		lost;			/* more than can be marked */
	int			n_marks;
	FlowReady	marks[MAX_MARKS];	/* first of those not in here */
	int			n;
	FlowReady	ready[MAX_READY];
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

static Level *innermost = NULL; /* in memory of the transaction */
static Outgoing outgoing;		/* what it points to likewise */
static int	own_lane = -1;

static Level *current_level(void);
static bool is_wanted(void);
static RoleNotes *find_role(Level *level, Oid role);
static Note *add_note(Notes *notes);
static bool is_marked(RoleNotes *notes, const FlowReady *ready);
static void keep(RoleNotes *notes, Notes *list);
static void at_subxact(SubXactEvent event, SubTransactionId mySubid,
					   SubTransactionId parentSubid, void *arg);
static void merge(Level *inner);
static void merge_roles(Level *outer, Level *inner);
static void append(Notes *to, const Notes *from);
static void at_xact(XactEvent event, void *arg);
static void lay_out(const Level *level);
static Parcel *lay_out_role(const RoleNotes *notes);
static void lay_out_dues(const Notes *notes);
static void send_all(const Level *level);
static uint32 send_parcel(const Parcel *parcel);
static void forget(void);

void
FlowWakeInit(void)
{
	RegisterXactCallback(at_xact, NULL);
	RegisterSubXactCallback(at_subxact, NULL);
}

void
FlowWakeNoteReady(Oid role, const FlowReady *ready)
{
	Level	   *level = current_level();
	RoleNotes  *notes;

	level->has_ready = true;
	if (!is_wanted())
		return;
	notes = find_role(level, role);
	if (notes == NULL)
	{
		notes = MemoryContextAllocZero(CurTransactionContext,
									   sizeof(RoleNotes));
		notes->role = role;
		notes->next = level->roles;
		level->roles = notes;
	}
	if (!is_marked(notes, ready))
	{
		Notes		single = {0};

		add_note(&single)->u.ready = *ready;
		keep(notes, &single);
	}
}

void
FlowWakeNoteDue(const FlowStepKey *key, TimestampTz due_at)
{
	Note	   *note;

	if (!is_wanted())
		return;
	note = add_note(&current_level()->dues);
	note->u.due.key = *key;
	note->u.due.due_at = due_at;
}

void
FlowWakeNoteEnded(int64 run_id)
{
	if (is_wanted())
		add_note(&current_level()->ended)->u.run.run_id = run_id;
}

void
FlowWakeNoteCancel(int64 run_id, int32 epoch)
{
	Note	   *note;

	if (!is_wanted())
		return;
	note = add_note(&current_level()->cancels);
	note->u.run.run_id = run_id;
	note->u.run.epoch = epoch;
}

void
FlowWakeNoteEvents(void)
{
	if (is_wanted())
		current_level()->events = true;
}

void
FlowWakeNoteSignal(void)
{
	if (is_wanted())
		current_level()->signals = true;
}

void
FlowWakeNoteSweep(void)
{
	if (is_wanted())
		current_level()->sweep = true;
}

void
FlowWakeNoteAdmit(void)
{
	Level	   *level = current_level();

	level->has_ready = true;
	level->admit = true;
}

void
FlowWakeNoteFreed(int32 workflow_id)
{
	if (is_wanted())
		current_level()->freed |= FLOW_AWAITS_PLACE(workflow_id);
}

void
FlowWakeNoteInstalled(void)
{
	if (is_wanted())
		current_level()->installed = true;
}

void
FlowWakeNoteReleased(void)
{
	if (is_wanted())
		current_level()->released = true;
}

bool
FlowWakeHasReady(void)
{
	for (const Level *level = innermost; level != NULL; level = level->outer)
		if (level->has_ready)
			return true;
	return false;
}

void
FlowWakeSetOwnLane(int lane)
{
	own_lane = lane;
}

static Level *
current_level(void)
{
	int			nest = GetCurrentTransactionNestLevel();
	Level	   *level;

	Assert(nest > 0);
	if (innermost != NULL && innermost->nest == nest)
		return innermost;

	Assert(innermost == NULL || innermost->nest < nest);
	level = MemoryContextAllocZero(CurTransactionContext, sizeof(Level));
	level->outer = innermost;
	level->nest = nest;
	innermost = level;
	return level;
}

/* Without shared memory there is nobody to tell. */
static bool
is_wanted(void)
{
	return FlowShmemIsAvailable() && !IsParallelWorker();
}

static RoleNotes *
find_role(Level *level, Oid role)
{
	RoleNotes  *notes = level->roles;

	while (notes != NULL && notes->role != role)
		notes = notes->next;
	return notes;
}

/* Appends a note, to be filled, in the memory of the current level. */
static Note *
add_note(Notes *notes)
{
	Note	   *note = MemoryContextAllocZero(CurTransactionContext,
											  sizeof(Note));
	Notes		added = {1, note, note};

	append(notes, &added);
	return note;
}

/* Is it covered by a mark?  Lowers the mark, if it is that of later steps. */
static bool
is_marked(RoleNotes *notes, const FlowReady *ready)
{
	Note	   *note = notes->marks.first;

	if (notes->ready.count < MAX_READY)
		return false;
	while (note != NULL && (note->u.ready.workflow_id != ready->workflow_id ||
							note->u.ready.priority != ready->priority))
		note = note->next;
	if (note == NULL)
		return notes->lost;
	if (FlowShareCompareKeys(&ready->key, &note->u.ready.key) < 0)
		note->u.ready = *ready;
	return true;
}

/* Takes over notes of ready steps, as such or as marks.  Allocates nothing. */
static void
keep(RoleNotes *notes, Notes *list)
{
	Note	   *next;

	for (Note *note = list->first; note != NULL; note = next)
	{
		Notes		single = {1, note, note};

		next = note->next;
		note->next = NULL;
		if (is_marked(notes, &note->u.ready))
			continue;
		if (notes->ready.count < MAX_READY)
			append(&notes->ready, &single);
		else if (notes->marks.count < MAX_MARKS)
			append(&notes->marks, &single);
		else
			notes->lost = true;
	}
}

static void
at_subxact(SubXactEvent event, SubTransactionId mySubid,
		   SubTransactionId parentSubid, void *arg)
{
	int			nest = GetCurrentTransactionNestLevel();

	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			if (innermost != NULL && innermost->nest >= nest)
				merge(innermost);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			while (innermost != NULL && innermost->nest >= nest)
				innermost = innermost->outer;
			break;
		case SUBXACT_EVENT_START_SUB:
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			break;
	}
}

/*
 * Hands the notes of a subtransaction that commits to the level above.  Its
 * memory lives as long as that level's.
 */
static void
merge(Level *inner)
{
	Level	   *outer = inner->outer;

	if (outer == NULL || outer->nest < inner->nest - 1)
	{
		inner->nest--;
		return;
	}
	outer->has_ready |= inner->has_ready;
	outer->events |= inner->events;
	outer->signals |= inner->signals;
	outer->sweep |= inner->sweep;
	outer->admit |= inner->admit;
	outer->freed |= inner->freed;
	outer->installed |= inner->installed;
	outer->released |= inner->released;
	merge_roles(outer, inner);
	append(&outer->dues, &inner->dues);
	append(&outer->ended, &inner->ended);
	append(&outer->cancels, &inner->cancels);
	innermost = outer;
}

static void
merge_roles(Level *outer, Level *inner)
{
	RoleNotes  *next;

	for (RoleNotes *notes = inner->roles; notes != NULL; notes = next)
	{
		RoleNotes  *known = find_role(outer, notes->role);

		next = notes->next;
		if (known == NULL)
		{
			notes->next = outer->roles;
			outer->roles = notes;
			continue;
		}
		keep(known, &notes->ready);
		keep(known, &notes->marks);
		known->lost |= notes->lost;
	}
}

static void
append(Notes *to, const Notes *from)
{
	if (from->count == 0)
		return;
	if (to->count == 0)
		to->first = from->first;
	else
		to->last->next = from->first;
	to->last = from->last;
	to->count += from->count;
}

static void
at_xact(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (innermost != NULL && is_wanted())
			{
				FLOW_TEST_POINT("commit");
				lay_out(innermost);
			}
			break;
		case XACT_EVENT_COMMIT:
			if (outgoing.is_ready)
			{
				FLOW_TEST_POINT("push-begin");
				send_all(innermost);
				FLOW_TEST_POINT("push-end");
			}
			forget();
			break;
		case XACT_EVENT_PREPARE:
			if (innermost != NULL)
				FlowDatabaseNotePrepared(MyDatabaseId);
			forget();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			forget();
			break;
		case XACT_EVENT_PRE_PREPARE:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}

/*
 * Everything that can fail.  A lane is counted as soon as it is pinned, so that
 * an error in between leaves none pinned for ever.
 */
static void
lay_out(const Level *level)
{
	int			n_roles = 0;

	Assert(level->outer == NULL);
	for (const RoleNotes *notes = level->roles; notes; notes = notes->next)
		n_roles++;

	outgoing.parcels = MemoryContextAlloc(TopTransactionContext,
										  (n_roles + 1) * sizeof(Parcel *));
	for (const RoleNotes *notes = level->roles; notes; notes = notes->next)
	{
		Parcel	   *parcel = lay_out_role(notes);

		parcel->lane = FlowQueuePinLane(MyDatabaseId, notes->role);
		outgoing.parcels[outgoing.n_parcels++] = parcel;
	}
	lay_out_dues(&level->dues);
	outgoing.is_ready = true;
}

static Parcel *
lay_out_role(const RoleNotes *notes)
{
	int			n = notes->ready.count;
	Parcel	   *parcel;

	parcel = MemoryContextAlloc(TopTransactionContext,
								offsetof(Parcel, ready) +
								n * sizeof(FlowReady));
	parcel->lost = notes->lost;
	parcel->n_marks = 0;
	for (const Note *note = notes->marks.first; note; note = note->next)
		parcel->marks[parcel->n_marks++] = note->u.ready;
	parcel->n = 0;
	for (const Note *note = notes->ready.first; note; note = note->next)
		parcel->ready[parcel->n++] = note->u.ready;
	return parcel;
}

static void
lay_out_dues(const Notes *notes)
{
	if (notes->count == 0)
		return;
	outgoing.dues = MemoryContextAllocHuge(TopTransactionContext,
										   notes->count * sizeof(FlowDue));
	outgoing.first_due = DT_NOEND;
	for (const Note *note = notes->first; note != NULL; note = note->next)
	{
		outgoing.dues[outgoing.n_dues++] = note->u.due;
		outgoing.first_due = Min(outgoing.first_due, note->u.due.due_at);
	}
}

/*
 * After the commit.  Cancels go first: a worker that takes one of the steps sent
 * next must find them.
 */
static void
send_all(const Level *level)
{
	uint32		ask = level->events ? FLOW_ASK_EMIT : 0;

	if (level->sweep)
		ask |= FLOW_ASK_SWEEP;

	for (const Note *note = level->cancels.first; note; note = note->next)
		if (FlowSlotCancelRun(note->u.run.run_id, note->u.run.epoch))
			ask |= FLOW_ASK_CANCEL;
	for (int i = 0; i < outgoing.n_parcels; i++)
		ask |= send_parcel(outgoing.parcels[i]);
	if (outgoing.n_dues > 0)
	{
		FlowRingPut(MyDatabaseId, outgoing.dues, outgoing.n_dues);
		FlowDatabaseAskDue(MyDatabaseId, outgoing.first_due);
	}
	for (const Note *note = level->ended.first; note; note = note->next)
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

/* The memory goes with the transaction. */
static void
forget(void)
{
	for (int i = 0; i < outgoing.n_parcels; i++)
		FlowQueueUnpinLane(outgoing.parcels[i]->lane);
	memset(&outgoing, 0, sizeof(outgoing));
	innermost = NULL;
}
