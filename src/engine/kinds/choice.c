/*-------------------------------------------------------------------------
 * choice.c
 *	  Steps of kind "choice": an expression that names the event to emit.
 *
 * The decision is the step's output, and committed with it, so that the branch
 * is chosen once, whatever its expression would say later.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/jsonb.h"

#include "engine/context.h"
#include "engine/emission.h"
#include "engine/kinds/kind.h"
#include "engine/statement.h"
#include "error.h"

void
FlowKindChoiceExecute(FlowBatch *batch, FlowItem *item)
{
	ParamListInfo params = FlowContextParams(item->step->definition);
	JsonbValue	chosen;
	bool		isnull;

	item->output = FlowStatementsRun(item->step, FLOW_SQL_STEP, params,
									 batch->context, &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_NO_CHOICE),
				 errmsg("step \"%s\" chose no branch", item->step->name),
				 errdetail("Its expression is null."),
				 errhint("Let every case name an event, with ELSE for the rest.")));
	if (!JsonbExtractScalar(&DatumGetJsonbP(item->output)->root, &chosen) ||
		chosen.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("step \"%s\" did not choose by name", item->step->name),
				 errdetail("Its expression must be of type text: the name of the event to emit."),
				 errhint("Use a CASE whose results are names.")));
	item->has_output = true;
	FlowEmissionAdd(item, pnstrdup(chosen.val.string.val, chosen.val.string.len),
					(Datum) 0, true);
}
