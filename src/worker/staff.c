/*-------------------------------------------------------------------------
 * staff.c
 *	  Start workers for roles that have work, within flow.workers.
 *
 * A role gets its first worker at once and a further one when steps have
 * waited a moment although the others are busy.  When all places are taken,
 * a role without a worker is counted as wanting one; any worker that has
 * held its place for a while sees that and ends, and its end brings us here
 * again.  The role served longest ago comes first.
 *
 * A worker's failure to connect is a FATAL nobody sees, so whether the role
 * may connect is looked up before, at most once a minute for a role that may
 * not; a role whose workers end at once and leave work behind is served ever
 * more rarely.
 *
 * Places are counted in shared memory, under its lock: taken first and given
 * back when there were too many, so that two schedulers never exceed the
 * limit together.
 *
 * A role whose workers cannot keep up gets the place of one that has nothing
 * to do elsewhere.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "shmem/database.h"
#include "shmem/facts.h"
#include "shmem/queue.h"
#include "shmem/testpoint.h"
#include "worker/scheduler.h"
#include "worker/staff.h"
#include "worker/worker.h"

#define STAFF_MAX			64	/* workers of one database we watch */
#define STAFF_PATIENCE		5	/* ms that steps wait for a busy worker */
#define STAFF_FLEETING		200 /* ms; a worker that lived shorter failed */
#define STAFF_MIN_DELAY		50	/* ms until the next try after a failure */
#define STAFF_MAX_DELAY		10000
#define STAFF_REFUSED_DELAY 10000	/* ms, when the role may not connect */
#define STAFF_RETRY			1000	/* ms, when there was no place */

/* A worker we have registered and not yet seen end */
typedef struct StaffWorker
{
	BackgroundWorkerHandle *handle;
	Oid			role;
	TimestampTz registered_at;
} StaffWorker;

/* What we know of a role */
typedef struct StaffRole
{
	Oid			role;			/* hash key */
	TimestampTz served_at;		/* when its last worker was registered */
	TimestampTz not_before;		/* no worker before */
	int			delay;			/* ms, of the last failure; 0: none */
	bool		refused;		/* said in the log */
} StaffRole;

/* Why a role may have no worker */
typedef struct StaffCheck
{
	Oid			role;
	const char *reason;			/* NULL: it may */
	const char *hint;
	char		name[NAMEDATALEN];
} StaffCheck;

static StaffWorker staff[STAFF_MAX];
static int	n_staff = 0;
static HTAB *roles = NULL;
static TimestampTz staff_next = DT_NOEND;
static TimestampTz no_slot_since = DT_NOEND;
static bool slot_complaint = false;
static bool is_crowded = false; /* steps wait behind the workers of their
								 * role, while one of another has nothing to
								 * do */

static void forget_ended(const FlowLaneInfo *lanes, int n, TimestampTz now);
static const FlowLaneInfo *find_lane(const FlowLaneInfo *lanes, int n, Oid role);
static void note_end(const StaffWorker *worker, bool left_work,
					 TimestampTz now);
static void return_places(FlowLaneInfo *lane);
static StaffRole *find_role(Oid role);
static int	compare_lanes(const void *a, const void *b);
static bool serve(const FlowLaneInfo *lane, TimestampTz now);
static int	workers_needed(const FlowLaneInfo *lane, TimestampTz now);
static bool may_work(StaffRole *role, TimestampTz now);
static void check_body(int64 home, void *arg);
static void check_role(StaffCheck *check, Form_pg_authid role);
static bool database_accepts(void);
static bool start_worker(const FlowLaneInfo *lane, TimestampTz now);
static void note_no_slot(TimestampTz now);
static void release_idle(int n_wanted);
static bool has_idle(void);
static void wake_at(TimestampTz time);

void
FlowStaffReset(void)
{
	HASHCTL		control = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(StaffRole),
		.hcxt = TopMemoryContext
	};
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	int			n = FlowQueueLanes(MyDatabaseId, lanes, FLOW_MAX_LANES);

	roles = hash_create("flow roles", 16, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	/* a scheduler that died left places taken for workers that never came */
	for (int i = 0; i < n; i++)
		if (lanes[i].starting > 0)
			FlowQueueWorkerStarting(lanes[i].lane, -lanes[i].starting);
}

