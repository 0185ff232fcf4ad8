/*-------------------------------------------------------------------------
 * privileges.h
 *	  Keep what the extension installs to its owner.
 *
 * The entry points are SQL functions of schema flow_internal, called by the
 * scripts of the extension and by the triggers of its tables.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PRIVILEGES_H
#define FLOW_PRIVILEGES_H

#include "fmgr.h"

extern Datum flow_strip_privileges(PG_FUNCTION_ARGS);
extern Datum flow_refuse_write(PG_FUNCTION_ARGS);

#endif							/* FLOW_PRIVILEGES_H */
