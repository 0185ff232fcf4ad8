/*-------------------------------------------------------------------------
 * cat_outcome.h
 *	  History: ended steps (flow_internal.outcome) and failed attempts
 *	  (flow_internal.attempt).
 *
 * Every function needs a connection to SPI and must be called raised; results
 * are allocated in the current memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_OUTCOME_H
#define FLOW_CAT_OUTCOME_H

#include "datatype/timestamp.h"
#include "flow.h"
#include "nodes/pg_list.h"

typedef struct FlowOutcomeRow
{
	FlowStepKey key;
	FlowStepStatus status;
	int32		attempt;
	TimestampTz started_at;		/* DT_NOBEGIN: never */
	TimestampTz finished_at;
	Datum		output;
	bool		has_output;
	Datum		error;
	bool		has_error;
	const char *reason;
	int32		worker;			/* process that ran it; 0: this one */
	bool		handled;		/* another step takes its failure over */
	Datum		emits;			/* jsonb, see emission.h */
	bool		has_emits;
} FlowOutcomeRow;

typedef struct FlowAttemptRow
{
	FlowStepKey key;
	int32		attempt;
	TimestampTz started_at;
	TimestampTz finished_at;
	const char *sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
	const char *context;
	TimestampTz next_at;		/* DT_NOBEGIN: none */
} FlowAttemptRow;

extern void FlowOutcomeInsert(const FlowOutcomeRow *rows, int n);
extern void FlowAttemptInsert(const FlowAttemptRow *rows, int n);

/*
 * Ended steps of runs, but hooks and items: key, status, attempt, emits; list of
 * FlowOutcomeRow *.  Of a run that may have many items, probes[i] says up to
 * which number steps are looked for one by one; 0: all are read.
 */
extern List *FlowOutcomeListOf(const int64 *run_ids, const int32 *probes, int n);

/* Last failed attempts by step: key and attempt; list of FlowAttemptRow *. */
extern List *FlowAttemptListOf(const int64 *run_ids, int n);

/*
 * The output of an ended step, the events it has emitted, or its error, with
 * the snapshot that is active.  False if it has not ended; *isnull if there is
 * none.
 */
extern bool FlowOutcomeOutput(const FlowStepKey *key, Datum *output, bool *isnull);
extern bool FlowOutcomeEmits(const FlowStepKey *key, Datum *emits, bool *isnull);
extern bool FlowOutcomeError(const FlowStepKey *key, Datum *error, bool *isnull);

/*
 * True if the step has an end now, whatever the transaction's snapshot sees.
 * For transactions at other isolation levels; may lock the row.
 */
extern bool FlowOutcomeIsThere(const FlowStepKey *key);

/* How a step has ended; 0: it has not. */
extern FlowStepStatus FlowOutcomeStatus(const FlowStepKey *key);

/* Copies the ends of these steps to another run. */
extern void FlowOutcomeCopy(int64 from_run, int64 to_run, const int *steps, int n);

/* The numbers of the steps whose ends were copied from another run. */
extern List *FlowOutcomeCopied(int64 run_id);

/* That a completed step is undone, or could not be: status, error, reason. */
extern void FlowOutcomeSetUndone(const FlowOutcomeRow *row);

/* Forgets the ends of these steps of a run. */
extern void FlowOutcomeForget(int64 run_id, const int *steps, int n);

#endif							/* FLOW_CAT_OUTCOME_H */
