/*-------------------------------------------------------------------------
 * schedule.c
 *	  Schedules: made, removed, fired.
 *
 * A schedule is a row of ours and a job of pg_cron that calls flow_fire().
 * The job belongs to the role that made the schedule and runs as that role, so
 * firing is an ordinary flow_start() with that role's rights.
 *
 * Firing locks the schedule's row until its transaction ends: the slots of a
 * schedule are decided one after the other, and the decision, the run and the
 * run's first tasks are one commit.  Only our own tables are read and written
 * raised; pg_cron and flow_start() are called as the user.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/guard.h"
#include "base/identity.h"
#include "base/install.h"
#include "catalog/cat_schedule.h"
#include "catalog/cat_workflow.h"
#include "define/access.h"
#include "define/workflow.h"
#include "flow.h"
#include "report/cron.h"
#include "report/schedule.h"

#define JOB_PREFIX	"flow: "
#define MAX_SCHEDULE_NAME	(FLOW_MAX_JOB_NAME - (int) strlen(JOB_PREFIX))

static void check_spec(const FlowScheduleSpec *spec);
static void check_name(const char *name);
static void check_choice(const char *option, const char *value,
						 const char *const *choices);
static void check_same_owner(const char *name, Oid owner);
static bool may_see(const FlowSchedule *schedule);
static int32 find_workflow(const char *name);
static FlowSchedule *lock_schedule(const char *name);
static char *fire_command(const FlowInstall *install, const char *name);
static void check_may_fire(const FlowSchedule *schedule);
static void raise_unknown(const char *name) pg_attribute_noreturn();
static int64 decide_slot(const FlowInstall *install,
						 const FlowSchedule *schedule, TimestampTz slot);
static void try_to_start(const FlowInstall *install, const FlowSchedule *schedule,
						 TimestampTz slot, FlowSlotDecision *decision);
static void start_body(void *arg);
static const char *reason_to_skip(const FlowInstall *install,
								  const FlowSchedule *schedule);
static int64 start_run(const FlowInstall *install,
					   const FlowSchedule *schedule, TimestampTz slot);

/* The first of each is the default, and all that is supported. */
static const char *const overlaps[] = {"skip", "allow", "cancel", NULL};
static const char *const catchups[] = {"one", "none", "all", NULL};

int64
FlowScheduleCreate(const FlowScheduleSpec *spec)
{
	const FlowInstall *install = FlowInstallRequire();
	FlowSchedule schedule = {
		.name = spec->name,
		.home = install->home,
		.owner = GetUserId(),
		.owner_name = GetUserNameFromId(GetUserId(), false),
		.cron = spec->cron,
		.input = spec->input,
		.overlap = spec->overlap,
		.catchup = spec->catchup
	};
	FlowIdentity saved;
	FlowSchedule *old;
	bool		stored;

	check_spec(spec);
	schedule.workflow_id = find_workflow(spec->workflow);
	FlowCronRequire();
	old = lock_schedule(spec->name);
	if (old != NULL)
		check_same_owner(spec->name, old->owner);
	schedule.job_id = FlowCronSchedule(FlowScheduleJobName(spec->name),
									   spec->cron,
									   fire_command(install, spec->name));

	FlowIdentityRaise(&saved);
	stored = FlowScheduleSave(&schedule);
	FlowIdentityRestore(&saved);
	if (!stored)				/* another role was quicker */
		check_same_owner(spec->name, InvalidOid);
	return schedule.job_id;
}

char *
FlowScheduleJobName(const char *schedule)
{
	return psprintf(JOB_PREFIX "%s", schedule);
}

static void
check_spec(const FlowScheduleSpec *spec)
{
	check_name(spec->name);
	check_choice("overlap", spec->overlap, overlaps);
	check_choice("catchup", spec->catchup, catchups);
	if (spec->condition != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("condition of schedule \"%s\" is not supported", spec->name),
				 errdetail("A schedule starts its workflow whenever its time comes."),
				 errhint("Make the condition the first step of the workflow.")));
}

/* The name becomes part of the job's, which pg_cron would cut off. */
static void
check_name(const char *name)
{
	if (strlen(name) < 1 || strlen(name) > MAX_SCHEDULE_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a schedule: \"%s\"", name),
				 errdetail("A name has from 1 to %d bytes.", MAX_SCHEDULE_NAME),
				 errhint("%s", name[0] == '\0' ? "Give it a name." : "Use a shorter name.")));
	for (const char *c = name; *c != '\0'; c++)
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid name of a schedule: \"%s\"", name),
					 errdetail("A name has no control characters."),
					 errhint("Take line breaks, tabs and the like out of it.")));
}

