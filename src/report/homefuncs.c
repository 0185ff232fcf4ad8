/*-------------------------------------------------------------------------
 * homefuncs.c
 *	  What the views ask about rows that came from another home.
 *
 * Called once per row or more often, so they do nothing but compare for a row
 * of this home.  They need no privilege: the views call them as their reader.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/install.h"

PG_FUNCTION_INFO_V1(flow_home);
PG_FUNCTION_INFO_V1(flow_local_role);

Datum
flow_home(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(FlowInstallRequire()->home);
}

Datum
flow_local_role(PG_FUNCTION_ARGS)
{
	int64		home = PG_GETARG_INT64(0);
	Oid			role = PG_GETARG_OID(1);

	if (home == FlowInstallRequire()->home)
		PG_RETURN_OID(role);
	PG_RETURN_OID(FlowInstallLocalRole(home, role,
									   text_to_cstring(PG_GETARG_TEXT_PP(2))));
}
