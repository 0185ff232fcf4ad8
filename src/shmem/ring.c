/*-------------------------------------------------------------------------
 * ring.c
 *	  A bounded ring of due times on their way to the schedulers.
 *
 * One array for all databases, in the order of the commits; a scheduler takes
 * its own entries and closes the gaps.  Entries of a database whose scheduler
 * rests stay until it starts.
 *
 * When there is no room, everything is dropped and a counter raised: each
 * scheduler that has not seen its present value reads its table.  Dropping
 * only what is new would be worse, since a database at rest could then keep
 * the ring full, and every commit of another one would cost a read.  Nobody
 * has to be woken for it: who has entries here has been asked for timers, or
 * rests and reads its table when it starts.
 *
 * Protected by FlowShmemLock.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "shmem/ring.h"
#include "shmem/shmem.h"

#define RING_SIZE	4096

typedef struct RingEntry
{
	Oid			database;
	FlowDue		due;
} RingEntry;

/* all of it protected by FlowShmemLock */
typedef struct Ring
{
	uint64		losses;			/* how often everything was dropped */
	int			n;
	RingEntry	entries[RING_SIZE];
} Ring;

static Ring *ring = NULL;

/* ring->losses when this process has last taken */
static uint64 losses_seen = 0;

Size
FlowRingShmemSize(void)
{
	return MAXALIGN(sizeof(Ring));
}

void
FlowRingShmemInit(void)
{
	bool		found;

	ring = ShmemInitStruct("flow ring", FlowRingShmemSize(), &found);
	if (!found)
		memset(ring, 0, sizeof(Ring));
}

void
FlowRingPut(Oid database, const FlowDue *dues, int n)
{
	if (!FlowShmemIsAvailable() || n <= 0)
		return;

	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	if (n > RING_SIZE - ring->n)
	{
		ring->n = 0;
		ring->losses++;
	}
	else
	{
		for (int i = 0; i < n; i++)
		{
			RingEntry  *entry = &ring->entries[ring->n++];

			entry->database = database;
			entry->due = dues[i];
		}
	}
	LWLockRelease(FlowShmemLock());
}

int
FlowRingTake(Oid database, FlowDue *dues, int max, bool *lost)
{
	int			taken = 0;
	int			kept = 0;

	if (!FlowShmemIsAvailable())
		return 0;

	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	for (int i = 0; i < ring->n; i++)
	{
		const RingEntry *entry = &ring->entries[i];

		if (entry->database == database && taken < max)
			dues[taken++] = entry->due;
		else if (kept++ < i)
			ring->entries[kept - 1] = *entry;
	}
	ring->n = kept;
	if (losses_seen != ring->losses)
	{
		losses_seen = ring->losses;
		*lost = true;
	}
	LWLockRelease(FlowShmemLock());
	return taken;
}
