/*-------------------------------------------------------------------------
 * ready.c
 *	  Decides which steps may run next.
 *
 * Pure: given a compiled graph and the set of steps that have ended, says
 * which steps are ready, and what becomes of the others when the run fails.
 * It reads no table and takes no lock.
 *
 * flush.c calls it with the run's row locked; batch.c calls it without, and
 * may then act on what it says because a step that has completed stays so
 * for as long as the run keeps its epoch.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine/ready.h"

bool
FlowReadyIs(const FlowStepDef *step, const uint8 *ended)
{
	if (ended[step->no] != 0)
		return false;
	for (int i = 0; i < step->n_deps; i++)
		if (ended[step->deps[i]] != FLOW_STEP_COMPLETED)
			return false;
	return true;
}

bool
FlowReadyIsOpen(const FlowStepDef *step, const uint8 *ended)
{
	for (int i = 0; i < step->n_deps; i++)
		if (ended[step->deps[i]] == 0)
			return true;
	return false;
}

/*
 * Walks downstream from each failed step with a stack of step numbers; every
 * step is pushed at most once.
 */
void
FlowReadyComputeFate(const FlowDefinition *definition, const uint8 *ended,
					 uint8 *fate, int *cause)
{
	int		   *stack = palloc(sizeof(int) * (definition->n_steps + 1));
	int			depth = 0;

	for (int no = 1; no <= definition->n_steps; no++)
	{
		fate[no] = ended[no] == 0 ? FLOW_STEP_CANCELLED : 0;
		cause[no] = 0;
		if (ended[no] == FLOW_STEP_FAILED)
		{
			cause[no] = no;
			stack[depth++] = no;
		}
	}
	while (depth > 0)
	{
		const FlowStepDef *step = &definition->steps[stack[--depth] - 1];

		for (int i = 0; i < step->n_dependents; i++)
		{
			int			next = step->dependents[i];

			if (cause[next] != 0)
				continue;
			cause[next] = cause[step->no];
			if (fate[next] != 0)
				fate[next] = FLOW_STEP_SKIPPED;
			stack[depth++] = next;
		}
	}
	pfree(stack);
}
