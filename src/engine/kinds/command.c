/*-------------------------------------------------------------------------
 * command.c
 *	  Steps of kind "command": one statement outside a transaction block.
 *
 * Such a step is executed twice in a transaction of the batch.  The first time
 * it says what is to be run, which engine/command.c then runs; the second time
 * it takes what has come of it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/jsonb.h"

#include "engine/command.h"
#include "engine/context.h"
#include "engine/kinds/kind.h"
#include "engine/statement.h"

static const char *build(FlowBatch *batch, FlowItem *item);

void
FlowKindCommandExecute(FlowBatch *batch, FlowItem *item)
{
	const FlowSqlText *source = &item->step->sql[FLOW_SQL_STEP];

	if (FlowCommandHasRun(item))
	{
		FlowCommandRecall(batch, item);
		return;
	}
	item->command = MemoryContextAllocZero(batch->context, sizeof(FlowCommand));
	item->command->sql = source->expression ? build(batch, item) : source->text;
	item->status = FLOW_STEP_RUNNING;
}

static const char *
build(FlowBatch *batch, FlowItem *item)
{
	JsonbValue	value;
	Datum		result;
	bool		isnull;

	result = FlowStatementsRun(item->step, FLOW_SQL_STEP,
							   FlowContextParams(item->step->definition),
							   batch->context, &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("step \"%s\" built no command", item->step->name),
				 errdetail("Its expression is null."),
				 errhint("Use coalesce(), or \"condition\" to skip the step.")));
	if (!JsonbExtractScalar(&DatumGetJsonbP(result)->root, &value) ||
		value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("step \"%s\" did not build text", item->step->name),
				 errdetail("With \"build\" the SQL is an expression of type text: the command to run."),
				 errhint("Use format(), such as format('VACUUM %%I', input->>'table').")));
	return MemoryContextStrdup(batch->context,
							   pnstrdup(value.val.string.val, value.val.string.len));
}
