/*-------------------------------------------------------------------------
 * recorder.c
 *	  The flight recorder: what each process of ours was doing when the server
 *	  crashed, in a file that survives it.
 *
 * A crash of one process takes all others with it, and shared memory too.  What
 * survives is a file that the postmaster maps and all its children inherit: a
 * page for each of our processes, on which it notes the steps of its batch.
 * A note costs a copy of a few words; what was written is in the file however
 * the process ends.
 *
 * When the postmaster starts anew after a crash it looks who is to blame.  The
 * postmaster tells all other processes to quit, and ours note that they were
 * told: who was not told is the one that died of itself.  The step it was
 * running is charged, the others of its batch are suspects.  If all of ours were
 * told it was somebody else, unless one of them had parallel workers, which
 * have no page of their own.
 *
 * A page is written by its owner alone; taking and freeing pages is protected by
 * FlowShmemLock().  What the postmaster does, it does before anybody else is
 * there.  If the file cannot be had, memory of no file serves: it survives a
 * crash too, but not the end of the postmaster.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/parallel.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "utils/pidfile.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "shmem/database.h"
#include "shmem/recorder.h"
#include "shmem/shmem.h"
#include "shmem/slot.h"

#define RECORDER_FILE	PG_STAT_TMP_DIR "/flow_recorder"
#define RECORDER_MAGIC	0x464c5732	/* to be raised when the layout changes */
#define PAGE_SIZE		4096
#define PAGES			FLOW_MAX_SLOTS

/* Crashes in a row after which we wait, and after which nothing runs */
#define CRASHES_TO_WAIT	3
#define CRASHES_TO_STOP	5
#define MAX_WAIT_FACTOR	10
#define CALM			600000	/* ms without a crash that end a row */

typedef enum Phase
{
	PHASE_FREE,					/* the page has no owner */
	PHASE_IDLE,
	PHASE_WORK,					/* between steps: claim, flush, commit */
	PHASE_STEP,					/* the last step noted is running */
	PHASE_LEFT					/* its owner is dead, and its steps are to be
								 * looked at */
} Phase;

typedef enum Told
{
	TOLD_NOTHING,
	TOLD_QUIT,					/* by the postmaster: another one has crashed */
	TOLD_QUIT_PARALLEL			/* the same, but it may have been a parallel
								 * worker of ours */
} Told;

typedef struct Page
{
	volatile sig_atomic_t phase;
	volatile sig_atomic_t told;
	Oid			database;
	int			last_charged;	/* PHASE_LEFT: the last step is held to be the
								 * cause */
	TimestampTz died_at;		/* PHASE_LEFT */
	volatile int n;
	struct
	{
		FlowStepKey key;
		int32		definition_id;
	}			steps[FLOW_RECORD_MAX_STEPS];
} Page;

typedef struct Header
{
	uint32		magic;
	volatile sig_atomic_t running;	/* no orderly shutdown since */
	volatile sig_atomic_t progress; /* something was committed since the start */
	volatile sig_atomic_t left; /* there may be a page in PHASE_LEFT */
	int			crashes;		/* in a row */
	TimestampTz started_at;
	TimestampTz held_until;		/* see FlowRecorderHeldUntil */
} Header;

/* The header, and each page, has a page of the file */
typedef union Block
{
	Header		header;
	Page		page;
	char		space[PAGE_SIZE];
} Block;

StaticAssertDecl(sizeof(Block) == PAGE_SIZE, "a page of the recorder is too long");

#define FILE_SIZE		((PAGES + 1) * sizeof(Block))

static Block *blocks = NULL;	/* NULL: there is no recorder */
static Page *my_page = NULL;

static Block *map_file(void);
static void begin_anew(void);
static void end_run(int code, Datum arg);
static void judge_pages(void);
static bool is_busy(const Page *page);
static void judge_page(Page *page, bool culprit_known);
static void count_crash(bool busy);
static void free_page(Page *page);
static void quit(SIGNAL_ARGS);
static void recorder_exit(int code, Datum arg);
static bool was_asked_to_end(Oid database);
static bool server_is_stopping(void);

static inline Header *
header(void)
{
	return &blocks[0].header;
}

static inline Page *
page_no(int no)
{
	return &blocks[no + 1].page;
}

/* It lives in a file, not in the server's shared memory. */
Size
FlowRecorderShmemSize(void)
{
	return 0;
}

/* By the postmaster, at its start and after each crash. */
void
FlowRecorderShmemInit(void)
{
	if (!IsPostmasterEnvironment || IsUnderPostmaster)
		return;
	if (blocks == NULL)
	{
		blocks = map_file();
		if (blocks == NULL)
			return;
		on_proc_exit(end_run, (Datum) 0);
	}
	if (header()->magic != RECORDER_MAGIC)
		memset(blocks, 0, FILE_SIZE);
	begin_anew();
}

