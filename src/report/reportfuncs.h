/*-------------------------------------------------------------------------
 * reportfuncs.h
 *	  The SQL functions that report.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_REPORTFUNCS_H
#define FLOW_REPORTFUNCS_H

#include "fmgr.h"

extern Datum flow_raise_unknown_run(PG_FUNCTION_ARGS);

#endif							/* FLOW_REPORTFUNCS_H */
