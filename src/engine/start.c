/*-------------------------------------------------------------------------
 * start.c
 *	  Start a run; find one by its key.
 *
 * A start is rows in the caller's transaction: the run, its first steps, its
 * key.  Roll back and there is no run; at the commit a worker is woken.  It
 * takes no lock that another start would wait for, but that of the same key:
 * the second starter of a key waits for the transaction of the first.
 *
 * A run of a workflow that has a limit begins as pending, and is let in by the
 * scheduler, alone (engine/limit.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_definition.h"
#include "catalog/cat_event.h"
#include "catalog/cat_item.h"
#include "catalog/cat_key.h"
#include "catalog/cat_outcome.h"
#include "catalog/cat_run.h"
#include "catalog/cat_task.h"
#include "define/access.h"
#include "define/plan.h"
#include "define/workflow.h"
#include "engine/context.h"
#include "engine/deadline.h"
#include "engine/control.h"
#include "engine/limit.h"
#include "engine/run.h"
#include "engine/start.h"
#include "error.h"
#include "guc.h"
#include "shmem/shmem.h"
#include "shmem/testpoint.h"
#include "shmem/wake.h"

/* What taking the key has led to */
typedef enum KeyResult
{
	KEY_TAKEN,					/* go on and start */
	KEY_OTHER					/* another run has it: *other, 0 for none */
} KeyResult;

static void require_same(const FlowStart *start, const FlowWorkflow *workflow);
static void require_right(const FlowWorkflow *workflow);
static void check_request(const FlowStart *start);
static int32 definition_for(const FlowWorkflow *workflow, int32 version);
static KeyResult take_key(const FlowStart *start, const FlowWorkflow *workflow,
						  int64 run_id, FlowIdentity *identity, int64 *other);
static KeyResult meet(const FlowStart *start, int64 holder,
					  FlowIdentity *identity, int64 *other);
static void cancel_holder(int64 holder, FlowIdentity *identity);
static void insert_run(const FlowStart *start, const FlowWorkflow *workflow,
					   FlowDefinition *definition, int64 run_id, Oid caller);
static int32 depth_of(const FlowStart *start);
static void insert_tasks(const FlowStart *start, const FlowWorkflow *workflow,
						 FlowDefinition *definition, int64 run_id);
static void insert_event(const FlowWorkflow *workflow, const FlowStart *start,
						 int64 run_id, Oid caller);
static bool starts_later(const FlowStart *start);
static bool starts_at_once(const FlowStart *start, const FlowWorkflow *workflow);
static void warn_without_workers(void);

int64
FlowRunStart(const FlowStart *start)
{
	FlowWorkflow workflow;
	FlowDefinition *definition;
	FlowIdentity identity;
	int64		run_id;
	int64		other = 0;

	FlowAccessRequireUse();
	check_request(start);
	FlowWorkflowRequire(start->workflow, &workflow);
	require_right(&workflow);
	require_same(start, &workflow);
	if (!workflow.enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("workflow \"%s\" is disabled", workflow.name),
				 errdetail("Runs that are in progress go on; no new one may start."),
				 errhint("Use: SELECT flow_enable(%s)",
						 quote_literal_cstr(workflow.name))));
	definition = FlowPlanLookup(definition_for(&workflow, start->version));
	run_id = FlowRunNextId();

	FlowIdentityRaise(&identity);
	FLOW_TEST_POINT("start-key");
	if (start->key != NULL &&
		take_key(start, &workflow, run_id, &identity, &other) == KEY_OTHER)
		run_id = other;
	else
	{
		FLOW_TEST_POINT("start-insert");
		insert_run(start, &workflow, definition, run_id, identity.user);
		insert_tasks(start, &workflow, definition, run_id);
		if (strcmp(workflow.notify, "none") != 0 && starts_at_once(start, &workflow))
			insert_event(&workflow, start, run_id, identity.user);
	}
	FlowIdentityRestore(&identity);
	warn_without_workers();
	return run_id;
}

void
FlowStartRequireRight(const char *name)
{
	FlowWorkflow workflow;

	FlowWorkflowRequire(name, &workflow);
	require_right(&workflow);
}

int64
FlowRunFind(const char *name, const char *key)
{
	FlowWorkflow workflow;
	FlowIdentity identity;
	FlowRunRow	run;
	int64		run_id;
	bool		found;

	FlowAccessRequireRead();
	FlowWorkflowRequire(name, &workflow);
	FlowIdentityRaise(&identity);
	run_id = FlowRunKeyHolder(workflow.id, key);
	if (run_id == 0)
		run_id = FlowRunLatestOfKey(workflow.id, key);
	found = run_id != 0 && FlowRunLoad(run_id, &run);
	FlowIdentityRestore(&identity);
	if (!found || !FlowAccessMaySeeRun(run.owner, run.started_by, workflow.id))
		return 0;
	return run_id;
}

