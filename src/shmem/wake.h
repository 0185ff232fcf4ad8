/*-------------------------------------------------------------------------
 * wake.h
 *	  What this transaction will announce once it has committed.
 *
 * Noted while it runs, merged at subcommit, dropped at abort, subabort and
 * PREPARE; sent in the commit callback, where an error would be a PANIC, so
 * everything that can fail is done before the commit.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_WAKE_H
#define FLOW_WAKE_H

#include "shmem/queue.h"

/* Registers the transaction callbacks.  From _PG_init. */
extern void FlowWakeInit(void);

/* Each needs a transaction; each may raise out-of-memory. */
extern void FlowWakeNoteReady(Oid role, const FlowReady *ready);
extern void FlowWakeNoteDue(const FlowStepKey *key, TimestampTz due_at);
extern void FlowWakeNoteEnded(int64 run_id);	/* flow_await may look */
extern void FlowWakeNoteCancel(int64 run_id, int32 epoch);
extern void FlowWakeNoteEvents(void);
extern void FlowWakeNoteSignal(void);	/* one that expires */
extern void FlowWakeNoteSweep(void);	/* too much to say: look at everything */

/*
 * A run, or a step, waits for a place under a limit, or there are other limits;
 * a run of that workflow may have given a place back, or, with 0, a step has.
 */
extern void FlowWakeNoteAdmit(void);
extern void FlowWakeNoteFreed(int32 workflow_id);
extern void FlowWakeNoteInstalled(void);	/* CREATE or DROP EXTENSION flow */
extern void FlowWakeNoteReleased(void); /* after a row of crashes */

/*
 * True if this transaction, or one of its live subtransactions, has started a run
 * or made a step ready.
 */
extern bool FlowWakeHasReady(void);

#endif							/* FLOW_WAKE_H */