static void
check_choice(const char *option, const char *value,
			 const char *const *choices)
{
	StringInfoData list;

	if (strcmp(value, choices[0]) == 0)
		return;
	initStringInfo(&list);
	for (int i = 0; choices[i] != NULL; i++)
	{
		if (strcmp(value, choices[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("%s => \"%s\" is not supported", option, value),
					 errdetail("Of the values of \"%s\" only \"%s\" is supported.",
							   option, choices[0]),
					 errhint("Leave it out, or use \"%s\".", choices[0])));
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", choices[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%s\" of \"%s\"", value, option),
			 errdetail("Known are %s.", list.data),
			 errhint("Leave it out, or use \"%s\".", choices[0])));
}

/*
 * The job belongs to exactly one role, so membership is not enough: the
 * member would make a second job beside the first.
 */
static void
check_same_owner(const char *name, Oid owner)
{
	if (owner == GetUserId())
		return;
	if (OidIsValid(owner) && FlowAccessIsMember(owner))
	{
		const char *owner_name = GetUserNameFromId(owner, true);

		if (owner_name != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("schedule \"%s\" belongs to role \"%s\"", name, owner_name),
					 errdetail("Its job in pg_cron is that of one role, and only that role may change it."),
					 errhint("SET ROLE %s first.", quote_identifier(owner_name))));
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("schedule \"%s\" belongs to a role that no longer exists", name),
				 errdetail("Only its owner may change it, and there is none."),
				 errhint("Call flow_unschedule first, as a superuser.")));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("schedule \"%s\" belongs to another role", name),
			 errdetail("Only its owner may change it, and names are unique in the database."),
			 errhint("Leave it to that role, or use another name for one of your own.")));
}

/* The workflow's id, if the current user may start it. */
static int32
find_workflow(const char *name)
{
	FlowWorkflow workflow;

	FlowWorkflowRequire(name, &workflow);
	if (!FlowAccessIsMember(workflow.owner) &&
		!FlowWorkflowHasGrant(workflow.id, "start"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to start workflow \"%s\"", name),
				 errdetail("It belongs to role \"%s\".", workflow.owner_name),
				 errhint("Have it call flow_grant(%s, %s).",
						 quote_literal_cstr(name),
						 quote_literal_cstr(GetUserNameFromId(GetUserId(), false)))));
	return workflow.id;
}

static FlowSchedule *
lock_schedule(const char *name)
{
	FlowIdentity saved;
	FlowSchedule *schedule;

	FlowIdentityRaise(&saved);
	schedule = FlowScheduleLock(name);
	FlowIdentityRestore(&saved);
	return schedule;
}

/* What the job runs; it finds the function whatever its search_path is. */
static char *
fire_command(const FlowInstall *install, const char *name)
{
	return psprintf("SELECT %s(%s)",
					quote_qualified_identifier(install->function_schema,
											   "flow_fire"),
					quote_literal_cstr(name));
}

bool
FlowScheduleDrop(const char *name)
{
	FlowSchedule *schedule;
	FlowIdentity saved;

	(void) FlowInstallRequire();
	schedule = lock_schedule(name);
	if (schedule == NULL || !may_see(schedule))
		return false;
	if (!superuser())
		check_same_owner(name, schedule->owner);
	FlowCronUnschedule(schedule->job_id, FlowScheduleJobName(name));
	FlowIdentityRaise(&saved);
	FlowScheduleDelete(name);
	FlowIdentityRestore(&saved);
	return true;
}

int64
FlowScheduleFire(const char *name)
{
	const FlowInstall *install = FlowInstallRequire();
	FlowSchedule *schedule = lock_schedule(name);
	FlowSlotDecision known;
	FlowIdentity saved;
	TimestampTz slot;
	bool		decided;

	if (schedule == NULL || !may_see(schedule))
		raise_unknown(name);
	check_may_fire(schedule);
	slot = FlowCronComputeSlot(schedule->cron,
							   GetCurrentTransactionStartTimestamp());
	FlowIdentityRaise(&saved);
	decided = FlowScheduleSlotFind(name, slot, &known);
	FlowIdentityRestore(&saved);
	return decided ? known.run_id : decide_slot(install, schedule, slot);
}

