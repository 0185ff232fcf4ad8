/*-------------------------------------------------------------------------
 * document.h
 *	  A definition as the user wrote it, by tables of arguments and options.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_DOCUMENT_H
#define FLOW_DOCUMENT_H

#include "base/json.h"
#include "define/problem.h"
#include "flow.h"

/* Arguments of flow_define, and keys of a document beside "steps" */
typedef enum FlowArgument
{
	FLOW_ARG_NAME,
	FLOW_ARG_DESCRIPTION,
	FLOW_ARG_TIMEOUT,
	FLOW_ARG_MAX_RUNS,
	FLOW_ARG_MAX_RUNS_BY,
	FLOW_ARG_MAX_PARALLEL,
	FLOW_ARG_NOTIFY,
	FLOW_ARG_KEEP,
	FLOW_ARG_KEEP_DATA,
	FLOW_ARG_RESUME_AFTER,
	FLOW_ARG_SEARCH_PATH
} FlowArgument;

#define FLOW_ARGUMENT_COUNT	(FLOW_ARG_SEARCH_PATH + 1)

/* Keys of a step */
typedef enum FlowOption
{
	FLOW_OPT_NAME,
	FLOW_OPT_KIND,
	/* what the kinds are about */
	FLOW_OPT_SQL,
	FLOW_OPT_BUILD,
	FLOW_OPT_DELAY,
	FLOW_OPT_UNTIL,
	FLOW_OPT_SIGNAL,
	FLOW_OPT_APPROVERS,
	FLOW_OPT_WORKFLOW,
	FLOW_OPT_INPUT,
	FLOW_OPT_QUEUE,
	FLOW_OPT_PAYLOAD,
	FLOW_OPT_SERVER,
	FLOW_OPT_PATH,
	FLOW_OPT_METHOD,
	FLOW_OPT_HEADERS,
	FLOW_OPT_BODY,
	FLOW_OPT_EXPECT,
	FLOW_OPT_URL,
	/* flow_step's own */
	FLOW_OPT_RESULT,
	FLOW_OPT_ISOLATION,
	FLOW_OPT_BATCH,
	/* everybody's */
	FLOW_OPT_AFTER,
	FLOW_OPT_NEEDS,
	FLOW_OPT_CONDITION,
	FLOW_OPT_FOR_EACH,
	FLOW_OPT_MAX_PARALLEL,
	FLOW_OPT_ON_ITEM_ERROR,
	FLOW_OPT_RETRIES,
	FLOW_OPT_RETRY_DELAY,
	FLOW_OPT_BACKOFF,
	FLOW_OPT_MAX_DELAY,
	FLOW_OPT_JITTER,
	FLOW_OPT_RETRY_ON,
	FLOW_OPT_NO_RETRY_ON,
	FLOW_OPT_TIMEOUT,
	FLOW_OPT_TOTAL_TIMEOUT,
	FLOW_OPT_ON_ERROR,
	FLOW_OPT_AGAIN,
	FLOW_OPT_ON_RESULT,
	FLOW_OPT_UNDO,
	FLOW_OPT_UNDO_OF,
	FLOW_OPT_EMITS,
	FLOW_OPT_LIMITS,
	FLOW_OPT_LIMIT_KEY,
	FLOW_OPT_PRIORITY,
	FLOW_OPT_HOOK,
	FLOW_OPT_DESCRIPTION
} FlowOption;

#define FLOW_OPTION_COUNT	(FLOW_OPT_DESCRIPTION + 1)

/* Flags of both tables */
#define FLOW_FIELD_LATER	0x01	/* known, but refused unless the default */
#define FLOW_FIELD_REQUIRED	0x02	/* by every kind it applies to */

/* FlowField.applies of an option is a set of these */
#define FLOW_KIND_BIT(kind)	(1u << (kind))

extern const FlowField FlowArgumentFields[FLOW_ARGUMENT_COUNT];
extern const FlowField FlowOptionFields[FLOW_OPTION_COUNT];

typedef struct FlowStepSpec
{
	FlowStepKind kind;
	FlowValue	values[FLOW_OPTION_COUNT];	/* defaults filled in */
} FlowStepSpec;

typedef struct FlowSpec
{
	FlowValue	values[FLOW_ARGUMENT_COUNT];	/* defaults filled in */
	int			n_steps;
	FlowStepSpec *steps;
	const FlowPathNames *names; /* of the form it was written in; NULL: ours */
} FlowSpec;

#define FlowSpecText(spec, argument) \
	((spec)->values[argument].isset ? (spec)->values[argument].u.text : NULL)
#define FlowStepText(step, option) \
	((step)->values[option].isset ? (step)->values[option].u.text : NULL)

/* How messages speak of a step and its place; a missing name is NULL. */
extern const char *FlowStepName(const FlowSpec *spec, int i);
extern const char *FlowStepLabel(const FlowSpec *spec, int i);
extern const char *FlowOptionPath(int i, FlowOption option);

/*
 * A specification in the current memory context.  A document is an object
 * with the arguments and "steps", an array.  Unknown keys, values of the wrong
 * type and steps that are no objects are problems; nothing else is checked.
 */
extern FlowSpec *FlowSpecFromDocument(Jsonb *document, FlowProblems *problems);

/*
 * The same piecemeal: an empty one with room for n steps; one step; and the
 * object with which flow_define's "options" adds arguments.
 */
extern FlowSpec *FlowSpecCreate(int n_steps);
extern void FlowSpecReadStep(FlowSpec *spec, int i, JsonbContainer *object,
							 FlowProblems *problems);
extern void FlowSpecReadOptions(FlowSpec *spec, Jsonb *options,
								FlowProblems *problems);

/*
 * The canonical form of the steps, {"steps": [...]}, in which a value that is
 * the default does not appear: equal if and only if the definitions are.
 */
extern Jsonb *FlowSpecToDocument(const FlowSpec *spec);

/* The step as its constructor returns it. */
extern Jsonb *FlowStepToJsonb(const FlowValue *values);

#endif							/* FLOW_DOCUMENT_H */
