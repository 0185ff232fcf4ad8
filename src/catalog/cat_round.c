/*-------------------------------------------------------------------------
 * cat_round.c
 *	  How often a step has run again after it had ended well.
 *
 * Written with the run locked; only steps that have done so have a row.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/spi.h"
#include "catalog/cat_round.h"
#include "catalog/stepkey.h"

static FlowStatement count = {
	.sql = "SELECT rounds FROM flow_internal.round"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_SELECT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement add = {
	.sql = "INSERT INTO flow_internal.round AS r (run_id, step_no, item_no, rounds)"
	" VALUES ($1, $2, $3, 1) ON CONFLICT (run_id, step_no, item_no)"
	" DO UPDATE SET rounds = r.rounds + 1",
	.expect = SPI_OK_INSERT,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static FlowStatement delete = {
	.sql = "DELETE FROM flow_internal.round"
	" WHERE run_id = $1 AND step_no = $2 AND item_no = $3",
	.expect = SPI_OK_DELETE,
	.nargs = 3,
	.argtypes = {INT8OID, INT4OID, INT4OID}
};

static void execute(FlowStatement *statement, const FlowStepKey *key);

int
FlowRoundCount(const FlowStepKey *key)
{
	int			rounds = 0;

	execute(&count, key);
	if (SPI_processed > 0)
		rounds = FlowRowInt32(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	return rounds;
}

static void
execute(FlowStatement *statement, const FlowStepKey *key)
{
	Datum		args[3];

	FlowStepKeyWrite(key, args);
	FlowStatementExecute(statement, args, NULL);
}

void
FlowRoundAdd(const FlowStepKey *key)
{
	execute(&add, key);
}

void
FlowRoundDelete(const FlowStepKey *key)
{
	execute(&delete, key);
}
