/*-------------------------------------------------------------------------
 * cat_release.c
 *	  Rows that came from another home: made rows of this one.
 *
 * OIDs of roles in such rows mean other roles here, so every one is looked up
 * by the name that was stored beside it.  Nobody works on these rows, and
 * whoever releases them has locked their workflows in the order of ids, so
 * what the lock order of catalog.h says of runs and tasks is not needed.
 *
 * Events keep the home they were written in: they happened elsewhere, and only
 * those of this home are announced.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/identity.h"
#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_release.h"

/* $1: this home, $2: the caller, $3: the workflow or 0, $4: the stand-in or 0 */
#define SCOPE_ARGS	4
#define SCOPE_TYPES	{INT8OID, OIDOID, INT4OID, OIDOID}

/* The role of a name, as column id of o, and whether it may be taken */
#define ROLE_OF(name) \
	" LATERAL (SELECT COALESCE((SELECT a.oid FROM pg_catalog.pg_roles a" \
	" WHERE a.rolname = " name "), NULLIF($4, 0::pg_catalog.oid)) OFFSET 0) AS o(id)"
#define OWNER_OF(row)	ROLE_OF(row ".owner_name")
#define MAY_TAKE \
	" o.id IS NOT NULL AND pg_catalog.pg_has_role($2, o.id, 'USAGE')"

static FlowStatement lock_workflows = {
	.sql = "SELECT w.id FROM flow_internal.workflow w," OWNER_OF("w")
	" WHERE w.home <> $1 AND ($3 = 0 OR w.id = $3) AND" MAY_TAKE
	" ORDER BY w.id FOR NO KEY UPDATE OF w",
	.expect = SPI_OK_SELECT,
	.nargs = SCOPE_ARGS,
	.argtypes = SCOPE_TYPES
};

/* What an UPDATE sets it cannot see in a LATERAL item, hence the inner table */
static FlowStatement take_workflows = {
	.sql = "UPDATE flow_internal.workflow w SET home = $1, owner = n.owner"
	" FROM (SELECT i.id, o.id AS owner FROM flow_internal.workflow i,"
	OWNER_OF("i") " WHERE i.home <> $1 AND" MAY_TAKE ") n"
	" WHERE w.id = n.id AND w.home <> $1 AND ($3 = 0 OR w.id = $3)"
	" RETURNING w.id",
	.expect = SPI_OK_UPDATE_RETURNING,
	.nargs = SCOPE_ARGS,
	.argtypes = SCOPE_TYPES
};

static FlowStatement lost_grants = {
	.sql = "DELETE FROM flow_internal.workflow_grant g"
	" WHERE g.workflow_id = ANY ($1) AND g.role <> 0 AND NOT EXISTS"
	" (SELECT FROM pg_catalog.pg_roles a WHERE a.rolname = g.role_name)"
	" RETURNING g.role_name",
	.expect = SPI_OK_DELETE_RETURNING,
	.nargs = 1,
	.argtypes = {INT4ARRAYOID}
};

/*
 * Roles may have swapped their OIDs, which are part of the key: so all rows go
 * before the first one comes, which is what the sort is for.
 */
static FlowStatement take_grants = {
	.sql = "WITH d AS (DELETE FROM flow_internal.workflow_grant g"
	" WHERE g.workflow_id = ANY ($1) AND g.role <> 0"
	" RETURNING g.workflow_id, g.role_name, g.privilege)"
	" INSERT INTO flow_internal.workflow_grant"
	" (workflow_id, role, role_name, privilege)"
	" SELECT d.workflow_id, a.oid, d.role_name, d.privilege"
	" FROM d, pg_catalog.pg_roles a WHERE a.rolname = d.role_name"
	" ORDER BY d.workflow_id, a.oid, d.privilege"
	" ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 1,
	.argtypes = {INT4ARRAYOID}
};

/*
 * Before the workflows are: a run that has the owner of its workflow goes by
 * the name that the workflow has for it, which follows when a role is renamed.
 * Who started it may be gone: then it was nobody who is here.  Look-ups are
 * subqueries where a join could be planned as a scan of one table per row of
 * the other.
 */
