/*-------------------------------------------------------------------------
 * overdue.c
 *	  Attempts that have met their time limit and are not recorded yet.
 *
 * A worker that had to be ended, since its step would not stop, cannot record
 * anything itself, and without a record the step would be run again for ever.
 * Any other records it in a transaction after the one that is aborted, and
 * whoever claims the step in between would run it once more, as long as it may.
 * So a note is left here before the abort, and before anybody else can claim.
 *
 * The latest few are kept, by number modulo size; a number of attempt is used
 * once, so a note that was obeyed needs no removal.  What a crash of the
 * server loses is found out again in another attempt.  Protected by a
 * spinlock, held for a few instructions.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "shmem/overdue.h"
#include "shmem/shmem.h"

#define OVERDUE_KEPT	64

typedef struct OverdueShared
{
	slock_t		mutex;			/* protects notes, and who may write count */
	pg_atomic_uint64 count;		/* number of notes so far */
	FlowOverdue notes[OVERDUE_KEPT];
} OverdueShared;

static OverdueShared *shared = NULL;

static bool is_of(const FlowOverdue *overdue, int64 home,
				  const FlowStepKey *key, int32 attempt);

Size
FlowOverdueShmemSize(void)
{
	return MAXALIGN(sizeof(OverdueShared));
}

void
FlowOverdueShmemInit(void)
{
	bool		found;

	shared = ShmemInitStruct("flow overdue", FlowOverdueShmemSize(), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(OverdueShared));
	SpinLockInit(&shared->mutex);
	pg_atomic_init_u64(&shared->count, 0);
}

void
FlowOverdueNote(const FlowOverdue *overdue)
{
	uint64		count;

	if (!FlowShmemIsAvailable())
		return;
	SpinLockAcquire(&shared->mutex);
	count = pg_atomic_read_u64(&shared->count);
	shared->notes[count % OVERDUE_KEPT] = *overdue;
	pg_atomic_write_u64(&shared->count, count + 1);
	SpinLockRelease(&shared->mutex);
}

/* Who has claimed the step has locked its row after the note was made. */
bool
FlowOverdueFind(int64 home, const FlowStepKey *key, int32 attempt,
				FlowOverdue *out)
{
	bool		found = false;
	int			n;

	if (!FlowShmemIsAvailable() || pg_atomic_read_u64(&shared->count) == 0)
		return false;
	SpinLockAcquire(&shared->mutex);
	n = Min(pg_atomic_read_u64(&shared->count), OVERDUE_KEPT);
	for (int i = 0; i < n && !found; i++)
		if (is_of(&shared->notes[i], home, key, attempt))
		{
			*out = shared->notes[i];
			found = true;
		}
	SpinLockRelease(&shared->mutex);
	return found;
}

static bool
is_of(const FlowOverdue *overdue, int64 home, const FlowStepKey *key,
	  int32 attempt)
{
	return overdue->key.run_id == key->run_id &&
		overdue->key.step_no == key->step_no &&
		overdue->key.item_no == key->item_no &&
		overdue->attempt == attempt && overdue->home == home;
}
