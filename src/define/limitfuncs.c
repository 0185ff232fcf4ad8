/*-------------------------------------------------------------------------
 * limitfuncs.c
 *	  The SQL function flow_limit.
 *
 * Argument work only: null is "none", so a number that is given and is 0 must
 * not be taken for it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "define/limited.h"

PG_FUNCTION_INFO_V1(flow_limit);

static int32 number_argument(FunctionCallInfo fcinfo, int i);
static void refuse_null(const char *name);

/*
 * flow_limit(name text, running int, rate int, per interval) RETURNS void
 */
Datum
flow_limit(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		refuse_null("name");
	if (PG_ARGISNULL(3))
		refuse_null("per");
	FlowLimitedSet(text_to_cstring(PG_GETARG_TEXT_PP(0)),
				   number_argument(fcinfo, 1), number_argument(fcinfo, 2),
				   PG_GETARG_INTERVAL_P(3));
	PG_RETURN_VOID();
}

/* 0 for null; what is out of range is below it. */
static int32
number_argument(FunctionCallInfo fcinfo, int i)
{
	if (PG_ARGISNULL(i))
		return 0;
	return PG_GETARG_INT32(i) > 0 ? PG_GETARG_INT32(i) : -1;
}

static void
refuse_null(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" must not be null", name),
			 errdetail("There is nothing that null could mean here."),
			 errhint("Give a value for it.")));
}