/* What the view flow.schedule would show; anything else does not exist. */
static bool
may_see(const FlowSchedule *schedule)
{
	return FlowAccessIsMember(schedule->owner) ||
		(schedule->workflow != NULL && FlowWorkflowIsVisible(schedule->workflow));
}

static void
raise_unknown(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("schedule \"%s\" does not exist", name),
			 errdetail("There is no such schedule, or you have no privilege on it."),
			 errhint("Look at flow.schedule for the schedules you may see.")));
}

static void
check_may_fire(const FlowSchedule *schedule)
{
	if (!FlowAccessIsMember(schedule->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schedule \"%s\"", schedule->name),
				 errdetail("It belongs to role \"%s\".", schedule->owner_name),
				 errhint("Ask a member of that role.")));
}

static int64
decide_slot(const FlowInstall *install, const FlowSchedule *schedule,
			TimestampTz slot)
{
	FlowSlotDecision decision = {.decision = "skipped"};
	FlowIdentity saved;

	decision.reason = reason_to_skip(install, schedule);
	if (decision.reason == NULL)
		try_to_start(install, schedule, slot, &decision);
	FlowIdentityRaise(&saved);
	FlowScheduleSlotInsert(schedule->name, slot, &decision);
	if (decision.run_id != 0)
		FlowScheduleMarkRun(decision.run_id, schedule->name);
	FlowIdentityRestore(&saved);
	return decision.run_id;
}

typedef struct Attempt
{
	const FlowInstall *install;
	const FlowSchedule *schedule;
	TimestampTz slot;
	int64		run_id;
} Attempt;

/* A slot whose run may not start is decided, too, and says why. */
static void
try_to_start(const FlowInstall *install, const FlowSchedule *schedule,
			 TimestampTz slot, FlowSlotDecision *decision)
{
	Attempt		attempt = {install, schedule, slot, 0};
	ErrorData  *error = FlowGuardRun(FLOW_GUARD_SUBTRANSACTION, start_body, &attempt);

	if (error == NULL)
	{
		decision->run_id = attempt.run_id;
		decision->decision = "started";
		return;
	}
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
		ReThrowError(error);
	decision->reason = error->message;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("schedule \"%s\" could not start a run: %s",
					schedule->name, error->message),
			 errdetail("The slot is recorded as skipped."),
			 error->hint ? errhint("%s", error->hint) : 0));
}

static void
start_body(void *arg)
{
	Attempt    *attempt = arg;

	attempt->run_id = start_run(attempt->install, attempt->schedule,
								attempt->slot);
}

/* NULL if the slot's run may start */
static const char *
reason_to_skip(const FlowInstall *install, const FlowSchedule *schedule)
{
	FlowIdentity saved;
	int64		unfinished;

	if (schedule->home != install->home)
		return "the schedule was restored from another database";
	if (schedule->workflow == NULL)
		return "the workflow was dropped";
	if (!schedule->enabled)
		return "the workflow is disabled";
	FlowIdentityRaise(&saved);
	unfinished = FlowScheduleUnfinishedRun(schedule->name);
	FlowIdentityRestore(&saved);
	if (unfinished != 0)
		return psprintf("run " INT64_FORMAT " has not finished", unfinished);
	return NULL;
}

/* As the current user, with whatever flow_start has against it */
static int64
start_run(const FlowInstall *install, const FlowSchedule *schedule,
		  TimestampTz slot)
{
	Oid			types[] = {TEXTOID, JSONBOID, TIMESTAMPTZOID};
	Datum		values[] = {
		CStringGetTextDatum(schedule->workflow),
		schedule->input,
		TimestampTzGetDatum(slot)
	};

	/* with the very types of our own function, nobody else's can be meant */
	char	   *sql = psprintf("SELECT %s($1, $2, NULL::pg_catalog.text, 'return'::pg_catalog.text,"
							   " NULL::pg_catalog.timestamptz, 0::pg_catalog.int4,"
							   " NULL::pg_catalog.int4, false, $3, '{}'::pg_catalog.jsonb)",
							   quote_qualified_identifier(install->function_schema,
														  "flow_start"));
	int			code = SPI_execute_with_args(sql, lengthof(types), types,
											 values, NULL, false, 1);
	bool		isnull;
	int64		run_id;

	if (code != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "unexpected result %s of %s",
			 SPI_result_code_string(code), sql);
	run_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
										 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return run_id;
}
