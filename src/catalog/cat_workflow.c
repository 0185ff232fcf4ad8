/*-------------------------------------------------------------------------
 * cat_workflow.c
 *	  Workflows and who may use them: rows and structs.
 *
 * What may change in place is in the row of the workflow, the rest is in its
 * definitions (cat_definition.c).  That row is also the lock on which all who
 * define, drop or enable one name queue; those who do it for the first time
 * queue on the unique index over live names.  A start reads the row without a
 * lock.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/install.h"
#include "base/look.h"
#include "catalog/cat_workflow.h"
#include "catalog/passage.h"

/* Columns of flow_internal.workflow */
enum
{
	COLUMN_ID = 1,
	COLUMN_HOME,
	COLUMN_NAME,
	COLUMN_OWNER,
	COLUMN_OWNER_NAME,
	COLUMN_ENABLED,
	COLUMN_DEFINITION_ID,
	COLUMN_VERSION,
	COLUMN_DESCRIPTION,
	COLUMN_NOTIFY,
	COLUMN_DROPPED_AT = 12,
	COLUMN_KEEP,
	COLUMN_KEEP_DATA,
	COLUMN_MAX_RUNS,
	COLUMN_MAX_RUNS_BY
};

static FlowTable workflows = {.name = "workflow"};

/* Its index over live names */
#define BY_NAME		"workflow_name"

static FlowStatement list_names = {
	.sql = "SELECT name FROM flow_internal.workflow"
	" WHERE home = $1 AND dropped_at IS NULL ORDER BY name COLLATE \"C\"",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT8OID}
};

static FlowStatement insert_workflow = {
	.sql = "INSERT INTO flow_internal.workflow"
	" (id, home, name, owner, owner_name, definition_id, version)"
	" VALUES (nextval('flow_internal.workflow_id_seq'), $1, $2, $3, $4,"
	" nextval('flow_internal.definition_id_seq'), $5)"
	" ON CONFLICT (name) WHERE dropped_at IS NULL DO NOTHING"
	" RETURNING id, definition_id",
	.expect = SPI_OK_INSERT_RETURNING,
	.nargs = 5,
	.argtypes = {INT8OID, TEXTOID, OIDOID, TEXTOID, INT4OID}
};

static FlowStatement save_workflow = {
	.sql = "UPDATE flow_internal.workflow"
	" SET definition_id = $2, version = $3, description = $4, notify = $5,"
	" keep = $6, keep_data = $7, max_runs = $8, max_runs_by = $9 WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 9,
	.argtypes = {INT4OID, INT4OID, INT4OID, TEXTOID, TEXTOID, INTERVALOID,
	INTERVALOID, INT4OID, TEXTOID}
};

static FlowStatement mark_dropped = {
	.sql = "UPDATE flow_internal.workflow SET dropped_at = now()"
	" WHERE id = $1 AND dropped_at IS NULL",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT4OID}
};

static FlowStatement unfinished_runs = {
	.sql = "SELECT DISTINCT run_id FROM flow_internal.task"
	" WHERE workflow_id = $1 AND ($2 = 0 OR definition_id = $2)"
	" AND (asked IS NULL OR ended)"
	" ORDER BY run_id",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, INT4OID}
};

static FlowStatement set_enabled = {
	.sql = "UPDATE flow_internal.workflow SET enabled = $2"
	" WHERE id = $1 AND enabled <> $2",
	.expect = SPI_OK_UPDATE,
	.nargs = 2,
	.argtypes = {INT4OID, BOOLOID}
};

static FlowStatement set_owner = {
	.sql = "UPDATE flow_internal.workflow SET owner = $2, owner_name = $3"
	" WHERE id = $1",
	.expect = SPI_OK_UPDATE,
	.nargs = 3,
	.argtypes = {INT4OID, OIDOID, TEXTOID}
};

static FlowStatement owner_of = {
	.sql = "SELECT owner FROM flow_internal.workflow WHERE id = $1 AND home = $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, INT8OID}
};

static FlowStatement list_grants = {
	.sql = "SELECT role FROM flow_internal.workflow_grant"
	" WHERE workflow_id = $1 AND ($2 IS NULL OR privilege = $2)",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, TEXTOID}
};

static FlowStatement insert_grant = {
	.sql = "INSERT INTO flow_internal.workflow_grant"
	" (workflow_id, role, role_name, privilege)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 4,
	.argtypes = {INT4OID, OIDOID, TEXTOID, TEXTOID}
};

static FlowStatement delete_grant = {
	.sql = "DELETE FROM flow_internal.workflow_grant"
	" WHERE workflow_id = $1 AND role = $2"
	" AND ($3 IS NULL OR privilege = $3)",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT4OID, OIDOID, TEXTOID}
};

