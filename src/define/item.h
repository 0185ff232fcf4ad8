/*-------------------------------------------------------------------------
 * item.h
 *	  Steps that run once for each item of a list.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ITEM_H
#define FLOW_ITEM_H

#include "define/check.h"
#include "define/plan.h"

/*
 * True if the text of "for_each" is a query, whose rows are the items; else it
 * is an expression whose value is an array of them.
 */
extern bool FlowItemIsQuery(const char *for_each);

/*
 * Splits a compiled step with "for_each" in two: what computes the items, and
 * what runs for each.  Allocates in the current memory context.
 */
extern void FlowItemCompile(FlowDefinition *definition, const FlowStepSpec *spec,
							FlowStepDef *step);

/* What runs for each item, or NULL if the step has none. */
extern FlowStepDef *FlowItemStep(const FlowStepDef *step);

/* True if the SQL of that step sees an item: its own, or the one it undoes. */
extern bool FlowItemIsSeen(const FlowStepDef *step);

/*
 * Up to which number steps of a run have to be looked for one by one, since items
 * may be many; 0: they need not (cat_outcome.h).
 */
extern int32 FlowItemProbes(const FlowDefinition *definition);

/* The kind that the step has in its document. */
extern FlowStepKind FlowItemKind(const FlowStepDef *step);

#endif							/* FLOW_ITEM_H */
