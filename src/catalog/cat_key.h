/*-------------------------------------------------------------------------
 * cat_key.h
 *	  Idempotency keys: rows of flow_internal.run_key.
 *
 * Every function needs a connection to SPI and must be called raised.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_KEY_H
#define FLOW_CAT_KEY_H

/*
 * Reserves (workflow, key) for the run; a second starter waits here for the
 * first one's transaction.  False if an unfinished run has it.
 */
extern bool FlowRunKeyReserve(int32 workflow_id, const char *key, int64 run_id);

/* Takes the reservation of a key back. */
extern void FlowRunKeyForget(int32 workflow_id, const char *key);

/* The unfinished run of that key, 0 if there is none. */
extern int64 FlowRunKeyHolder(int32 workflow_id, const char *key);

/* The latest run of that key, finished or not; 0 if there never was one. */
extern int64 FlowRunLatestOfKey(int32 workflow_id, const char *key);

/* The run with that key has ended. */
extern void FlowRunKeyRelease(int32 workflow_id, const char *key, int64 run_id);

#endif							/* FLOW_CAT_KEY_H */
