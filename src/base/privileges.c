/*-------------------------------------------------------------------------
 * privileges.c
 *	  Keep what the extension installs to its owner.
 *
 * A row of ours says as whom SQL is executed, so whoever writes a table could
 * become any role.  Two things can open them without anybody meaning it:
 * default privileges of the role that runs CREATE EXTENSION, which are taken
 * back at the end of the script; and pg_write_all_data, which needs no
 * privilege on a table, so each table has a trigger that refuses.  Engine
 * statements run as the owner of the tables and pass it, and it is called
 * once per statement, not per row.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/privileges.h"
#include "flow.h"

PG_FUNCTION_INFO_V1(flow_strip_privileges);
PG_FUNCTION_INFO_V1(flow_refuse_write);

static List *members_of(Oid extension);
static bool is_ours_alone(const ObjectAddress *object);
static void strip(const ObjectAddress *object);
static Acl *acl_of(const ObjectAddress *object, Oid *owner);

/*
 * flow_internal.strip_privileges(schemas boolean) RETURNS void
 *
 * An update must leave the schemas alone: by then the administrator has
 * granted what he meant to.
 */
Datum
flow_strip_privileges(PG_FUNCTION_ARGS)
{
	bool		schemas = PG_GETARG_BOOL(0);
	ListCell   *cell;

	if (!creating_extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function \"%s\" can only be called by a script of the extension",
						"strip_privileges"),
				 errdetail("It takes away what default privileges give on new objects."),
				 errhint("Use REVOKE.")));
	foreach(cell, members_of(get_extension_oid("flow", false)))
	{
		ObjectAddress *object = lfirst(cell);

		if (is_ours_alone(object) ||
			(schemas && object->classId == NamespaceRelationId))
			strip(object);
	}
	PG_RETURN_VOID();
}

static List *
members_of(Oid extension)
{
	Relation	relation = table_open(DependRelationId, AccessShareLock);
	List	   *members = NIL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(relation, DependReferenceIndexId, true, NULL,
							  lengthof(keys), keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress *object = palloc(sizeof(ObjectAddress));

		ObjectAddressSet(*object, row->classid, row->objid);
		if (row->deptype == DEPENDENCY_EXTENSION)
			members = lappend(members, object);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return members;
}

/*
 * Tables, views and sequences; and inner functions.  Those that users call are
 * for whomever the administrator's defaults name.
 */
static bool
is_ours_alone(const ObjectAddress *object)
{
	if (object->classId == ProcedureRelationId)
		return get_func_namespace(object->objectId) ==
			get_namespace_oid(FLOW_TABLE_SCHEMA, false);
	return object->classId == RelationRelationId;
}

/* Takes from every named role what it has; PUBLIC is the script's affair. */
static void
strip(const ObjectAddress *object)
{
	Oid			owner;
	Acl		   *acl = acl_of(object, &owner);
	Oid		   *roles;
	int			n = acl ? aclmembers(acl, &roles) : 0;

	for (int i = 0; i < n; i++)
		if (roles[i] != owner)
			RemoveRoleFromObjectACL(roles[i], object->classId, object->objectId);
}

/* NULL: the object has the privileges that the server builds in. */
static Acl *
acl_of(const ObjectAddress *object, Oid *owner)
{
	int			cache = get_object_catcache_oid(object->classId);
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object->objectId));
	bool		isnull;
	Datum		acl;
	Acl		   *copy = NULL;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for object %u", object->objectId);
	*owner = DatumGetObjectId(SysCacheGetAttr(cache, tuple,
											  get_object_attnum_owner(object->classId),
											  &isnull));
	acl = SysCacheGetAttr(cache, tuple, get_object_attnum_acl(object->classId),
						  &isnull);
	if (!isnull)
		copy = DatumGetAclPCopy(acl);
	ReleaseSysCache(tuple);
	return copy;
}

/*
 * flow_internal.refuse_write() RETURNS trigger
 */
Datum
flow_refuse_write(PG_FUNCTION_ARGS)
{
	Relation	relation;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" can only be called as a trigger",
						"refuse_write"),
				 errdetail("Each table of flow has it as a trigger, which looks at who writes there."),
				 errhint("Leave it to those triggers.")));
	relation = ((TriggerData *) fcinfo->context)->tg_relation;
	if (GetUserId() != relation->rd_rel->relowner && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table \"%s\"",
						RelationGetRelationName(relation)),
				 errdetail("Its rows say as whom steps are executed, so only the functions of flow write it."),
				 errhint("Use flow_define(), flow_start(), flow_cancel() and the like.")));
	return PointerGetDatum(NULL);
}
