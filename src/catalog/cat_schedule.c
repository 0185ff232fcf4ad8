/*-------------------------------------------------------------------------
 * cat_schedule.c
 *	  Schedules, and what was decided for each of their slots.
 *
 * A schedule's row is locked before its slot is decided and before the run is
 * started, so it comes before everything in the lock order of catalog.h; who
 * holds it waits for nothing that another holder of it could want.  The
 * primary key on (schedule, slot) is what makes at most one run per slot true
 * under every isolation level.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_schedule.h"

static FlowStatement lock_schedule = {
	.sql = "SELECT s.name, s.home, s.owner, s.owner_name, s.job_id, s.cron,"
	" s.workflow_id, s.input, s.overlap, s.catchup, w.name, w.enabled"
	" FROM flow_internal.schedule s"
	" LEFT JOIN flow_internal.workflow w ON w.id = s.workflow_id AND w.dropped_at IS NULL"
	" WHERE s.name = $1"
	" FOR NO KEY UPDATE OF s",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {TEXTOID}
};

static FlowStatement save = {
	.sql = "INSERT INTO flow_internal.schedule AS s"
	" (name, home, owner, owner_name, job_id, cron, workflow_id, input, overlap, catchup)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	" ON CONFLICT (name) DO UPDATE"
	" SET home = excluded.home, owner = excluded.owner, owner_name = excluded.owner_name,"
	" job_id = excluded.job_id, cron = excluded.cron,"
	" workflow_id = excluded.workflow_id, input = excluded.input,"
	" overlap = excluded.overlap, catchup = excluded.catchup"
	" WHERE s.owner = excluded.owner OR s.home <> excluded.home",
	.expect = SPI_OK_INSERT,
	.nargs = 10,
	.argtypes = {TEXTOID, INT8OID, OIDOID, TEXTOID, INT8OID, TEXTOID, INT4OID,
	JSONBOID, TEXTOID, TEXTOID}
};

static FlowStatement delete_schedule = {
	.sql = "DELETE FROM flow_internal.schedule WHERE name = $1",
	.expect = SPI_OK_DELETE,
	.nargs = 1,
	.argtypes = {TEXTOID}
};

static FlowStatement delete_slots = {
	.sql = "DELETE FROM flow_internal.schedule_slot WHERE schedule = $1",
	.expect = SPI_OK_DELETE,
	.nargs = 1,
	.argtypes = {TEXTOID}
};

static FlowStatement find_slot = {
	.sql = "SELECT d.decision, d.reason, d.run_id"
	" FROM flow_internal.schedule_slot d"
	" WHERE d.schedule = $1 AND d.slot = $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {TEXTOID, TIMESTAMPTZOID}
};

static FlowStatement insert_slot = {
	.sql = "INSERT INTO flow_internal.schedule_slot"
	" (schedule, slot, decision, reason, run_id, at)"
	" VALUES ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp())",
	.expect = SPI_OK_INSERT,
	.nargs = 5,
	.argtypes = {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID}
};

static FlowStatement find_unfinished = {
	.sql = "SELECT r.id FROM"
	" (SELECT d.run_id FROM flow_internal.schedule_slot d"
	" WHERE d.schedule = $1 AND d.decision = 'started'"
	" ORDER BY d.slot DESC LIMIT 1) AS last"
	" JOIN flow_internal.run r ON r.id = last.run_id"
	" WHERE r.status NOT IN ('completed', 'failed', 'cancelled')",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {TEXTOID}
};

static FlowStatement mark_run = {
	.sql = "UPDATE flow_internal.run SET schedule = $2 WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static FlowStatement list_of_workflow = {
	.sql = "SELECT s.name, s.home, s.owner, s.owner_name, s.job_id, s.cron,"
	" s.workflow_id, s.input, s.overlap, s.catchup, w.name, w.enabled"
	" FROM flow_internal.schedule s"
	" JOIN flow_internal.workflow w ON w.id = s.workflow_id"
	" WHERE s.workflow_id = $1 AND s.home = $2"
	" ORDER BY s.name COLLATE \"C\"",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, INT8OID}
};

static FlowSchedule *schedule_of_row(HeapTuple row);

FlowSchedule *
FlowScheduleLock(const char *name)
{
	Datum		values[] = {CStringGetTextDatum(name)};
	FlowSchedule *schedule = NULL;

	if (FlowStatementExecute(&lock_schedule, values, NULL) > 0)
		schedule = schedule_of_row(SPI_tuptable->vals[0]);
	SPI_freetuptable(SPI_tuptable);
	return schedule;
}

static FlowSchedule *
schedule_of_row(HeapTuple row)
{
	FlowSchedule *schedule = palloc0(sizeof(FlowSchedule));
	bool		isnull;

	schedule->name = FlowRowText(row, 1);
	schedule->home = FlowRowInt64(row, 2);
	schedule->owner_name = FlowRowText(row, 4);
	schedule->owner = FlowInstallLocalRole(schedule->home, FlowRowOid(row, 3),
										   schedule->owner_name);
	schedule->job_id = FlowRowInt64(row, 5);
	schedule->cron = FlowRowText(row, 6);
	schedule->workflow_id = FlowRowInt32(row, 7);
	schedule->input = FlowRowDatum(row, 8, &isnull);
	schedule->overlap = FlowRowText(row, 9);
	schedule->catchup = FlowRowText(row, 10);
	schedule->workflow = FlowRowText(row, 11);
	schedule->enabled = FlowRowBool(row, 12);
	return schedule;
}

List *
FlowScheduleListOf(int32 workflow_id)
{
	Datum		values[] = {Int32GetDatum(workflow_id),
	Int64GetDatum(FlowInstallRequire()->home)};
	uint64		n = FlowStatementExecute(&list_of_workflow, values, NULL);
	List	   *schedules = NIL;

	for (uint64 i = 0; i < n; i++)
		schedules = lappend(schedules, schedule_of_row(SPI_tuptable->vals[i]));
	SPI_freetuptable(SPI_tuptable);
	return schedules;
}

bool
FlowScheduleSave(const FlowSchedule *schedule)
{
	Datum		values[] = {
		CStringGetTextDatum(schedule->name),
		Int64GetDatum(schedule->home),
		ObjectIdGetDatum(schedule->owner),
		CStringGetTextDatum(schedule->owner_name),
		Int64GetDatum(schedule->job_id),
		CStringGetTextDatum(schedule->cron),
		Int32GetDatum(schedule->workflow_id),
		schedule->input,
		CStringGetTextDatum(schedule->overlap),
		CStringGetTextDatum(schedule->catchup)
	};

	return FlowStatementExecute(&save, values, NULL) > 0;
}

void
FlowScheduleDelete(const char *name)
{
	Datum		values[] = {CStringGetTextDatum(name)};

	(void) FlowStatementExecute(&delete_slots, values, NULL);
	(void) FlowStatementExecute(&delete_schedule, values, NULL);
}

bool
FlowScheduleSlotFind(const char *name, TimestampTz slot,
					 FlowSlotDecision *decision)
{
	Datum		values[] = {CStringGetTextDatum(name), TimestampTzGetDatum(slot)};
	bool		found = FlowStatementExecute(&find_slot, values, NULL) > 0;

	if (found)
	{
		HeapTuple	row = SPI_tuptable->vals[0];

		decision->decision = FlowRowText(row, 1);
		decision->reason = FlowRowText(row, 2);
		decision->run_id = FlowRowInt64(row, 3);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
FlowScheduleSlotInsert(const char *name, TimestampTz slot,
					   const FlowSlotDecision *decision)
{
	bool		nulls[] = {false, false, false,
	decision->reason == NULL, decision->run_id == 0};
	Datum		values[] = {
		CStringGetTextDatum(name),
		TimestampTzGetDatum(slot),
		CStringGetTextDatum(decision->decision),
		decision->reason ? CStringGetTextDatum(decision->reason) : (Datum) 0,
		Int64GetDatum(decision->run_id)
	};

	(void) FlowStatementExecute(&insert_slot, values, nulls);
}

int64
FlowScheduleUnfinishedRun(const char *name)
{
	Datum		values[] = {CStringGetTextDatum(name)};
	int64		run_id = 0;

	if (FlowStatementExecute(&find_unfinished, values, NULL) > 0)
		run_id = FlowRowInt64(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return run_id;
}

void
FlowScheduleMarkRun(int64 run_id, const char *name)
{
	Datum		values[] = {Int64GetDatum(run_id), CStringGetTextDatum(name)};

	(void) FlowStatementExecute(&mark_run, values, NULL);
}
