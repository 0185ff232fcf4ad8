/*-------------------------------------------------------------------------
 * names.h
 *	  The names a step's SQL sees, as typed parameters found by the parser.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_NAMES_H
#define FLOW_NAMES_H

#include "define/plan.h"
#include "nodes/params.h"

/*
 * Parameter numbers.  A step's output is FLOW_PARAM_STEP + its step number,
 * so a definition has FLOW_PARAM_STEP + n_all parameters.
 */
#define FLOW_PARAM_INPUT	1	/* jsonb */
#define FLOW_PARAM_RUN_ID	2	/* bigint */
#define FLOW_PARAM_RUN_KEY	3	/* text */
#define FLOW_PARAM_ATTEMPT	4	/* int */
#define FLOW_PARAM_SLOT		5	/* timestamptz */
#define FLOW_PARAM_ITEM		6	/* jsonb */
#define FLOW_PARAM_ITEM_NO	7	/* int */
#define FLOW_PARAM_EVENT	8	/* jsonb */
#define FLOW_PARAM_STEP		8

struct ParseState;

/*
 * A ParserSetupHook; arg is the FlowStepDef whose SQL is parsed.  The step must
 * outlive every plan made with it, since plans are analysed again at will.
 */
extern void FlowNamesParserSetup(struct ParseState *pstate, void *arg);

/* The same for the SQL of that role; some sees the step's own output, too. */
extern ParserSetupHook FlowNamesSetupOf(FlowSqlRole role);

/* The type of a parameter of that number. */
extern Oid	FlowNamesParamType(int param);

/*
 * To be called with the error of a failed statement of that step.  If it is
 * an unknown column that is one of the step's names, in a statement that the
 * names do not reach into (COPY (query), CREATE VIEW, DO, CREATE FUNCTION,
 * PREPARE), returns a hint that says what to use; else NULL.
 */
extern const char *FlowNamesHint(const FlowStepDef *step, struct Node *raw,
								 const struct ErrorData *error);

#endif							/* FLOW_NAMES_H */
