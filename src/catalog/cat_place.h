/*-------------------------------------------------------------------------
 * cat_place.h
 *	  Named limits, and the steps that have or wait for a place under them.
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.  Keys are stored as cat_limit.h
 * says.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_PLACE_H
#define FLOW_CAT_PLACE_H

#include "catalog/cat_limit.h"
#include "datatype/timestamp.h"

typedef struct FlowLimitRow
{
	char	   *name;
	int32		running;		/* at once; 0: any number */
	int32		rate;			/* in the time "per", which only SQL knows; 0:
								 * any number */
} FlowLimitRow;

/* Steps under the same limits and of the same key */
typedef struct FlowPlaceGroup
{
	int			n_limits;
	char	  **limits;
	Datum		stored;			/* the same, as it is stored */
	char	   *key;
	int			n;				/* how many */
} FlowPlaceGroup;

/* One that waits */
typedef struct FlowPlaceWaiter
{
	FlowStepKey key;
	int32		priority;
	TimestampTz since;
	bool		paused;			/* its run is */
} FlowPlaceWaiter;

/*
 * What stands among the limits of a step for the places of its run, which has so
 * many: no name that flow_limit would take.  FlowPlaceOfRunIs tells how many, 0
 * for the name of a limit.
 */
extern const char *FlowPlaceOfRun(int32 max_parallel, int64 run_id);
extern int32 FlowPlaceOfRunIs(const char *name);

extern bool FlowPlaceFindLimit(const char *name);

/* Makes or changes a limit; running or rate 0: any number.  Returns true. */
extern bool FlowPlaceSaveLimit(const char *name, int32 running, int32 rate,
							   const Interval *per);
extern bool FlowPlaceRemoveLimit(const char *name); /* false: there is none */

/*
 * Puts a step, whose row this transaction has locked, among those that wait for
 * a place under these limits, of which there is at least one, but not beyond that
 * time (DT_NOEND: none).
 */
extern void FlowPlacePut(const FlowStepKey *key, const char *const *limits, int n,
						 const char *limit_key, TimestampTz until);

/* The scheduler's side: all limits, a list of FlowLimitRow *. */
extern List *FlowPlaceListLimits(void);

/* Who has a place: a list of FlowPlaceGroup *. */
extern List *FlowPlaceCount(int64 home);

/* Who waits, without the numbers: groups after that one (NULL: from the first). */
extern List *FlowPlaceReadGroups(int64 home, const FlowPlaceGroup *after, int max);

/*
 * The best of a group that wait, best first; returns how many.  only_free:
 * locks them, and passes over what somebody else has locked.
 */
extern int	FlowPlaceReadWaiters(int64 home, const FlowPlaceGroup *group,
								 bool only_free, FlowPlaceWaiter *waiters, int max);

/*
 * Makes these ready, with a place or without one, if they still wait and nobody
 * has locked them.  Returns how many there are in "admitted".
 */
extern int	FlowPlaceAdmit(int64 home, const FlowStepKey *keys, int n,
						   bool placed, FlowAdmitted *admitted);

/*
 * Takes their places from steps of paused runs that no worker has; returns how
 * many there are in "taken", at most max.
 */
extern int	FlowPlaceTakeBack(int64 home, FlowAdmitted *taken, int max);

/*
 * Of a limit with a rate: how many more steps may begin now, and when the next
 * one may if none.
 */
extern int	FlowPlaceRateLeft(const FlowLimitRow *limit, const char *key,
							  TimestampTz *next_at);
extern void FlowPlaceNoteStart(const char *name, const char *key,
							   const FlowStepKey *step);

/* Forgets starts that do not count any more. */
extern void FlowPlaceForgetStarts(void);

#endif							/* FLOW_CAT_PLACE_H */
