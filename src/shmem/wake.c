/*-------------------------------------------------------------------------
 * wake.c
 *	  What this transaction will announce once it has committed.
 *
 * Notes are kept per level of subtransaction, in the memory of that level: a
 * subcommit hands them to the level above, a subabort drops them.  What
 * remains of them at the end is laid out, sent and forgotten by parcel.c, which
 * is called from here at the commit.
 *
 * At most so many ready steps per lane are kept; of the others, the first of
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
#include "shmem/parcel.h"
#include "shmem/share.h"
#include "shmem/shmem.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"

static FlowNoteLevel *innermost = NULL; /* in memory of the transaction */

static FlowNoteLevel *current_level(void);
static bool is_wanted(void);
static FlowRoleNotes *find_role(FlowNoteLevel *level, Oid role);
static FlowNote *add_note(FlowNotes *notes);
static bool is_marked(FlowRoleNotes *notes, const FlowReady *ready);
static void keep(FlowRoleNotes *notes, FlowNotes *list);
static void at_subxact(SubXactEvent event, SubTransactionId mySubid,
					   SubTransactionId parentSubid, void *arg);
static void merge(FlowNoteLevel *inner);
static void merge_roles(FlowNoteLevel *outer, FlowNoteLevel *inner);
static void append(FlowNotes *to, const FlowNotes *from);
static void at_xact(XactEvent event, void *arg);
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
	FlowNoteLevel *level = current_level();
	FlowRoleNotes *notes;

	level->has_ready = true;
	if (!is_wanted())
		return;
	notes = find_role(level, role);
	if (notes == NULL)
	{
		notes = MemoryContextAllocZero(CurTransactionContext,
									   sizeof(FlowRoleNotes));
		notes->role = role;
		notes->next = level->roles;
		level->roles = notes;
	}
	if (!is_marked(notes, ready))
	{
		FlowNotes	single = {0};

		add_note(&single)->u.ready = *ready;
		keep(notes, &single);
	}
}

void
FlowWakeNoteDue(const FlowStepKey *key, TimestampTz due_at)
{
	FlowNote   *note;

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
	FlowNote   *note;

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
	FlowNoteLevel *level = current_level();

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
	for (const FlowNoteLevel *level = innermost; level != NULL; level = level->outer)
		if (level->has_ready)
			return true;
	return false;
}

static FlowNoteLevel *
current_level(void)
{
	int			nest = GetCurrentTransactionNestLevel();
	FlowNoteLevel *level;

	Assert(nest > 0);
	if (innermost != NULL && innermost->nest == nest)
		return innermost;

	Assert(innermost == NULL || innermost->nest < nest);
	level = MemoryContextAllocZero(CurTransactionContext, sizeof(FlowNoteLevel));
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

static FlowRoleNotes *
find_role(FlowNoteLevel *level, Oid role)
{
	FlowRoleNotes *notes = level->roles;

	while (notes != NULL && notes->role != role)
		notes = notes->next;
	return notes;
}

/* Appends a note, to be filled, in the memory of the current level. */
static FlowNote *
add_note(FlowNotes *notes)
{
	FlowNote   *note = MemoryContextAllocZero(CurTransactionContext,
											  sizeof(FlowNote));
	FlowNotes	added = {1, note, note};

	append(notes, &added);
	return note;
}

/* Is it covered by a mark?  Lowers the mark, if it is that of later steps. */
static bool
is_marked(FlowRoleNotes *notes, const FlowReady *ready)
{
	FlowNote   *note = notes->marks.first;

	if (notes->ready.count < FLOW_MAX_READY)
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
keep(FlowRoleNotes *notes, FlowNotes *list)
{
	FlowNote   *next;

	for (FlowNote *note = list->first; note != NULL; note = next)
	{
		FlowNotes	single = {1, note, note};

		next = note->next;
		note->next = NULL;
		if (is_marked(notes, &note->u.ready))
			continue;
		if (notes->ready.count < FLOW_MAX_READY)
			append(&notes->ready, &single);
		else if (notes->marks.count < FLOW_MAX_MARKS)
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
merge(FlowNoteLevel *inner)
{
	FlowNoteLevel *outer = inner->outer;

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
merge_roles(FlowNoteLevel *outer, FlowNoteLevel *inner)
{
	FlowRoleNotes *next;

	for (FlowRoleNotes *notes = inner->roles; notes != NULL; notes = next)
	{
		FlowRoleNotes *known = find_role(outer, notes->role);

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
append(FlowNotes *to, const FlowNotes *from)
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
				FlowParcelLayOut(innermost);
			}
			break;
		case XACT_EVENT_COMMIT:
			FlowParcelSend(innermost);
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

/* The memory goes with the transaction. */
static void
forget(void)
{
	FlowParcelForget();
	innermost = NULL;
}