static void read_workflow(FlowLook *look, FlowWorkflow *out);
static void read_interval(FlowLook *look, int column, FlowValue *value);
static bool is_granted(Oid role, Oid user);

bool
FlowWorkflowLoad(const char *name, FlowWorkflow *out)
{
	Datum		key[1] = {CStringGetTextDatum(name)};
	FlowLook	look;
	bool		found;

	FlowLookBeginNow(&look, &workflows, BY_NAME, false);
	found = FlowLookFind(&look, key) &&
		FlowLookInt64(&look, COLUMN_HOME) == FlowInstallRequire()->home;
	if (found)
		read_workflow(&look, out);
	FlowLookEndNow(&look);
	return found;
}

/* It may be dropped while we wait for it. */
bool
FlowWorkflowLock(const char *name, FlowWorkflow *out)
{
	Datum		key[1] = {CStringGetTextDatum(name)};
	FlowLook	look;
	bool		found;

	FlowLookBeginNow(&look, &workflows, BY_NAME, true);
	found = FlowLookFind(&look, key) &&
		FlowLookLock(&look, LockWaitBlock) == FLOW_HOLD_TAKEN &&
		FlowLookIsNull(&look, COLUMN_DROPPED_AT);
	if (found)
		read_workflow(&look, out);
	FlowLookEndNow(&look);
	return found;
}

char *
FlowWorkflowName(int32 workflow_id)
{
	Datum		key[1] = {Int32GetDatum(workflow_id)};
	FlowLook	look;
	char	   *name = NULL;

	FlowLookBeginNow(&look, &workflows, NULL, false);
	if (FlowLookFind(&look, key))
		name = FlowLookText(&look, COLUMN_NAME);
	FlowLookEndNow(&look);
	return name;
}

static void
read_workflow(FlowLook *look, FlowWorkflow *out)
{
	out->id = FlowLookInt32(look, COLUMN_ID);
	out->name = FlowLookText(look, COLUMN_NAME);
	out->owner = FlowLookOid(look, COLUMN_OWNER);
	out->owner_name = FlowLookText(look, COLUMN_OWNER_NAME);
	out->enabled = FlowLookBool(look, COLUMN_ENABLED);
	out->definition_id = FlowLookInt32(look, COLUMN_DEFINITION_ID);
	out->version = FlowLookInt32(look, COLUMN_VERSION);
	out->description = FlowLookText(look, COLUMN_DESCRIPTION);
	out->notify = FlowLookText(look, COLUMN_NOTIFY);
	out->home = FlowLookInt64(look, COLUMN_HOME);
	read_interval(look, COLUMN_KEEP, &out->keep);
	read_interval(look, COLUMN_KEEP_DATA, &out->keep_data);
	out->max_runs = FlowLookInt32(look, COLUMN_MAX_RUNS);
	out->max_runs_by = FlowLookText(look, COLUMN_MAX_RUNS_BY);
}

static void
read_interval(FlowLook *look, int column, FlowValue *value)
{
	bool		isnull;
	Datum		datum = FlowLookDatum(look, column, &isnull);

	value->isset = !isnull;
	if (value->isset)
		value->u.interval = *DatumGetIntervalP(datum);
}

List *
FlowWorkflowNames(void)
{
	Datum		values[] = {Int64GetDatum(FlowInstallRequire()->home)};
	List	   *names = NIL;
	FlowPassage passage;
	uint64		n;

	FlowPassageEnter(&passage);
	n = FlowStatementExecute(&list_names, values, NULL);
	MemoryContextSwitchTo(passage.caller);
	for (uint64 i = 0; i < n; i++)
		names = lappend(names, FlowRowText(SPI_tuptable->vals[i], 1));
	SPI_freetuptable(SPI_tuptable);
	FlowPassageLeave(&passage);
	return names;
}

bool
FlowWorkflowInsert(FlowWorkflow *workflow)
{
	Datum		values[] = {
		Int64GetDatum(FlowInstallRequire()->home),
		CStringGetTextDatum(workflow->name),
		ObjectIdGetDatum(workflow->owner),
		CStringGetTextDatum(workflow->owner_name),
		Int32GetDatum(workflow->version)
	};
	FlowPassage passage;
	bool		inserted;

	FlowPassageEnter(&passage);
	inserted = FlowStatementExecute(&insert_workflow, values, NULL) > 0;
	if (inserted)
	{
		workflow->id = FlowRowInt32(SPI_tuptable->vals[0], 1);
		workflow->definition_id = FlowRowInt32(SPI_tuptable->vals[0], 2);
		workflow->home = DatumGetInt64(values[0]);
	}
	SPI_freetuptable(SPI_tuptable);
	FlowPassageLeave(&passage);
	return inserted;
}

