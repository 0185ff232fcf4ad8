/*-------------------------------------------------------------------------
 * gate.c
 *	  Steps that have met somebody's lock, and when they are tried again.
 *
 * A worker that gives up a step behind a lock sets the run aside here, so
 * that it costs nothing while it waits.  One of those set aside is tried after
 * a delay that grows up to a second; when it runs, so may all.  When several
 * runs in a row have met a lock it is likely to be one that all of them need,
 * such as that of LOCK TABLE, and the gate is closed: further runs are set
 * aside without being tried.  When they were on rows, others do run, and the
 * gate stays open.  Those that have met a lock and those that have not are
 * tried by turns, so that a run that needs no lock is not hidden behind those
 * that do.  If one gets through that has not, the lock is there still: the
 * others like it may run, and those that have met it stay.
 *
 * Nobody owns a gate and no process need open it again: what passes is time.
 * Decides only; who waits for what is in queue.c.  Protected by FlowShmemLock().
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "shmem/gate.h"

#define CLOSED_AFTER	2		/* runs in a row ... */
#define CLOSED_AFTER_MAX 16		/* ... while it is known to be about rows */
#define MIN_DELAY		50		/* ms */
#define MAX_DELAY		1000

static bool is_stale(const FlowGate *gate, TimestampTz now);
static void push_back(FlowGate *gate, TimestampTz now);

FlowGate *
FlowGateFind(FlowGates *gates, int32 definition_id, int32 step_no)
{
	for (int i = 0; i < gates->used; i++)
	{
		FlowGate   *gate = &gates->gates[i];

		if (gate->definition_id == definition_id && gate->step_no == step_no)
			return gate;
	}
	return NULL;
}

FlowGate *
FlowGateMake(FlowGates *gates, int32 definition_id, int32 step_no,
			 TimestampTz now)
{
	FlowGate   *gate = FlowGateFind(gates, definition_id, step_no);

	for (int i = 0; i < gates->used && gate == NULL; i++)
		if (is_stale(&gates->gates[i], now))
			gate = &gates->gates[i];
	if (gate == NULL && gates->used < FLOW_GATE_MAX)
		gate = &gates->gates[gates->used++];
	if (gate == NULL ||
		(gate->definition_id == definition_id && gate->step_no == step_no))
		return gate;

	memset(gate, 0, sizeof(FlowGate));
	gate->definition_id = definition_id;
	gate->step_no = step_no;
	gate->patience = CLOSED_AFTER;
	dlist_init(&gate->untried);
	dlist_init(&gate->met);
	return gate;
}

/* Nothing waits behind it, and nothing has for a while. */
static bool
is_stale(const FlowGate *gate, TimestampTz now)
{
	return gate->entries == 0 &&
		TimestampDifferenceExceeds(gate->until, now, 2 * MAX_DELAY);
}

bool
FlowGateIsClosed(const FlowGate *gate)
{
	return gate->blocked >= gate->patience;
}

void
FlowGateNoteBlocked(FlowGate *gate, TimestampTz now)
{
	gate->blocked = Min(gate->blocked + 1, CLOSED_AFTER_MAX);
	if (is_stale(gate, now))
		gate->delay = 0;
	gate->trying = false;
	push_back(gate, now);
}

static void
push_back(FlowGate *gate, TimestampTz now)
{
	gate->until = TimestampTzPlusMilliseconds(now, Max(gate->delay, MIN_DELAY));
}

bool
FlowGateNoteFree(FlowGate *gate, bool tried)
{
	gate->blocked = 0;
	if (tried)
	{
		gate->patience = gate->tried_met ? CLOSED_AFTER :
			Min(2 * gate->patience, CLOSED_AFTER_MAX);
		gate->delay = 0;
		gate->trying = false;
	}
	return tried;
}

FlowGate *
FlowGateDue(FlowGates *gates, TimestampTz now)
{
	for (int i = 0; i < gates->used; i++)
		if (gates->gates[i].entries > 0 && gates->gates[i].until <= now)
			return &gates->gates[i];
	return NULL;
}

TimestampTz
FlowGateNext(const FlowGates *gates)
{
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < gates->used; i++)
		if (gates->gates[i].entries > 0)
			next = Min(next, gates->gates[i].until);
	return next;
}

void
FlowGateAdd(FlowGate *gate, dlist_node *entry, bool met)
{
	dlist_push_tail(met ? &gate->met : &gate->untried, entry);
	gate->entries++;
}

/* Until it has told how it went, and if it never does, others have time. */
dlist_node *
FlowGateTry(FlowGate *gate, TimestampTz now)
{
	dlist_node *entry;

	gate->tried_met = dlist_is_empty(&gate->untried) ||
		(!gate->tried_met && !dlist_is_empty(&gate->met));
	entry = dlist_pop_head_node(gate->tried_met ? &gate->met : &gate->untried);
	gate->entries--;
	gate->delay = Min(Max(2 * gate->delay, MIN_DELAY), MAX_DELAY);
	push_back(gate, now);
	gate->trying = true;
	return entry;
}

/* It was of a run that has been cancelled, perhaps. */
void
FlowGateEndTry(FlowGate *gate, TimestampTz now)
{
	if (gate->trying)
		gate->until = now;
	gate->trying = false;
}

dlist_node *
FlowGateRemoveFree(FlowGate *gate)
{
	if (dlist_is_empty(&gate->untried) && !gate->tried_met)
		return NULL;
	return FlowGateRemove(gate);
}

dlist_node *
FlowGateRemove(FlowGate *gate)
{
	if (gate->entries == 0)
		return NULL;
	gate->entries--;
	return dlist_pop_head_node(dlist_is_empty(&gate->untried) ?
							   &gate->met : &gate->untried);
}
