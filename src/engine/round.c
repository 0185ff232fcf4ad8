/*-------------------------------------------------------------------------
 * round.c
 *	  Steps that run again after they have ended well.
 *
 * By the option "again", an expression that sees the step's own result, or by
 * flow_again() in the step.  What the round did is committed, with its task put
 * to sleep instead of an outcome; rounds count as attempts, not as failures.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/identity.h"
#include "catalog/cat_round.h"
#include "catalog/cat_task.h"
#include "engine/context.h"
#include "engine/round.h"
#include "engine/settle.h"
#include "engine/statement.h"
#include "engine/total.h"
#include "shmem/wake.h"

static int64 usec_of(const Interval *delay);
static void take_result(FlowBatch *batch, FlowItem *item);
static void evaluate(FlowBatch *batch, FlowItem *item);
static void insert_task(FlowItem *item, const FlowTaskNew *row);

void
FlowRoundAsk(FlowItem *item, const Interval *delay)
{
	FlowAgain  *asked;

	if (item->step->isolation != XACT_READ_COMMITTED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("step \"%s\" cannot run again", item->step->name),
				 errdetail("It has an isolation level of its own."),
				 errhint("Let a step at READ COMMITTED call flow_again().")));
	asked = MemoryContextAlloc(GetMemoryChunkContext(item->run), sizeof(FlowAgain));
	asked->after = usec_of(delay);
	asked->level = GetCurrentTransactionNestLevel();
	asked->earlier = item->asked;
	item->asked = asked;
}

/* Months count 30 days.  What is negative is none. */
static int64
usec_of(const Interval *delay)
{
	double		usec = (double) delay->time +
	(delay->day + delay->month * (double) DAYS_PER_MONTH) * USECS_PER_DAY;

	if (usec > 366.0 * 1000 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("delay until the step runs again is out of range"),
				 errdetail("Expected an interval from 0 to 1000 years."),
				 errhint("Use a shorter one.")));
	return usec > 0 ? (int64) usec : 0;
}

/* Only steps with a condition need to know, and those that have run before. */
bool
FlowRoundIsLater(const FlowItem *item)
{
	FlowIdentity identity;
	int			rounds;

	if (item->attempt_base == 0 ||
		item->step->sql[FLOW_SQL_CONDITION].text == NULL)
		return false;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	rounds = FlowRoundCount(&item->key);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	return rounds > 0;
}

void
FlowRoundDecide(FlowBatch *batch, FlowItem *item)
{
	if (item->status != FLOW_STEP_COMPLETED)
		return;
	if (item->step->sql[FLOW_SQL_AGAIN].text !=NULL && item->asked == NULL)
		evaluate(batch, item);
	if (item->step->sql[FLOW_SQL_RESULT].text !=NULL && item->asked == NULL)
		take_result(batch, item);
	if (item->asked == NULL)
		return;
	item->again = true;
	item->status = FLOW_STEP_SLEEPING;
	item->next_at = Min(GetCurrentTimestamp() + item->asked->after,
						FlowTotalDue(item));
}

/* The last round is the step's end: what on_result gives is the output. */
static void
take_result(FlowBatch *batch, FlowItem *item)
{
	bool		isnull;
	Datum		output;

	output = FlowStatementsRun(item->step, FLOW_SQL_RESULT,
							   FlowContextParams(item->step->definition),
							   batch->context, &isnull);
	item->output = output;
	item->has_output = !isnull;
}

static void
evaluate(FlowBatch *batch, FlowItem *item)
{
	ParamListInfo params = FlowContextParams(item->step->definition);
	JsonbValue	value;
	Datum		result;
	bool		isnull;

	result = FlowStatementsRun(item->step, FLOW_SQL_AGAIN, params, batch->context,
							   &isnull);
	if (isnull)
		return;
	if (!JsonbExtractScalar(&DatumGetJsonbP(result)->root, &value) ||
		value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"again\" of step \"%s\" is not of type interval",
						item->step->name),
				 errdetail("It is the delay until the step runs again, or null."),
				 errhint("Cast it, such as '1 s'::interval.")));
	result = DirectFunctionCall3(interval_in,
								 CStringGetDatum(pnstrdup(value.val.string.val,
														  value.val.string.len)),
								 ObjectIdGetDatum(InvalidOid),
								 Int32GetDatum(-1));
	FlowRoundAsk(item, DatumGetIntervalP(result));
}

void
FlowRoundPark(FlowItem *item, FlowChanges *changes)
{
	FlowTaskNew row;

	FlowRoundAdd(&item->key);
	FlowTotalKeep(item);
	FlowSettleInitTask(&row, item, FLOW_STEP_SLEEPING);
	row.attempt_base++;
	row.due_at = item->next_at;
	if (item->has_task)
		FlowRowsAdd(&changes->sleeps, &row);
	else
		insert_task(item, &row);
}

/* At once, since the run may yet turn out to fail, and then takes it away. */
static void
insert_task(FlowItem *item, const FlowTaskNew *row)
{
	FlowTaskInsert(row, 1);
	item->has_task = true;
	FlowWakeNoteDue(&row->key, row->due_at);
}

void
FlowRoundAtSubxact(FlowItem *item, int level, bool committed)
{
	if (!committed)
		while (item->asked != NULL && item->asked->level >= level)
			item->asked = item->asked->earlier;
	for (FlowAgain *asked = item->asked; asked != NULL; asked = asked->earlier)
		asked->level = Min(asked->level, level - 1);
}

void
FlowRoundForget(int64 run_id, int step_no)
{
	FlowStepKey key = {run_id, step_no, 0};

	FlowRoundDelete(&key);
}