static void
require_right(const FlowWorkflow *workflow)
{
	if (FlowAccessIsMember(workflow->owner) ||
		FlowWorkflowHasGrant(workflow->id, "start"))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for workflow \"%s\"", workflow->name),
			 errdetail("It belongs to role \"%s\".", workflow->owner_name),
			 errhint("Ask a member of that role for: SELECT flow_grant(%s, %s)",
					 quote_literal_cstr(workflow->name),
					 quote_literal_cstr(GetUserNameFromId(GetUserId(), true)))));
}

/* It may have been dropped, and another one defined. */
static void
require_same(const FlowStart *start, const FlowWorkflow *workflow)
{
	if (start->workflow_id == 0 || start->workflow_id == workflow->id)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the workflow of run " INT64_FORMAT " does not exist any more",
					start->keep_of),
			 errdetail("Workflow \"%s\" is another one, defined since.",
					   workflow->name),
			 errhint("Use flow_start() for a run of that one.")));
}

static void
check_request(const FlowStart *start)
{
	const char *how = start->on_conflict;

	if (strcmp(how, "return") != 0 && strcmp(how, "skip") != 0 &&
		strcmp(how, "error") != 0 && strcmp(how, "cancel") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for on_conflict: \"%s\"", how),
				 errdetail("It says what to do when a run of the key is in progress."),
				 errhint("Use one of: return, skip, error, cancel.")));
	if (strcmp(how, "return") != 0 && start->key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_conflict \"%s\" needs a key", how),
				 errdetail("Without a key no run is in conflict with another."),
				 errhint("Give the key argument, and see that it is not null.")));
	if (start->once && start->key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("once needs a key"),
				 errdetail("It means one run of that key ever."),
				 errhint("Give the key argument.")));
	if (start->once && strcmp(how, "cancel") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("once cannot be combined with on_conflict \"cancel\""),
				 errdetail("A run that is cancelled has been the one run of its key."),
				 errhint("Use another on_conflict, or leave out once.")));
	if (strcmp(how, "cancel") == 0 && FlowContextItem() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("on_conflict \"cancel\" cannot be used inside a step"),
				 errdetail("A step takes no lock on another run before its own end."),
				 errhint("Use flow_cancel() in one step and flow_start() in the next.")));
	if (start->key != NULL &&
		(start->key[0] == '\0' || strlen(start->key) > FLOW_MAX_KEY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid key of %zu bytes", strlen(start->key)),
				 errdetail("A key has from 1 to %d bytes.", FLOW_MAX_KEY),
				 errhint("Use a hash of a longer one, such as md5().")));
}

static int32
definition_for(const FlowWorkflow *workflow, int32 version)
{
	int32		id = workflow->definition_id;

	if (version != 0)
		id = FlowDefinitionOfVersion(workflow->id, version);
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of workflow \"%s\" does not exist",
						version, workflow->name),
				 errdetail("The newest version is %d.", workflow->version),
				 errhint("Look at flow.workflow for the versions.")));
	return id;
}

static KeyResult
take_key(const FlowStart *start, const FlowWorkflow *workflow, int64 run_id,
		 FlowIdentity *identity, int64 *other)
{
	int64		earlier;

	while (!FlowRunKeyReserve(workflow->id, start->key, run_id))
	{
		int64		holder = FlowRunKeyHolder(workflow->id, start->key);

		CHECK_FOR_INTERRUPTS();
		if (holder != 0 && meet(start, holder, identity, other) == KEY_OTHER)
			return KEY_OTHER;
	}
	if (!start->once)
		return KEY_TAKEN;
	earlier = FlowRunLatestOfKey(workflow->id, start->key);
	if (earlier == 0)
		return KEY_TAKEN;
	FlowRunKeyForget(workflow->id, start->key);
	return meet(start, earlier, identity, other);
}

/* There is, or with once there has been, a run of that key. */
static KeyResult
meet(const FlowStart *start, int64 holder, FlowIdentity *identity,
	 int64 *other)
{
	*other = 0;
	if (strcmp(start->on_conflict, "cancel") == 0)
	{
		cancel_holder(holder, identity);
		return KEY_TAKEN;
	}
	if (strcmp(start->on_conflict, "error") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_KEY_IN_PROGRESS),
				 errmsg("workflow \"%s\" already has a run of key \"%s\"",
						start->workflow, start->key),
				 errdetail("It is run " INT64_FORMAT ".", holder),
				 errhint("Use on_conflict => 'return' to be given that run.")));
	if (strcmp(start->on_conflict, "return") == 0)
		*other = holder;
	return KEY_OTHER;
}

/* The right to start a run is none to cancel somebody else's. */
static void
cancel_holder(int64 holder, FlowIdentity *identity)
{
	FlowControl cancel;
	FlowRunRow	run;

	memset(&cancel, 0, sizeof(cancel));
	cancel.verb = FLOW_CONTROL_CANCEL;
	cancel.run_id = holder;
	cancel.reason = "another run of its key was started";
	cancel.by = identity->user;
	FlowIdentityRestore(identity);
	FlowControlRequireRight(FLOW_CONTROL_CANCEL, holder);
	FlowIdentityRaise(identity);
	if (FlowControlApply(&cancel, true) || !FlowRunLoad(holder, &run))
		return;

	/* it comes to its end without its key, as one that is cancelled does */
	if (run.status == FLOW_RUN_COMPENSATING && run.key != NULL)
		FlowRunKeyRelease(run.workflow_id, run.key, holder);
}