void
FlowStaffForgive(void)
{
	HASH_SEQ_STATUS status;
	StaffRole  *role;

	hash_seq_init(&status, roles);
	while ((role = hash_seq_search(&status)) != NULL)
		if (role->refused)
			role->not_before = 0;
}

void
FlowStaffRun(void)
{
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	TimestampTz now = GetCurrentTimestamp();
	int			wanted = 0;
	int			n;

	staff_next = DT_NOEND;
	is_crowded = false;
	n = FlowQueueLanes(MyDatabaseId, lanes, FLOW_MAX_LANES);
	forget_ended(lanes, n, now);
	for (int i = 0; i < n; i++)
		return_places(&lanes[i]);
	qsort(lanes, n, sizeof(FlowLaneInfo), compare_lanes);
	for (int i = 0; i < n; i++)
		if (!serve(&lanes[i], now) && lanes[i].workers == 0)
			wanted++;
	if (wanted == 0 && is_crowded)
		wanted = 1;
	FlowDatabaseSetWanted(MyDatabaseId, wanted);
	if (wanted > 0)
	{
		release_idle(wanted);
		wake_at(TimestampTzPlusMilliseconds(now, STAFF_RETRY));
	}
}

TimestampTz
FlowStaffNext(void)
{
	return staff_next;
}

bool
FlowStaffShouldGiveWay(void)
{
	int			total = FlowQueueWorkerTotal();

	return total > FlowWorkers ||
		(total == FlowWorkers && FlowDatabaseWanted() > 0);
}

static void
forget_ended(const FlowLaneInfo *lanes, int n, TimestampTz now)
{
	int			kept = 0;
	pid_t		pid;

	for (int i = 0; i < n_staff; i++)
	{
		const FlowLaneInfo *lane = find_lane(lanes, n, staff[i].role);

		if (GetBackgroundWorkerPid(staff[i].handle, &pid) != BGWH_STOPPED)
		{
			staff[kept++] = staff[i];
			continue;
		}
		note_end(&staff[i], lane != NULL && lane->entries > 0, now);
		pfree(staff[i].handle);
	}
	n_staff = kept;
}

static const FlowLaneInfo *
find_lane(const FlowLaneInfo *lanes, int n, Oid role)
{
	for (int i = 0; i < n; i++)
		if (lanes[i].role == role)
			return &lanes[i];
	return NULL;
}

static void
note_end(const StaffWorker *worker, bool left_work, TimestampTz now)
{
	StaffRole  *role = find_role(worker->role);

	if (!left_work || TimestampDifferenceExceeds(worker->registered_at, now,
												 STAFF_FLEETING))
	{
		role->delay = 0;
		return;
	}
	role->delay = role->delay == 0 ? STAFF_MIN_DELAY :
		Min(role->delay * 2, STAFF_MAX_DELAY);
	role->not_before = TimestampTzPlusMilliseconds(now, role->delay);
}

/*
 * A worker gives its place back itself, however it ends; but one that the
 * postmaster could not even fork does not.
 */
static void
return_places(FlowLaneInfo *lane)
{
	int			alive = 0;

	for (int i = 0; i < n_staff; i++)
		if (staff[i].role == lane->role)
			alive++;
	if (lane->starting > alive)
	{
		FlowQueueWorkerStarting(lane->lane, alive - lane->starting);
		lane->starting = alive;
	}
}

static StaffRole *
find_role(Oid role)
{
	bool		found;
	StaffRole  *entry = hash_search(roles, &role, HASH_ENTER, &found);

	if (!found)
	{
		memset(entry, 0, sizeof(StaffRole));
		entry->role = role;
	}
	return entry;
}

