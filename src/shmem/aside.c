/*-------------------------------------------------------------------------
 * aside.c
 *	  Steps behind somebody's lock: who waits, who gives up, what is set
 *	  aside.
 *
 * A worker whose step waits for a lock may go on waiting as long as others of
 * its lane are free.  It gives up when something is queued that nobody would
 * take, or when another worker waits in the same step already: the run is set
 * aside behind a gate (gate.c), and one of those there is tried now and then.
 *
 * Whether to give up is decided in a signal handler, in the middle of the wait:
 * it only reads, without the lock, and writes what is its own worker's.  It may
 * be wrong by a moment, and looks again a moment later.  The rest is protected
 * by FlowShmemLock(), which the externs take.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/proc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "shmem/aside.h"
#include "shmem/database.h"
#include "shmem/lane.h"
#include "shmem/shmem.h"

/* This process's own, while it waits for a lock; else NULL */
static volatile FlowLaneWorker *waiting = NULL;

static bool is_short_of_workers(const FlowLane *lane);
static bool waits_in(const volatile FlowLaneWorker *worker, int32 definition_id,
					 int32 step_no);

bool
FlowAsideNoteWaiting(int lane, int32 definition_id, int32 step_no,
					 TimestampTz since)
{
	volatile FlowLaneWorker *workers = FlowLaneWorkers();
	bool		all_wait = true;
	bool		follows = false;

	waiting = NULL;
	for (int i = 0; i < FLOW_QUEUE_WORKERS; i++)
	{
		volatile FlowLaneWorker *worker = &workers[i];

		if (worker->lane != lane)
			continue;
		if (worker->procno == FlowMyProcNumber())
		{
			waiting = worker;
			worker->definition_id = definition_id;
			worker->step_no = step_no;
			worker->waiting_since = since;
		}
		else if (worker->waiting_since == 0)
			all_wait = false;
		else if (waits_in(worker, definition_id, step_no))
			follows |= worker->waiting_since < since ||
				(worker->waiting_since == since && waiting == NULL);
	}
	if (waiting == NULL)
		return false;
	if (FlowQueueWorkerTotal() >= FlowWorkers && FlowDatabaseIsWanted())
		return true;
	return (all_wait || follows || FlowLanePeek(lane)->turn == FlowMyProcNumber()) &&
		is_short_of_workers(FlowLanePeek(lane));
}

/* Is there something that nobody takes? */
static bool
is_short_of_workers(const FlowLane *lane)
{
	if (((const volatile FlowLane *) lane)->idle > 0)
		return false;
	if (lane->turn == FlowMyProcNumber() && lane->turn_entries > 0)
		return true;
	return FlowLaneTakeable(lane, GetCurrentTimestamp()) > 0;
}

static bool
waits_in(const volatile FlowLaneWorker *worker, int32 definition_id,
		 int32 step_no)
{
	return worker->waiting_since != 0 &&
		worker->definition_id == definition_id && worker->step_no == step_no;
}

void
FlowAsideNoteGoingOn(void)
{
	if (waiting != NULL)
		waiting->waiting_since = 0;
	waiting = NULL;
}

bool
FlowAsideNoteBlocked(int lane, int32 definition_id, int32 step_no)
{
	TimestampTz now = GetCurrentTimestamp();
	FlowLane   *at = FlowLaneLock(lane);
	FlowGate   *gate;
	bool		closed = false;

	if (at == NULL)
		return false;
	gate = FlowGateMake(&at->gates, definition_id, step_no, now);
	if (gate != NULL)
	{
		FlowGateNoteBlocked(gate, now);
		closed = FlowGateIsClosed(gate);
	}
	LWLockRelease(FlowShmemLock());
	return closed;
}

bool
FlowAsideSetAside(int lane, const FlowReady *ready)
{
	TimestampTz now = GetCurrentTimestamp();
	FlowLane   *at = FlowLaneLock(lane);
	FlowGate   *gate;
	FlowLaneEntry *entry = NULL;

	if (at == NULL)
		return false;
	gate = FlowGateFind(&at->gates, ready->definition_id, ready->key.step_no);
	if (gate != NULL)
		entry = FlowLaneMakeEntry(at, ready, now);
	if (entry != NULL)
		FlowLaneAddAside(at, gate, entry, true);
	LWLockRelease(FlowShmemLock());
	return entry != NULL;
}

bool
FlowAsidePopTry(int lane, FlowReady *entry)
{
	TimestampTz now = GetCurrentTimestamp();
	FlowGate   *gate;
	FlowLane   *from;

	if (FlowAsideNextTry(lane) > now)
		return false;
	from = FlowLaneLock(lane);
	gate = FlowGateDue(&from->gates, now);
	if (gate != NULL)
	{
		FlowLaneEntry *tried = dlist_container(FlowLaneEntry, by_age,
											   FlowGateTry(gate, now));

		*entry = tried->ready;
		FlowLaneNoteNotAside(from, tried);
		FlowLaneFreeEntry(from, tried);
	}
	LWLockRelease(FlowShmemLock());
	return gate != NULL;
}

void
FlowAsideEndTry(int lane, const FlowReady *entry)
{
	FlowLane   *at = FlowLaneLock(lane);
	FlowGate   *gate;

	if (at == NULL)
		return;
	gate = FlowGateFind(&at->gates, entry->definition_id, entry->key.step_no);
	if (gate != NULL)
		FlowGateEndTry(gate, GetCurrentTimestamp());
	LWLockRelease(FlowShmemLock());
}

/* Almost always there is no such gate, and no lock is needed to see that. */
void
FlowAsideNoteFree(int lane, int32 definition_id, int32 step_no, bool tried)
{
	FlowLane   *at;
	FlowGate   *gate;
	dlist_node *node;

	if (FlowLanePeek(lane) == NULL ||
		FlowGateFind(&FlowLanePeek(lane)->gates, definition_id, step_no) == NULL)
		return;
	at = FlowLaneLock(lane);
	gate = FlowGateFind(&at->gates, definition_id, step_no);
	if (gate != NULL && FlowGateNoteFree(gate, tried))
		while ((node = FlowGateRemoveFree(gate)) != NULL)
		{
			FlowLaneEntry *entry = dlist_container(FlowLaneEntry, by_age, node);

			FlowLaneNoteNotAside(at, entry);
			FlowLaneEnqueue(at, entry);
		}
	LWLockRelease(FlowShmemLock());
}

bool
FlowAsideIsClosed(int lane, int32 definition_id, int32 step_no)
{
	FlowGate   *gate;

	if (FlowLanePeek(lane) == NULL)
		return false;
	gate = FlowGateFind(&FlowLanePeek(lane)->gates, definition_id, step_no);
	return gate != NULL && FlowGateIsClosed(gate);
}

TimestampTz
FlowAsideNextTry(int lane)
{
	if (FlowLanePeek(lane) == NULL)
		return DT_NOEND;
	return FlowGateNext(&FlowLanePeek(lane)->gates);
}