static void
insert_run(const FlowStart *start, const FlowWorkflow *workflow,
		   FlowDefinition *definition, int64 run_id, Oid caller)
{
	FlowRunNew	run;

	memset(&run, 0, sizeof(run));
	run.id = run_id;
	run.workflow_id = workflow->id;
	run.definition_id = definition->id;
	run.owner = workflow->owner;
	run.owner_name = workflow->owner_name;
	run.status = starts_at_once(start, workflow) ? FLOW_RUN_RUNNING : FLOW_RUN_PENDING;
	run.priority = start->priority;
	run.notify = workflow->notify;
	run.key = start->key;
	run.slot = start->slot;
	run.input = start->input;
	run.started_by = caller;
	run.started_by_name = GetUserNameFromId(caller, false);
	run.started_by_app = application_name ? application_name : "";
	run.created_at = GetCurrentTimestamp();
	run.early = start->n_keep > 0;
	run.parent = start->parent;
	run.depth = depth_of(start);
	FlowRunInsert(&run);
	if (start->n_keep > 0)
	{
		FlowOutcomeCopy(start->keep_of, run_id, start->keep, start->n_keep);
		FlowMapCopy(start->keep_of, run_id, start->keep, start->n_keep);
		FlowDataCopy(start->keep_of, run_id);
	}
}

/* How many runs there are above it; not without end. */
static int32
depth_of(const FlowStart *start)
{
	FlowRunRow	parent;

	if (start->parent.run_id == 0 || !FlowRunLoad(start->parent.run_id, &parent))
		return 0;
	if (parent.depth + 1 >= FlowMaxDepth)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("runs are nested too deeply"),
				 errdetail("Run " INT64_FORMAT " is run number %d of a chain in which each is a step of the one before.",
						   start->parent.run_id, parent.depth + 1),
				 errhint("Look whether a workflow starts itself without end, or raise flow.max_depth.")));
	return parent.depth + 1;
}

static void
insert_tasks(const FlowStart *start, const FlowWorkflow *workflow,
			 FlowDefinition *definition, int64 run_id)
{
	bool		later = starts_later(start);
	bool		at_once = starts_at_once(start, workflow);
	int			n = !at_once || start->n_keep > 0 ? 0 : definition->n_roots;
	FlowTaskNew *rows = palloc0(sizeof(FlowTaskNew) * Max(n, 1));

	for (int i = 0; i < Max(n, 1); i++)
	{
		FlowTaskNew *row = &rows[i];

		row->key.run_id = run_id;
		row->key.step_no = n > 0 ? definition->roots[i] : FLOW_STEP_RUN;
		row->owner = workflow->owner;
		row->workflow_id = workflow->id;
		row->definition_id = definition->id;
		row->priority = start->priority;
		if (n > 0)
			row->priority = FlowPlanPriority(&definition->steps[row->key.step_no - 1],
											 start->priority);
		row->status = later ? FLOW_STEP_PENDING : FLOW_STEP_READY;
		row->due_at = later ? start->start_at : DT_NOBEGIN;
	}
	if (!later && !at_once && workflow->max_runs_by == NULL)
		FlowLimitWait(&rows[0], NULL);
	FlowTaskInsert(rows, Max(n, 1));

	for (int i = 0; i < Max(n, 1) && rows[i].status == FLOW_STEP_READY; i++)
	{
		FlowReady	ready;

		ready.key = rows[i].key;
		ready.workflow_id = rows[i].workflow_id;
		ready.definition_id = rows[i].definition_id;
		ready.priority = rows[i].priority;
		FlowWakeNoteReady(workflow->owner, &ready);
	}
	if (later)
		FlowWakeNoteDue(&rows[0].key, start->start_at);
	if (at_once)
		FlowDeadlineSet(run_id, workflow->owner, definition);
}

static void
insert_event(const FlowWorkflow *workflow, const FlowStart *start, int64 run_id,
			 Oid caller)
{
	FlowEventRow event = FlowRunEvent(run_id, workflow->id, start->key,
									  "started", caller);

	FlowEventInsert(&event, 1);
	FlowWakeNoteEvents();
}

static bool
starts_later(const FlowStart *start)
{
	return !TIMESTAMP_IS_NOBEGIN(start->start_at) &&
		start->start_at > GetCurrentTransactionStartTimestamp();
}

/* Under a limit the scheduler says when. */
static bool
starts_at_once(const FlowStart *start, const FlowWorkflow *workflow)
{
	return workflow->max_runs == 0 && !starts_later(start);
}

static void
warn_without_workers(void)
{
	static bool warned = false;

	if (warned || FlowShmemIsAvailable())
		return;
	warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("no workers run here, since the library \"flow\" is not preloaded"),
			 errdetail("What is started waits until somebody calls flow_drain()."),
			 errhint("Add flow to shared_preload_libraries and restart the server.")));
}
