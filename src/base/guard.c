/*-------------------------------------------------------------------------
 * guard.c
 *	  Run a function so that an error becomes a value.
 *
 * A batch of steps, one step of a drain, the check of one statement: each is
 * a body that either commits or leaves nothing but an ErrorData.  This is the
 * only place that catches errors, so that nobody else has to know what an
 * abort leaves behind: timeouts still armed, a cancel still pending, a memory
 * context that is gone.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "base/guard.h"

static void begin_worker_transaction(FlowGuardScope scope);
static ErrorData *take_error(MemoryContext context);
static ErrorData *run_in_transaction(FlowGuardScope scope, FlowGuardBody body,
									 FlowGuardNote note, void *arg);
static void run_with_spi(FlowGuardBody body, void *arg);
static ErrorData *run_in_subtransaction(FlowGuardBody body, void *arg);

ErrorData *
FlowGuardRun(FlowGuardScope scope, FlowGuardBody body, void *arg)
{
	if (scope == FLOW_GUARD_SUBTRANSACTION)
		return run_in_subtransaction(body, arg);
	return run_in_transaction(scope, body, NULL, arg);
}

ErrorData *
FlowGuardRunNoting(FlowGuardScope scope, FlowGuardBody body,
				   FlowGuardNote note, void *arg)
{
	Assert(scope != FLOW_GUARD_SUBTRANSACTION);
	return run_in_transaction(scope, body, note, arg);
}

static ErrorData *
run_in_transaction(FlowGuardScope scope, FlowGuardBody body,
				   FlowGuardNote note, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		begin_worker_transaction(scope);
		if (scope == FLOW_GUARD_BARE)
			body(arg);
		else
			run_with_spi(body, arg);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		error = take_error(caller);
		disable_all_timeouts(false);
		QueryCancelPending = false;
		if (note != NULL)
			note(error, arg);
		AbortOutOfAnyTransaction();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();

	MemoryContextSwitchTo(caller);
	return error;
}

static void
run_with_spi(FlowGuardBody body, void *arg)
{
	SPI_connect();

	/* SPI asks for a snapshot around those it takes */
	PushActiveSnapshot(GetTransactionSnapshot());
	body(arg);
	PopActiveSnapshot();
	SPI_finish();
}

/*
 * The role's settings may ask for another isolation level or for read-only
 * transactions; the engine's own must be neither.
 */
static void
begin_worker_transaction(FlowGuardScope scope)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = scope == FLOW_GUARD_SERIALIZABLE ? XACT_SERIALIZABLE :
		scope == FLOW_GUARD_REPEATABLE_READ ? XACT_REPEATABLE_READ :
		XACT_READ_COMMITTED;
	XactReadOnly = false;
	XactDeferrable = false;
}

static ErrorData *
run_in_subtransaction(FlowGuardBody body, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		SPI_connect();
		body(arg);
		SPI_finish();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		error = take_error(caller);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();

	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return error;
}

static ErrorData *
take_error(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	return error;
}
