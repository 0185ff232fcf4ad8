/*-------------------------------------------------------------------------
 * cron.c
 *	  The clock of schedules: pg_cron, as far as it is there.
 *
 * pg_cron is optional, lives in one database of the cluster, and differs
 * between versions; everything that knows it is here.  Jobs are made by calling
 * its functions as the current user, never raised, so that a job belongs to
 * the user and pg_cron's own checks apply.  What a view shows of a job is read
 * from the table itself, since a view may not depend on a schema that can be
 * missing, and its reader may not be allowed to see the job.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "report/cron.h"

#define CRON_SCHEMA	"cron"

static bool cron_is_here(void);
static void raise_not_here(void) pg_attribute_noreturn();
static Datum call(const char *sql, int nargs, Oid *types, Datum *values);
static bool find_job(int64 job_id, const char *job, bool *active);
static bool is_called(HeapTuple tuple, TupleDesc columns, const char *job);

void
FlowCronRequire(void)
{
	Oid			schema;

	if (!cron_is_here())
		raise_not_here();
	schema = get_namespace_oid(CRON_SCHEMA, false);
	if (FlowSchemaAclCheck(schema, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
	{
		char	   *user = GetUserNameFromId(GetUserId(), false);

		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema \"%s\" of pg_cron", CRON_SCHEMA),
				 errdetail("A schedule is a job of pg_cron that belongs to the role \"%s\".", user),
				 errhint("Have an administrator run GRANT USAGE ON SCHEMA %s TO %s.",
						 CRON_SCHEMA, quote_identifier(user))));
	}
}

static bool
cron_is_here(void)
{
	return GetConfigOption("cron.database_name", true, false) != NULL &&
		OidIsValid(get_extension_oid("pg_cron", true)) &&
		OidIsValid(get_namespace_oid(CRON_SCHEMA, true));
}

static void
raise_not_here(void)
{
	const char *home = GetConfigOption("cron.database_name", true, false);
	const char *here = get_database_name(MyDatabaseId);

	if (home == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is not loaded"),
				 errdetail("Schedules take their clock from the extension pg_cron."),
				 errhint("Add pg_cron to shared_preload_libraries, set cron.database_name = '%s', restart the server and run CREATE EXTENSION pg_cron.",
						 here)));
	if (strcmp(home, here) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron does not run in database \"%s\"", here),
				 errdetail("It runs in the one database that cron.database_name says, \"%s\".", home),
				 errhint("Call this in database \"%s\", or set cron.database_name = '%s', restart the server and run CREATE EXTENSION pg_cron here.",
						 home, here)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"pg_cron\" is not installed in database \"%s\"", here),
			 errdetail("Schedules take their clock from it."),
			 errhint("Run CREATE EXTENSION pg_cron.")));
}

int64
FlowCronSchedule(const char *job, const char *cron, const char *command)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {
		CStringGetTextDatum(job),
		CStringGetTextDatum(cron),
		CStringGetTextDatum(command)
	};

	Assert(strlen(job) <= FLOW_MAX_JOB_NAME);
	return DatumGetInt64(call("SELECT cron.schedule($1, $2, $3)",
							  lengthof(types), types, values));
}

void
FlowCronUnschedule(int64 job_id, const char *job)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(job_id)};
	bool		ignored;

	if (cron_is_here() && find_job(job_id, job, &ignored))
		(void) call("SELECT cron.unschedule($1)",
					lengthof(types), types, values);
}

/* One call of a function of pg_cron, as whoever is the current user. */
static Datum
call(const char *sql, int nargs, Oid *types, Datum *values)
{
	int			code = SPI_execute_with_args(sql, nargs, types, values, NULL,
											 false, 1);
	bool		isnull;
	Datum		result;

	if (code != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "unexpected result %s of %s",
			 SPI_result_code_string(code), sql);
	/* bigint or boolean: passed by value */
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						   &isnull);
	SPI_freetuptable(SPI_tuptable);
	return result;
}

bool
FlowCronJobIsActive(int64 job_id, const char *job)
{
	bool		active;

	return cron_is_here() && find_job(job_id, job, &active) && active;
}

/*
 * Looks for the row of cron.job with that id and that name, past privileges and
 * row security.
 */
static bool
find_job(int64 job_id, const char *job, bool *active)
{
	Oid			relid = get_relname_relid("job", get_namespace_oid(CRON_SCHEMA, false));
	AttrNumber	id = get_attnum(relid, "jobid");
	AttrNumber	is_active = get_attnum(relid, "active");
	Relation	relation;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull = true;

	if (id == InvalidAttrNumber || is_active == InvalidAttrNumber)
		return false;
	relation = table_open(relid, AccessShareLock);
	ScanKeyInit(&key, id, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(job_id));
	scan = systable_beginscan(relation, InvalidOid, false,
							  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) &&
		is_called(tuple, RelationGetDescr(relation), job))
		*active = DatumGetBool(heap_getattr(tuple, is_active,
											RelationGetDescr(relation),
											&isnull));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return !isnull;
}

/* The name of a job has been of type name and of type text. */
static bool
is_called(HeapTuple tuple, TupleDesc columns, const char *job)
{
	int			column = SPI_fnumber(columns, "jobname");
	char	   *name;

	if (column <= 0)
		return false;
	name = SPI_getvalue(tuple, columns, column);
	return name != NULL && strcmp(name, job) == 0;
}

const char *
FlowCronTimezone(void)
{
	const char *name = GetConfigOption("cron.timezone", true, false);

	return name ? name : "GMT";
}

/*
 * A schedule of five fields fires within its minute; the form "30 seconds"
 * has no finer instant than the second it fires in.  Time zones are whole
 * minutes from UTC, in which timestamps count.
 */
TimestampTz
FlowCronComputeSlot(const char *cron, TimestampTz fired_at)
{
	bool		seconds = strstr(cron, "second") != NULL;
	int64		unit = seconds ? USECS_PER_SEC : USECS_PER_MINUTE;

	return fired_at - fired_at % unit;
}
