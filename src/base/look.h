/*-------------------------------------------------------------------------
 * look.h
 *	  Rows of a table of ours, found by key and locked without SQL.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_LOOK_H
#define FLOW_LOOK_H

#include "access/genam.h"
#include "access/skey.h"
#include "base/table.h"
#include "executor/tuptable.h"
#include "nodes/lockoptions.h"
#include "utils/snapshot.h"

/* Columns of the longest key */
#define FLOW_LOOK_MAX_KEY	3

typedef enum FlowHold
{
	FLOW_HOLD_TAKEN,
	FLOW_HOLD_BUSY,				/* somebody has locked it */
	FLOW_HOLD_GONE				/* not there, or not any more */
} FlowHold;

typedef struct FlowLook
{
	Relation	relation;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	int			n_keys;
	ScanKeyData keys[FLOW_LOOK_MAX_KEY];
	TupleTableSlot *found;
	TupleTableSlot *locked;		/* NULL: for reading only */
	TupleTableSlot *row;		/* one of these two, or NULL */
} FlowLook;

/*
 * Begins to look for rows by the key of the index of that name, NULL for the
 * primary key, whose columns are int4, int8 or text.  The snapshot says which
 * version of a row is found: an active one, which stays so until FlowLookEnd;
 * or SnapshotSelf, which finds what is there now, but may miss a row that is
 * changed at this very moment.  An error before FlowLookEnd needs no care.
 */
extern void FlowLookBegin(FlowLook *look, FlowTable *table, const char *index,
						  Snapshot snapshot, bool locks);

/* Begins with what a statement would see that started now. */
extern void FlowLookBeginNow(FlowLook *look, FlowTable *table, const char *index,
							 bool locks);

/* Finds the row of a key; false: there is none. */
extern bool FlowLookFind(FlowLook *look, const Datum *key);

/*
 * Locks the row that was found FOR NO KEY UPDATE, and goes on with its newest
 * version.  LockWaitBlock waits no longer than lock_timeout says.  With a
 * snapshot of REPEATABLE READ or SERIALIZABLE, a row that has changed since is
 * an error, as it would be for SELECT ... FOR UPDATE.
 */
extern FlowHold FlowLookLock(FlowLook *look, LockWaitPolicy policy);

/* A column of the row, from 1; valid until the next call. */
extern Datum FlowLookDatum(FlowLook *look, int column, bool *isnull);
extern int64 FlowLookInt64(FlowLook *look, int column); /* null: 0 */
extern int32 FlowLookInt32(FlowLook *look, int column); /* null: 0 */
extern bool FlowLookBool(FlowLook *look, int column);	/* null: false */
extern Oid	FlowLookOid(FlowLook *look, int column);	/* null: InvalidOid */
extern bool FlowLookIsNull(FlowLook *look, int column);

/* Is it this text?  A null is not. */
extern bool FlowLookTextIs(FlowLook *look, int column,
						   const char *expected);

/* A column, copied into the current memory context; NULL for a null. */
extern char *FlowLookText(FlowLook *look, int column);
extern Datum FlowLookCopy(FlowLook *look, int column, bool *isnull);

/* The locks stay. */
extern void FlowLookEnd(FlowLook *look);

/* Ends what FlowLookBeginNow has begun. */
extern void FlowLookEndNow(FlowLook *look);

#endif							/* FLOW_LOOK_H */