static Block *
map_file(void)
{
	int			fd = BasicOpenFile(RECORDER_FILE, O_RDWR | O_CREAT | PG_BINARY);
	int			flags = MAP_SHARED;
	void	   *map;

	/* all of it, since a page that the disk has no room for is a SIGBUS */
	if (fd < 0 || (errno = posix_fallocate(fd, 0, FILE_SIZE)) != 0 ||
		pg_fsync(fd) != 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not prepare file \"%s\": %m", RECORDER_FILE),
				 errdetail("What steps ran is not known after the end of the postmaster.")));
		flags |= MAP_ANONYMOUS;
	}
	map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, flags,
			   flags & MAP_ANONYMOUS ? -1 : fd, 0);
	if (fd >= 0)
		close(fd);
	return map == MAP_FAILED ? NULL : map;
}

/* What an orderly shutdown has left says nothing, but for the order to stop. */
static void
begin_anew(void)
{
	bool		crashed = header()->running;

	if (crashed)
		judge_pages();
	else
	{
		for (int i = 0; i < PAGES; i++)
			free_page(page_no(i));
		if (!TIMESTAMP_IS_NOEND(header()->held_until))
			FlowRecorderRelease();
	}
	header()->magic = RECORDER_MAGIC;
	header()->running = true;
	header()->progress = false;
	header()->started_at = GetCurrentTimestamp();
}

/* Of the postmaster.  An immediate shutdown is nobody's fault either. */
static void
end_run(int code, Datum arg)
{
	if (code == 0 && !IsUnderPostmaster)
		header()->running = false;
}

static void
judge_pages(void)
{
	bool		busy = false;
	bool		culprit = false;

	for (int i = 0; i < PAGES; i++)
	{
		Page	   *page = page_no(i);

		if (!is_busy(page))
			continue;
		busy = true;
		culprit = culprit || page->told == TOLD_NOTHING;
	}
	for (int i = 0; i < PAGES; i++)
		judge_page(page_no(i), culprit);
	count_crash(busy);
}

static bool
is_busy(const Page *page)
{
	return page->phase == PHASE_WORK || page->phase == PHASE_STEP;
}

/*
 * Frees the page, or leaves it to the scheduler of its database.  One that was
 * told is not to blame; with parallel workers, only if somebody else is.
 */
static void
judge_page(Page *page, bool culprit_known)
{
	bool		innocent = page->told == TOLD_QUIT ||
	(page->told == TOLD_QUIT_PARALLEL && culprit_known);

	if (page->phase == PHASE_LEFT)
		return;
	if (!is_busy(page) || page->n == 0 || innocent)
	{
		free_page(page);
		return;
	}
	page->last_charged = page->phase == PHASE_STEP || page->n == 1;
	page->died_at = GetCurrentTimestamp();
	page->phase = PHASE_LEFT;
	header()->left = true;
}

/*
 * A crash while none of us was at work does not count, whoever caused it, nor
 * does one after something was done: who crashes then is dealt with step by step.
 */
static void
count_crash(bool busy)
{
	Header	   *head = header();
	TimestampTz now = GetCurrentTimestamp();
	int			factor;

	if (TIMESTAMP_IS_NOEND(head->held_until))
		return;
	if (head->progress ||
		TimestampDifferenceExceeds(head->started_at, now, CALM))
		head->crashes = 0;
	head->held_until = 0;
	if (busy)
		head->crashes++;
	if (head->crashes >= CRASHES_TO_STOP)
		head->held_until = DT_NOEND;
	else if (busy && head->crashes >= CRASHES_TO_WAIT)
	{
		factor = Min(1 << (head->crashes - CRASHES_TO_WAIT), MAX_WAIT_FACTOR);
		head->held_until = TimestampTzPlusMilliseconds(now, FlowCrashDelay * (int64) 1000 * factor);
	}
}

static void
free_page(Page *page)
{
	memset(page, 0, sizeof(Page));
}

/*
 * If all pages are taken, by processes of which nobody has come to look, the
 * process works without one.
 */
void
FlowRecorderAttach(Oid database)
{
	if (blocks == NULL || !FlowShmemIsAvailable() || my_page != NULL)
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	for (int i = 0; i < PAGES && my_page == NULL; i++)
		if (page_no(i)->phase == PHASE_FREE)
		{
			my_page = page_no(i);
			free_page(my_page);
			my_page->database = database;
			my_page->phase = PHASE_IDLE;
		}
	LWLockRelease(FlowShmemLock());
	if (my_page == NULL)
		return;
	on_shmem_exit(recorder_exit, (Datum) 0);
	pqsignal(SIGQUIT, quit);
}

