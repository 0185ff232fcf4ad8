/*-------------------------------------------------------------------------
 * cat_event.c
 *	  Events and data of a run.
 *
 * Event rows are written by whoever changes the run, in the same transaction;
 * the scheduler announces them after the commit (worker/emit.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/table.h"
#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_event.h"

/* Columns of flow_internal.event */
#define EVENT_COLUMNS	10

static FlowTable events = {.name = "event",.columns = EVENT_COLUMNS};
static FlowTable event_ids = {.name = "event_id_seq"};

static FlowStatement data_copy = {
	.sql = "INSERT INTO flow_internal.data (run_id, key, value)"
	" SELECT $2, key, value FROM flow_internal.data WHERE run_id = $1",
	.expect = SPI_OK_INSERT,
	.nargs = 2,
	.argtypes = {INT8OID, INT8OID}
};

static FlowStatement data_load = {
	.sql = "SELECT value FROM flow_internal.data WHERE run_id = $1 AND key = $2",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static FlowStatement data_save = {
	.sql = "INSERT INTO flow_internal.data (run_id, key, value) VALUES ($1, $2, $3)"
	" ON CONFLICT (run_id, key) DO UPDATE SET value = EXCLUDED.value",
	.expect = SPI_OK_INSERT,
	.nargs = 3,
	.argtypes = {INT8OID, TEXTOID, JSONBOID}
};

static FlowStatement data_remove = {
	.sql = "DELETE FROM flow_internal.data WHERE run_id = $1 AND key = $2",
	.expect = SPI_OK_DELETE,
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID}
};

static void write_event(const FlowEventRow *row, Datum *values, bool *nulls);
static Datum reason_json(const char *reason);

void
FlowEventInsert(const FlowEventRow *rows, int n)
{
	Datum	   *values = palloc0(sizeof(Datum) * EVENT_COLUMNS * Max(n, 1));
	bool	   *nulls = palloc0(sizeof(bool) * EVENT_COLUMNS * Max(n, 1));

	for (int i = 0; i < n; i++)
		write_event(&rows[i], values + i * EVENT_COLUMNS, nulls + i * EVENT_COLUMNS);
	FlowTableInsert(&events, values, nulls, n);
}

static void
write_event(const FlowEventRow *row, Datum *values, bool *nulls)
{
	values[0] = Int64GetDatum(FlowTableNextId(&event_ids));
	values[1] = Int64GetDatum(FlowInstallRequire()->home);
	values[2] = Int64GetDatum(row->run_id);
	values[3] = Int32GetDatum(row->workflow_id);
	values[4] = FlowTextOrNull(row->key, &nulls[4]);
	nulls[5] = true;			/* step */
	values[6] = FlowTextOrNull(row->status, &nulls[6]);
	values[7] = TimestampTzGetDatum(row->at);
	values[8] = FlowTextOrNull(row->by_role, &nulls[8]);
	nulls[9] = row->reason == NULL;
	if (row->reason != NULL)
		values[9] = reason_json(row->reason);
}

static Datum
reason_json(const char *reason)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	value.type = jbvString;
	value.val.string.val = "reason";
	value.val.string.len = strlen("reason");
	pushJsonbValue(&state, WJB_KEY, &value);
	value.val.string.val = unconstify(char *, reason);
	value.val.string.len = strlen(reason);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT,
														   NULL)));
}

bool
FlowDataLoad(int64 run_id, const char *key, Datum *value)
{
	Datum		args[2] = {Int64GetDatum(run_id), CStringGetTextDatum(key)};
	bool		isnull;
	bool		found = FlowStatementRead(&data_load, args, NULL) == 1;

	if (found)
		*value = FlowRowDatum(SPI_tuptable->vals[0], 1, &isnull);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

void
FlowDataSave(int64 run_id, const char *key, Datum value)
{
	Datum		args[3] = {Int64GetDatum(run_id), CStringGetTextDatum(key), value};

	FlowStatementExecute(&data_save, args, NULL);
}

void
FlowDataRemove(int64 run_id, const char *key)
{
	Datum		args[2] = {Int64GetDatum(run_id), CStringGetTextDatum(key)};

	FlowStatementExecute(&data_remove, args, NULL);
}

void
FlowDataCopy(int64 from_run, int64 to_run)
{
	Datum		args[2] = {Int64GetDatum(from_run), Int64GetDatum(to_run)};

	FlowStatementExecute(&data_copy, args, NULL);
}
