/*-------------------------------------------------------------------------
 * access.c
 *	  Who may do what.
 *
 * Everybody may execute the functions and read the views; each function asks
 * here first.  The caller is always GetUserId(): the role whose rights the
 * calling code has, whether by SET ROLE or in a SECURITY DEFINER function.
 * Nothing here takes a lock, and all of it must be called before the identity
 * is raised.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/install.h"
#include "compat.h"
#include "define/access.h"
#include "flow.h"
#include "guc.h"

static void require_schema(AclMode mode, const char *privilege);
static bool can_log_in(Oid role);

void
FlowAccessRequireRead(void)
{
	require_schema(ACL_USAGE, "USAGE");
}

static void
require_schema(AclMode mode, const char *privilege)
{
	Oid			schema = FlowInstallRequire()->view_schema;

	if (FlowSchemaAclCheck(schema, GetUserId(), mode) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for schema \"%s\"", FLOW_VIEW_SCHEMA),
			 errhint("Run GRANT %s ON SCHEMA %s TO %s.", privilege,
					 FLOW_VIEW_SCHEMA,
					 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

void
FlowAccessRequireUse(void)
{
	FlowAccessRequireRead();
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot change workflows or runs within a security-restricted operation")));
	if (IsInParallelMode() || IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot change workflows or runs during a parallel operation")));
	if (RecoveryInProgress() || XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot change workflows or runs in a read-only transaction")));
}

void
FlowAccessRequireCreate(void)
{
	FlowAccessRequireUse();
	require_schema(ACL_CREATE, "CREATE");
}

bool
FlowAccessIsMember(Oid owner)
{
	return has_privs_of_role(GetUserId(), owner);
}

void
FlowAccessRequireMember(const FlowWorkflow *workflow)
{
	if (FlowAccessIsMember(workflow->owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for workflow \"%s\"", workflow->name),
			 errdetail("It belongs to role \"%s\".", workflow->owner_name)));
}

void
FlowAccessRequireOwner(Oid owner)
{
	const char *name = GetUserNameFromId(owner, false);

	if (!FlowAllowSuperuser && superuser_arg(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("superuser \"%s\" cannot own a workflow", name),
				 errdetail("flow.allow_superuser is off."),
				 errhint("SET ROLE to the role its steps shall run as, and define it then.")));
	if (FLOW_OWNER_MUST_LOG_IN && !can_log_in(owner))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" cannot own a workflow because it is not permitted to log in",
						name),
				 errdetail("On this version of PostgreSQL a background worker cannot run as such a role."),
				 errhint("Run ALTER ROLE %s LOGIN.", quote_identifier(name))));
}

static bool
can_log_in(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	return result;
}
