/*-------------------------------------------------------------------------
 * batch.h
 *	  Steps that share one transaction, and what became of them.
 *
 * What it decided is these structs, made in claim.c, read in flush.c.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_BATCH_H
#define FLOW_BATCH_H

#include "base/guard.h"
#include "define/plan.h"
#include "engine/ready.h"
#include "flow.h"
#include "nodes/pg_list.h"
#include "shmem/queue.h"
#include "storage/itemptr.h"

#define FLOW_BATCH_MAX_STEPS	100

/* An error as it is stored */
typedef struct FlowFailure
{
	char		sqlstate[6];
	char	   *message;
	char	   *detail;
	char	   *hint;
	char	   *context;
} FlowFailure;

/* A run as this batch sees it */
typedef struct FlowRunRef
{
	int64		id;
	int32		epoch;			/* at the claim */
	FlowRunStatus status;		/* at the claim; in the flush: as locked */
	bool		failing;		/* a step has failed for good */
	bool		early;			/* steps may have ended before their turn */
	FlowDefinition *definition;
	int32		workflow_id;
	Oid			owner;
	int32		priority;
	bool		notify;			/* announces its events */
	char	   *key;			/* NULL: none */
	TimestampTz slot;
	Datum		input;			/* jsonb */

	bool		whole;			/* no step ended before it, nor can outside */
	bool		ended_known;	/* all ends in the table are in "ends" */
	FlowEnds	ends;			/* of its steps, as this batch sees them */
	int		   *tried;			/* attempts by step of an early run, or NULL */
	struct FlowItem **items;	/* by step number: those of this batch */
	Datum	   *outputs;		/* by step number: outputs read so far */
	uint8	   *outputs_state;	/* 0 not read, 1 value, 2 null */
	List	   *data;			/* of FlowDatum: set by this batch */
	List	   *tallies;		/* of its steps with items (map.c) */

	/* the flush's */
	bool		locked;
	FlowStepKey parent;			/* as locked: the step that has started it */
	ItemPointerData tid;		/* of its row, as locked */
	bool		settling;		/* its own row in task was among the items */
	const struct FlowItem *fails;	/* the first to fail the run */
	const struct FlowItem *isolated;	/* the first to fail its branch */
	const struct FlowItem *pauses;	/* the first to pause the run */
	bool		overdue;		/* its deadline has passed */
} FlowRunRef;

/* One step of the batch, and what became of it */
typedef struct FlowItem
{
	FlowStepKey key;
	FlowRunRef *run;
	FlowStepDef *step;			/* NULL: the row that stands for the run */
	bool		has_task;		/* a row of task, locked by us */
	ItemPointerData tid;
	int32		attempt;		/* number of this attempt, from 1 */
	int32		attempt_base;	/* attempts before a retry by hand */
	bool		executed;		/* its SQL has run in this transaction */
	bool		apart;			/* under suspicion: to be run alone */
	bool		ended;			/* ... has run in an earlier one, and is
								 * committed (isolated.c) */
	int32		worker;			/* ... by this process */
	FlowStepStatus status;		/* ready: not run; completed, failed,
								 * sleeping, waiting, cancelled, skipped */
	TimestampTz started_at;
	TimestampTz finished_at;
	TimestampTz next_at;		/* sleeping: when it is tried again */
	Datum		output;			/* jsonb */
	bool		has_output;
	FlowFailure *failure;
	const char *reason;
	List	   *emissions;		/* of FlowEmission, in order */
	bool		handled;		/* another step takes its failure over */
	bool		overtaken;		/* it was ended while it ran, or waited to */
	struct FlowWaiting *waiting;	/* of steps that may wait */
	bool		admitted;		/* it has its place under its limits */
	bool		wants_place;	/* of a step: it has none, and needs one */
	const char *limit_key;		/* its key, if it is to wait for one */
	bool		again;			/* it has ended well, and runs again */
	TimestampTz total_due;		/* total_timeout is over; 0: unknown */
	struct FlowCommand *command;	/* of a command (command.h) */
	struct FlowAgain *asked;	/* that it runs again (round.h); NULL: not */
	Datum		value;			/* jsonb: the item it runs for; or all of them */
	bool		has_value;
} FlowItem;