static FlowStatement take_runs = {
	.sql = "WITH u AS (UPDATE flow_internal.run r"
	" SET home = $1, owner = n.owner, owner_name = n.owner_name,"
	"  started_by = n.started_by, origin = NULLIF(COALESCE(r.origin, r.home), $1)"
	" FROM (SELECT i.id, m.name AS owner_name, o.id AS owner, COALESCE((SELECT s.oid"
	"  FROM pg_catalog.pg_roles s WHERE s.rolname = i.started_by_name), 0) AS started_by"
	"  FROM flow_internal.run i,"
	"  LATERAL (SELECT w.home, w.owner, w.owner_name FROM flow_internal.workflow w"
	"   WHERE w.id = i.workflow_id OFFSET 0) w,"
	"  LATERAL (SELECT CASE WHEN w.home = i.home AND w.owner = i.owner"
	"   THEN w.owner_name ELSE i.owner_name END OFFSET 0) AS m(name),"
	ROLE_OF("m.name")
	"  WHERE i.home <> $1 AND ($3 = 0 OR i.workflow_id = $3) AND" MAY_TAKE
	"  AND (w.home = $1 OR EXISTS (SELECT FROM" OWNER_OF("w") " WHERE" MAY_TAKE "))) n"
	" WHERE r.id = n.id AND r.home <> $1"
	" RETURNING r.status)"
	" SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER"
	" (WHERE u.status NOT IN ('completed', 'failed', 'cancelled')) FROM u",
	.expect = SPI_OK_SELECT,
	.nargs = SCOPE_ARGS,
	.argtypes = SCOPE_TYPES
};

/* No task is taken whose run is not, and none is left whose run is. */
static FlowStatement take_tasks = {
	.sql = "UPDATE flow_internal.task t SET home = $1,"
	" owner = (SELECT r.owner FROM flow_internal.run r WHERE r.id = t.run_id)"
	" WHERE t.home <> $1"
	" AND (SELECT r.home FROM flow_internal.run r WHERE r.id = t.run_id) = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement take_schedules = {
	.sql = "UPDATE flow_internal.schedule s SET home = $1, owner = n.owner"
	" FROM (SELECT i.name, o.id AS owner FROM flow_internal.schedule i,"
	OWNER_OF("i") " WHERE i.home <> $1 AND" MAY_TAKE ") n"
	" WHERE s.name = n.name AND s.home <> $1"
	" AND ($3 = 0 OR s.workflow_id = $3)",
	.expect = SPI_OK_UPDATE,
	.nargs = SCOPE_ARGS,
	.argtypes = SCOPE_TYPES
};

static FlowStatement held_owner = {
	.sql = "SELECT owner_name FROM flow_internal.workflow"
	" WHERE name = $1 AND home <> $2 AND dropped_at IS NULL",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID}
};

static FlowStatement is_held = {
	.sql = "SELECT 1 FROM flow_internal.run WHERE id = $1 AND home <> $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID}
};

/* Whoever has such a row locked is no reason to wait. */
#define RENAMED(table, home, role, name) \
	"UPDATE flow_internal." table " t SET " name " = a.rolname" \
	" FROM pg_catalog.pg_roles a WHERE a.oid = t." role " AND a.rolname <> t." name \
	" AND t.ctid = ANY (ARRAY(SELECT i.ctid FROM flow_internal." table " i," \
	" pg_catalog.pg_roles b WHERE b.oid = i." role " AND b.rolname <> i." name home \
	" FOR NO KEY UPDATE OF i SKIP LOCKED))"

static FlowStatement renamed[] = {
	{
		.sql = RENAMED("workflow", " AND i.home = $1", "owner", "owner_name"),
		.expect = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8OID}
	},
	{
		.sql = RENAMED("schedule", " AND i.home = $1", "owner", "owner_name"),
		.expect = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8OID}
	},
	{
		.sql = RENAMED("workflow_grant", " AND EXISTS (SELECT FROM"
					   " flow_internal.workflow w WHERE w.id = i.workflow_id AND w.home = $1)",
					   "role", "role_name"),
		.expect = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8OID}
	}
};

