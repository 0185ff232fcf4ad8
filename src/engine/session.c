/*-------------------------------------------------------------------------
 * session.c
 *	  What a step leaves behind in the session, and how it goes.
 *
 * A worker's session belongs to one role, so nothing here guards one role from
 * another; it keeps the runs of one role apart.  Settings are undone by the
 * step's GUC nest.  Temporary tables, prepared statements, held cursors,
 * session locks, loaded libraries and deferred constraints are noticed
 * when they are made, through hooks that do nothing outside a step; a worker
 * then commits, and clears its session.  A client's session is not ours to
 * clear: in flow_drain what the step made is dropped by name.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/syscache.h"

#include "base/guard.h"
#include "engine/session.h"

typedef enum LeftKind
{
	LEFT_PREPARED,
	LEFT_CURSOR,
	LEFT_OBJECT
} LeftKind;

typedef struct Left
{
	LeftKind	kind;
	char		name[NAMEDATALEN];
	ObjectAddress object;
} Left;

static ProcessUtility_hook_type prev_utility = NULL;
static object_access_hook_type prev_access = NULL;

static bool watching = false;	/* a step is running */
static bool is_client = false;	/* in a client's session */
static bool dirty = false;		/* a worker's session has to be cleaned */
static List *left = NIL;		/* of Left, in TopTransactionContext */

static void watch_utility(PlannedStmt *pstmt, const char *query_string,
						  bool read_only, ProcessUtilityContext context,
						  ParamListInfo params, QueryEnvironment *env,
						  DestReceiver *dest, QueryCompletion *qc);
static void watch_access(ObjectAccessType access, Oid class_id, Oid object_id,
						 int sub_id, void *arg);
static void note(LeftKind kind, const char *name, const ObjectAddress *object);
static void note_utility(Node *stmt);
static bool may_be_temporary(Oid class_id);
static bool is_session_lock(Oid function);
static void drop_left(void);
static void drop_cursor(const char *name);
static bool is_temporary(const ObjectAddress *object);
static void reset(void *arg);
static void clean(void *arg);

void
FlowSessionInit(void)
{
	prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = watch_utility;
	prev_access = object_access_hook;
	object_access_hook = watch_access;
}

void
FlowSessionBegin(bool transient)
{
	watching = true;
	is_client = transient;
	left = NIL;
}

bool
FlowSessionEnd(void)
{
	watching = false;
	if (is_client)
	{
		drop_left();
		return false;
	}
	if (MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE)
		dirty = true;
	return dirty;
}

void
FlowSessionClean(void)
{
	ErrorData  *error;

	watching = false;
	if (!dirty)
		return;
	error = FlowGuardRun(FLOW_GUARD_TRANSACTION, clean, NULL);
	if (error != NULL)
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not clear the session of a flow worker: %s",
						error->message),
				 errdetail("The worker ends, and another takes its place."),
				 errhint("Look at what the steps of that role leave in the session: temporary tables, cursors, locks.")));
	dirty = false;
}

/*
 * As DISCARD ALL: settings, too, since what runs outside a transaction of ours
 * commits its own.
 */
void
FlowSessionReset(void)
{
	ErrorData  *error = FlowGuardRun(FLOW_GUARD_TRANSACTION, reset, NULL);

	if (error != NULL || GetUserId() != GetAuthenticatedUserId())
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not reset the session of a flow worker: %s",
						error ? error->message : "its role has changed"),
				 errdetail("The worker ends, and another takes its place."),
				 errhint("Look at the settings that ALTER ROLE and ALTER DATABASE give to the role.")));
	dirty = false;
}

static void
reset(void *arg)
{
	clean(NULL);
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	SetConfigOption("application_name", "flow worker", PGC_USERSET,
					PGC_S_SESSION);
}

static void
clean(void *arg)
{
	PortalHashTableDeleteAll();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
}

static void
watch_utility(PlannedStmt *pstmt, const char *query_string, bool read_only,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *stmt = pstmt->utilityStmt;

	if (prev_utility)
		prev_utility(pstmt, query_string, read_only, context, params, env,
					 dest, qc);
	else
		standard_ProcessUtility(pstmt, query_string, read_only, context,
								params, env, dest, qc);
	if (watching)
		note_utility(stmt);		/* it succeeded, so the name is the step's */
}

