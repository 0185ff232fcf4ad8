/*-------------------------------------------------------------------------
 * plan.h
 *	  Compiled definitions, and this backend's cache of them.
 *
 * A definition (one version of a workflow) never changes once it is stored,
 * so what is cached here never needs care; it lives until the backend ends,
 * or until the extension itself is dropped.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PLAN_H
#define FLOW_PLAN_H

#include "define/document.h"
#include "define/policy.h"
#include "flow.h"

/*
 * Events of a step, as numbers: those that every definition knows, and then
 * those that other steps of the definition depend on.  What nobody depends on
 * has no number.
 */
typedef enum FlowEventNo
{
	FLOW_EVENT_COMPLETED,
	FLOW_EVENT_FAILED,
	FLOW_EVENT_APPROVED,
	FLOW_EVENT_REJECTED,
	FLOW_EVENT_TIMEOUT
} FlowEventNo;

#define FLOW_EVENT_NONE		(-1)
#define FLOW_EVENT_OWN		(FLOW_EVENT_TIMEOUT + 1)	/* the first of a step */
#define FLOW_EVENT_MAX		64	/* they are kept as bits */
#define FLOW_EVENT_BIT(no)	(UINT64CONST(1) << (no))

/* One entry of "after" */
typedef struct FlowDependency
{
	int			step;			/* number */
	int			event;			/* of that step; FLOW_EVENT_NONE: its end */
} FlowDependency;

/* The SQL texts that a step may have */
typedef enum FlowSqlRole
{
	FLOW_SQL_STEP,
	FLOW_SQL_CONDITION,
	FLOW_SQL_INPUT,
	FLOW_SQL_FOR_EACH,
	FLOW_SQL_LIMIT_KEY,
	FLOW_SQL_AGAIN,				/* these see the step's own output, too */
	FLOW_SQL_RESULT
} FlowSqlRole;

#define FLOW_SQL_ROLES		(FLOW_SQL_RESULT + 1)

typedef struct FlowSqlText
{
	const char *text;			/* NULL: none */
	bool		expression;		/* else statements */
	FlowResultMode result;
	void	   *program;		/* engine/statement.c: its prepared statements */
} FlowSqlText;

/* Where a step has its place */
typedef enum FlowStepPart
{
	FLOW_PART_COURSE,			/* in the graph: the normal course of a run */
	FLOW_PART_UNDO,				/* it undoes another step */
	FLOW_PART_HOOK,				/* it runs when something happens to its run */
	FLOW_PART_ITEM				/* it runs for each item of a step */
} FlowStepPart;

/* What hooks wait for; the names are those of the option */
typedef enum FlowHookEvent
{
	FLOW_HOOK_COMPLETED,
	FLOW_HOOK_FAILED,
	FLOW_HOOK_PAUSED,
	FLOW_HOOK_CANCELLED,
	FLOW_HOOK_FINISHED,			/* any end */
	FLOW_HOOK_STEP				/* the end of a step that has run */
} FlowHookEvent;

#define FLOW_HOOK_EVENTS	(FLOW_HOOK_STEP + 1)
#define FLOW_HOOK_BIT(event)	(1u << (event))

