/*-------------------------------------------------------------------------
 * kind.c
 *	  The kinds of steps, as a table.
 *
 * A kind is a file of its own beside this one; the engine knows none of them
 * but through this table.  flow_define refuses kinds that are not in it, so an
 * error here means that the library is older than the definition.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine/kinds/kind.h"

static const FlowKindExecute execute_of[FLOW_KIND_COUNT] = {
	[FLOW_KIND_APPROVAL] = FlowKindApprovalExecute,
	[FLOW_KIND_COMMAND] = FlowKindCommandExecute,
	[FLOW_KIND_CHOICE] = FlowKindChoiceExecute,
	[FLOW_KIND_SUBFLOW] = FlowKindSubflowExecute,
	[FLOW_KIND_DELAY] = FlowKindDelayExecute,
	[FLOW_KIND_SQL] = FlowKindSqlExecute,
	[FLOW_KIND_WAIT] = FlowKindWaitExecute,
};

FlowKindExecute
FlowKindExecuteOf(FlowStepKind kind)
{
	if (execute_of[kind] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("steps of kind \"%s\" cannot be executed by this version",
						FlowStepKindName(kind)),
				 errdetail("The library of flow is older than the definition."),
				 errhint("Install the library that belongs to the extension, and restart the server.")));
	return execute_of[kind];
}
