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
#include "utils/timestamp.h"

#include "base/install.h"
#include "base/spi.h"
#include "catalog/cat_event.h"

static FlowStatement insert = {
	.sql = "INSERT INTO flow_internal.event (id, home, run_id, workflow_id, key, status, at,"
	" by_role, detail)"
	" SELECT pg_catalog.nextval('flow_internal.event_id_seq'), $1, n.run_id, n.workflow_id,"
	" n.key, n.status, n.at, n.by_role,"
	" CASE WHEN n.reason IS NOT NULL THEN pg_catalog.jsonb_build_object('reason', n.reason) END"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
	" pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8))"
	" AS n(run_id, workflow_id, key, status, at, by_role, reason)",
	.expect = SPI_OK_INSERT,
	.nargs = 8,
	.argtypes = {INT8OID, INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
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

void
FlowEventInsert(const FlowEventRow *rows, int n)
{
	static const Oid types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID,
	TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum	   *value[7];
	bool	   *nulls[7];
	Datum		args[8];

	if (n == 0)
		return;
	for (int c = 0; c < 7; c++)
	{
		value[c] = palloc0(sizeof(Datum) * n);
		nulls[c] = palloc0(sizeof(bool) * n);
	}
	for (int i = 0; i < n; i++)
	{
		const FlowEventRow *row = &rows[i];
		const char *texts[] = {row->key, row->status, NULL, row->by_role, row->reason};

		value[0][i] = Int64GetDatum(row->run_id);
		value[1][i] = Int32GetDatum(row->workflow_id);
		for (int c = 0; c < 5; c++)
		{
			nulls[c + 2][i] = texts[c] == NULL;
			if (texts[c] != NULL)
				value[c + 2][i] = CStringGetTextDatum(texts[c]);
		}
		value[4][i] = TimestampTzGetDatum(row->at);
		nulls[4][i] = false;
	}
	args[0] = Int64GetDatum(FlowInstallRequire()->home);
	for (int c = 0; c < 7; c++)
		args[c + 1] = FlowArray(types[c], value[c], nulls[c], n);
	FlowStatementExecute(&insert, args, NULL);
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
