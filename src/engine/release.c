/*-------------------------------------------------------------------------
 * release.c
 *	  Let go on what is held.
 *
 * What is held stands still until somebody says that it shall go on: what came
 * with a dump or a clone from another home, steps that are quarantined, and all
 * of the server after a row of crashes.  Each kind has one entry in a table.
 * All of it happens in the caller's transaction, which may also cancel or pause
 * what it has released before anything of it runs.
 *
 * Nothing is announced row by row, since there may be very many: after the
 * commit the scheduler reads ready steps and due times from the tables.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/identity.h"
#include "base/install.h"
#include "catalog/cat_crash.h"
#include "catalog/cat_release.h"
#include "define/access.h"
#include "engine/release.h"
#include "shmem/wake.h"

/* Releases what the caller may; returns the number of runs that go on. */
typedef int64 (*Release) (Oid caller);

static int64 release_restored(Oid caller);
static int64 release_quarantined(Oid caller);
static int64 release_server(Oid caller);
static void tell_lost(const List *roles);

static const Release releases[] = {
	release_restored,
	release_quarantined,
	release_server,
};

int64
FlowReleaseAll(void)
{
	int64		runs = 0;

	FlowAccessRequireUse();
	for (int i = 0; i < lengthof(releases); i++)
		runs += releases[i] (GetUserId());
	FlowWakeNoteSweep();
	return runs;
}

static int64
release_restored(Oid caller)
{
	FlowReleaseScope scope = {.caller = caller};
	FlowReleased done;

	FlowReleaseRows(&scope, &done);
	tell_lost(done.lost_roles);
	return done.unfinished;
}

/* Each role once, however many privileges it had. */
static void
tell_lost(const List *roles)
{
	List	   *told = NIL;
	ListCell   *cell;

	foreach(cell, roles)
	{
		char	   *role = lfirst(cell);
		ListCell   *other;
		bool		known = false;

		foreach(other, told)
			known |= strcmp(lfirst(other), role) == 0;
		if (known)
			continue;
		told = lappend(told, role);
		ereport(NOTICE,
				(errmsg("privileges of role \"%s\" on restored workflows are dropped", role),
				 errdetail("There is no such role here."),
				 errhint("Create the role and use flow_grant() if it shall have them.")));
	}
}

static int64
release_quarantined(Oid caller)
{
	FlowIdentity identity;
	int64		runs;

	SPI_connect();
	FlowIdentityRaise(&identity);
	runs = FlowCrashReleaseAll(FlowInstallRequire()->home, caller);
	FlowIdentityRestore(&identity);
	SPI_finish();
	return runs;
}

/* It concerns all roles, so a superuser must say so. */
static int64
release_server(Oid caller)
{
	if (superuser_arg(caller))
		FlowWakeNoteReleased();
	return 0;
}
