/*-------------------------------------------------------------------------
 * share.c
 *	  The share that each workflow has in a lane of the ready queue.
 *
 * A share is what is queued of one workflow at one priority.  It says how many
 * entries that are, which place the next one gets, and from which step on
 * there are more in the table that found no room: so a lane is filled again
 * from exactly there, without a look at what lies before, dead or alive.
 *
 * Places are start-time fair queueing: one above the last place of the share,
 * or above the level's virtual time if that is later.  A level is all that is
 * queued at one priority.  Shares and levels without entries are forgotten;
 * nothing they know would change a place.
 *
 * All of it is protected by FlowShmemLock, which queue.c holds.  It is called
 * in commit callbacks, so the table is of fixed size and all of its memory
 * set aside at the start: entering an element returns NULL when none is left,
 * and never allocates or raises.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "utils/hsearch.h"

#include "shmem/share.h"

/* Workflows with a queued or refused step, times their priorities */
#define MAX_SHARES	8192

static HTAB *shares = NULL;

static FlowShare *get(FlowShareKey key);
static void update_hunger(FlowShareLane *lane, FlowShare *share);

Size
FlowShareShmemSize(void)
{
	return hash_estimate_size(MAX_SHARES, sizeof(FlowShare));
}

void
FlowShareShmemInit(void)
{
	HASHCTL		control = {
		.keysize = sizeof(FlowShareKey),
		.entrysize = sizeof(FlowShare)
	};

	shares = ShmemInitHash("flow shares", MAX_SHARES, MAX_SHARES, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

FlowShare *
FlowShareGet(int lane, int32 workflow_id, int32 priority)
{
	FlowShareKey key = {lane, workflow_id, priority};
	FlowShareKey level_key = {lane, FLOW_SHARE_LEVEL, priority};
	FlowShare  *share = get(key);

	if (share == NULL || share->level != NULL)
		return share;
	share->level = get(level_key);
	if (share->level != NULL)
	{
		share->level->entries++;
		return share;
	}
	(void) hash_search(shares, &key, HASH_REMOVE, NULL);
	return NULL;
}

static FlowShare *
get(FlowShareKey key)
{
	bool		found;
	FlowShare  *share = hash_search(shares, &key, HASH_ENTER_NULL, &found);

	if (share == NULL || found)
		return share;
	memset(share, 0, sizeof(FlowShare));
	share->key = key;
	return share;
}

void
FlowShareDrop(FlowShare *share)
{
	FlowShare  *level = share->level;

	if (share->entries > 0 || share->refused)
		return;
	(void) hash_search(shares, &share->key, HASH_REMOVE, NULL);
	if (--level->entries == 0)
		(void) hash_search(shares, &level->key, HASH_REMOVE, NULL);
}

void
FlowShareAdd(FlowShareLane *lane, FlowShare *share)
{
	share->entries++;
	update_hunger(lane, share);
}

void
FlowShareNoteAside(FlowShareLane *lane, FlowShare *share, int delta)
{
	share->aside += delta;
	update_hunger(lane, share);
}

uint64
FlowSharePlace(FlowShare *share)
{
	share->sequence = Max(share->level->sequence, share->sequence) + 1;
	return share->sequence;
}

void
FlowShareRemove(FlowShareLane *lane, FlowShare *share)
{
	share->entries--;
	update_hunger(lane, share);
	FlowShareDrop(share);
}

void
FlowShareNoteTaken(FlowShare *share, uint64 sequence)
{
	share->level->sequence = Max(share->level->sequence, sequence);
}

void
FlowShareRefuse(FlowShareLane *lane, FlowShare *share, const FlowStepKey *from)
{
	if (!share->refused || FlowShareCompareKeys(from, &share->from) < 0)
		share->from = *from;
	if (!share->refused)
	{
		share->refused = true;
		dlist_push_tail(&lane->refused, &share->by_lane);
		lane->n_refused++;
	}
	update_hunger(lane, share);
}

void
FlowShareForgive(FlowShareLane *lane, FlowShare *share)
{
	share->refused = false;
	dlist_delete(&share->by_lane);
	lane->n_refused--;
	update_hunger(lane, share);
	FlowShareDrop(share);
}

bool
FlowShareIsPastMark(const FlowShare *share, const FlowStepKey *key)
{
	return share->refused && FlowShareCompareKeys(key, &share->from) >= 0;
}

int
FlowShareCompareKeys(const FlowStepKey *a, const FlowStepKey *b)
{
	if (a->run_id != b->run_id)
		return a->run_id < b->run_id ? -1 : 1;
	if (a->step_no != b->step_no)
		return a->step_no < b->step_no ? -1 : 1;
	return (a->item_no > b->item_no) - (a->item_no < b->item_no);
}

static void
update_hunger(FlowShareLane *lane, FlowShare *share)
{
	bool		active = share->refused || share->entries > 0;
	bool		hungry;
	int			low;

	lane->n_active += active - share->active;
	share->active = active;
	low = Min(FLOW_SHARE_LOW_WATER, FLOW_SHARE_FILL_LIMIT / Max(lane->n_active, 1));
	hungry = share->refused && share->entries - share->aside < Max(low, 1) &&
		share->entries < FLOW_SHARE_FILL_LIMIT;
	lane->n_hungry += hungry - share->hungry;
	share->hungry = hungry;
}
