/*-------------------------------------------------------------------------
 * decision.c
 *	  Who approves or rejects, and when that counts.
 *
 * The first decision is the one that counts: a second one waits for the
 * transaction that makes the first, and then finds it.  A worker ends the step
 * after the commit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/identity.h"
#include "define/access.h"
#include "define/item.h"
#include "engine/control.h"
#include "engine/decision.h"
#include "engine/waiting.h"
#include "error.h"

static void load_run(int64 run_id, const char *step, FlowRunRow *run);
static bool is_approver(const FlowStepDef *step);
static void require_approval(const FlowStepDef *step);
static void require_item(const FlowStepDef *step, int32 item_no);
static void require_right(const FlowRunRow *run, const FlowStepDef *step);
static bool insert(const FlowRunRow *run, const FlowStepKey *key,
				   const FlowDecisionRow *decision, char **status);
static bool is_repeated(const FlowStepKey *key, bool approved,
						const char *status, const char *sqlstate);

bool
FlowDecide(int64 run_id, const char *name, int32 item_no,
		   FlowDecisionRow *decision)
{
	const char *verb = decision->approved ? "approved" : "rejected";
	FlowIdentity identity;
	FlowStepDef *step;
	FlowStepKey key;
	FlowRunRow	run;
	char	   *status = NULL;
	bool		done;

	FlowAccessRequireUse();
	load_run(run_id, name, &run);
	step = FlowControlFindStep(&run, name);
	require_approval(step);
	require_right(&run, step);
	decision->by = GetUserNameFromId(GetSessionUserId(), false);
	FlowIdentityRaise(&identity);
	require_item(step, item_no);
	key = FlowControlFindItem(&run, step, item_no);
	done = insert(&run, &key, decision, &status);
	FlowIdentityRestore(&identity);
	if (status != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_ILLEGAL_TRANSITION),
				 errmsg("step \"%s\" of run " INT64_FORMAT " is %s and cannot be %s",
						step->name, run.id, status, verb),
				 errdetail("An approval is decided once, while it waits."),
				 errhint("Look at flow.step for the state of the step.")));
	return done;
}

/* Who may decide the step knows of the run, though it may not steer it. */
static void
load_run(int64 run_id, const char *step, FlowRunRow *run)
{
	FlowIdentity identity;
	bool		found;

	FlowIdentityRaise(&identity);
	found = FlowRunLoad(run_id, run);
	FlowIdentityRestore(&identity);
	if (found && (FlowWorkflowHasGrant(run->workflow_id, "approve") ||
				  is_approver(FlowPlanFindStep(FlowPlanLookup(run->definition_id), step))))
		return;
	FlowControlLoad(run_id, run);
}

static bool
is_approver(const FlowStepDef *step)
{
	Oid			role = InvalidOid;

	if (step != NULL && step->approvers != NULL)
		role = get_role_oid(step->approvers, true);
	return OidIsValid(role) && FlowAccessIsMember(role);
}

static void
require_approval(const FlowStepDef *step)
{
	if (FlowItemKind(step) != FLOW_KIND_APPROVAL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("step \"%s\" is not an approval", step->name),
				 errdetail("It is of kind \"%s\".",
						   FlowStepKindName(FlowItemKind(step))),
				 errhint("A step to be approved is made by flow_approval().")));
}

/* Each item is decided by itself. */
static void
require_item(const FlowStepDef *step, int32 item_no)
{
	if (step->items != 0 && item_no == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step \"%s\" has items, each of which is decided by itself",
						step->name),
				 errdetail("There is no decision about the step as a whole."),
				 errhint("Give item_no; flow.item shows those that wait.")));
}

static void
require_right(const FlowRunRow *run, const FlowStepDef *step)
{
	if (step->approvers == NULL)
	{
		if (FlowAccessIsMember(run->owner) ||
			FlowWorkflowHasGrant(run->workflow_id, "approve") ||
			FlowWorkflowHasGrant(run->workflow_id, "operate"))
			return;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to decide step \"%s\"", step->name),
				 errdetail("It is decided by members of the role that owns the workflow, and by roles with the privilege \"approve\"."),
				 errhint("Ask a member of role \"%s\".",
						 GetUserNameFromId(run->owner, true))));
	}
	if (is_approver(step))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to decide step \"%s\"", step->name),
			 OidIsValid(get_role_oid(step->approvers, true))
			 ? errdetail("Only members of role \"%s\" decide it.", step->approvers)
			 : errdetail("Only members of role \"%s\" decide it, and there is no such role.",
						 step->approvers),
			 errhint("Ask a member of that role.")));
}

/* Sets *status if the step cannot be decided so, to what it is. */
static bool
insert(const FlowRunRow *run, const FlowStepKey *key,
	   const FlowDecisionRow *decision, char **status)
{
	FlowDecisionRow other;
	char	   *sqlstate;
	char	   *now = FlowWaitingStatus(key, &sqlstate);

	if (now == NULL)
		now = unconstify(char *, FlowStepStatusName(FLOW_STEP_PENDING));
	if (!FlowRunStatusIsFinal(run->status) &&
		strcmp(now, FlowStepStatusName(FLOW_STEP_WAITING)) == 0)
	{
		if (FlowDecisionInsert(key, decision))
		{
			FlowWaitingAskToLook(run, FlowSignalNextId());
			return true;
		}
	}
	if (FlowDecisionLoad(key, &other))
	{
		if (other.approved != decision->approved)
			*status = other.approved ? "approved" : "rejected";
		return false;
	}
	now = FlowWaitingStatus(key, &sqlstate);
	if (!is_repeated(key, decision->approved, now, sqlstate))
		*status = now ? now : unconstify(char *, FlowStepStatusName(FLOW_STEP_PENDING));
	return false;
}

/* Decided already, and so that the step has ended by it. */
static bool
is_repeated(const FlowStepKey *key, bool approved, const char *status,
			const char *sqlstate)
{
	if (status == NULL)
		return false;
	if (approved)
		return strcmp(status, FlowStepStatusName(FLOW_STEP_COMPLETED)) == 0;
	return sqlstate != NULL && strcmp(sqlstate, "WF006") == 0;
}
