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
 * Runs one of the SQL texts of a step as whoever is current, and returns its
 * output in "context"; *isnull if it has none.  Needs a connection to SPI and
 * a transaction; params are those of FlowContextParams.
 */
extern Datum FlowStatementsRun(FlowStepDef *step, FlowSqlRole role,
							   ParamListInfo params, MemoryContext context,
							   bool *isnull);

/*
 * A hint for an error of the step that ran last, if it used one of the step's names
 * where they do not reach; else NULL.
 */
extern const char *FlowStatementsHint(const FlowStepDef *step,
									  const struct ErrorData *error);

#endif							/* FLOW_STATEMENT_H */
