/*-------------------------------------------------------------------------
 * cat_workflow.c
 *	  Workflows, their definitions and who may use them: rows and structs.
 *
 * A definition is inserted and never updated (dropped_at apart); what may
 * change in place is in the row of the workflow.  That row is also the lock
 * on which all who define, drop or enable one name queue; those who do it for
 * the first time queue on the unique index over live names.  A start reads
 * the row without a lock.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/install.h"
#include "base/look.h"
#include "base/spi.h"
#include "catalog/cat_workflow.h"

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

/* ... and of flow_internal.definition */
enum
{
	DEFINITION_WORKFLOW_ID = 2,
	DEFINITION_VERSION,
	DEFINITION_SEARCH_PATH,
	DEFINITION_DOCUMENT
};

static FlowTable workflows = {.name = "workflow"};
static FlowTable definitions = {.name = "definition"};

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

static FlowStatement insert_definition = {
	.sql = "INSERT INTO flow_internal.definition"
	" (id, workflow_id, version, search_path, document, created_by)"
	" VALUES (coalesce(nullif($1, 0),"
	" nextval('flow_internal.definition_id_seq')), $2, $3, $4, $5, $6)"
	" RETURNING id",
	.expect = SPI_OK_INSERT_RETURNING,
	.nargs = 6,
	.argtypes = {INT4OID, INT4OID, INT4OID, TEXTOID, JSONBOID, TEXTOID}
};

static FlowStatement definition_of_version = {
	.sql = "SELECT id FROM flow_internal.definition"
	" WHERE workflow_id = $1 AND version = $2 AND dropped_at IS NULL",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, INT4OID}
};

static FlowStatement last_version = {
	.sql = "SELECT max(version) FROM flow_internal.definition"
	" WHERE workflow_id = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT4OID}
};

static FlowStatement newest_definition = {
	.sql = "SELECT id, version FROM flow_internal.definition"
	" WHERE workflow_id = $1 AND dropped_at IS NULL"
	" ORDER BY version DESC LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT4OID}
};

static FlowStatement drop_definition = {
	.sql = "UPDATE flow_internal.definition SET dropped_at = now()"
	" WHERE id = $1 AND dropped_at IS NULL",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT4OID}
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

/* Between enter and leave: connected to SPI and raised. */
typedef struct Passage
{
	MemoryContext caller;
	FlowIdentity identity;
} Passage;

static void enter(Passage *passage);
static void leave(Passage *passage);
static void read_workflow(FlowLook *look, FlowWorkflow *out);
static bool load_name(int32 workflow_id, char **name);
static void read_interval(FlowLook *look, int column, FlowValue *value);
static uint64 change(FlowStatement *statement, Datum *values,
					 const bool *nulls);
static int32 fetch_int(FlowStatement *statement, Datum *values);
static bool is_granted(Oid role, Oid user);

static void
enter(Passage *passage)
{
	passage->caller = CurrentMemoryContext;
	SPI_connect();
	FlowIdentityRaise(&passage->identity);
}

static void
leave(Passage *passage)
{
	FlowIdentityRestore(&passage->identity);
	SPI_finish();
}

/* A statement that returns nothing, passed through; the rows it changed. */
static uint64
change(FlowStatement *statement, Datum *values, const bool *nulls)
{
	Passage		passage;
	uint64		n;

	enter(&passage);
	n = FlowStatementExecute(statement, values, nulls);
	leave(&passage);
	return n;
}

/* A statement that returns one integer at most; 0 if none. */
static int32
fetch_int(FlowStatement *statement, Datum *values)
{
	Passage		passage;
	int32		result = 0;

	enter(&passage);
	if (FlowStatementExecute(statement, values, NULL) > 0)
		result = FlowRowInt32(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	leave(&passage);
	return result;
}

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
	Passage		passage;
	uint64		n;

	enter(&passage);
	n = FlowStatementExecute(&list_names, values, NULL);
	MemoryContextSwitchTo(passage.caller);
	for (uint64 i = 0; i < n; i++)
		names = lappend(names, FlowRowText(SPI_tuptable->vals[i], 1));
	SPI_freetuptable(SPI_tuptable);
	leave(&passage);
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
	Passage		passage;
	bool		inserted;

	enter(&passage);
	inserted = FlowStatementExecute(&insert_workflow, values, NULL) > 0;
	if (inserted)
	{
		workflow->id = FlowRowInt32(SPI_tuptable->vals[0], 1);
		workflow->definition_id = FlowRowInt32(SPI_tuptable->vals[0], 2);
		workflow->home = DatumGetInt64(values[0]);
	}
	SPI_freetuptable(SPI_tuptable);
	leave(&passage);
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

	change(&save_workflow, values, nulls);
}

void
FlowDefinitionInsert(FlowStoredDefinition *definition)
{
	Datum		values[] = {
		Int32GetDatum(definition->id),
		Int32GetDatum(definition->workflow_id),
		Int32GetDatum(definition->version),
		CStringGetTextDatum(definition->search_path),
		JsonbPGetDatum(definition->document),
		CStringGetTextDatum(GetUserNameFromId(GetUserId(), false))
	};

	definition->id = fetch_int(&insert_definition, values);
}