/* Why the transaction of a batch was given up, beside a plain error */
typedef enum FlowVerdict
{
	FLOW_VERDICT_ERROR,			/* the error says it */
	FLOW_VERDICT_AGAIN,			/* nobody's fault: the same again */
	FLOW_VERDICT_OVERRUN,		/* a step took too long for a shared batch */
	FLOW_VERDICT_DROPPED,		/* a run was cancelled while its steps ran */
	FLOW_VERDICT_BLOCKED,		/* somebody holds a run */
	FLOW_VERDICT_BEHIND_LOCK	/* a step waited for somebody's lock */
} FlowVerdict;

/* What a batch is to do; kept over the tries of one taking */
typedef struct FlowPlan
{
	FlowStepKey *keys;
	int			n_keys;
	List	   *excluded;		/* of FlowStepKey *: not to be run inline */
	int			max_steps;
	bool		alone;			/* one step, then commit */
	bool		careful;		/* noted on disk before it runs */
	bool		tried;			/* one of those set aside behind a lock */
	int			repeats;		/* times this was done again at once */
	FlowFailure *failure;		/* record this of the only key, run nothing */
	int			failed_attempt; /* ... if that is still its attempt */
	TimestampTz failed_start;
	FlowStepKey interrupted;	/* ran when its run was cancelled ... */
	TimestampTz interrupted_start;	/* ... since; 0: no step did */
} FlowPlan;

typedef struct FlowBatch
{
	FlowGuardScope scope;		/* a transaction, or part of a client's */
	int			lane;			/* a worker's */
	bool		in_turn;		/* it runs what takes turns (queue.h) */
	void		(*release) (struct FlowBatch *batch);	/* before more is done */
	FlowPlan   *plan;
	MemoryContext plan_context; /* outlives the transaction */

	/* what has happened in this transaction */
	MemoryContext context;
	List	   *runs;			/* of FlowRunRef */
	List	   *items;			/* of FlowItem, claimed or inline, in order */
	List	   *inlined;		/* of FlowItem: may run next; the latest first */
	List	   *controls;		/* of FlowControl */
	List	   *suspects;		/* of FlowCrashRow: steps of its runs */
	List	   *suspect_steps;	/* of FlowCrashCount: of its definitions */
	FlowItem   *current;		/* being executed */
	FlowItem   *isolated;		/* is to run at its own isolation level, */
	FlowItem   *command;		/* ... or outside a transaction */
	int			n_claimed;
	int			n_executed;
	bool		ends;			/* commit after this step */
	bool		dirty;			/* a step left something in the session */
	TimestampTz began;
	uint64		cancel_generation;

	/* kept when the transaction is given up; in plan_context */
	FlowVerdict verdict;
	List	   *blocked;		/* of int64 *: runs that somebody holds */
	List	   *apart;			/* of FlowStepKey *: to be run with care */
	List	   *unclaimed;		/* of FlowReady *: ready, but locked */
	List	   *held;			/* of FlowHeld * (park.h) */
	List	   *unrecorded;		/* of FlowReady *, and nothing helped */
	List	   *left;			/* of FlowReady *: claimed, and not run */
	List	   *passed;			/* of FlowStepKey *: not to be run by a client */
	int			n_left;			/* all of those, given back or not */
	int			n_done;			/* attempts that were recorded */
	int			n_settled;		/* the same, and tasks ended otherwise */
	int			n_cut;			/* steps for which there was no room */
} FlowBatch;

/*
 * Does the plan, what fails in smaller pieces, until each step is recorded or in
 * a list above.  Allocates in batch->plan_context, which must be current.
 */
extern void FlowBatchDo(FlowBatch *batch, FlowPlan *plan);

/* The batch this backend is running a step of, or NULL. */
extern FlowBatch *FlowBatchCurrent(void);

/*
 * True if what becomes of it is what becomes of the step with its number: not
 * one of several that a hook has, or an item.
 */
#define FlowItemIsStep(item)	((item)->step != NULL && (item)->key.item_no == 0)

/* Finds a run of the batch, or NULL. */
extern FlowRunRef *FlowBatchFindRun(FlowBatch *batch, int64 run_id);

/* Gives up the transaction of the batch; no step is to blame. */
extern void FlowBatchAbandon(FlowBatch *batch, FlowVerdict verdict) pg_attribute_noreturn();

#endif							/* FLOW_BATCH_H */
