/*-------------------------------------------------------------------------
 * floor.c
 *	  The floor under the engine's speed: the work no engine can avoid.
 *
 * For each item it does what a step does at the very least, and nothing
 * else: the step's own one-row INSERT and the write of one state row, both
 * through kept SPI plans, committing after every per_commit items.  There is
 * no claiming, no graph, no output, no change of identity.  The engine is
 * measured as a fraction of this.
 *
 * It is a procedure that commits inside, so it must be called at top level
 * (CALL, outside a transaction block).  Each lane has state rows of its own,
 * so that two backends at once never wait for each other's rows.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_floor);

/* State rows a lane may use; bench_floor_reset() creates as many per lane */
#define LANE_ROWS	1000000

static SPIPlanPtr
prepare_kept(const char *query, int nargs, Oid *argtypes)
{
	SPIPlanPtr	plan = SPI_prepare(query, nargs, argtypes);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", query,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

static void
run_kept(SPIPlanPtr plan, Datum *values, int expected)
{
	int			result = SPI_execute_plan(plan, values, NULL, false, 0);

	if (result != expected || SPI_processed != 1)
		elog(ERROR, "a statement of the floor did not do its one row");
}

/* bench_floor(lane int, items int, per_commit int) */
Datum
bench_floor(PG_FUNCTION_ARGS)
{
	int			lane = PG_GETARG_INT32(0);
	int			items = PG_GETARG_INT32(1);
	int			per_commit = PG_GETARG_INT32(2);
	Oid			argtypes[] = {INT8OID};
	SPIPlanPtr	effect;
	SPIPlanPtr	state;

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	effect = prepare_kept("INSERT INTO bench.effect (run_id, step) VALUES ($1, 1)",
						  lengthof(argtypes), argtypes);
	state = prepare_kept("UPDATE bench.state SET status = 'completed',"
						 " finished_at = clock_timestamp() WHERE id = $1",
						 lengthof(argtypes), argtypes);

	for (int i = 1; i <= items; i++)
	{
		Datum		values[] = {Int64GetDatum((int64) lane * LANE_ROWS + i)};

		CHECK_FOR_INTERRUPTS();
		run_kept(effect, values, SPI_OK_INSERT);
		run_kept(state, values, SPI_OK_UPDATE);
		if (i % per_commit == 0)
			SPI_commit();
	}

	SPI_freeplan(effect);
	SPI_freeplan(state);
	SPI_finish();
	PG_RETURN_VOID();
}
