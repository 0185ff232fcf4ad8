/*-------------------------------------------------------------------------
 * cat_key.c
 *	  Idempotency keys: which unfinished run has one, and which runs had it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/spi.h"
#include "catalog/cat_key.h"
#include "catalog/cat_run.h"

static FlowStatement key_reserve = {
	.sql = "INSERT INTO flow_internal.run_key (workflow_id, key, run_id)"
	" VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
	.expect = SPI_OK_INSERT,
	.nargs = 3,
	.argtypes = {INT4OID, TEXTOID, INT8OID}
};

static FlowStatement key_forget = {
	.sql = "DELETE FROM flow_internal.run_key WHERE workflow_id = $1 AND key = $2",
	.expect = SPI_OK_DELETE,
	.nargs = 2,
	.argtypes = {INT4OID, TEXTOID}
};

static FlowStatement key_holder = {
	.sql = "SELECT run_id FROM flow_internal.run_key WHERE workflow_id = $1 AND key = $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, TEXTOID}
};

static FlowStatement latest_of_key = {
	.sql = "SELECT k.id FROM"
	" ((SELECT r.id FROM flow_internal.run r WHERE r.workflow_id = $1 AND r.key = $2"
	"   ORDER BY r.id DESC LIMIT 1)"
	"  UNION ALL"
	"  (SELECT r.id FROM flow_internal.run r WHERE r.workflow_id = $1"
	"   AND r.key = " FLOW_KEY_HASH("$2")
	"   AND r.erased = 2 ORDER BY r.id DESC LIMIT 1)) k"
	" ORDER BY k.id DESC LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, TEXTOID}
};

static FlowStatement key_release = {
	.sql = "DELETE FROM flow_internal.run_key WHERE workflow_id = $1 AND key = $2"
	" AND run_id = $3",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT4OID, TEXTOID, INT8OID}
};

static int64 first_id(void);

bool
FlowRunKeyReserve(int32 workflow_id, const char *key, int64 run_id)
{
	Datum		args[3];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	args[2] = Int64GetDatum(run_id);
	return FlowStatementExecute(&key_reserve, args, NULL) == 1;
}

void
FlowRunKeyForget(int32 workflow_id, const char *key)
{
	Datum		args[2];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	FlowStatementExecute(&key_forget, args, NULL);
}

int64
FlowRunKeyHolder(int32 workflow_id, const char *key)
{
	Datum		args[2];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	FlowStatementExecute(&key_holder, args, NULL);
	return first_id();
}

int64
FlowRunLatestOfKey(int32 workflow_id, const char *key)
{
	Datum		args[2];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	FlowStatementExecute(&latest_of_key, args, NULL);
	return first_id();
}

void
FlowRunKeyRelease(int32 workflow_id, const char *key, int64 run_id)
{
	Datum		args[3];

	args[0] = Int32GetDatum(workflow_id);
	args[1] = CStringGetTextDatum(key);
	args[2] = Int64GetDatum(run_id);
	FlowStatementExecute(&key_release, args, NULL);
}

static int64
first_id(void)
{
	int64		id = SPI_processed > 0 ? FlowRowInt64(SPI_tuptable->vals[0], 1) : 0;

	SPI_freetuptable(SPI_tuptable);
	return id;
}
