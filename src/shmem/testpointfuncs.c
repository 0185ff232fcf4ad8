/*-------------------------------------------------------------------------
 * testpointfuncs.c
 *	  SQL functions over the test points.
 *
 * No extension script creates them: test/races/points.sql does, in a build
 * with -DFLOW_TEST.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef FLOW_TEST

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "shmem/testpoint.h"

#define MAX_PIDS	64

PG_FUNCTION_INFO_V1(flow_test_arm);
PG_FUNCTION_INFO_V1(flow_test_disarm);
PG_FUNCTION_INFO_V1(flow_test_release);
PG_FUNCTION_INFO_V1(flow_test_waiters);
PG_FUNCTION_INFO_V1(flow_test_passed);

static const char *text_argument(FunctionCallInfo fcinfo, int no);

/* (point, action, argument, skip, every, times, process, database) */
Datum
flow_test_arm(PG_FUNCTION_ARGS)
{
	FlowTestOrder order = {
		.point = text_argument(fcinfo, 0),
		.action = text_argument(fcinfo, 1),
		.argument = text_argument(fcinfo, 2),
		.skip = PG_GETARG_INT32(3),
		.every = PG_GETARG_INT32(4),
		.times = PG_ARGISNULL(5) ? -1 : PG_GETARG_INT32(5),
		.process = text_argument(fcinfo, 6),
		.database = PG_ARGISNULL(7) ? InvalidOid : PG_GETARG_OID(7)
	};

	FlowTestArm(&order);
	PG_RETURN_VOID();
}

/* (point); null: all */
Datum
flow_test_disarm(PG_FUNCTION_ARGS)
{
	FlowTestDisarm(text_argument(fcinfo, 0));
	PG_RETURN_VOID();
}

/* (point, pid); null: all of them */
Datum
flow_test_release(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(FlowTestRelease(text_argument(fcinfo, 0),
									PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1)));
}

/* (point) */
Datum
flow_test_waiters(PG_FUNCTION_ARGS)
{
	int			pids[MAX_PIDS];
	Datum		elements[MAX_PIDS];
	int			n = FlowTestWaiters(text_argument(fcinfo, 0), pids, MAX_PIDS);

	for (int i = 0; i < n; i++)
		elements[i] = Int32GetDatum(pids[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, INT4OID, sizeof(int32),
										  true, TYPALIGN_INT));
}

/* (point) */
Datum
flow_test_passed(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(FlowTestPassed(text_argument(fcinfo, 0)));
}

static const char *
text_argument(FunctionCallInfo fcinfo, int no)
{
	return PG_ARGISNULL(no) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(no));
}

#endif							/* FLOW_TEST */
