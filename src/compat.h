/*-------------------------------------------------------------------------
 * compat.h
 *	  Differences between PostgreSQL 15, 16, 17 and 18; the only place that
 *	  looks at PG_VERSION_NUM.
 *
 * Each entry says since when, and defines the newest form.  It disappears
 * with the version it serves.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_COMPAT_H
#define FLOW_COMPAT_H

#include "postmaster/bgworker.h"
#include "utils/wait_event.h"

/* Since 17 a background worker may belong to a role that may not log in. */
#if PG_VERSION_NUM >= 170000
#define FLOW_WORKER_CONNECT_FLAGS	BGWORKER_BYPASS_ROLELOGINCHECK
#define FLOW_OWNER_MUST_LOG_IN		false
#else
#define FLOW_WORKER_CONNECT_FLAGS	0
#define FLOW_OWNER_MUST_LOG_IN		true
#endif

/* Since 16 has_privs_of_role() and friends share one ACL check function. */
#if PG_VERSION_NUM >= 160000
#define FlowSchemaAclCheck(schema, role, mode) \
	object_aclcheck(NamespaceRelationId, schema, role, mode)
#define FlowDatabaseAclCheck(database, role, mode) \
	object_aclcheck(DatabaseRelationId, database, role, mode)
#define FlowDatabaseOwnerCheck(database, role) \
	object_ownercheck(DatabaseRelationId, database, role)
#define FlowSchemaOwnerCheck(schema, role) \
	object_ownercheck(NamespaceRelationId, schema, role)
#define FlowExtensionOwnerCheck(extension, role) \
	object_ownercheck(ExtensionRelationId, extension, role)
#else
#define FlowSchemaAclCheck(schema, role, mode) \
	pg_namespace_aclcheck(schema, role, mode)
#define FlowDatabaseAclCheck(database, role, mode) \
	pg_database_aclcheck(database, role, mode)
#define FlowDatabaseOwnerCheck(database, role) \
	pg_database_ownercheck(database, role)
#define FlowSchemaOwnerCheck(schema, role) \
	pg_namespace_ownercheck(schema, role)
#define FlowExtensionOwnerCheck(extension, role) \
	pg_extension_ownercheck(extension, role)
#endif

/* Since 16 membership has the option SET, without which it gives no SET ROLE. */
#if PG_VERSION_NUM >= 160000
#define FlowRoleMaySet(member, role)	member_can_set_role(member, role)
#else
#define FlowRoleMaySet(member, role)	is_member_of_role(member, role)
#endif

/* Since 17 extensions name their wait events; before, there is one for all. */
#if PG_VERSION_NUM >= 170000
#define FlowWaitEvent(name) \
	(WaitEventExtensionNew(name))
#else
#define FlowWaitEvent(name) PG_WAIT_EXTENSION
#endif

/* Since 17 the array of PGPROCs is reached through a macro. */
#if PG_VERSION_NUM >= 170000
#define FlowMyProcNumber()		((int) MyProcNumber)
#else
#define FlowMyProcNumber()		(MyProc->pgprocno)
#ifndef GetPGProcByNumber
#define GetPGProcByNumber(n)	(&ProcGlobal->allProcs[(n)])
#endif
#endif

/* Since 16 it is told whether only summarizing indexes need the tuple. */
#if PG_VERSION_NUM >= 160000
#define FlowExecInsertIndexTuples(target, slot, estate, summarizing) \
	ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL, summarizing)
#else
#define FlowExecInsertIndexTuples(target, slot, estate, summarizing) \
	ExecInsertIndexTuples(target, slot, estate, false, false, NULL, NIL)
#endif

/* Since 16 an update tells which indexes need the new tuple. */
#if PG_VERSION_NUM >= 160000
#define FlowUpdateIndexes	TU_UpdateIndexes
#define FlowUpdatesIndexes(update)	((update) != TU_None)
#define FlowUpdateSummarizes(update)	((update) == TU_Summarizing)
#else
#define FlowUpdateIndexes	bool
#define FlowUpdatesIndexes(update)	(update)
#define FlowUpdateSummarizes(update)	false
#endif

/* Since 18 a scan can count its searches. */
#if PG_VERSION_NUM >= 180000
#define FlowIndexBeginScan(table, index, snapshot, n_keys) \
	index_beginscan(table, index, snapshot, NULL, n_keys, 0)
#else
#define FlowIndexBeginScan(table, index, snapshot, n_keys) \
	index_beginscan(table, index, snapshot, n_keys, 0)
#endif

/*
 * Its header, libpq/libpq.h, needs those of Kerberos, which an installation
 * that compiles extensions need not have.
 */
extern bool pq_check_connection(void);

#endif							/* FLOW_COMPAT_H */
