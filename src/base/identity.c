/*-------------------------------------------------------------------------
 * identity.c
 *	  Become the owner of the tables and come back: identity and pinned nest.
 *
 * Workers and clients run as ordinary roles; only the engine's own statements
 * run as the owner of the flow tables, for exactly their span.  The settings
 * pinned here are those with which a role could bend them: where names are
 * looked up, and how a plan made on an empty table would be chosen.
 *
 * The other direction is a step in the session of somebody else, in
 * flow_drain: it must find no way to that role.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "jit/jit.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "postmaster/bgworker.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/plancache.h"

#include "base/identity.h"
#include "base/install.h"

static void pin(const char *name, const char *value);

void
FlowIdentityRaise(FlowIdentity *saved)
{
	Oid			owner = FlowInstallRequire()->owner;

	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	saved->guc_nest = NewGUCNestLevel();
	SetUserIdAndSecContext(owner,
						   saved->sec_context | SECURITY_LOCAL_USERID_CHANGE);

	pin("search_path", "pg_catalog, pg_temp");
	if (enable_seqscan)
		pin("enable_seqscan", "off");
	if (enable_hashjoin)
		pin("enable_hashjoin", "off");
	if (enable_mergejoin)
		pin("enable_mergejoin", "off");
	if (!enable_indexscan)
		pin("enable_indexscan", "on");
	if (!enable_nestloop)
		pin("enable_nestloop", "on");
	if (!enable_tidscan)
		pin("enable_tidscan", "on");
	if (!enable_sort)
		pin("enable_sort", "on");
	if (plan_cache_mode != PLAN_CACHE_MODE_AUTO)
		pin("plan_cache_mode", "auto"); /* ours ask for generic plans */
	if (jit_enabled)
		pin("jit", "off");
	if (LockTimeout != 0 && MyBgworkerEntry != NULL)
		pin("lock_timeout", "0");	/* a client's own applies */
}

void
FlowIdentityRestore(const FlowIdentity *saved)
{
	AtEOXact_GUC(false, saved->guc_nest);
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

bool
FlowIdentityIsForeign(void)
{
	return GetUserId() != GetSessionUserId() ||
		GetUserId() != GetAuthenticatedUserId();
}

void
FlowIdentityConfine(FlowIdentity *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	SetUserIdAndSecContext(saved->user,
						   saved->sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

void
FlowIdentityRelease(const FlowIdentity *saved)
{
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

static void
pin(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}
