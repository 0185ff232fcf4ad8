/*-------------------------------------------------------------------------
 * orphan.c
 *	  Commands whose worker is gone.
 *
 * A command runs outside of a transaction, so its end leaves no lock that could
 * tell that its process has died (engine/command.c).  The slots do: a worker
 * publishes what it runs before the commit that marks the step as its own, and
 * until its result is stored.  So who reads the marks first, and then the slots,
 * finds every worker that is alive.
 *
 * A worker that dies asks for a sweep, and a scheduler that starts begins with
 * one; these look, and those that are made now and then.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "catalog/cat_command.h"
#include "shmem/overdue.h"
#include "shmem/slot.h"
#include "worker/orphan.h"
#include "worker/scheduler.h"

static void orphan_body(int64 home, void *arg);
static bool has_overrun(int64 home, const FlowCommandRow *row);
static bool is_alive(const FlowCommandRow *row, const FlowSlotInfo *slots, int n);

void
FlowOrphanRun(void)
{
	(void) FlowSchedulerTry("look for commands that have died", orphan_body, NULL);
}

static void
orphan_body(int64 home, void *arg)
{
	List	   *commands = FlowCommandList(home);
	FlowSlotInfo *slots;
	ListCell   *cell;
	int			n;

	if (commands == NIL)
		return;
	slots = palloc(sizeof(FlowSlotInfo) * FLOW_MAX_SLOTS);
	n = FlowSlotList(slots, FLOW_MAX_SLOTS);
	foreach(cell, commands)
	{
		FlowCommandRow *row = lfirst(cell);

		if (!is_alive(row, slots, n) && !has_overrun(home, row) &&
			FlowCommandRelease(row))
			ereport(LOG,
					(errmsg("a command of run " INT64_FORMAT " was interrupted by the end of its process",
							row->key.run_id),
					 errdetail("Step number %d, attempt %d, is run again.",
							   row->key.step_no, row->attempt)));
	}
}

/*
 * Its worker was ended since it caught the cancel at its time limit.  The same
 * attempt is claimed once more, and fails instead of being made (obey_overdue in
 * engine/execute.c).
 */
static bool
has_overrun(int64 home, const FlowCommandRow *row)
{
	FlowOverdue overdue;

	if (!FlowOverdueFind(home, &row->key, row->attempt, &overdue))
		return false;
	(void) FlowCommandEnd(row, overdue.started_at, (Datum) 0);
	return true;
}

static bool
is_alive(const FlowCommandRow *row, const FlowSlotInfo *slots, int n)
{
	for (int i = 0; i < n; i++)
		if (slots[i].pid == row->worker && slots[i].busy &&
			slots[i].database == MyDatabaseId &&
			memcmp(&slots[i].key, &row->key, sizeof(FlowStepKey)) == 0)
			return true;
	return false;
}
