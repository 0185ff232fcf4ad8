/*-------------------------------------------------------------------------
 * average.h
 *	  What is known of how each step behaves: moving averages, by definition
 *	  and step, in shared memory.
 *
 * They only decide what shares a commit, and what runs side by side; losing or mixing up an entry costs
 * speed, never correctness.  Read and written without a lock.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_AVERAGE_H
#define FLOW_AVERAGE_H

typedef struct FlowAverage
{
	int32		runs;			/* 0: nothing known yet */
	float		usec;			/* moving average of the run time */
	float		failures;		/* moving average, 0 .. 1 */
	int32		penalty;		/* > 0: met a conflict; so many more runs take
								 * turns, or end their batch */
	bool		contended;		/* ... and met more while taking turns */
	bool		alone;			/* never shares a transaction */
} FlowAverage;

/* What is known; runs = 0 if nothing.  Without shared memory, a private table. */
extern FlowAverage FlowAverageGet(int32 definition_id, int32 step_no);

extern void FlowAverageNoteRun(int32 definition_id, int32 step_no,
							   int64 usec, bool failed);
extern void FlowAverageNoteAlone(int32 definition_id, int32 step_no);

/* "in_turn": although no other worker of its role ran such a step */
extern void FlowAverageNoteConflict(int32 definition_id, int32 step_no,
									bool in_turn);

/*
 * True if only one worker at a time should run such a step: it is short, and
 * has met conflicts with others of its kind.  Pure.
 */
extern bool FlowAverageTakesTurns(FlowAverage average);

extern Size FlowAverageShmemSize(void);
extern void FlowAverageShmemInit(void);

#endif							/* FLOW_AVERAGE_H */
