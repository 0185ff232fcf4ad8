/*-------------------------------------------------------------------------
 * signalfuncs.c
 *	  SQL functions that tell a run what it waits for.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "engine/decision.h"
#include "engine/signal.h"

PG_FUNCTION_INFO_V1(flow_signal);
PG_FUNCTION_INFO_V1(flow_signal_key);
PG_FUNCTION_INFO_V1(flow_approve);
PG_FUNCTION_INFO_V1(flow_reject);

static void require_arg(FunctionCallInfo fcinfo, int arg, const char *name);
static char *text_arg(FunctionCallInfo fcinfo, int arg);
static void read_signal(FunctionCallInfo fcinfo, int arg, FlowSignalNew *signal);
static Datum decide(FunctionCallInfo fcinfo, bool approved);

Datum
flow_signal(PG_FUNCTION_ARGS)
{
	FlowSignalNew signal;
	bool		sent;

	require_arg(fcinfo, 0, "run");
	read_signal(fcinfo, 1, &signal);
	signal.run_id = PG_GETARG_INT64(0);
	SPI_connect();
	sent = FlowSignalSend(&signal);
	SPI_finish();
	PG_RETURN_BOOL(sent);
}

Datum
flow_signal_key(PG_FUNCTION_ARGS)
{
	FlowSignalNew signal;
	bool		sent;

	require_arg(fcinfo, 0, "workflow");
	require_arg(fcinfo, 1, "key");
	read_signal(fcinfo, 2, &signal);
	signal.key = text_arg(fcinfo, 1);
	SPI_connect();
	sent = FlowSignalSendToKey(text_arg(fcinfo, 0), &signal);
	SPI_finish();
	PG_RETURN_BOOL(sent);
}

/* name, payload and signal_id, from that argument on */
static void
read_signal(FunctionCallInfo fcinfo, int arg, FlowSignalNew *signal)
{
	require_arg(fcinfo, arg, "name");
	memset(signal, 0, sizeof(*signal));
	signal->name = text_arg(fcinfo, arg);
	signal->has_payload = !PG_ARGISNULL(arg + 1);
	if (signal->has_payload)
		signal->payload = PointerGetDatum(PG_DETOAST_DATUM(PG_GETARG_DATUM(arg + 1)));
	signal->signal_id = text_arg(fcinfo, arg + 2);
}

Datum
flow_approve(PG_FUNCTION_ARGS)
{
	return decide(fcinfo, true);
}

Datum
flow_reject(PG_FUNCTION_ARGS)
{
	return decide(fcinfo, false);
}

static Datum
decide(FunctionCallInfo fcinfo, bool approved)
{
	FlowDecisionRow decision;
	bool		done;

	require_arg(fcinfo, 0, "run");
	require_arg(fcinfo, 1, "step");
	if (!PG_ARGISNULL(4) && PG_GETARG_INT32(4) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for item_no: %d", PG_GETARG_INT32(4)),
				 errdetail("Items count from 1."),
				 errhint("Leave it out for a step without items.")));
	memset(&decision, 0, sizeof(decision));
	decision.approved = approved;
	decision.comment = text_arg(fcinfo, 2);
	decision.approver = text_arg(fcinfo, 3);
	SPI_connect();
	done = FlowDecide(PG_GETARG_INT64(0), text_arg(fcinfo, 1),
					  PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4), &decision);
	SPI_finish();
	PG_RETURN_BOOL(done);
}

static void
require_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errdetail("The function has to know what it is about."),
				 errhint("Give a value for \"%s\".", name)));
}

static char *
text_arg(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}
