/*-------------------------------------------------------------------------
 * letgo.c
 *	  Commands of others that the processes of this extension must know of.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE and CREATE
 * DATABASE ... TEMPLATE fail while anybody is connected to the database, so
 * its scheduler and workers are asked to end, but only once the caller is
 * known to be allowed the command.  They may come back when the command's
 * transaction has ended, however it did, or after a while in any case.
 *
 * What drops or updates the extension needs locks that a step holds as long as
 * it runs, so the processes of the own database leave for it in the same way,
 * and their steps are run again if the extension stays.
 *
 * COMMIT PREPARED runs none of the callbacks by which a transaction announces
 * what it has made ready, so it asks for a sweep.  That the extension is dropped
 * or altered is noted here, whatever drops it; CREATE EXTENSION is by its script.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/install.h"
#include "compat.h"
#include "flow.h"
#include "shmem/database.h"
#include "shmem/queue.h"
#include "shmem/recorder.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"
#include "worker/letgo.h"

#define LETGO_HOLD		60000	/* ms that a database is let go at most */
#define LETGO_PATIENCE	10000	/* ms that we wait for our processes */
#define LETGO_GENTLY	200		/* ms of them in which we ask gently */
#define LETGO_INTERVAL	10		/* ms between two looks */

static ProcessUtility_hook_type next_utility = NULL;
static object_access_hook_type next_access = NULL;

/* The database this transaction has let go; InvalidOid: none */
static Oid	let_go_database = InvalidOid;
static bool let_go_drops = false;	/* it will be gone at commit */
static int	let_go_nest = 0;	/* level of (sub)transaction that did it */

/* This transaction has dropped the extension */
static bool dropped_extension = false;

static void process_utility(PlannedStmt *pstmt, const char *queryString,
							bool readOnlyTree, ProcessUtilityContext context,
							ParamListInfo params, QueryEnvironment *queryEnv,
							DestReceiver *dest, QueryCompletion *qc);
static Oid	find_database(Node *statement);
static Oid	find_owned(const char *name);
static Oid	find_template(CreatedbStmt *statement);
static bool sets_tablespace(AlterDatabaseStmt *statement);
static bool may_create_database(void);
static bool changes_extension(Node *statement);
static bool names_extension(const List *names);
static bool drops_schema_of(Oid extension, DropStmt *statement);
static bool drops_owner_of(Oid extension, DropOwnedStmt *statement);
static void let_go(Oid database);
static void lock_tables(void);
static void at_xact(XactEvent event, void *arg);
static void at_subxact(SubXactEvent event, SubTransactionId mine,
					   SubTransactionId parent, void *arg);
static void come_back(void);
static void note_drop(ObjectAccessType access, Oid class_id, Oid object_id,
					  int sub_id, void *arg);

void
FlowLetGoInit(void)
{
	next_utility = ProcessUtility_hook ? ProcessUtility_hook :
		standard_ProcessUtility;
	ProcessUtility_hook = process_utility;
	next_access = object_access_hook;
	object_access_hook = note_drop;
	RegisterXactCallback(at_xact, NULL);
	RegisterSubXactCallback(at_subxact, NULL);
}

/* The signature is the server's. */
static void
process_utility(PlannedStmt *pstmt, const char *queryString,
				bool readOnlyTree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *queryEnv,
				DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *statement = pstmt->utilityStmt;
	bool		commits_prepared = IsA(statement, TransactionStmt) &&
	((TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED;

	if (context == PROCESS_UTILITY_TOPLEVEL &&
		!(IsTransactionBlock() && (IsA(statement, DropdbStmt) ||
								   IsA(statement, CreatedbStmt))))
	{
		Oid			database = find_database(statement);

		/* Only as a template may it be the one we are connected to */
		if (OidIsValid(database) &&
			(database != MyDatabaseId || IsA(statement, CreatedbStmt)))
		{
			let_go_drops = IsA(statement, DropdbStmt);
			let_go(database);
		}
	}
	if (changes_extension(statement))
	{
		let_go_drops = false;
		let_go(MyDatabaseId);
		if (!IsA(statement, AlterExtensionStmt))
			lock_tables();
	}
	next_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv,
				 dest, qc);
	if (commits_prepared && FlowDatabaseTakePrepared(MyDatabaseId))
		FlowDatabaseAsk(MyDatabaseId, FLOW_ASK_SWEEP);
	if (IsA(statement, AlterExtensionStmt) &&
		strcmp(((AlterExtensionStmt *) statement)->extname, "flow") == 0)
	{
		FlowInstallInvalidate();
		FlowWakeNoteInstalled();
	}
}

/* The database nobody may be connected to, if the caller has the right */
static Oid
find_database(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return find_owned(((DropdbStmt *) statement)->dbname);
		case T_AlterDatabaseStmt:
			if (sets_tablespace((AlterDatabaseStmt *) statement))
				return find_owned(((AlterDatabaseStmt *) statement)->dbname);
			return InvalidOid;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return find_owned(((RenameStmt *) statement)->subname);
			return InvalidOid;
		case T_CreatedbStmt:
			return find_template((CreatedbStmt *) statement);
		default:
			return InvalidOid;
	}
}

static Oid
find_owned(const char *name)
{
	Oid			database = get_database_oid(name, true);

	if (!OidIsValid(database) ||
		!FlowDatabaseOwnerCheck(database, GetUserId()))
		return InvalidOid;
	return database;
}

static bool
sets_tablespace(AlterDatabaseStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->options)
	{
		if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
			return true;
	}
	return false;
}

