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

static void require_schema(AclMode wanted);
static bool lacks(Oid schema, Oid role, AclMode mode);
static void require_writable(void);
static bool can_log_in(Oid role);

void
FlowAccessRequireRead(void)
{
	require_schema(ACL_USAGE);
}

/* Names all that is missing at once, so that one GRANT mends it. */
static void
require_schema(AclMode wanted)
{
	Oid			schema = FlowInstallRequire()->view_schema;
	bool		usage = (wanted & ACL_USAGE) && lacks(schema, GetUserId(), ACL_USAGE);
	bool		create = (wanted & ACL_CREATE) && lacks(schema, GetUserId(), ACL_CREATE);
	const char *role;

	if (!usage && !create)
		return;
	role = GetUserNameFromId(GetUserId(), false);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for schema \"%s\"", FLOW_VIEW_SCHEMA),
			 errdetail("Role \"%s\" lacks %s%s%s on it.", role,
					   usage ? "USAGE" : "", usage && create ? " and " : "",
					   create ? "CREATE" : ""),
			 errhint("Run GRANT %s%s%s ON SCHEMA %s TO %s.",
					 usage ? "USAGE" : "", usage && create ? ", " : "",
					 create ? "CREATE" : "", FLOW_VIEW_SCHEMA,
					 quote_identifier(role))));
}

static bool
lacks(Oid schema, Oid role, AclMode mode)
{
	return FlowSchemaAclCheck(schema, role, mode) != ACLCHECK_OK;
}

void
FlowAccessRequireUse(void)
{
	FlowAccessRequireRead();
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot change workflows or runs within a security-restricted operation"),
				 errdetail("An index expression, a materialized view and maintenance of a table are evaluated with the rights of the table's owner."),
				 errhint("Call it in a statement of its own.")));
	if (IsInParallelMode() || IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot change workflows or runs during a parallel operation"),
				 errdetail("A function that calls this one is marked PARALLEL SAFE or RESTRICTED."),
				 errhint("Mark it PARALLEL UNSAFE.")));
	require_writable();
}

static void
require_writable(void)
{
	bool		standby = RecoveryInProgress();

	if (!standby && !XactReadOnly)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot change workflows or runs in a read-only transaction"),
			 standby ? errdetail("This server is a standby.") :
			 errdetail("The transaction is READ ONLY."),
			 standby ? errhint("Connect to the primary server.") :
			 errhint("Use BEGIN READ WRITE.")));
}

void
FlowAccessRequireCreate(void)
{
	require_schema(ACL_USAGE | ACL_CREATE);
	FlowAccessRequireUse();
}

bool
FlowAccessIsMember(Oid owner)
{
	return has_privs_of_role(GetUserId(), owner);
}

bool
FlowAccessMaySee(const FlowWorkflow *workflow)
{
	return FlowAccessIsMember(workflow->owner) ||
		FlowWorkflowHasGrant(workflow->id, NULL);
}

/* Who may not see the workflow does not learn whose it is. */
void
FlowAccessRequireMember(const FlowWorkflow *workflow)
{
	if (FlowAccessIsMember(workflow->owner))
		return;
	if (!FlowAccessMaySee(workflow))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for workflow \"%s\"", workflow->name),
				 errdetail("The name is taken, and names are unique in the database."),
				 errhint("Use another name.")));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for workflow \"%s\"", workflow->name),
			 errdetail("It belongs to role \"%s\".", workflow->owner_name),
			 errhint("Only members of that role may: GRANT %s TO %s.",
					 quote_identifier(workflow->owner_name),
					 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

bool
FlowAccessOwnsRun(Oid run_owner, int32 workflow_id)
{
	Oid			owner;

	if (FlowAccessIsMember(run_owner))
		return true;
	owner = FlowWorkflowOwner(workflow_id);
	return OidIsValid(owner) && FlowAccessIsMember(owner);
}

bool
FlowAccessMaySeeRun(Oid run_owner, Oid started_by, int32 workflow_id)
{
	static const char *const all_runs[] = {"read", "operate", "approve", "work"};

	if (FlowAccessOwnsRun(run_owner, workflow_id) ||
		FlowAccessIsMember(started_by))
		return true;
	for (int i = 0; i < lengthof(all_runs); i++)
		if (FlowWorkflowHasGrant(workflow_id, all_runs[i]))
			return true;
	return false;
}

/* What ALTER TABLE ... OWNER TO asks for, and a superuser need not have. */
void
FlowAccessRequireCreateAs(Oid role)
{
	const char *name = GetUserNameFromId(role, false);

	if (superuser())
		return;
	if (!FlowRoleMaySet(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be member of role \"%s\"", name),
				 errdetail("The steps of the workflow would run as that role."),
				 errhint("Run GRANT %s TO %s.", quote_identifier(name),
						 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
	if (lacks(FlowInstallRequire()->view_schema, role, ACL_CREATE))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not define workflows", name),
				 errdetail("Who cannot define one cannot be given one."),
				 errhint("Run GRANT CREATE ON SCHEMA %s TO %s.",
						 FLOW_VIEW_SCHEMA, quote_identifier(name))));
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
