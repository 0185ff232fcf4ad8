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
 * COMMIT PREPARED runs none of the callbacks by which a transaction announces
 * what it has made ready, so it asks for a sweep.  DROP EXTENSION is noted
 * here, CREATE EXTENSION by its script.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shmem/database.h"
#include "shmem/queue.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"
#include "worker/letgo.h"

#define LETGO_HOLD		60000	/* ms that a database is let go at most */
#define LETGO_PATIENCE	10000	/* ms that we wait for our processes */
#define LETGO_INTERVAL	10		/* ms between two looks */

static ProcessUtility_hook_type next_utility = NULL;
static object_access_hook_type next_access = NULL;

/* The database this transaction has let go; InvalidOid: none */
static Oid	let_go_database = InvalidOid;
static bool let_go_drops = false;	/* it will be gone at commit */

static void process_utility(PlannedStmt *pstmt, const char *queryString,
							bool readOnlyTree, ProcessUtilityContext context,
							ParamListInfo params, QueryEnvironment *queryEnv,
							DestReceiver *dest, QueryCompletion *qc);
static Oid	find_database(Node *statement);
static Oid	find_owned(const char *name);
static Oid	find_template(CreatedbStmt *statement);
static bool sets_tablespace(AlterDatabaseStmt *statement);
static bool may_create_database(void);
static void let_go(Oid database);
static void end_let_go(XactEvent event, void *arg);
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
	RegisterXactCallback(end_let_go, NULL);
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

		if (OidIsValid(database) && database != MyDatabaseId)
		{
			let_go_drops = IsA(statement, DropdbStmt);
			let_go(database);
		}
	}
	next_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv,
				 dest, qc);
	if (commits_prepared && FlowDatabaseTakePrepared(MyDatabaseId))
		FlowDatabaseAsk(MyDatabaseId, FLOW_ASK_SWEEP);
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

/*
 * Asks our processes to leave and waits until they have, or for a bounded
 * time: the command itself says then that the database is in use.
 */
static void
let_go(Oid database)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(now, LETGO_HOLD);
	TimestampTz patience = TimestampTzPlusMilliseconds(now, LETGO_PATIENCE);

	let_go_database = database;
	while (FlowDatabaseLetGo(database, until) > 0 &&
		   GetCurrentTimestamp() < patience)
	{
		FLOW_TEST_POINT("letgo-wait");
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LETGO_INTERVAL, FlowWaitEvent("FlowLetGo"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Runs at commit too, so nothing here may fail. */
static void
end_let_go(XactEvent event, void *arg)
{
	if (!OidIsValid(let_go_database) ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	if (event == XACT_EVENT_COMMIT && let_go_drops)
	{
		FlowQueueForget(let_go_database);
		FlowDatabaseForget(let_go_database);
	}
	else
	{
		(void) FlowDatabaseLetGo(let_go_database, 0);
		FlowDatabaseProbe(let_go_database);
	}
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
	if (name != NULL && strcmp(name, "flow") == 0)
		FlowWakeNoteInstalled();
}