static void
note_utility(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_PrepareStmt:
			note(LEFT_PREPARED, castNode(PrepareStmt, stmt)->name, NULL);
			break;
		case T_DeclareCursorStmt:
			note(LEFT_CURSOR, castNode(DeclareCursorStmt, stmt)->portalname,
				 NULL);
			break;
		case T_LoadStmt:
		case T_ConstraintsSetStmt:
		case T_DiscardStmt:
			dirty = dirty || !is_client;
			break;
		default:
			break;
	}
}

static void
watch_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
			 void *arg)
{
	if (prev_access)
		prev_access(access, class_id, object_id, sub_id, arg);
	if (!watching)
		return;
	if (access == OAT_FUNCTION_EXECUTE && is_session_lock(object_id))
		dirty = dirty || !is_client;
	else if (access == OAT_POST_CREATE && sub_id == 0 && is_client &&
			 may_be_temporary(class_id))
	{
		ObjectAddress object = {class_id, object_id, 0};

		note(LEFT_OBJECT, "", &object);
	}
}

/* A type in pg_temp stands before one of the server in whatever comes later. */
static bool
may_be_temporary(Oid class_id)
{
	return class_id == RelationRelationId || class_id == TypeRelationId ||
		class_id == ProcedureRelationId;
}

static bool
is_session_lock(Oid function)
{
	switch (function)
	{
		case F_PG_ADVISORY_LOCK_INT8:
		case F_PG_ADVISORY_LOCK_SHARED_INT8:
		case F_PG_TRY_ADVISORY_LOCK_INT8:
		case F_PG_TRY_ADVISORY_LOCK_SHARED_INT8:
		case F_PG_ADVISORY_LOCK_INT4_INT4:
		case F_PG_ADVISORY_LOCK_SHARED_INT4_INT4:
		case F_PG_TRY_ADVISORY_LOCK_INT4_INT4:
		case F_PG_TRY_ADVISORY_LOCK_SHARED_INT4_INT4:
			return true;
		default:
			return false;
	}
}

static void
note(LeftKind kind, const char *name, const ObjectAddress *object)
{
	MemoryContext caller;
	Left	   *made;

	if (!is_client)
	{
		dirty = true;
		return;
	}
	caller = MemoryContextSwitchTo(TopTransactionContext);
	made = palloc0(sizeof(Left));
	made->kind = kind;
	strlcpy(made->name, name, NAMEDATALEN);
	if (object != NULL)
		made->object = *object;
	left = lappend(left, made);
	MemoryContextSwitchTo(caller);
}

static void
drop_left(void)
{
	List	   *mine = left;
	ObjectAddresses *objects;
	ListCell   *cell;

	left = NIL;
	if (mine == NIL)
		return;
	objects = new_object_addresses();
	foreach(cell, mine)
	{
		Left	   *made = lfirst(cell);

		switch (made->kind)
		{
			case LEFT_PREPARED:
				DropPreparedStatement(made->name, false);
				break;
			case LEFT_CURSOR:
				drop_cursor(made->name);
				break;
			case LEFT_OBJECT:
				if (is_temporary(&made->object))
					add_exact_object_address(&made->object, objects);
				break;
		}
	}
	performMultipleDeletions(objects, DROP_CASCADE,
							 PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	free_object_addresses(objects);
}

static void
drop_cursor(const char *name)
{
	Portal		portal = GetPortalByName(name);

	if (PortalIsValid(portal) && portal->status != PORTAL_ACTIVE)
		PortalDrop(portal, false);
}

/* Only what is temporary goes; what else the step created is its work. */
static bool
is_temporary(const ObjectAddress *object)
{
	int			cache = get_object_catcache_oid(object->classId);
	AttrNumber	column = get_object_attnum_namespace(object->classId);
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object->objectId));
	bool		isnull;
	Oid			schema;

	if (!HeapTupleIsValid(tuple))
		return false;			/* gone already */
	schema = DatumGetObjectId(SysCacheGetAttr(cache, tuple, column, &isnull));
	ReleaseSysCache(tuple);
	return isTempNamespace(schema);
}