void
FlowWorkflowSave(const FlowWorkflow *workflow)
{
	Datum		values[] = {
		Int32GetDatum(workflow->id),
		Int32GetDatum(workflow->definition_id),
		Int32GetDatum(workflow->version),
		workflow->description ? CStringGetTextDatum(workflow->description) : 0,
		CStringGetTextDatum(workflow->notify),
		IntervalPGetDatum(&workflow->keep.u.interval),
		IntervalPGetDatum(&workflow->keep_data.u.interval),
		Int32GetDatum(workflow->max_runs),
		workflow->max_runs_by ? CStringGetTextDatum(workflow->max_runs_by) : 0
	};
	bool		nulls[] = {false, false, false, workflow->description == NULL,
		false, !workflow->keep.isset, !workflow->keep_data.isset,
	workflow->max_runs == 0, workflow->max_runs_by == NULL};

	FlowPassageExecute(&save_workflow, values, nulls);
}

void
FlowWorkflowMarkDropped(int32 workflow_id)
{
	Datum		values[] = {Int32GetDatum(workflow_id)};

	FlowPassageExecute(&mark_dropped, values, NULL);
}

int64 *
FlowWorkflowUnfinished(int32 workflow_id, int32 definition_id, int *n)
{
	Datum		values[] = {Int32GetDatum(workflow_id),
	Int32GetDatum(definition_id)};
	FlowPassage passage;
	int64	   *runs;

	FlowPassageEnter(&passage);
	*n = (int) FlowStatementExecute(&unfinished_runs, values, NULL);
	runs = MemoryContextAlloc(passage.caller, sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		runs[i] = FlowRowInt64(SPI_tuptable->vals[i], 1);
	SPI_freetuptable(SPI_tuptable);
	FlowPassageLeave(&passage);
	return runs;
}

bool
FlowWorkflowSetEnabled(int32 workflow_id, bool enabled)
{
	Datum		values[] = {Int32GetDatum(workflow_id), BoolGetDatum(enabled)};

	return FlowPassageExecute(&set_enabled, values, NULL) > 0;
}

void
FlowWorkflowSaveOwner(const FlowWorkflow *workflow)
{
	Datum		values[] = {
		Int32GetDatum(workflow->id),
		ObjectIdGetDatum(workflow->owner),
		CStringGetTextDatum(workflow->owner_name)
	};

	FlowPassageExecute(&set_owner, values, NULL);
}

Oid
FlowWorkflowOwner(int32 workflow_id)
{
	Datum		values[] = {Int32GetDatum(workflow_id),
	Int64GetDatum(FlowInstallRequire()->home)};
	FlowPassage passage;
	Oid			owner = InvalidOid;

	FlowPassageEnter(&passage);
	if (FlowStatementExecute(&owner_of, values, NULL) > 0)
		owner = FlowRowOid(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	FlowPassageLeave(&passage);
	return owner;
}

bool
FlowWorkflowHasGrant(int32 workflow_id, const char *privilege)
{
	return FlowWorkflowIsGranted(workflow_id, privilege, GetUserId());
}

bool
FlowWorkflowIsGranted(int32 workflow_id, const char *privilege, Oid user)
{
	Datum		values[] = {Int32GetDatum(workflow_id),
	privilege ? CStringGetTextDatum(privilege) : 0};
	bool		nulls[] = {false, privilege == NULL};
	FlowPassage passage;
	bool		granted = false;
	uint64		n;

	FlowPassageEnter(&passage);
	n = FlowStatementExecute(&list_grants, values, nulls);
	for (uint64 i = 0; i < n && !granted; i++)
		granted = is_granted(FlowRowOid(SPI_tuptable->vals[i], 1), user);
	SPI_freetuptable(SPI_tuptable);
	FlowPassageLeave(&passage);
	return granted;
}

static bool
is_granted(Oid role, Oid user)
{
	return !OidIsValid(role) || has_privs_of_role(user, role);
}

void
FlowWorkflowGrant(int32 workflow_id, Oid role, const char *privilege)
{
	Datum		values[] = {
		Int32GetDatum(workflow_id),
		ObjectIdGetDatum(role),
		CStringGetTextDatum(OidIsValid(role) ?
							GetUserNameFromId(role, false) : "public"),
		CStringGetTextDatum(privilege)
	};

	FlowPassageExecute(&insert_grant, values, NULL);
}

void
FlowWorkflowRevoke(int32 workflow_id, Oid role, const char *privilege)
{
	Datum		values[] = {
		Int32GetDatum(workflow_id),
		ObjectIdGetDatum(role),
		privilege ? CStringGetTextDatum(privilege) : 0
	};
	bool		nulls[] = {false, false, privilege == NULL};

	FlowPassageExecute(&delete_grant, values, nulls);
}
