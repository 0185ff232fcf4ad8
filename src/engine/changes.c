/*-------------------------------------------------------------------------
 * changes.c
 *	  What is about to be written, gathered so that few statements do it.
 *
 * A flush, and a control function, decide first and write then; a batch of a
 * hundred steps is written with half a dozen statements.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "catalog/cat_key.h"
#include "engine/changes.h"
#include "shmem/wake.h"

static void init_rows(FlowRows *rows, Size size);
static void release_keys(FlowChanges *changes);
static void note_wakes(FlowChanges *changes);

void
FlowChangesInit(FlowChanges *changes)
{
	init_rows(&changes->outcomes, sizeof(FlowOutcomeRow));
	init_rows(&changes->attempts, sizeof(FlowAttemptRow));
	init_rows(&changes->deletes, sizeof(ItemPointerData));
	init_rows(&changes->holds, sizeof(ItemPointerData));
	init_rows(&changes->sleeps, sizeof(FlowTaskNew));
	init_rows(&changes->inserts, sizeof(FlowTaskNew));
	init_rows(&changes->missing, sizeof(FlowTaskNew));
	init_rows(&changes->ends, sizeof(FlowRunEnd));
	init_rows(&changes->events, sizeof(FlowEventRow));
}

static void
init_rows(FlowRows *rows, Size size)
{
	rows->rows = NULL;
	rows->size = size;
	rows->n = 0;
	rows->room = 0;
}

void
FlowRowsAdd(FlowRows *rows, const void *row)
{
	if (rows->n == rows->room)
	{
		rows->room = Max(16, rows->room * 2);
		rows->rows = rows->rows == NULL
			? palloc(rows->size * rows->room)
			: repalloc(rows->rows, rows->size * rows->room);
	}
	memcpy(rows->rows + rows->size * rows->n++, row, rows->size);
}

bool
FlowChangesDeletes(const FlowChanges *changes, const ItemPointerData *tid)
{
	ItemPointerData *deletes = (ItemPointerData *) changes->deletes.rows;

	for (int i = 0; i < changes->deletes.n; i++)
		if (ItemPointerEquals(&deletes[i], unconstify(ItemPointerData *, tid)))
			return true;
	return false;
}

void
FlowChangesWrite(FlowChanges *changes)
{
	FlowTaskDelete((ItemPointerData *) changes->deletes.rows, changes->deletes.n);
	FlowTaskHoldBack((ItemPointerData *) changes->holds.rows, changes->holds.n);
	FlowOutcomeInsert((FlowOutcomeRow *) changes->outcomes.rows,
					  changes->outcomes.n);
	FlowAttemptInsert((FlowAttemptRow *) changes->attempts.rows,
					  changes->attempts.n);
	FlowTaskSleep((FlowTaskNew *) changes->sleeps.rows, changes->sleeps.n);
	FlowTaskInsert((FlowTaskNew *) changes->inserts.rows, changes->inserts.n);
	FlowTaskInsertMissing((FlowTaskNew *) changes->missing.rows, changes->missing.n);
	FlowRunEndAll((FlowRunEnd *) changes->ends.rows, changes->ends.n);
	release_keys(changes);
	FlowEventInsert((FlowEventRow *) changes->events.rows, changes->events.n);
	note_wakes(changes);
}

static void
release_keys(FlowChanges *changes)
{
	FlowRunEnd *ends = (FlowRunEnd *) changes->ends.rows;

	for (int i = 0; i < changes->ends.n; i++)
		if (ends[i].key != NULL)
			FlowRunKeyRelease(ends[i].workflow_id, ends[i].key, ends[i].id);
}

static void
note_wakes(FlowChanges *changes)
{
	FlowTaskNew *sleeps = (FlowTaskNew *) changes->sleeps.rows;
	FlowRunEnd *ends = (FlowRunEnd *) changes->ends.rows;

	for (int i = 0; i < changes->sleeps.n; i++)
		if (!TIMESTAMP_IS_NOBEGIN(sleeps[i].due_at))
			FlowWakeNoteDue(&sleeps[i].key, sleeps[i].due_at);
	for (int i = 0; i < changes->ends.n; i++)
		FlowWakeNoteEnded(ends[i].id);
	if (changes->events.n > 0)
		FlowWakeNoteEvents();
}
