/*-------------------------------------------------------------------------
 * reload.c
 *	  Did this process miss a reload of the configuration as it started?
 *
 * The server starts a background worker with SIGHUP ignored.  One that comes
 * after the fork and before that is lost: the process would go on with the
 * settings it was forked with, in a database that flow.databases has left out,
 * say, until the next reload.
 *
 * The postmaster counts the assignments to our settings before it signals
 * anybody, here and in a variable that a process inherits.  If the two differ
 * in a process that has just begun to handle SIGHUP, it was forked before the
 * last reload, and reads the configuration once more.
 *
 * Written by the postmaster alone.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/interrupt.h"
#include "storage/shmem.h"

#include "shmem/reload.h"
#include "shmem/shmem.h"

typedef struct ReloadShared
{
	pg_atomic_uint32 count;		/* of assignments in the postmaster */
} ReloadShared;

static ReloadShared *shared = NULL;

/* The postmaster's, as it was when this process was forked */
static uint32 count = 0;

Size
FlowReloadShmemSize(void)
{
	return MAXALIGN(sizeof(ReloadShared));
}

/* After a crash the postmaster goes on counting. */
void
FlowReloadShmemInit(void)
{
	bool		found;

	shared = ShmemInitStruct("flow reload", FlowReloadShmemSize(), &found);
	if (!found)
		pg_atomic_init_u32(&shared->count, count);
}

void
FlowReloadNote(void)
{
	if (IsUnderPostmaster)
		return;
	count++;
	if (shared != NULL)
		pg_atomic_write_u32(&shared->count, count);
}

void
FlowReloadListen(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	if (FlowShmemIsAvailable() && pg_atomic_read_u32(&shared->count) != count)
		ConfigReloadPending = true;
}
