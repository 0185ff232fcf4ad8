/*-------------------------------------------------------------------------
 * install.c
 *	  What this database has installed.
 *
 * Read from the catalogs at first use and cached until the relation cache
 * says that flow_internal.run has changed, which covers DROP EXTENSION,
 * CREATE EXTENSION again, and a new owner.
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
static bool load(void);
static Oid	schema_of_extension(Oid extension);
static int64 compute_home(Oid extension);

const FlowInstall *
FlowInstallGet(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
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

static void
forget(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == install.run_relid)
		install_valid = false;
}

static bool
load(void)
{
	Oid			extension = get_extension_oid("flow", true);
	Oid			tables = get_namespace_oid(FLOW_TABLE_SCHEMA, true);
	Oid			relid;
	HeapTuple	tuple;
	char	   *schema;

	if (!OidIsValid(extension) || !OidIsValid(tables))
		return false;
	relid = get_relname_relid("run", tables);
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return false;
	install.owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	if (install.extension != extension || install.run_relid != relid)
		install.generation++;
	install.extension = extension;
	install.run_relid = relid;
	install.view_schema = get_namespace_oid(FLOW_VIEW_SCHEMA, true);
	schema = get_namespace_name(schema_of_extension(extension));
	strlcpy(install.function_schema, schema ? schema : "public", NAMEDATALEN);
	install.home = compute_home(extension);
	return true;
}

/* pg_extension has no system cache. */
static Oid
schema_of_extension(Oid extension)
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
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
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