bool
FlowDefinitionLoad(int32 id, FlowStoredDefinition *out)
{
	Datum		key[1] = {Int32GetDatum(id)};
	FlowLook	look;
	bool		found;
	bool		isnull;

	FlowLookBeginNow(&look, &definitions, NULL, false);
	found = FlowLookFind(&look, key);
	if (found)
	{
		out->id = id;
		out->workflow_id = FlowLookInt32(&look, DEFINITION_WORKFLOW_ID);
		out->version = FlowLookInt32(&look, DEFINITION_VERSION);
		out->search_path = FlowLookText(&look, DEFINITION_SEARCH_PATH);
		out->document = DatumGetJsonbPCopy(FlowLookDatum(&look, DEFINITION_DOCUMENT, &isnull));
	}
	FlowLookEndNow(&look);
	return found && load_name(out->workflow_id, &out->workflow);
}

static bool
load_name(int32 workflow_id, char **name)
{
	Datum		key[1] = {Int32GetDatum(workflow_id)};
	FlowLook	look;
	bool		found;

	FlowLookBeginNow(&look, &workflows, NULL, false);
	found = FlowLookFind(&look, key);
	if (found)
		*name = FlowLookText(&look, COLUMN_NAME);
	FlowLookEndNow(&look);
	return found;
}

int32
FlowDefinitionOfVersion(int32 workflow_id, int32 version)
{
	Datum		values[] = {Int32GetDatum(workflow_id), Int32GetDatum(version)};

	return fetch_int(&definition_of_version, values);
}

int32
FlowDefinitionLastVersion(int32 workflow_id)
{
	Datum		values[] = {Int32GetDatum(workflow_id)};

	return fetch_int(&last_version, values);
}

bool
FlowDefinitionNewest(int32 workflow_id, int32 *id, int32 *version)
{
	Datum		values[] = {Int32GetDatum(workflow_id)};
	Passage		passage;
	bool		found;

	enter(&passage);
	found = FlowStatementExecute(&newest_definition, values, NULL) > 0;
	if (found)
	{
		*id = FlowRowInt32(SPI_tuptable->vals[0], 1);
		*version = FlowRowInt32(SPI_tuptable->vals[0], 2);
	}
	SPI_freetuptable(SPI_tuptable);
	leave(&passage);
	return found;
}

void
FlowDefinitionDrop(int32 id)
{
	Datum		values[] = {Int32GetDatum(id)};

	change(&drop_definition, values, NULL);
}

void
FlowWorkflowMarkDropped(int32 workflow_id)
{
	Datum		values[] = {Int32GetDatum(workflow_id)};

	change(&mark_dropped, values, NULL);
}

int64 *
FlowWorkflowUnfinished(int32 workflow_id, int32 definition_id, int *n)
{
	Datum		values[] = {Int32GetDatum(workflow_id),
	Int32GetDatum(definition_id)};
	Passage		passage;
	int64	   *runs;

	enter(&passage);
	*n = (int) FlowStatementExecute(&unfinished_runs, values, NULL);
	runs = MemoryContextAlloc(passage.caller, sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		runs[i] = FlowRowInt64(SPI_tuptable->vals[i], 1);
	SPI_freetuptable(SPI_tuptable);
	leave(&passage);
	return runs;
}

bool
FlowWorkflowSetEnabled(int32 workflow_id, bool enabled)
{
	Datum		values[] = {Int32GetDatum(workflow_id), BoolGetDatum(enabled)};

	return change(&set_enabled, values, NULL) > 0;
}

void
FlowWorkflowSaveOwner(const FlowWorkflow *workflow)
{
	Datum		values[] = {
		Int32GetDatum(workflow->id),
		ObjectIdGetDatum(workflow->owner),
		CStringGetTextDatum(workflow->owner_name)
	};

	change(&set_owner, values, NULL);
}

Oid
FlowWorkflowOwner(int32 workflow_id)
{
	Datum		values[] = {Int32GetDatum(workflow_id),
	Int64GetDatum(FlowInstallRequire()->home)};
	Passage		passage;
	Oid			owner = InvalidOid;

	enter(&passage);
	if (FlowStatementExecute(&owner_of, values, NULL) > 0)
		owner = FlowRowOid(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	leave(&passage);
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
	Passage		passage;
	bool		granted = false;
	uint64		n;

	enter(&passage);
	n = FlowStatementExecute(&list_grants, values, nulls);
	for (uint64 i = 0; i < n && !granted; i++)
		granted = is_granted(FlowRowOid(SPI_tuptable->vals[i], 1), user);
	SPI_freetuptable(SPI_tuptable);
	leave(&passage);
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

	change(&insert_grant, values, NULL);
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

	change(&delete_grant, values, nulls);
}