static FlowStatement origin_of = {
	.sql = "SELECT COALESCE(origin, home) FROM flow_internal.run WHERE id = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static void release(Datum *scope, FlowReleased *done, MemoryContext caller);
static Datum take(Datum *scope, FlowReleased *done);
static void regrant(Datum workflows, FlowReleased *done, MemoryContext caller);

void
FlowReleaseRows(const FlowReleaseScope *scope, FlowReleased *done)
{
	Datum		values[SCOPE_ARGS] = {
		Int64GetDatum(FlowInstallRequire()->home),
		ObjectIdGetDatum(scope->caller),
		Int32GetDatum(scope->workflow_id),
		ObjectIdGetDatum(scope->stand_in)
	};
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;

	memset(done, 0, sizeof(*done));
	SPI_connect();
	FlowIdentityRaise(&identity);
	release(values, done, caller);
	FlowIdentityRestore(&identity);
	SPI_finish();
}

/* Connected and raised */
static void
release(Datum *scope, FlowReleased *done, MemoryContext caller)
{
	FlowStatementExecute(&lock_workflows, scope, NULL);
	SPI_freetuptable(SPI_tuptable);

	FlowStatementExecute(&take_runs, scope, NULL);
	done->runs = FlowRowInt64(SPI_tuptable->vals[0], 1);
	done->unfinished = FlowRowInt64(SPI_tuptable->vals[0], 2);
	SPI_freetuptable(SPI_tuptable);

	regrant(take(scope, done), done, caller);
	FlowStatementExecute(&take_tasks, scope, NULL);
	done->schedules = (int64) FlowStatementExecute(&take_schedules, scope, NULL);
}

/* The workflows; returns an array of their ids. */
static Datum
take(Datum *scope, FlowReleased *done)
{
	uint64		n = FlowStatementExecute(&take_workflows, scope, NULL);
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));

	for (uint64 i = 0; i < n; i++)
		ids[i] = Int32GetDatum(FlowRowInt32(SPI_tuptable->vals[i], 1));
	SPI_freetuptable(SPI_tuptable);
	done->workflows = (int64) n;
	return FlowArray(INT4OID, ids, NULL, (int) n);
}

static void
regrant(Datum workflows, FlowReleased *done, MemoryContext caller)
{
	Datum		values[] = {workflows};
	uint64		n = FlowStatementExecute(&lost_grants, values, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext inner = MemoryContextSwitchTo(caller);

		done->lost_roles = lappend(done->lost_roles,
								   FlowRowText(SPI_tuptable->vals[i], 1));
		MemoryContextSwitchTo(inner);
	}
	SPI_freetuptable(SPI_tuptable);
	FlowStatementExecute(&take_grants, values, NULL);
}

void
FlowReleaseFollowNames(int64 home)
{
	Datum		values[] = {Int64GetDatum(home)};

	for (int i = 0; i < lengthof(renamed); i++)
		FlowStatementExecute(&renamed[i], values, NULL);
}

char *
FlowReleaseHeldOwner(const char *workflow)
{
	Datum		values[] = {
		CStringGetTextDatum(workflow),
		Int64GetDatum(FlowInstallRequire()->home)
	};
	MemoryContext caller = CurrentMemoryContext;
	FlowIdentity identity;
	char	   *owner = NULL;

	SPI_connect();
	FlowIdentityRaise(&identity);
	if (FlowStatementExecute(&held_owner, values, NULL) > 0)
	{
		MemoryContextSwitchTo(caller);
		owner = FlowRowText(SPI_tuptable->vals[0], 1);
	}
	SPI_freetuptable(SPI_tuptable);
	FlowIdentityRestore(&identity);
	SPI_finish();
	return owner;
}

bool
FlowReleaseIsHeld(int64 run_id)
{
	Datum		values[] = {
		Int64GetDatum(run_id),
		Int64GetDatum(FlowInstallRequire()->home)
	};
	FlowIdentity identity;
	bool		held;

	SPI_connect();
	FlowIdentityRaise(&identity);
	held = FlowStatementExecute(&is_held, values, NULL) > 0;
	SPI_freetuptable(SPI_tuptable);
	FlowIdentityRestore(&identity);
	SPI_finish();
	return held;
}

int64
FlowReleaseOrigin(int64 run_id)
{
	Datum		values[] = {Int64GetDatum(run_id)};
	int64		origin = FlowInstallRequire()->home;
	FlowIdentity identity;

	SPI_connect();
	FlowIdentityRaise(&identity);
	if (FlowStatementRead(&origin_of, values, NULL) > 0)
		origin = FlowRowInt64(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	FlowIdentityRestore(&identity);
	SPI_finish();
	return origin;
}
