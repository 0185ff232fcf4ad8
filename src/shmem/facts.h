/*-------------------------------------------------------------------------
 * facts.h
 *	  What is known of a database without reading its tables.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_FACTS_H
#define FLOW_FACTS_H

#include "datatype/timestamp.h"

/* Each does nothing, or knows nothing, if the library was not preloaded. */

/*
 * What the scheduler leaves for others: where its announcing of events has
 * stopped; how many roles wait for another's worker to give way; whether
 * max_worker_processes kept a worker from starting.  The last two are cleared
 * when it detaches or dies.  FlowDatabaseWanted adds up all databases.
 */
extern int64 FlowDatabaseGetEmitted(Oid database);
extern void FlowDatabaseSetEmitted(Oid database, int64 id);
extern void FlowDatabaseSetWanted(Oid database, int wanted);
extern void FlowDatabaseSetNoSlot(Oid database, bool no_slot);

/*
 * Is the extension of another version than the library, is there something of
 * others on its tables?  Returns the answer before, so that it is said once.
 */
extern bool FlowDatabaseSetForeign(Oid database, bool is_foreign);
extern bool FlowDatabaseSetAdditions(Oid database, bool has_additions);

/*
 * Whether steps have to be looked up among those that ran in a crash; whether
 * the first of each is to be run with care.
 */
extern bool FlowDatabaseIsWatched(Oid database);
extern void FlowDatabaseSetWatched(Oid database, bool watched);
extern bool FlowDatabaseIsPromoted(Oid database);
extern void FlowDatabaseSetPromoted(Oid database);

/*
 * Whether some workflow of the database keeps its runs for a while only, so that
 * the scheduler wants to hear of their ends.
 */
extern bool FlowDatabaseKeeps(Oid database);	/* a hint, without the lock */
extern void FlowDatabaseSetKeeps(Oid database, bool keeps);

/*
 * Whose places the scheduler wants to hear of when they are given back.  It sets
 * all bits before it counts the places, so that what is given back after the
 * count is told; a hint of whoever gives one back, who has committed, reads it
 * without the lock.
 */
extern uint64 FlowDatabaseAwaits(Oid database);
extern void FlowDatabaseSetAwaits(Oid database, uint64 awaits);

/*
 * Whether the scheduler has to hear of signals sent now: it does not expect any
 * to expire as soon.  Reads without the lock.
 */
extern bool FlowDatabaseMissesSignals(Oid database);
extern void FlowDatabaseSetSignalsDue(Oid database, TimestampTz due);

#endif							/* FLOW_FACTS_H */
