/*-------------------------------------------------------------------------
 * install.c
 *	  What this database has installed.
 *
 * Read from the catalogs at first use and cached until the relation cache
 * says that flow_internal.run has changed, which covers DROP EXTENSION,
 * CREATE EXTENSION again, and a new owner; ALTER EXTENSION says so, too.  Also
 * until a schema has changed, which may be the new name of the one that has the
 * functions.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/install.h"
#include "flow.h"

static FlowInstall install;
static bool install_valid = false;

static void forget(Datum arg, Oid relid);
static void forget_schema(Datum arg, int cache, uint32 hash);
static bool load(void);
static Oid	read_extension(Oid extension, bool *is_current);
static int64 compute_home(Oid extension);

const FlowInstall *
FlowInstallGet(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_schema, (Datum) 0);
		registered = true;
	}
	if (!install_valid)
		install_valid = load();
	return install_valid ? &install : NULL;
}

const FlowInstall *
FlowInstallRequire(void)
{
	const FlowInstall *found = FlowInstallGet();

	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"flow\" is not installed in this database"),
				 errdetail("Its library is loaded, but there are no tables of flow here."),
				 errhint("Run CREATE EXTENSION flow.")));
	return found;
}

Oid
FlowInstallLocalRole(int64 home, Oid role, const char *name)
{
	const FlowInstall *here = FlowInstallRequire();
	Oid			found;

	if (home == here->home || !OidIsValid(role))
		return role;
	found = get_role_oid(name, true);
	return OidIsValid(found) ? found : here->owner;
}

const FlowInstall *
FlowInstallRequireCurrent(void)
{
	const FlowInstall *found = FlowInstallRequire();

	if (!found->is_current)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"flow\" has not the version of its library, %s",
						FLOW_LIBRARY_VERSION),
				 errdetail("Workflows of this database do not run."),
				 errhint("Run ALTER EXTENSION flow UPDATE, or restart the server if the library is the older one.")));
	return found;
}

bool
FlowInstallIsForeign(void)
{
	return install_valid && !install.is_current;
}

void
FlowInstallInvalidate(void)
{
	const FlowInstall *found = FlowInstallGet();

	if (found != NULL)
		CacheInvalidateRelcacheByRelid(found->run_relid);
}

static void
forget(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == install.run_relid)
		install_valid = false;
}

static void
forget_schema(Datum arg, int cache, uint32 hash)
{
	install_valid = false;
}

static bool
load(void)
{
	Oid			extension = get_extension_oid("flow", true);
	Oid			tables = get_namespace_oid(FLOW_TABLE_SCHEMA, true);
	Oid			relid;
	HeapTuple	tuple;
	const char *schema;

	if (!OidIsValid(extension) || !OidIsValid(tables))
		return false;
	relid = get_relname_relid("run", tables);
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return false;
	install.owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	schema = get_namespace_name(read_extension(extension, &install.is_current));
	if (schema == NULL)
		schema = "public";
	if (install.extension != extension || install.run_relid != relid ||
		strcmp(install.function_schema, schema) != 0)
		install.generation++;
	install.extension = extension;
	install.run_relid = relid;
	install.view_schema = get_namespace_oid(FLOW_VIEW_SCHEMA, true);
	strlcpy(install.function_schema, schema, NAMEDATALEN);
	install.home = compute_home(extension);
	return true;
}

/* Returns its schema.  pg_extension has no system cache. */
static Oid
read_extension(Oid extension, bool *is_current)
{
	Relation	relation = table_open(ExtensionRelationId, AccessShareLock);
	Oid			schema = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(relation, ExtensionOidIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	*is_current = false;
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion,
										   RelationGetDescr(relation), &isnull);

		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		*is_current = !isnull &&
			strcmp(TextDatumGetCString(version), FLOW_LIBRARY_VERSION) == 0;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return schema;
}

/*
 * Differs between clusters, databases and installations, so that rows that
 * were restored or cloned are told from our own.
 */
static int64
compute_home(Oid extension)
{
	struct
	{
		uint64		system;
		Oid			database;
		Oid			extension;
	}			parts;

	parts.system = GetSystemIdentifier();
	parts.database = MyDatabaseId;
	parts.extension = extension;
	return (int64) hash_bytes_extended((const unsigned char *) &parts,
									   sizeof(parts), 0);
}
