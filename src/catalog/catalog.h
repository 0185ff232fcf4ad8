/*-------------------------------------------------------------------------
 * catalog.h
 *	  Rules for everything that touches the extension's tables.
 *
 * Lock order, never varied:
 *
 *	1. flow_internal.workflow, by id (definers, droppers)
 *	2. flow_internal.run_key (starters of one key queue here)
 *	3. flow_internal.run, in ascending id: the run's mutex, taken
 *	   FOR NO KEY UPDATE, by a flush for the moment before its commit, and by
 *	   cancel, pause, resume and retry
 *	4. flow_internal.task of these runs: under the mutex only with SKIP LOCKED,
 *	   since a claim locks a task before its flush locks the run; a task that
 *	   is locked belongs to a worker, whose flush cleans up
 *	5. everything else: inserted, never waited for
 *
 * All SQL on the tables is in this folder: static statements, prepared once
 * per backend and kept, schema-qualified, executed raised (base/identity.h).
 * Each row becomes a struct in one function, and nobody else counts columns.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CATALOG_H
#define FLOW_CATALOG_H

/* The row of task that resumes a paused run: FLOW_STEP_RUN, FLOW_ITEM_RESUME */
#define FLOW_TASK_IS_TIMER	"t.step_no = 0 AND t.item_no IN (1, 4, 5)"

/*
 * A command that runs, without a transaction that would have locked the row: to
 * everybody but its worker the row is like one that is locked.
 */
#define FLOW_TASK_IS_COMMAND(task) \
	"(" task ".status = 'running' AND " task ".worker IS NOT NULL)"

/* A step waits for a run that it has started. */
#define FLOW_HAS_CHILD(task) \
	"EXISTS (SELECT FROM flow_internal.run c WHERE c.parent_run = " task ".run_id" \
	" AND c.parent_step = " task ".step_no AND c.parent_item = " task ".item_no" \
	" AND c.finished_at IS NULL)"

/* Ids of a run and of all that it has started, in parentheses */
#define FLOW_RUN_TREE(run) \
	"(WITH RECURSIVE tree (id) AS (SELECT " run " UNION ALL" \
	" SELECT c.id FROM flow_internal.run c JOIN tree ON c.parent_run = tree.id)" \
	" SELECT id FROM tree)"

/* Milliseconds a flush waits for a run that somebody else holds */
#define FLOW_RUN_LOCK_WAIT	10

#endif							/* FLOW_CATALOG_H */
