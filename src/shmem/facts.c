/*-------------------------------------------------------------------------
 * facts.c
 *	  What is known of a database without reading its tables.
 *
 * The scheduler, or the launcher, leaves it in the database's slot for others,
 * or for the one that comes after it.  The slots are database.c's: it sets a
 * field under FlowShmemLock.  What is asked for in commit callbacks, where
 * nothing may allocate or raise, is read without the lock, as a hint.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "guc.h"
#include "shmem/database.h"
#include "shmem/facts.h"

/* Where a field is, for FlowDatabaseSetField */
#define FIELD(name) \
	offsetof(FlowDatabaseInfo, name), sizeof(((FlowDatabaseInfo *) NULL)->name)

int64
FlowDatabaseGetEmitted(Oid database)
{
	FlowDatabaseInfo info;

	return FlowDatabaseGet(database, &info) ? info.emitted : 0;
}

void
FlowDatabaseSetEmitted(Oid database, int64 id)
{
	(void) FlowDatabaseSetField(database, FIELD(emitted), id);
}

void
FlowDatabaseSetWanted(Oid database, int wanted)
{
	(void) FlowDatabaseSetField(database, FIELD(wanted), wanted);
}

void
FlowDatabaseSetNoSlot(Oid database, bool no_slot)
{
	(void) FlowDatabaseSetField(database, FIELD(no_slot), no_slot);
}

bool
FlowDatabaseSetForeign(Oid database, bool is_foreign)
{
	return FlowDatabaseSetField(database, FIELD(is_foreign), is_foreign) != 0;
}

bool
FlowDatabaseSetAdditions(Oid database, bool has_additions)
{
	return FlowDatabaseSetField(database, FIELD(has_additions), has_additions) != 0;
}

bool
FlowDatabaseIsWatched(Oid database)
{
	FlowDatabaseInfo info;

	return FlowDatabaseGet(database, &info) && info.watched;
}

void
FlowDatabaseSetWatched(Oid database, bool watched)
{
	(void) FlowDatabaseSetField(database, FIELD(watched), watched);
}

bool
FlowDatabaseIsPromoted(Oid database)
{
	FlowDatabaseInfo info;

	return FlowDatabaseGet(database, &info) && info.promoted;
}

void
FlowDatabaseSetPromoted(Oid database)
{
	(void) FlowDatabaseSetField(database, FIELD(promoted), true);
}

bool
FlowDatabaseKeeps(Oid database)
{
	const volatile FlowDatabaseInfo *info = FlowDatabasePeek(database);

	return info != NULL && info->keeps;
}

void
FlowDatabaseSetKeeps(Oid database, bool keeps)
{
	(void) FlowDatabaseSetField(database, FIELD(keeps), keeps);
}

uint64
FlowDatabaseAwaits(Oid database)
{
	const volatile FlowDatabaseInfo *info = FlowDatabasePeek(database);

	return info != NULL ? info->awaits : 0;
}

void
FlowDatabaseSetAwaits(Oid database, uint64 awaits)
{
	(void) FlowDatabaseSetField(database, FIELD(awaits), awaits);
}

bool
FlowDatabaseMissesSignals(Oid database)
{
	TimestampTz expires = GetCurrentTimestamp() + FlowSignalKeep * USECS_PER_SEC;
	const volatile FlowDatabaseInfo *info = FlowDatabasePeek(database);

	return info == NULL || expires < info->signals_due;
}

void
FlowDatabaseSetSignalsDue(Oid database, TimestampTz due)
{
	(void) FlowDatabaseSetField(database, FIELD(signals_due), due);
}