static Oid
find_template(CreatedbStmt *statement)
{
	const char *name = "template1";
	ListCell   *cell;
	HeapTuple	tuple;
	Oid			database;
	bool		allowed;

	foreach(cell, statement->options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			name = defGetString(option);
	}
	database = get_database_oid(name, true);
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	allowed = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate ||
		FlowDatabaseOwnerCheck(database, GetUserId());
	ReleaseSysCache(tuple);
	return allowed && may_create_database() ? database : InvalidOid;
}

static bool
may_create_database(void)
{
	HeapTuple	tuple;
	bool		allowed = superuser();

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return allowed;
	allowed |= ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return allowed;
}

/* Does it drop or update the extension, and is the caller allowed that? */
static bool
changes_extension(Node *statement)
{
	Oid			extension;

	switch (nodeTag(statement))
	{
		case T_DropStmt:
			if (((DropStmt *) statement)->removeType == OBJECT_EXTENSION &&
				!names_extension(((DropStmt *) statement)->objects))
				return false;
			break;
		case T_AlterExtensionStmt:
			if (strcmp(((AlterExtensionStmt *) statement)->extname, "flow") != 0)
				return false;
			break;
		case T_DropOwnedStmt:
			break;
		default:
			return false;
	}
	extension = get_extension_oid("flow", true);
	if (!OidIsValid(extension))
		return false;
	if (IsA(statement, DropOwnedStmt))
		return drops_owner_of(extension, (DropOwnedStmt *) statement);
	if (IsA(statement, DropStmt) &&
		((DropStmt *) statement)->removeType != OBJECT_EXTENSION)
		return drops_schema_of(extension, (DropStmt *) statement);
	return FlowExtensionOwnerCheck(extension, GetUserId());
}

static bool
names_extension(const List *names)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(strVal(lfirst(cell)), "flow") == 0)
			return true;
	}
	return false;
}

/* DROP SCHEMA ... CASCADE of the one that has the functions */
static bool
drops_schema_of(Oid extension, DropStmt *statement)
{
	const FlowInstall *install;
	ListCell   *cell;

	if (statement->removeType != OBJECT_SCHEMA ||
		statement->behavior != DROP_CASCADE)
		return false;
	install = FlowInstallGet();
	foreach(cell, statement->objects)
	{
		const char *name = strVal(lfirst(cell));
		Oid			schema = get_namespace_oid(name, true);

		if (install != NULL && strcmp(name, install->function_schema) == 0 &&
			OidIsValid(schema) && FlowSchemaOwnerCheck(schema, GetUserId()))
			return true;
	}
	return false;
}

static bool
drops_owner_of(Oid extension, DropOwnedStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->roles)
	{
		Oid			role = get_rolespec_oid(lfirst(cell), true);

		if (OidIsValid(role) && FlowExtensionOwnerCheck(extension, role) &&
			has_privs_of_role(GetUserId(), role))
			return true;
	}
	return false;
}

/*
 * Asks our processes to leave and waits until they have, or for a bounded
 * time: the command itself says then that the database is in use, or waits.
 */
static void
let_go(Oid database)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(now, LETGO_HOLD);
	TimestampTz gently = TimestampTzPlusMilliseconds(now, LETGO_GENTLY);
	TimestampTz patience = TimestampTzPlusMilliseconds(now, LETGO_PATIENCE);

	let_go_database = database;
	let_go_nest = GetCurrentTransactionNestLevel();
	while (FlowDatabaseLetGo(database, until, now < gently) > 0 &&
		   now < patience)
	{
		FLOW_TEST_POINT("letgo-wait");
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LETGO_INTERVAL, FlowWaitEvent("FlowLetGo"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		now = GetCurrentTimestamp();
	}
}

/*
 * The server would lock what it drops in an order of its own, and meet clients
 * that have locked some of it and want more: a deadlock.  So the tables are
 * locked first, in the order in which everybody uses them.
 */
static void
lock_tables(void)
{
	static const char *const names[] = {"workflow", "definition", "run_key", "run", "task"};
	Oid			schema = get_namespace_oid(FLOW_TABLE_SCHEMA, true);

	for (int i = 0; i < lengthof(names) && OidIsValid(schema); i++)
	{
		Oid			table = get_relname_relid(names[i], schema);

		if (OidIsValid(table))
			LockRelationOid(table, AccessExclusiveLock);
	}
}

/*
 * Runs at commit too, so nothing here may fail; and before what the transaction
 * has made ready is sent, which may belong to a new installation.
 */
static void
at_xact(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT && dropped_extension)
		FlowQueueForget(MyDatabaseId);
	dropped_extension = false;
	if (!OidIsValid(let_go_database))
		return;
	if (event == XACT_EVENT_COMMIT && let_go_drops)
	{
		FlowQueueForget(let_go_database);
		FlowRecorderForget(let_go_database);
		FlowDatabaseForget(let_go_database);
		let_go_database = InvalidOid;
	}
	else
		come_back();
}

/* ROLLBACK TO, or a block with EXCEPTION, takes the command back. */
static void
at_subxact(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
		   void *arg)
{
	if (!OidIsValid(let_go_database) ||
		GetCurrentTransactionNestLevel() > let_go_nest)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		come_back();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		let_go_nest--;
}

static void
come_back(void)
{
	(void) FlowDatabaseLetGo(let_go_database, 0, true);
	FlowDatabaseProbe(let_go_database);
	let_go_database = InvalidOid;
}

/* The signature is the server's. */
static void
note_drop(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
		  void *arg)
{
	char	   *name;

	if (next_access)
		next_access(access, class_id, object_id, sub_id, arg);
	if (access != OAT_DROP || class_id != ExtensionRelationId)
		return;
	name = get_extension_name(object_id);
	if (name == NULL || strcmp(name, "flow") != 0)
		return;
	FlowWakeNoteInstalled();
	dropped_extension = true;
}
