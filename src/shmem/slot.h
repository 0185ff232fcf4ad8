/*-------------------------------------------------------------------------
 * slot.h
 *	  Who runs what right now, and how to interrupt exactly that.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SLOT_H
#define FLOW_SLOT_H

#include "datatype/timestamp.h"
#include "flow.h"

#define FLOW_MAX_SLOTS	256

/* ms between two interrupts of a step that does not stop */
#define FLOW_PURSUE_INTERVAL	200

typedef enum FlowProcessType
{
	FLOW_PROCESS_LAUNCHER,
	FLOW_PROCESS_SCHEDULER,
	FLOW_PROCESS_WORKER,
	FLOW_PROCESS_DRAIN			/* a client in flow_drain */
} FlowProcessType;

typedef struct FlowSlotInfo
{
	int			pid;
	FlowProcessType type;
	Oid			database;		/* InvalidOid: the launcher */
	Oid			role;
	bool		busy;			/* what follows is set */
	FlowStepKey key;
	int32		definition_id;
	int32		epoch;
	int32		attempt;
	TimestampTz since;			/* start of the step, or of idleness */
	TimestampTz deadline;		/* when the step's time is over; 0: never */
	TimestampTz cancelled_at;	/* when the step was cancelled; 0: it was not */
} FlowSlotInfo;

/*
 * Takes a slot for this process; freed at its exit, a client's also when the
 * (sub)transaction that took it aborts.  Does nothing without shared memory.
 * If all are taken the process simply stays unlisted.
 */
extern void FlowSlotAttach(FlowProcessType type, Oid database, Oid role);
extern void FlowSlotDetach(void);

/* True if this process has a slot. */
extern bool FlowSlotIsAttached(void);

/* Publishes the step about to run; a full barrier follows. */
extern void FlowSlotBegin(const FlowStepKey *key, int32 definition_id,
						  int32 epoch, int32 attempt, TimestampTz since);
extern void FlowSlotEnd(void);

/* Says when the step will be cancelled for taking too long; for onlookers. */
extern void FlowSlotSetDeadline(TimestampTz deadline);

/* Copies all slots in use; returns the number. */
extern int	FlowSlotList(FlowSlotInfo *out, int max);

/*
 * Cancels.  FlowSlotCancelRun is called after the commit that raised the run's epoch:
 * it remembers (run, epoch), and interrupts whoever runs a step of that run at
 * an older epoch; returns whether there was anybody.  Safe in a commit callback.
 */
extern bool FlowSlotCancelRun(int64 run_id, int32 epoch);

/*
 * For the scheduler: interrupts again those in the database who go on with a
 * step although its run was cancelled, and ends a worker that has done so for
 * too long.  Returns when to look again; DT_NOEND: there is nobody.
 */
extern TimestampTz FlowSlotPursue(Oid database);

/*
 * True if the run has been cancelled at an epoch above "epoch" since
 * "generation" was read; true also if that can no longer be told.  To be asked
 * after FlowSlotBegin, so that a cancel is seen either here or as an interrupt.
 */
extern uint64 FlowSlotCancelGeneration(void);
extern bool FlowSlotIsCancelled(int64 run_id, int32 epoch, uint64 generation);

/* Why this process was interrupted; forgets it. */
typedef enum FlowInterrupt
{
	FLOW_INTERRUPT_NONE,		/* not by us: an operator */
	FLOW_INTERRUPT_RUN,			/* the run of the current step was cancelled */
	FLOW_INTERRUPT_STALE		/* meant for a step that is over */
} FlowInterrupt;

extern FlowInterrupt FlowSlotTakeInterrupt(int64 run_id);

/*
 * Asks all processes of ours in a database to end, but neither the caller nor
 * clients in flow_drain.  Returns how many there are.  Gently: those that run
 * no step are only woken, since they leave by themselves when they see why.
 */
extern int	FlowSlotTerminate(Oid database, bool gently);

/* True if one of our processes has told this one to end. */
extern bool FlowSlotIsAskedToEnd(void);

extern Size FlowSlotShmemSize(void);
extern void FlowSlotShmemInit(void);

#endif							/* FLOW_SLOT_H */