typedef struct FlowStepDef
{
	struct FlowDefinition *definition;
	int			no;				/* from 1, in the order of the definition */
	FlowStepPart part;
	int			undo;			/* number of the step that undoes it; 0: none */
	int			undoes;			/* number of the step that it undoes */
	uint32		hooks;			/* bits of the events that it waits for */
	int			items;			/* number of the one that runs for its items */
	int			maps;			/* of that one: number of the first */
	int			max_parallel;	/* ... items at once, 0: any number */
	bool		collects;		/* ... a failed one does not fail the first */
	char	   *name;
	FlowStepKind kind;
	FlowSqlText sql[FLOW_SQL_ROLES];
	char	   *workflow;		/* subflow: what it starts a run of */
	FlowNeeds	needs;
	FlowErrorMode on_error;
	int			n_after;
	FlowDependency *after;		/* as given */
	int			n_deps;
	int		   *deps;			/* step numbers it depends on, ascending */
	int			n_dependents;
	int		   *dependents;		/* step numbers that depend on it, ascending */
	int			n_events;		/* FLOW_EVENT_OWN and more */
	const char **events;		/* names by number */
	uint64		handles;		/* bits of the failures that others wait for */
	bool		has_emits;		/* declares the events it may emit ... */
	int			n_emits;
	char	  **emits;			/* ... as these */
	FlowRetryPolicy retry;
	int64		timeout;		/* microseconds, 0: none */
	int64		total_timeout;	/* over all attempts; likewise */
	int64		delay;			/* of a delay, microseconds */
	char	   *signal;			/* that a wait waits for */
	char	   *approvers;		/* role that decides an approval; NULL: any */
	int			n_limits;
	char	  **limits;			/* that it takes a place under, by name, once
								 * each */
	int			priority;
	int			isolation;		/* XACT_READ_COMMITTED or above */
	bool		batch;			/* may share a transaction with other steps */
} FlowStepDef;

typedef struct FlowDefinition
{
	int32		id;				/* flow_internal.definition.id */
	int32		workflow_id;
	int32		version;
	char	   *workflow;		/* name */
	char	   *search_path;	/* under which its steps run */
	int64		timeout;		/* of a run, microseconds, 0: none */
	int64		resume_after;	/* microseconds, 0: never by itself */
	int			max_parallel;	/* steps of a run at once; 0: any number */
	bool		has_subflow;	/* a step starts runs */
	bool		has_limits;		/* a step takes a place under limits */
	bool		has_first;		/* a join may cancel what it depends on */
	int			n_steps;		/* that have a name */
	int			n_course;		/* of these, in the graph */
	int			n_all;			/* numbers of steps, those of beside.c too */
	FlowStepDef *steps;			/* steps[no - 1] */
	uint32		hooks;			/* bits of the events that steps wait for */
	bool		has_undo;		/* some step can be undone */
	bool		has_items;		/* some step runs for each of its items */
	int		   *order;			/* then: numbers of the steps of the graph,
								 * each behind those it depends on */
	int			n_roots;
	int		   *roots;			/* of the graph: without dependencies */
	int		   *by_name;		/* step numbers in the order of their names */
	MemoryContext context;		/* everything here lives in it */
} FlowDefinition;

/*
 * Compiles a specification that has no errors into a memory context of its own,
 * a child of "parent".  The search path is used as given.
 */
extern FlowDefinition *FlowPlanCompile(const FlowSpec *spec,
									   const char *search_path,
									   MemoryContext parent);

/* The path its steps run under: the stored one, then the schema of flow_...(). */
extern char *FlowPlanSearchPath(const char *stored);

/*
 * The compiled definition of that id.  Needs a transaction and a connection
 * to SPI (it raises by itself).  Never NULL: an unknown id is an internal error.
 */
extern FlowDefinition *FlowPlanLookup(int32 definition_id);

/* The priority of a step in a run: the sum of both. */
extern int32 FlowPlanPriority(const FlowStepDef *step, int32 run_priority);

/* The name of an event, if it is one that every definition knows, else NULL. */
extern const char *FlowEventName(int no);

/* The number of an event of the step, or FLOW_EVENT_NONE. */
extern int	FlowPlanFindEvent(const FlowStepDef *step, const char *name);

/* The step of that name, or NULL. */
extern FlowStepDef *FlowPlanFindStep(const FlowDefinition *definition,
									 const char *name);

/* True if the step "ancestor" lies upstream of "step".  Walks the graph. */
extern bool FlowPlanIsUpstream(const FlowStepDef *step,
							   const FlowStepDef *ancestor);

#endif							/* FLOW_PLAN_H */
