/*-------------------------------------------------------------------------
 * flow.c
 *	  Loading the library: each module's initialisation, in layer order; and
 *	  the names of the states.
 *
 * Loaded by shared_preload_libraries it asks for shared memory and registers
 * the launcher.  Loaded into one session, by its first call of one of our
 * functions, everything but the workers works.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "engine/context.h"
#include "engine/session.h"
#include "flow.h"
#include "guc.h"
#include "shmem/shmem.h"
#include "shmem/wake.h"
#include "worker/launcher.h"
#include "worker/letgo.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static int	find_name(const char *const *names, int count, const char *name,
					  const char *what);

static const char *const run_status_names[FLOW_RUN_STATUS_COUNT] = {
	[FLOW_RUN_PENDING] = "pending",
	[FLOW_RUN_RUNNING] = "running",
	[FLOW_RUN_PAUSED] = "paused",
	[FLOW_RUN_HELD] = "held",
	[FLOW_RUN_COMPENSATING] = "compensating",
	[FLOW_RUN_COMPLETED] = "completed",
	[FLOW_RUN_FAILED] = "failed",
	[FLOW_RUN_CANCELLED] = "cancelled",
};

static const char *const step_status_names[FLOW_STEP_STATUS_COUNT] = {
	[FLOW_STEP_PENDING] = "pending",
	[FLOW_STEP_READY] = "ready",
	[FLOW_STEP_RUNNING] = "running",
	[FLOW_STEP_SLEEPING] = "sleeping",
	[FLOW_STEP_WAITING] = "waiting",
	[FLOW_STEP_HELD] = "held",
	[FLOW_STEP_COMPLETED] = "completed",
	[FLOW_STEP_FAILED] = "failed",
	[FLOW_STEP_SKIPPED] = "skipped",
	[FLOW_STEP_CANCELLED] = "cancelled",
	[FLOW_STEP_COMPENSATED] = "compensated",
	[FLOW_STEP_COMPENSATION_FAILED] = "compensation_failed",
};

static const char *const kind_names[FLOW_KIND_COUNT] = {
	[FLOW_KIND_SQL] = "sql",
	[FLOW_KIND_COMMAND] = "command",
	[FLOW_KIND_DELAY] = "delay",
	[FLOW_KIND_WAIT] = "wait",
	[FLOW_KIND_APPROVAL] = "approval",
	[FLOW_KIND_CHOICE] = "choice",
	[FLOW_KIND_SUBFLOW] = "subflow",
	[FLOW_KIND_TASK] = "task",
	[FLOW_KIND_HTTP] = "http",
};

void
_PG_init(void)
{
	FlowGucInit();
	FlowWakeInit();
	FlowContextInit();
	FlowSessionInit();
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	FlowShmemInit();
	FlowLetGoInit();
	FlowLauncherInit();
}

const char *
FlowRunStatusName(FlowRunStatus status)
{
	return run_status_names[status];
}

FlowRunStatus
FlowRunStatusParse(const char *name)
{
	return find_name(run_status_names, FLOW_RUN_STATUS_COUNT, name,
					 "status of a run");
}

const char *
FlowStepStatusName(FlowStepStatus status)
{
	return step_status_names[status];
}

FlowStepStatus
FlowStepStatusParse(const char *name)
{
	return find_name(step_status_names, FLOW_STEP_STATUS_COUNT, name,
					 "status of a step");
}

const char *
FlowStepKindName(FlowStepKind kind)
{
	return kind_names[kind];
}

bool
FlowRunStatusIsFinal(FlowRunStatus status)
{
	return status == FLOW_RUN_COMPLETED || status == FLOW_RUN_FAILED ||
		status == FLOW_RUN_CANCELLED;
}

static int
find_name(const char *const *names, int count, const char *name,
		  const char *what)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is no %s", name, what),
			 errdetail("A row of flow_internal has it, which this version of the library does not know."),
			 errhint("See that library and extension have the same version, and that nobody has changed the row.")));
}
