/*-------------------------------------------------------------------------
 * sql.c
 *	  Steps of kind "sql": statements in the transaction of the batch.
 *
 * Their effects, their output and the step's new state are one commit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine/context.h"
#include "engine/kinds/kind.h"
#include "engine/statement.h"

void
FlowKindSqlExecute(FlowBatch *batch, FlowItem *item)
{
	ParamListInfo params = FlowContextParams(item->step->definition);
	bool		isnull;

	item->output = FlowStatementsRun(item->step, FLOW_SQL_STEP, params,
									 batch->context, &isnull);
	item->has_output = !isnull;
}
