/*-------------------------------------------------------------------------
 * item.c
 *	  Steps that run once for each item of a list.
 *
 * Such a step is compiled into two.  The one with the step's own number has
 * its place in the graph, its condition and its mode of failure; when it runs
 * it computes the items, and it ends when they have.  The other one, beside the
 * graph, has what the step does, with its kind, retries and time limit; each
 * item is a row of it in task, with the item's number.  So claims, retries,
 * waits and crashes know nothing of items, and what is said of the step by its
 * number, such as how it has ended, is not said of an item.
 *
 * The number of the second is that of the first plus twice the number of steps
 * in the document (beside.c has the band between).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "parser/scansup.h"

#include "define/item.h"

FlowStepDef *
FlowItemStep(const FlowStepDef *step)
{
	return step->items == 0 ? NULL : &step->definition->steps[step->items - 1];
}

bool
FlowItemIsSeen(const FlowStepDef *step)
{
	if (step->part == FLOW_PART_ITEM)
		return true;
	return step->part == FLOW_PART_UNDO &&
		step->no > step->definition->n_steps &&
		step->definition->steps[step->undoes - 1].items != 0;
}

/* Those of the document, and what undoes them. */
int32
FlowItemProbes(const FlowDefinition *definition)
{
	return definition->has_items ? 2 * definition->n_steps : 0;
}

FlowStepKind
FlowItemKind(const FlowStepDef *step)
{
	return step->items == 0 ? step->kind : FlowItemStep(step)->kind;
}

bool
FlowItemIsQuery(const char *for_each)
{
	static const char *const words[] = {"select", "with", "values", "table"};

	while (scanner_isspace(*for_each))
		for_each++;
	for (int w = 0; w < lengthof(words); w++)
	{
		int			length = strlen(words[w]);

		if (pg_strncasecmp(for_each, words[w], length) == 0 &&
			!isalnum((unsigned char) for_each[length]) &&
			for_each[length] != '_' && for_each[length] != '$')
			return true;
	}
	return false;
}

void
FlowItemCompile(FlowDefinition *definition, const FlowStepSpec *spec,
				FlowStepDef *step)
{
	const char *text = FlowStepText(spec, FLOW_OPT_FOR_EACH);
	FlowSqlText *source = &step->sql[FLOW_SQL_FOR_EACH];
	const char *on_error = FlowStepText(spec, FLOW_OPT_ON_ITEM_ERROR);
	FlowStepDef *item = &definition->steps[2 * definition->n_steps + step->no - 1];

	*item = *step;
	item->no = 2 * definition->n_steps + step->no;
	item->part = FLOW_PART_ITEM;
	item->maps = step->no;
	memset(&item->sql[FLOW_SQL_CONDITION], 0, sizeof(FlowSqlText));
	item->undo = 0;
	item->n_dependents = 0;
	item->max_parallel = spec->values[FLOW_OPT_MAX_PARALLEL].isset ?
		spec->values[FLOW_OPT_MAX_PARALLEL].u.integer : 0;
	item->collects = on_error != NULL && strcmp(on_error, "collect") == 0;

	step->items = item->no;
	step->kind = FLOW_KIND_SQL;
	memset(&step->sql[FLOW_SQL_STEP], 0, sizeof(FlowSqlText));
	memset(&step->sql[FLOW_SQL_INPUT], 0, sizeof(FlowSqlText));
	memset(&step->sql[FLOW_SQL_AGAIN], 0, sizeof(FlowSqlText));
	memset(&step->sql[FLOW_SQL_LIMIT_KEY], 0, sizeof(FlowSqlText));
	step->n_limits = 0;
	memset(&step->sql[FLOW_SQL_RESULT], 0, sizeof(FlowSqlText));
	step->timeout = 0;
	step->total_timeout = 0;
	step->isolation = XACT_READ_COMMITTED;
	step->batch = true;
	source->text = pstrdup(text);
	source->expression = !FlowItemIsQuery(text);
	source->result = source->expression ? FLOW_RESULT_VALUE : FLOW_RESULT_OBJECTS;
	definition->has_items = true;
}
