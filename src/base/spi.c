/*-------------------------------------------------------------------------
 * spi.c
 *	  Kept statements on the extension's own tables.
 *
 * Each is prepared at its first use in a backend and kept, with a generic
 * plan: its arguments are arrays of a batch, never worth a plan of their own.
 * The plan cache analyses it again by itself when the tables are replaced.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "base/spi.h"

static void prepare(FlowStatement *statement);
static uint64 execute(FlowStatement *statement, Datum *values,
					  const bool *nulls, bool read_only);

uint64
FlowStatementExecute(FlowStatement *statement, Datum *values,
					 const bool *nulls)
{
	return execute(statement, values, nulls, false);
}

uint64
FlowStatementRead(FlowStatement *statement, Datum *values, const bool *nulls)
{
	return execute(statement, values, nulls, true);
}

static uint64
execute(FlowStatement *statement, Datum *values, const bool *nulls,
		bool read_only)
{
	MemoryContext caller = CurrentMemoryContext;
	char		flags[FLOW_STATEMENT_MAX_ARGS];
	int			code;

	if (statement->plan == NULL)
		prepare(statement);
	if (nulls != NULL)
		for (int i = 0; i < statement->nargs; i++)
			flags[i] = nulls[i] ? 'n' : ' ';
	code = SPI_execute_plan(statement->plan, values, nulls ? flags : NULL,
							read_only, 0);
	MemoryContextSwitchTo(caller);	/* SPI leaves its own current */
	if (code != statement->expect)
		elog(ERROR, "unexpected result %s of statement: %s",
			 SPI_result_code_string(code), statement->sql);
	return SPI_processed;
}

static void
prepare(FlowStatement *statement)
{
	SPIPlanPtr	plan;

	Assert(statement->nargs <= FLOW_STATEMENT_MAX_ARGS);
	plan = SPI_prepare_cursor(statement->sql, statement->nargs,
							  statement->argtypes, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare statement: %s: %s",
			 SPI_result_code_string(SPI_result), statement->sql);
	SPI_keepplan(plan);
	statement->plan = plan;
}

bool
FlowRowIsNull(HeapTuple row, int column)
{
	bool		isnull;

	(void) SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);
	return isnull;
}

int64
FlowRowInt64(HeapTuple row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

int32
FlowRowInt32(HeapTuple row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

bool
FlowRowBool(HeapTuple row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? false : DatumGetBool(value);
}

Oid
FlowRowOid(HeapTuple row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

char *
FlowRowText(HeapTuple row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

void
FlowRowTid(HeapTuple row, int column, ItemPointerData *tid)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	*tid = *(ItemPointer) DatumGetPointer(value);
}

Datum
FlowRowDatum(HeapTuple row, int column, bool *isnull)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	Form_pg_attribute attribute = TupleDescAttr(tupdesc, column - 1);
	Datum		value = SPI_getbinval(row, tupdesc, column, isnull);

	if (*isnull)
		return (Datum) 0;
	return datumCopy(value, attribute->attbyval, attribute->attlen);
}

Datum
FlowArray(Oid type, const Datum *values, const bool *nulls, int n)
{
	int16		len;
	bool		byval;
	char		align;
	int			dims[1];
	int			lower[1] = {1};

	if (n == 0)
		return PointerGetDatum(construct_empty_array(type));
	dims[0] = n;
	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array((Datum *) values, (bool *) nulls,
											  1, dims, lower, type,
											  len, byval, align));
}

Datum
FlowTextOrNull(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}
