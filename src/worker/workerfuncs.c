/*-------------------------------------------------------------------------
 * workerfuncs.c
 *	  The processes and the installation, for SQL.
 *
 * flow_internal.processes() and no_worker_slot() read shared memory for the
 * views; flow_internal.installed() is called by the script of CREATE
 * EXTENSION, and tells the launcher once that has committed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "flow.h"
#include "guc.h"
#include "shmem/database.h"
#include "shmem/recorder.h"
#include "shmem/shmem.h"
#include "shmem/slot.h"
#include "shmem/wake.h"

#define PROCESS_COLUMNS	11

PG_FUNCTION_INFO_V1(flow_installed);
PG_FUNCTION_INFO_V1(flow_processes);
PG_FUNCTION_INFO_V1(flow_no_worker_slot);
PG_FUNCTION_INFO_V1(flow_database_included);
PG_FUNCTION_INFO_V1(flow_held_until);
PG_FUNCTION_INFO_V1(flow_library_version);

static const char *const process_type_names[] = {
	[FLOW_PROCESS_LAUNCHER] = "launcher",
	[FLOW_PROCESS_SCHEDULER] = "scheduler",
	[FLOW_PROCESS_WORKER] = "worker",
	[FLOW_PROCESS_DRAIN] = "drain",
};

static void put_process(ReturnSetInfo *result, const FlowSlotInfo *slot);

Datum
flow_installed(PG_FUNCTION_ARGS)
{
	if (FlowShmemIsAvailable())
		FlowWakeNoteInstalled();
	else
		ereport(NOTICE,
				(errmsg("workflows will not run by themselves"),
				 errdetail("The library \"flow\" was not loaded at server start, so there are no workers."),
				 errhint("Add flow to shared_preload_libraries and restart the server; until then flow_drain() runs what is ready.")));
	PG_RETURN_VOID();
}

/* Those of this database, and the launcher. */
Datum
flow_processes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	FlowSlotInfo *slots = palloc(FLOW_MAX_SLOTS * sizeof(FlowSlotInfo));
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	n = FlowShmemIsAvailable() ? FlowSlotList(slots, FLOW_MAX_SLOTS) : 0;
	for (int i = 0; i < n; i++)
		if (slots[i].database == MyDatabaseId ||
			slots[i].type == FLOW_PROCESS_LAUNCHER)
			put_process(result, &slots[i]);
	return (Datum) 0;
}

static void
put_process(ReturnSetInfo *result, const FlowSlotInfo *slot)
{
	TimestampTz stop_at = slot->cancelled_at != 0 ? slot->cancelled_at : slot->deadline;
	Datum		values[PROCESS_COLUMNS] = {
		Int32GetDatum(slot->pid),
		CStringGetTextDatum(process_type_names[slot->type]),
		ObjectIdGetDatum(slot->database),
		ObjectIdGetDatum(slot->role),
		Int64GetDatum(slot->key.run_id),
		Int32GetDatum(slot->definition_id),
		Int32GetDatum(slot->key.step_no),
		Int32GetDatum(slot->key.item_no),
		Int32GetDatum(slot->attempt),
		TimestampTzGetDatum(slot->since),
		TimestampTzGetDatum(stop_at)
	};
	bool		nulls[PROCESS_COLUMNS] = {
		[2] = !OidIsValid(slot->database),
		[3] = !OidIsValid(slot->role),
		[4] = !slot->busy,
		[5] = !slot->busy,
		[6] = !slot->busy,
		[7] = !slot->busy || slot->key.item_no == 0,
		[8] = !slot->busy,
		[9] = slot->since == 0,
		[10] = !slot->busy || stop_at == 0
	};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
flow_no_worker_slot(PG_FUNCTION_ARGS)
{
	FlowDatabaseInfo infos[FLOW_MAX_DATABASES];
	int			n = 0;

	if (FlowShmemIsAvailable())
		n = FlowDatabaseList(infos, FLOW_MAX_DATABASES);
	for (int i = 0; i < n; i++)
		if (infos[i].database == MyDatabaseId)
			PG_RETURN_BOOL(infos[i].no_slot);
	PG_RETURN_BOOL(false);
}

Datum
flow_database_included(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(FlowGucIncludesDatabase(get_database_name(MyDatabaseId)));
}

Datum
flow_held_until(PG_FUNCTION_ARGS)
{
	TimestampTz until = FlowRecorderHeldUntil();

	if (until <= GetCurrentTimestamp())
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(until);
}

Datum
flow_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(FLOW_LIBRARY_VERSION));
}
