/*-------------------------------------------------------------------------
 * statement.h
 *	  A step's SQL, statement by statement, with kept plans.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_STATEMENT_H
#define FLOW_STATEMENT_H

#include "define/plan.h"
#include "nodes/params.h"

/*
 * Runs the statements of a step as whoever is current, and returns its output
 * in "context"; *isnull if it has none.  Needs a connection to SPI and a
 * transaction; params are those of FlowContextParams.
 */
extern Datum FlowStatementsRun(FlowStepDef *step, ParamListInfo params,
							   MemoryContext context, bool *isnull);

#endif							/* FLOW_STATEMENT_H */