static void
quit(SIGNAL_ARGS)
{
	if (my_page != NULL)
		my_page->told = ParallelContextActive() ? TOLD_QUIT_PARALLEL : TOLD_QUIT;
	SignalHandlerForCrashExit(postgres_signal_arg);
}

/*
 * Runs after the transaction is aborted.  A process that ends in the middle of
 * a step without having been asked to was ended by that step, or by somebody
 * who meant it.
 */
static void
recorder_exit(int code, Datum arg)
{
	Page	   *page = my_page;

	my_page = NULL;
	if (page == NULL)
		return;
	if (page->phase == PHASE_STEP && !was_asked_to_end(page->database))
	{
		page->steps[0] = page->steps[page->n - 1];
		page->n = 1;
		page->last_charged = true;
		page->died_at = GetCurrentTimestamp();
		page->phase = PHASE_LEFT;
		header()->left = true;
	}
	else
		FlowRecorderFree((int) ((Block *) page - blocks) - 1);
}

static bool
was_asked_to_end(Oid database)
{
	return !FlowEnabled || !PostmasterIsAlive() ||
		FlowSlotIsAskedToEnd() || FlowDatabaseIsLetGo(database) ||
		server_is_stopping();
}

/*
 * The postmaster says so in its lock file before it signals anybody, and tells
 * it nowhere else.  What a process leaves while the others of its database are
 * still to be signalled is found, and stored, by a scheduler that lives on for
 * a moment.
 */
static bool
server_is_stopping(void)
{
	char		path[MAXPGPATH];
	char		content[BLCKSZ];
	char	   *line = content;
	int			fd;
	int			n;

	snprintf(path, sizeof(path), "%s/postmaster.pid", DataDir);
	fd = open(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return false;
	n = read(fd, content, sizeof(content) - 1);
	close(fd);
	content[Max(n, 0)] = '\0';
	for (int i = 1; i < LOCK_FILE_LINE_PM_STATUS && line != NULL; i++)
	{
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return line != NULL &&
		strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
}

void
FlowRecorderBegin(void)
{
	if (my_page == NULL)
		return;
	my_page->n = 0;
	my_page->phase = PHASE_WORK;
}

void
FlowRecorderBeginStep(const FlowStepKey *key, int32 definition_id,
					  bool durable)
{
	Page	   *page = my_page;

	if (page == NULL)
		return;
	if (page->n < FLOW_RECORD_MAX_STEPS)
	{
		page->steps[page->n].key = *key;
		page->steps[page->n].definition_id = definition_id;
		pg_compiler_barrier();
		page->n++;
	}
	page->phase = PHASE_STEP;
	if (durable)
		(void) msync(page, PAGE_SIZE, MS_SYNC);
}

void
FlowRecorderEndStep(void)
{
	if (my_page != NULL)
		my_page->phase = PHASE_WORK;
}

void
FlowRecorderEnd(bool progress)
{
	if (my_page == NULL)
		return;
	my_page->phase = PHASE_IDLE;
	if (progress && !header()->progress)
		header()->progress = true;
}

int
FlowRecorderFind(Oid database, FlowRecord *records, int *n,
				 TimestampTz *died_at)
{
	int			found = -1;

	*n = 0;
	if (blocks == NULL || !header()->left)
		return -1;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	header()->left = false;
	for (int i = 0; i < PAGES; i++)
	{
		Page	   *page = page_no(i);

		if (page->phase != PHASE_LEFT)
			continue;
		header()->left = true;
		if (page->database == database)
			found = i;
	}
	LWLockRelease(FlowShmemLock());
	if (found >= 0)
	{
		Page	   *page = page_no(found);

		*died_at = page->died_at;
		*n = Min(page->n, FLOW_RECORD_MAX_STEPS);
		for (int i = 0; i < *n; i++)
		{
			records[i].key = page->steps[i].key;
			records[i].definition_id = page->steps[i].definition_id;
			records[i].charged = i == *n - 1 && page->last_charged;
		}
	}
	return found;
}

void
FlowRecorderFree(int page)
{
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	free_page(page_no(page));
	LWLockRelease(FlowShmemLock());
}

void
FlowRecorderForget(Oid database)
{
	if (blocks == NULL)
		return;
	LWLockAcquire(FlowShmemLock(), LW_EXCLUSIVE);
	for (int i = 0; i < PAGES; i++)
		if (page_no(i)->phase == PHASE_LEFT && page_no(i)->database == database)
			free_page(page_no(i));
	LWLockRelease(FlowShmemLock());
}

int
FlowRecorderCrashes(void)
{
	return blocks == NULL ? 0 : header()->crashes;
}

TimestampTz
FlowRecorderHeldUntil(void)
{
	return blocks == NULL ? 0 : header()->held_until;
}

void
FlowRecorderRelease(void)
{
	if (blocks == NULL)
		return;
	header()->crashes = 0;
	header()->held_until = 0;
}
