/*-------------------------------------------------------------------------
 * guc.c
 *	  Every setting, sorted by name, in one block.
 *
 * Read as plain variables by all layers.  A background process sees a change
 * after its next look at ConfigReloadPending.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "guc.h"
#include "shmem/reload.h"

bool		FlowAllowSuperuser = true;
int			FlowBatchTime = 10;
int			FlowCrashDelay = 30;
char	   *FlowDatabases = NULL;
bool		FlowEnabled = true;
int			FlowMaxDepth = 16;
int			FlowMaxResultSize = 1024;
int			FlowSignalKeep = 604800;
int			FlowStepTimeout = 0;
int			FlowWorkerIdleTimeout = 60;
int			FlowWorkers = 4;

static bool check_databases(char **newval, void **extra, GucSource source);
static void assign_bool(bool newval, void *extra);
static void assign_int(int newval, void *extra);
static void assign_string(const char *newval, void *extra);

void
FlowGucInit(void)
{
	DefineCustomBoolVariable("flow.allow_superuser",
							 "Runs the steps of workflows that belong to superusers.",
							 NULL,
							 &FlowAllowSuperuser, true,
							 PGC_SIGHUP, 0, NULL, assign_bool, NULL);

	DefineCustomIntVariable("flow.batch_time",
							"Sets how long steps may share one transaction.",
							"Zero gives each step a transaction of its own.",
							&FlowBatchTime, 10, 0, 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, assign_int, NULL);

	DefineCustomIntVariable("flow.crash_delay",
							"Sets how long no workflow runs after the third crash in a row.",
							"It is doubled by the next; after the fifth nothing runs until flow_release_all().",
							&FlowCrashDelay, 30, 1, 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, assign_int, NULL);

	DefineCustomStringVariable("flow.databases",
							   "Lists the databases in which workflows run.",
							   "Empty means every database that has the extension.",
							   &FlowDatabases, "",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_databases, assign_string, NULL);

	DefineCustomBoolVariable("flow.enabled",
							 "Runs workflows.",
							 "When off, nothing is executed anywhere in the server.",
							 &FlowEnabled, true,
							 PGC_SIGHUP, 0, NULL, assign_bool, NULL);

	DefineCustomIntVariable("flow.max_depth",
							"Sets how deeply runs may be nested, each a step of the one before.",
							NULL,
							&FlowMaxDepth, 16, 1, 1000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("flow.max_result_size",
							"Sets the largest output that a step may have.",
							NULL,
							&FlowMaxResultSize, 1024, 1, 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, assign_int, NULL);

	DefineCustomIntVariable("flow.signal_keep",
							"Sets how long a signal is kept that no step takes.",
							NULL,
							&FlowSignalKeep, 604800, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, assign_int, NULL);

	DefineCustomIntVariable("flow.step_timeout",
							"Sets the longest time that an attempt of a step may take.",
							"Zero means no limit beyond the step's own.",
							&FlowStepTimeout, 0, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, assign_int, NULL);

	DefineCustomIntVariable("flow.worker_idle_timeout",
							"Sets how long a worker waits for work before it ends.",
							NULL,
							&FlowWorkerIdleTimeout, 60, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, assign_int, NULL);

	DefineCustomIntVariable("flow.workers",
							"Sets how many workers may run at once, in all databases together.",
							"Each takes one of max_worker_processes.",
							&FlowWorkers, 4, 0, 64,
							PGC_SIGHUP, 0, NULL, assign_int, NULL);

	MarkGUCPrefixReserved("flow");
}

bool
FlowGucIncludesDatabase(const char *name)
{
	List	   *names = NIL;
	ListCell   *cell;

	if (FlowDatabases == NULL || FlowDatabases[0] == '\0')
		return true;
	(void) SplitIdentifierString(pstrdup(FlowDatabases), ',', &names);
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names = NIL;
	bool		valid = SplitIdentifierString(copy, ',', &names);

	list_free(names);
	pfree(copy);
	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	return valid;
}

/* These tell a process that starts whether it has missed a reload. */
static void
assign_bool(bool newval, void *extra)
{
	FlowReloadNote();
}

static void
assign_int(int newval, void *extra)
{
	FlowReloadNote();
}

static void
assign_string(const char *newval, void *extra)
{
	FlowReloadNote();
}
