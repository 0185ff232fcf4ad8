/*-------------------------------------------------------------------------
 * signal.c
 *	  Signals: what clients tell a run that may wait for it.
 *
 * A client inserts the signal and a row that asks a worker to look at it; it
 * locks no run.  A signal to a key that no run has yet is found by the run when
 * it comes: whoever sends it holds the key until its commit, so that a run of
 * that key is either there, and is asked to look, or begins after the signal.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/identity.h"
#include "catalog/cat_key.h"
#include "define/access.h"
#include "define/workflow.h"
#include "engine/control.h"
#include "engine/signal.h"
#include "engine/waiting.h"
#include "error.h"
#include "guc.h"
#include "shmem/wake.h"

static void check_signal(const FlowSignalNew *signal);
static void check_text(const char *what, const char *text);
static void require_right(const FlowRunRow *run);
static void raise_over(const FlowRunRow *run);
static int64 hold_key(int32 workflow_id, const char *key);

bool
FlowSignalSend(FlowSignalNew *signal)
{
	FlowIdentity identity;
	FlowRunRow	run;
	int64		id;

	FlowAccessRequireUse();
	FlowControlLoad(signal->run_id, &run);
	require_right(&run);
	check_signal(signal);
	signal->workflow_id = run.workflow_id;
	signal->sent_by = GetUserNameFromId(GetUserId(), false);
	FlowIdentityRaise(&identity);
	id = FlowSignalInsert(signal);
	if (id != 0 && !FlowRunStatusIsFinal(run.status))
		FlowWaitingAskToLook(&run, id);
	FlowIdentityRestore(&identity);
	FlowWakeNoteSignal();
	if (id != 0 && FlowRunStatusIsFinal(run.status))
		raise_over(&run);
	return id != 0;
}

/* Whoever started a run, and may start, may signal it. */
static void
require_right(const FlowRunRow *run)
{
	if (FlowAccessIsMember(run->owner) ||
		FlowWorkflowHasGrant(run->workflow_id, "operate") ||
		FlowWorkflowHasGrant(run->workflow_id, "start"))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for run " INT64_FORMAT, run->id),
			 errdetail("Signals are sent by members of the role that owns the workflow, and by roles with the privilege \"start\"."),
			 errhint("Ask a member of role \"%s\".",
					 GetUserNameFromId(run->owner, true))));
}

static void
check_signal(const FlowSignalNew *signal)
{
	check_text("name", signal->name);
	if (signal->key != NULL)
		check_text("key", signal->key);
	if (signal->signal_id != NULL)
		check_text("signal_id", signal->signal_id);
	if (signal->has_payload &&
		VARSIZE_ANY(DatumGetPointer(signal->payload)) > (Size) FlowMaxResultSize * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("payload of signal \"%s\" is larger than %d kB",
						signal->name, FlowMaxResultSize),
				 errdetail("The setting \"flow.max_result_size\" limits what one step may hand on."),
				 errhint("Keep large values in a table of your own.")));
}

static void
check_text(const char *what, const char *text)
{
	if (text[0] != '\0' && strlen(text) <= FLOW_MAX_KEY)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s of %zu bytes", what, strlen(text)),
			 errdetail("It has from 1 to %d bytes.", FLOW_MAX_KEY),
			 errhint("Use a hash of a longer one, such as md5().")));
}

static void
raise_over(const FlowRunRow *run)
{
	ereport(ERROR,
			(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
			 errmsg("run " INT64_FORMAT " is %s and cannot be signalled", run->id,
					FlowRunStatusName(run->status)),
			 errdetail("Nothing of it waits any more."),
			 errhint("To reach the next run of its key, use flow_signal_key().")));
}

bool
FlowSignalSendToKey(const char *name, FlowSignalNew *signal)
{
	FlowWorkflow workflow;
	FlowIdentity identity;
	FlowRunRow	run;
	int64		holder;
	int64		id;

	FlowAccessRequireUse();
	FlowWorkflowRequire(name, &workflow);
	if (!FlowAccessIsMember(workflow.owner) &&
		!FlowWorkflowHasGrant(workflow.id, "start") &&
		!FlowWorkflowHasGrant(workflow.id, "operate"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for workflow \"%s\"", workflow.name),
				 errdetail("It belongs to role \"%s\".", workflow.owner_name),
				 errhint("Ask a member of that role for: SELECT flow_grant(%s, %s)",
						 quote_literal_cstr(workflow.name),
						 quote_literal_cstr(GetUserNameFromId(GetUserId(), true)))));
	check_signal(signal);
	signal->workflow_id = workflow.id;
	signal->sent_by = GetUserNameFromId(GetUserId(), false);
	FlowIdentityRaise(&identity);
	holder = hold_key(workflow.id, signal->key);
	id = FlowSignalInsert(signal);
	if (id != 0 && holder != 0 && FlowRunLoad(holder, &run))
		FlowWaitingAskToLook(&run, id);
	FlowIdentityRestore(&identity);
	FlowWakeNoteSignal();
	return id != 0;
}

/* The unfinished run of that key, or 0: then none begins before we commit. */
static int64
hold_key(int32 workflow_id, const char *key)
{
	for (;;)
	{
		int64		holder;

		CHECK_FOR_INTERRUPTS();
		if (FlowRunKeyReserve(workflow_id, key, 0))
		{
			FlowRunKeyForget(workflow_id, key);
			return 0;
		}
		holder = FlowRunKeyHolder(workflow_id, key);
		if (holder != 0)
			return holder;
	}
}
