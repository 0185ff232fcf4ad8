/*-------------------------------------------------------------------------
 * shmem.c
 *	  Asks for shared memory and sets it up.
 *
 * Everything in it has a fixed size, known when the server starts.  Each
 * module has a structure of its own, listed once in the table below; all of
 * them share one lock, unless their file says otherwise.
 *
 * Only a preloaded library has shared memory.  Without it the modules' calls do
 * nothing, so no caller needs to ask.
 *
 * The header tells a process that attaches with a library of another build
 * that it must not touch what it would misread.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "shmem/average.h"
#include "shmem/database.h"
#include "shmem/overdue.h"
#include "shmem/queue.h"
#include "shmem/recorder.h"
#include "shmem/reload.h"
#include "shmem/ring.h"
#include "shmem/share.h"
#include "shmem/shmem.h"
#include "shmem/slot.h"
#include "shmem/testpoint.h"
#include "shmem/waiters.h"

/* To be raised when a structure changes its meaning but not its size */
#define LAYOUT_VERSION	3

#define TRANCHE_NAME	"flow"

typedef struct Part
{
	const char *name;
	Size		(*size) (void);
	void		(*init) (void);
} Part;

static const Part parts[] = {
	{"queue", FlowQueueShmemSize, FlowQueueShmemInit},
	{"share", FlowShareShmemSize, FlowShareShmemInit},
	{"database", FlowDatabaseShmemSize, FlowDatabaseShmemInit},
	{"slot", FlowSlotShmemSize, FlowSlotShmemInit},
	{"ring", FlowRingShmemSize, FlowRingShmemInit},
	{"waiters", FlowWaitersShmemSize, FlowWaitersShmemInit},
	{"average", FlowAverageShmemSize, FlowAverageShmemInit},
	{"recorder", FlowRecorderShmemSize, FlowRecorderShmemInit},
	{"overdue", FlowOverdueShmemSize, FlowOverdueShmemInit},
	{"reload", FlowReloadShmemSize, FlowReloadShmemInit},
#ifdef FLOW_TEST
	{"test points", FlowTestShmemSize, FlowTestShmemInit},
#endif
};

/* Written once, by the postmaster */
typedef struct Header
{
	uint32		layout_version;
	Size		sizes[lengthof(parts)];
} Header;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;
static LWLock *shmem_lock = NULL;	/* NULL: no shared memory */

static void request(void);
static void startup(void);
static void fill_header(Header *header);
static void check_header(const Header *header);

void
FlowShmemInit(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

bool
FlowShmemIsAvailable(void)
{
	return shmem_lock != NULL;
}

LWLock *
FlowShmemLock(void)
{
	Assert(shmem_lock != NULL);
	return shmem_lock;
}

static void
request(void)
{
	Size		total = CACHELINEALIGN(sizeof(Header));

	if (previous_request_hook)
		previous_request_hook();

	for (int i = 0; i < lengthof(parts); i++)
		total = add_size(total, CACHELINEALIGN(parts[i].size()));
	RequestAddinShmemSpace(total);
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

/* Runs once in the postmaster, and again after a crash. */
static void
startup(void)
{
	Header	   *header;
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	header = ShmemInitStruct("flow", sizeof(Header), &found);
	if (found)
		check_header(header);
	else
		fill_header(header);
	for (int i = 0; i < lengthof(parts); i++)
		parts[i].init();
	shmem_lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
	LWLockRelease(AddinShmemInitLock);
}

static void
fill_header(Header *header)
{
	header->layout_version = LAYOUT_VERSION;
	for (int i = 0; i < lengthof(parts); i++)
		header->sizes[i] = parts[i].size();
}

static void
check_header(const Header *header)
{
	const char *differs = NULL;

	if (header->layout_version != LAYOUT_VERSION)
		differs = "header";
	else
	{
		for (int i = 0; i < lengthof(parts) && differs == NULL; i++)
			if (header->sizes[i] != parts[i].size())
				differs = parts[i].name;
	}
	if (differs != NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shared memory of library \"flow\" has another layout"),
				 errdetail("The part \"%s\" differs.", differs),
				 errhint("Restart the server after installing another version of the library.")));
}
