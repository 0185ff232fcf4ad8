/*-------------------------------------------------------------------------
 * owner.c
 *	  A workflow is given to another role.
 *
 * Who may is whoever could drop it and define it again as the other role, as
 * with ALTER TABLE ... OWNER TO.  Only the row of the workflow changes.  A run
 * has an owner of its own, and so have its tasks: what has been started goes
 * on as the role it was started for, since its next step may need what that
 * role made in the last.  A start that reads the row while this is not
 * committed takes it as it was.
 *
 * Schedules start as who made them, and would fail without a word when that
 * was the old owner; so of those it is warned.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/identity.h"
#include "catalog/cat_schedule.h"
#include "define/access.h"
#include "define/owner.h"
#include "define/workflow.h"

static void warn_of_schedules(const FlowWorkflow *workflow);
static void warn_of_schedule(const FlowWorkflow *workflow,
							 const FlowSchedule *schedule);

void
FlowOwnerChange(const char *name, Oid role)
{
	FlowWorkflow workflow;

	FlowWorkflowLockAsMember(name, &workflow);
	if (workflow.owner == role)
		return;
	FlowAccessRequireCreateAs(role);
	FlowAccessRequireOwner(role);
	workflow.owner = role;
	workflow.owner_name = GetUserNameFromId(role, false);
	FlowWorkflowSaveOwner(&workflow);
	warn_of_schedules(&workflow);
}

static void
warn_of_schedules(const FlowWorkflow *workflow)
{
	FlowIdentity identity;
	List	   *schedules;
	ListCell   *cell;

	SPI_connect();
	FlowIdentityRaise(&identity);
	schedules = FlowScheduleListOf(workflow->id);
	FlowIdentityRestore(&identity);
	foreach(cell, schedules)
		warn_of_schedule(workflow, lfirst(cell));
	SPI_finish();
}

static void
warn_of_schedule(const FlowWorkflow *workflow, const FlowSchedule *schedule)
{
	const char *owner = GetUserNameFromId(schedule->owner, true);

	if (owner == NULL || has_privs_of_role(schedule->owner, workflow->owner) ||
		FlowWorkflowIsGranted(workflow->id, "start", schedule->owner))
		return;
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("schedule \"%s\" can no longer start workflow \"%s\"",
					schedule->name, workflow->name),
			 errdetail("It starts runs as role \"%s\", which may not start the workflow now.",
					   owner),
			 errhint("Use flow_grant(%s, %s), or flow_unschedule(%s) and flow_schedule() as role \"%s\".",
					 quote_literal_cstr(workflow->name),
					 quote_literal_cstr(owner),
					 quote_literal_cstr(schedule->name),
					 workflow->owner_name)));
}
