/*-------------------------------------------------------------------------
 * workerfuncs.h
 *	  The processes and the installation, for SQL.
 *
 * The functions are called from SQL only.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WORKERFUNCS_H
#define FLOW_WORKERFUNCS_H

#include "fmgr.h"

extern Datum flow_installed(PG_FUNCTION_ARGS);
extern Datum flow_processes(PG_FUNCTION_ARGS);
extern Datum flow_no_worker_slot(PG_FUNCTION_ARGS);

#endif							/* FLOW_WORKERFUNCS_H */
