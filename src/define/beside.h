/*-------------------------------------------------------------------------
 * beside.h
 *	  Steps beside the graph: those that undo others, and hooks.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_BESIDE_H
#define FLOW_BESIDE_H

#include "define/check.h"
#include "define/plan.h"

/* How many numbers the steps of a definition need. */
extern int	FlowBesideCount(const FlowSpec *spec);

/* Where a step of a specification has its place. */
extern FlowStepPart FlowBesidePart(const FlowStepSpec *spec);

/*
 * Fills in what lies beside the graph, when everything else of the definition
 * is compiled.  Allocates in the current memory context.
 */
extern void FlowBesideCompile(FlowDefinition *definition, const FlowSpec *spec);

/* The step made of the option "undo" of a step. */
extern FlowStepDef *FlowBesideUndo(const FlowDefinition *definition, int step_no);

/* The name of an event that hooks wait for. */
extern const char *FlowBesideHookName(FlowHookEvent event);

/* Raises for a step that is not in the graph. */
extern void FlowBesideRefuse(const FlowStepDef *step);

/* Checks what the steps of a definition say about steps beside the graph. */
extern void FlowBesideCheck(FlowCheck *check);

#endif							/* FLOW_BESIDE_H */