/* Roles without a worker first; of these, the one served longest ago. */
static int
compare_lanes(const void *a, const void *b)
{
	const FlowLaneInfo *x = a;
	const FlowLaneInfo *y = b;
	TimestampTz x_served = find_role(x->role)->served_at;
	TimestampTz y_served = find_role(y->role)->served_at;

	if ((x->workers > 0) != (y->workers > 0))
		return x->workers > 0 ? 1 : -1;
	if (x_served != y_served)
		return x_served < y_served ? -1 : 1;
	return x->oldest < y->oldest ? -1 : (x->oldest > y->oldest ? 1 : 0);
}

/* Returns false if the lane should have a worker and there is no place. */
static bool
serve(const FlowLaneInfo *lane, TimestampTz now)
{
	StaffRole  *role = find_role(lane->role);
	int			needed = workers_needed(lane, now);

	if (needed == 0)
		return true;
	if (lane->workers > 0 && FlowDatabaseWanted() > 0)
	{
		wake_at(TimestampTzPlusMilliseconds(now, STAFF_PATIENCE));
		return true;
	}
	if (role->not_before > now)
	{
		wake_at(role->not_before);
		return true;
	}
	if (FlowWorkers == 0 || n_staff == STAFF_MAX || !may_work(role, now))
		return true;
	if (!start_worker(lane, now))
		return false;
	while (--needed > 0 && n_staff < STAFF_MAX &&
		   FlowQueueWorkerTotal() < FlowWorkers)
		if (!start_worker(lane, now))
			break;
	return true;
}

/*
 * The first worker comes at once; further ones when an entry has waited for a
 * while, then one for each.
 */
static int
workers_needed(const FlowLaneInfo *lane, TimestampTz now)
{
	TimestampTz patience;

	if (lane->idle == 0 && lane->next_try > now)
		wake_at(lane->next_try);
	if (lane->takeable <= lane->starting)
		return 0;
	if (lane->idle > 0)
	{
		(void) FlowQueueWake(lane->lane, lane->takeable);
		return 0;
	}
	if (lane->workers + lane->starting == 0)
	{
		wake_at(TimestampTzPlusMilliseconds(now, STAFF_PATIENCE));
		return 1;
	}
	if (FlowQueueWorkerTotal() >= FlowWorkers && !has_idle())
		return 0;
	patience = TimestampTzPlusMilliseconds(lane->oldest, STAFF_PATIENCE);
	if (patience > now)
	{
		wake_at(patience);
		return 0;
	}
	if (FlowQueueWorkerTotal() >= FlowWorkers)
	{
		is_crowded = true;
		return 0;
	}
	return lane->takeable - lane->starting;
}

/* May this role have a worker?  If not, says so once. */
static bool
may_work(StaffRole *role, TimestampTz now)
{
	StaffCheck	check = {.role = role->role};

	if (!FlowSchedulerTry("look up a role", check_body, &check))
		return false;
	if (check.reason == NULL)
	{
		role->refused = false;
		return true;
	}
	role->not_before = TimestampTzPlusMilliseconds(now, STAFF_REFUSED_DELAY);
	wake_at(role->not_before);
	if (!role->refused)
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("workflows of role \"%s\" do not run: %s",
						check.name, check.reason),
				 errdetail("Their runs wait; flow.stuck shows them."),
				 errhint("%s", check.hint)));
	role->refused = true;
	return false;
}

static void
check_body(int64 home, void *arg)
{
	StaffCheck *check = arg;
	HeapTuple	tuple;

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(check->role));
	if (!HeapTupleIsValid(tuple))
	{
		snprintf(check->name, NAMEDATALEN, "%u", check->role);
		check->reason = "it does not exist";
		check->hint = "As a superuser, use flow_cancel() on its runs, or flow_drop() on its workflows.";
		return;
	}
	check_role(check, (Form_pg_authid) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
}

