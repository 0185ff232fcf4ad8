/*-------------------------------------------------------------------------
 * testpoint.h
 *	  Named places in the code at which a test can stop, fail or kill a process.
 *
 * They exist only when compiled with -DFLOW_TEST; otherwise a point is nothing
 * at all.  The names are listed in testpoint.c, how tests use them is told in
 * test/races/README.md.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_TESTPOINT_H
#define FLOW_TESTPOINT_H

#ifdef FLOW_TEST

#define FLOW_TEST_POINT(name)	FlowTestPoint(name)

/* What a test asks a point to do; times -1: whenever it is reached */
typedef struct FlowTestOrder
{
	const char *point;
	const char *action;
	const char *argument;		/* NULL: none */
	int			skip;			/* passes that are let through first */
	int			every;			/* acts at each n-th pass after those */
	int			times;
	const char *process;		/* client, worker, scheduler, launcher; NULL:
								 * any */
	Oid			database;		/* InvalidOid: any */
} FlowTestOrder;

/*
 * Does what the point has been told, if anything.  May raise an error or end
 * the process, but not where interrupts are held off: there it can only wait,
 * count, sleep or be killed.
 */
extern void FlowTestPoint(const char *name);

/* Replaces an earlier order for the same point. */
extern void FlowTestArm(const FlowTestOrder *order);

/* Takes the orders of a point, or of all (NULL), back; lets go who waits. */
extern void FlowTestDisarm(const char *name);

/* Lets go those that wait now, or one of them; returns their number. */
extern int	FlowTestRelease(const char *name, int pid);

/* Who waits at a point, in the order of arrival; returns the number. */
extern int	FlowTestWaiters(const char *name, int *pids, int max);

/* Passes since the point was armed, of processes that it is meant for. */
extern int64 FlowTestPassed(const char *name);

extern Size FlowTestShmemSize(void);
extern void FlowTestShmemInit(void);

#else

#define FLOW_TEST_POINT(name)	((void) 0)

#endif							/* FLOW_TEST */

#endif							/* FLOW_TESTPOINT_H */
