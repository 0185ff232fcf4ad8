/*-------------------------------------------------------------------------
 * flow.h
 *	  The vocabulary all layers share: identifiers, states and their names.
 *
 * A state exists once: as an enum here and as a text in the table next to it
 * (flow.c), which serves input, output and the documentation alike.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_H
#define FLOW_H

#include "datatype/timestamp.h"

#define FLOW_LIBRARY_VERSION	"0.1.0"

#define FLOW_VIEW_SCHEMA		"flow"
#define FLOW_TABLE_SCHEMA		"flow_internal"

/* Longest names, in bytes; see docs */
#define FLOW_MAX_WORKFLOW_NAME	58
#define FLOW_MAX_STEP_NAME		63
#define FLOW_MAX_KEY			500

/*
 * Step number of the row in flow_internal.task that stands for the run as a
 * whole (its start, while the run is pending).  Steps count from 1.
 */
#define FLOW_STEP_RUN			0

/* ... and its item number the row with which a paused run resumes by itself */
#define FLOW_ITEM_RESUME		1

/* ... or the one with which a run fails that takes too long */
#define FLOW_ITEM_DEADLINE		3

/*
 * ... or one that tells a run what was done to the run it belongs to; below
 * zero, the number of the step whose own run has ended
 */
#define FLOW_ITEM_CANCEL		4
#define FLOW_ITEM_PAUSE			5
/* ... or, from this one on, a row that asks to look at what was sent to the run */
#define FLOW_ITEM_LOOK			16

/* One live step of a run; item_no is 0 for a step without items */
typedef struct FlowStepKey
{
	int64		run_id;
	int32		step_no;
	int32		item_no;
} FlowStepKey;

/* What is known of a step that may run */
typedef struct FlowReady
{
	FlowStepKey key;
	int32		workflow_id;
	int32		definition_id;
	int32		priority;		/* higher first */
} FlowReady;

/* A step that falls due */
typedef struct FlowDue
{
	FlowStepKey key;
	TimestampTz due_at;
} FlowDue;

typedef enum FlowRunStatus
{
	FLOW_RUN_PENDING,
	FLOW_RUN_RUNNING,
	FLOW_RUN_PAUSED,
	FLOW_RUN_HELD,
	FLOW_RUN_COMPENSATING,
	FLOW_RUN_COMPLETED,
	FLOW_RUN_FAILED,
	FLOW_RUN_CANCELLED
} FlowRunStatus;

#define FLOW_RUN_STATUS_COUNT	(FLOW_RUN_CANCELLED + 1)

typedef enum FlowStepStatus
{
	FLOW_STEP_PENDING,
	FLOW_STEP_READY,
	FLOW_STEP_RUNNING,
	FLOW_STEP_SLEEPING,
	FLOW_STEP_WAITING,
	FLOW_STEP_HELD,
	FLOW_STEP_COMPLETED,
	FLOW_STEP_FAILED,
	FLOW_STEP_SKIPPED,
	FLOW_STEP_CANCELLED,
	FLOW_STEP_COMPENSATED,
	FLOW_STEP_COMPENSATION_FAILED
} FlowStepStatus;

#define FLOW_STEP_STATUS_COUNT	(FLOW_STEP_COMPENSATION_FAILED + 1)

/* The kind of a step; the names are those of API.md, "sql" for flow_step */
typedef enum FlowStepKind
{
	FLOW_KIND_SQL,
	FLOW_KIND_COMMAND,
	FLOW_KIND_DELAY,
	FLOW_KIND_WAIT,
	FLOW_KIND_APPROVAL,
	FLOW_KIND_CHOICE,
	FLOW_KIND_SUBFLOW,
	FLOW_KIND_TASK,
	FLOW_KIND_HTTP
} FlowStepKind;

#define FLOW_KIND_COUNT			(FLOW_KIND_HTTP + 1)

/* What becomes of a step's result set (API.md 1.3) */
typedef enum FlowResultMode
{
	FLOW_RESULT_ROW,
	FLOW_RESULT_ROWS,
	FLOW_RESULT_NONE,
	FLOW_RESULT_VALUE,			/* of an expression: its value */
	FLOW_RESULT_OBJECTS,		/* an array of rows, each an object */
	FLOW_RESULT_ONE				/* as row, of SQL without the option */
} FlowResultMode;

/* When a step runs, given how the steps it depends on have ended */
typedef enum FlowNeeds
{
	FLOW_NEEDS_ALL,
	FLOW_NEEDS_ANY,
	FLOW_NEEDS_FIRST,
	FLOW_NEEDS_SOME,
	FLOW_NEEDS_ALWAYS
} FlowNeeds;

/* What a failure that nothing handles means for the run */
typedef enum FlowErrorMode
{
	FLOW_ON_ERROR_FAIL,
	FLOW_ON_ERROR_ISOLATE,
	FLOW_ON_ERROR_CONTINUE,
	FLOW_ON_ERROR_SKIP,
	FLOW_ON_ERROR_PAUSE
} FlowErrorMode;

/*
 * Names of the states.  FlowXParse raises 22023 for a text that is none.
 * They need no transaction and allocate nothing.
 */
extern const char *FlowRunStatusName(FlowRunStatus status);
extern FlowRunStatus FlowRunStatusParse(const char *name);
extern const char *FlowStepStatusName(FlowStepStatus status);
extern FlowStepStatus FlowStepStatusParse(const char *name);
extern const char *FlowStepKindName(FlowStepKind kind);

/* True for completed, failed and cancelled */
extern bool FlowRunStatusIsFinal(FlowRunStatus status);

#endif							/* FLOW_H */