static void
check_role(StaffCheck *check, Form_pg_authid role)
{
	strlcpy(check->name, NameStr(role->rolname), NAMEDATALEN);
	if (FLOW_OWNER_MUST_LOG_IN && !role->rolcanlogin)
	{
		check->reason = "it may not log in";
		check->hint = "Use ALTER ROLE ... LOGIN; it needs no password.";
	}
	else if (role->rolsuper && !FlowAllowSuperuser)
	{
		check->reason = "it is a superuser";
		check->hint = "Let an ordinary role own them, or set flow.allow_superuser.";
	}
	else if (FlowDatabaseAclCheck(MyDatabaseId, check->role,
								  ACL_CONNECT) != ACLCHECK_OK)
	{
		check->reason = "it may not connect to the database";
		check->hint = "Use GRANT CONNECT ON DATABASE.";
	}
	else if (!database_accepts())
	{
		check->reason = "the database accepts no connections";
		check->hint = "Use ALTER DATABASE ... ALLOW_CONNECTIONS true.";
	}
}

static bool
database_accepts(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(MyDatabaseId));
	bool		accepts;

	if (!HeapTupleIsValid(tuple))
		return false;
	accepts = ((Form_pg_database) GETSTRUCT(tuple))->datallowconn;
	ReleaseSysCache(tuple);
	return accepts;
}

/* Returns false if there was no place. */
static bool
start_worker(const FlowLaneInfo *lane, TimestampTz now)
{
	FlowWorkerArgs args = {MyDatabaseId, lane->role};
	StaffWorker *worker = &staff[n_staff];
	MemoryContext caller;

	FlowQueueWorkerStarting(lane->lane, 1);
	if (FlowQueueWorkerTotal() > FlowWorkers)
	{
		FlowQueueWorkerStarting(lane->lane, -1);
		return false;
	}
	FLOW_TEST_POINT("staff-start");
	caller = MemoryContextSwitchTo(TopMemoryContext);
	worker->handle = FlowWorkerRegister(args);
	MemoryContextSwitchTo(caller);
	if (worker->handle == NULL)
	{
		FlowQueueWorkerStarting(lane->lane, -1);
		note_no_slot(now);
		wake_at(TimestampTzPlusMilliseconds(now, STAFF_RETRY));
		return true;
	}
	FlowDatabaseSetNoSlot(MyDatabaseId, false);
	no_slot_since = DT_NOEND;
	slot_complaint = false;
	worker->role = lane->role;
	worker->registered_at = now;
	find_role(lane->role)->served_at = now;
	n_staff++;
	return true;
}

/*
 * The slots of workers that have just ended are free in a moment, so that it
 * says nothing if there is none now.
 */
static void
note_no_slot(TimestampTz now)
{
	no_slot_since = Min(no_slot_since, now);
	if (slot_complaint ||
		!TimestampDifferenceExceeds(no_slot_since, now, STAFF_RETRY / 2))
		return;
	slot_complaint = true;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker slot is free for workflows in database with OID %u",
					MyDatabaseId),
			 errdetail("Their steps wait until one is free."),
			 errhint("Raise max_worker_processes.")));
	FlowDatabaseSetNoSlot(MyDatabaseId, true);
}

/* Wakes workers that have nothing to do, in any database: they give way. */
static void
release_idle(int n_wanted)
{
	FlowDatabaseInfo databases[FLOW_MAX_DATABASES];
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	int			n_databases = FlowDatabaseList(databases, FLOW_MAX_DATABASES);

	for (int i = 0; i < n_databases; i++)
	{
		int			n = FlowQueueLanes(databases[i].database, lanes,
									   FLOW_MAX_LANES);

		for (int j = 0; j < n && n_wanted > 0; j++)
			if (lanes[j].idle > 0)
				n_wanted -= FlowQueueWake(lanes[j].lane, n_wanted);
	}
}

/* Is there a worker with nothing to do, in any database? */
static bool
has_idle(void)
{
	FlowDatabaseInfo databases[FLOW_MAX_DATABASES];
	FlowLaneInfo lanes[FLOW_MAX_LANES];
	int			n_databases = FlowDatabaseList(databases, FLOW_MAX_DATABASES);

	for (int i = 0; i < n_databases; i++)
	{
		int			n = FlowQueueLanes(databases[i].database, lanes,
									   FLOW_MAX_LANES);

		for (int j = 0; j < n; j++)
			if (lanes[j].idle > 0)
				return true;
	}
	return false;
}

static void
wake_at(TimestampTz time)
{
	staff_next = Min(staff_next, time);
}
