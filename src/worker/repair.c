/*-------------------------------------------------------------------------
 * repair.c
 *	  After a crash: who ran what, before anything runs again.
 *
 * The scheduler of a database reads the pages that the flight recorder has kept
 * of processes that died there, and stores them as rows of flow_internal.crash
 * before it starts a worker; a page is freed once its rows are on disk.  From
 * then on the workers act on them (engine/suspect.c).  The same goes for a
 * worker that ends in the middle of a step although nobody has asked it to,
 * without taking the server along.
 *
 * If crashes come one after the other and nothing gets done in between, the
 * launcher starts no scheduler for a while, so that somebody can connect.
 *
 * After a promotion this server may be here because the one before crashed on
 * a step that we have no note of, so the first of each step goes with care.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "catalog/cat_crash.h"
#include "shmem/facts.h"
#include "shmem/recorder.h"
#include "shmem/testpoint.h"
#include "worker/repair.h"
#include "worker/scheduler.h"

typedef struct Repair
{
	int			n;
	TimestampTz died_at;
	FlowRecord	records[FLOW_RECORD_MAX_STEPS];
} Repair;

static bool has_looked = false;

static bool store_pages(bool *found);
static void store_body(int64 home, void *arg);
static void report(const Repair *repair);
static void look_body(int64 home, void *arg);

bool
FlowRepairRun(bool look)
{
	bool		found = false;
	bool		promoted = false;

	if (!store_pages(&found))
		return false;
	if (!found && !look && has_looked)
		return true;
	if (!FlowSchedulerTransact("look for suspects", look_body, &promoted))
		return false;
	has_looked = true;
	if (!promoted)
		return true;
	FlowDatabaseSetPromoted(MyDatabaseId);
	ereport(LOG,
			(errmsg("flow goes on in database with OID %u on timeline %u, to which the server was promoted or restored",
					MyDatabaseId, GetWALInsertionTimeLine()),
			 errdetail("The first run of each step is made alone and with care.")));
	return true;
}

static bool
store_pages(bool *found)
{
	Repair	   *repair = palloc(sizeof(Repair));
	int			page;

	while ((page = FlowRecorderFind(MyDatabaseId, repair->records, &repair->n,
									&repair->died_at)) >= 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (!FlowSchedulerTransact("store what ran in a crash", store_body, repair))
			return false;
		report(repair);
		FLOW_TEST_POINT("repair-stored");
		FlowRecorderFree(page);
		*found = true;
	}
	pfree(repair);
	return true;
}

/*
 * It must outlive the next crash, which may come at once.  When that comes
 * before the page is freed, the same is stored again, which must not count.
 */
static void
store_body(int64 home, void *arg)
{
	Repair	   *repair = arg;
	FlowCrashNew rows[FLOW_RECORD_MAX_STEPS];

	for (int i = 0; i < repair->n; i++)
	{
		rows[i].key = repair->records[i].key;
		rows[i].definition_id = repair->records[i].definition_id;
		rows[i].charged = repair->records[i].charged;
	}
	FlowCrashInsert(home, repair->died_at, rows, repair->n);
	ForceSyncCommit();
	FLOW_TEST_POINT("repair-store");
}

static void
report(const Repair *repair)
{
	for (int i = 0; i < repair->n; i++)
	{
		const FlowRecord *record = &repair->records[i];

		if (record->charged)
			ereport(WARNING,
					(errcode(ERRCODE_CRASH_SHUTDOWN),
					 errmsg("a process went down while it ran step %d of run " INT64_FORMAT,
							record->key.step_no, record->key.run_id),
					 errdetail("In the database with OID %u.  The step is tried again alone; the second time it fails.",
							   MyDatabaseId),
					 errhint("Look at flow.attempt, and in the log for what ended the process.")));
	}
}

static void
look_body(int64 home, void *arg)
{
	bool	   *promoted = arg;

	FlowDatabaseSetWatched(MyDatabaseId, FlowCrashIsWatched(home));
	if (!has_looked)
		*promoted = FlowCrashNoteTimeline(home, GetWALInsertionTimeLine());
}

TimestampTz
FlowRepairHeldUntil(void)
{
	static TimestampTz reported = 0;
	TimestampTz until = FlowRecorderHeldUntil();

	if (until <= GetCurrentTimestamp())
		return 0;
	if (until == reported)
		return until;
	reported = until;
	if (TIMESTAMP_IS_NOEND(until))
		ereport(WARNING,
				(errcode(ERRCODE_CRASH_SHUTDOWN),
				 errmsg("workflows do not run after %d crashes in a row",
						FlowRecorderCrashes()),
				 errdetail("Nothing was completed between them."),
				 errhint("Look at the server's log for the cause; then, as a superuser: SELECT flow_release_all()")));
	else
		ereport(WARNING,
				(errcode(ERRCODE_CRASH_SHUTDOWN),
				 errmsg("workflows do not run for a while after %d crashes in a row",
						FlowRecorderCrashes()),
				 errdetail("Nothing was completed between them.  They go on at %s.",
						   timestamptz_to_str(until)),
				 errhint("See flow.crash_delay; or, as a superuser: SELECT flow_release_all()")));
	return until;
}
