/*-------------------------------------------------------------------------
 * ready.c
 *	  Decides which steps may run next, and which never will.
 *
 * Pure: given a compiled graph and how steps have ended, says which others are
 * ready or skipped, and what becomes of the rest when the run fails.  It reads
 * no table and takes no lock.
 *
 * An entry of "after" counts as completed, as skipped, or as open.  Every join
 * is a rule over these three; no other place knows what a step waits for.
 *
 * flush.c calls it with the run's row locked; batch.c calls it without, and
 * may then act on what it says because a step that has ended stays so for as
 * long as the run keeps its epoch.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine/ready.h"

/* Entries of "after" by what they count as */
typedef struct Tally
{
	int			completed;
	int			skipped;
	int			open;
} Tally;

static bool is_of_course(const FlowEnds *ends, int step_no);
static Tally tally_of(const FlowStepDef *step, const FlowEnds *ends);
static FlowReadiness readiness_of(const FlowDefinition *definition,
								  const FlowDependency *dependency,
								  const FlowEnds *ends);
static bool stops_others(const FlowStepDef *step, FlowStepStatus status,
						 uint64 events);
static bool closes(const FlowStepDef *step, const FlowEnds *ends);
static void push_dependents(const FlowStepDef *step, bool *marked, int *stack,
							int *depth);

void
FlowEndsInit(FlowEnds *ends, const FlowDefinition *definition)
{
	ends->definition = definition;
	ends->status = palloc0(sizeof(uint8) * (definition->n_all + 1));
	ends->events = palloc0(sizeof(uint64) * (definition->n_all + 1));
	ends->n = 0;
}

void
FlowEndsForget(FlowEnds *ends, const FlowDefinition *definition)
{
	memset(ends->status, 0, sizeof(uint8) * (definition->n_all + 1));
	memset(ends->events, 0, sizeof(uint64) * (definition->n_all + 1));
	ends->n = 0;
}

void
FlowEndsNote(FlowEnds *ends, int step_no, FlowStepStatus status, uint64 events)
{
	if (ends->definition->steps[step_no - 1].part == FLOW_PART_HOOK)
		return;					/* it may run again and again */
	if (ends->status[step_no] == 0 && is_of_course(ends, step_no))
		ends->n++;
	ends->status[step_no] = status;
	ends->events[step_no] = events;
}

static bool
is_of_course(const FlowEnds *ends, int step_no)
{
	return ends->definition->steps[step_no - 1].part == FLOW_PART_COURSE;
}

void
FlowEndsTakeBack(FlowEnds *ends, int step_no)
{
	if (ends->status[step_no] != 0 && is_of_course(ends, step_no))
		ends->n--;
	ends->status[step_no] = 0;
	ends->events[step_no] = 0;
}

/*
 * The rules of the joins.  A join that can be decided early is, since nothing
 * that is still open could change it.
 */
FlowReadiness
FlowReadyCompute(const FlowStepDef *step, const FlowEnds *ends)
{
	Tally		tally = tally_of(step, ends);

	switch (step->needs)
	{
		case FLOW_NEEDS_ALL:
			if (tally.skipped > 0)
				return FLOW_READY_SKIP;
			return tally.open > 0 ? FLOW_READY_WAIT : FLOW_READY_RUN;
		case FLOW_NEEDS_ANY:
		case FLOW_NEEDS_FIRST:
			if (tally.completed > 0)
				return FLOW_READY_RUN;
			return tally.open > 0 ? FLOW_READY_WAIT : FLOW_READY_SKIP;
		case FLOW_NEEDS_SOME:
			if (tally.open > 0)
				return FLOW_READY_WAIT;
			return tally.completed > 0 ? FLOW_READY_RUN : FLOW_READY_SKIP;
		case FLOW_NEEDS_ALWAYS:
			return tally.open > 0 ? FLOW_READY_WAIT : FLOW_READY_RUN;
	}
	return FLOW_READY_WAIT;		/* keep compiler quiet */
}

static Tally
tally_of(const FlowStepDef *step, const FlowEnds *ends)
{
	Tally		tally = {0, 0, 0};

	for (int i = 0; i < step->n_after; i++)
		switch (readiness_of(step->definition, &step->after[i], ends))
		{
			case FLOW_READY_RUN:
				tally.completed++;
				break;
			case FLOW_READY_SKIP:
				tally.skipped++;
				break;
			case FLOW_READY_WAIT:
				tally.open++;
				break;
		}
	return tally;
}

/*
 * What one entry of "after" counts as.  A failure that nothing handles and
 * that the step lets pass counts as completed.
 */
static FlowReadiness
readiness_of(const FlowDefinition *definition, const FlowDependency *dependency,
			 const FlowEnds *ends)
{
	const FlowStepDef *step = &definition->steps[dependency->step - 1];
	FlowStepStatus status = ends->status[dependency->step];
	uint64		events = ends->events[dependency->step];

	if (status == 0)
		return FLOW_READY_WAIT;
	if (dependency->event != FLOW_EVENT_NONE)
		return events & FLOW_EVENT_BIT(dependency->event)
			? FLOW_READY_RUN : FLOW_READY_SKIP;
	return stops_others(step, status, events) ? FLOW_READY_SKIP : FLOW_READY_RUN;
}

/* Whether that end counts as skipped for the steps that depend on it. */
static bool
stops_others(const FlowStepDef *step, FlowStepStatus status, uint64 events)
{
	if (status == FLOW_STEP_COMPLETED)
		return false;
	return status != FLOW_STEP_FAILED || FlowReadyIsHandled(step, events) ||
		step->on_error != FLOW_ON_ERROR_CONTINUE;
}

bool
FlowReadyIsHandled(const FlowStepDef *step, uint64 events)
{
	return (step->handles & events) != 0;
}

bool
FlowReadyFailsRun(const FlowStepDef *step, FlowStepStatus status, uint64 events)
{
	return status == FLOW_STEP_FAILED && !FlowReadyIsHandled(step, events) &&
		step->on_error != FLOW_ON_ERROR_CONTINUE;
}

bool
FlowReadyIs(const FlowStepDef *step, const FlowEnds *ends)
{
	return ends->status[step->no] == 0 &&
		FlowReadyCompute(step, ends) == FLOW_READY_RUN;
}

bool
FlowReadyIsOpen(const FlowStepDef *step, const FlowEnds *ends)
{
	for (int i = 0; i < step->n_deps; i++)
		if (ends->status[step->deps[i]] == 0)
			return true;
	return false;
}

const char *
FlowReadyReason(const FlowStepDef *step, const FlowEnds *ends)
{
	const FlowDefinition *definition = step->definition;

	if (step->needs != FLOW_NEEDS_ALL)
		return "none of the steps it depends on completed";
	for (int i = 0; i < step->n_after; i++)
	{
		const FlowDependency *dependency = &step->after[i];
		const FlowStepDef *from = &definition->steps[dependency->step - 1];

		if (readiness_of(definition, dependency, ends) != FLOW_READY_SKIP)
			continue;
		if (dependency->event != FLOW_EVENT_NONE)
			return psprintf("step \"%s\" did not emit \"%s\"", from->name,
							from->events[dependency->event]);
		return psprintf("step \"%s\" %s%s", from->name,
						ends->status[from->no] == FLOW_STEP_FAILED ? "" : "was ",
						FlowStepStatusName(ends->status[from->no]));
	}
	return "it cannot run";
}

int
FlowReadySpread(const FlowDefinition *definition, FlowEnds *ends,
				const int *from, int n, bool closed, int *decided)
{
	bool	   *listed = palloc0(sizeof(bool) * (definition->n_steps + 1));
	int			found = 0;
	int			next = -n;

	/* first those given, then those that were skipped because of them */
	for (; next < found; next++)
	{
		int			no = next < 0 ? from[next + n] : decided[next];
		const FlowStepDef *ended = &definition->steps[no - 1];

		if (ends->status[no] == 0)
			continue;
		for (int i = 0; i < ended->n_dependents; i++)
		{
			const FlowStepDef *step = &definition->steps[ended->dependents[i] - 1];
			FlowReadiness readiness;

			if (listed[step->no] || ends->status[step->no] != 0 ||
				(closed && !closes(step, ends)))
				continue;
			readiness = FlowReadyCompute(step, ends);
			if (readiness == FLOW_READY_WAIT)
				continue;
			listed[step->no] = true;
			decided[found++] = step->no;
			if (readiness == FLOW_READY_SKIP)
				FlowEndsNote(ends, step->no, FLOW_STEP_SKIPPED, 0);
		}
	}
	pfree(listed);
	return found;
}

/*
 * Whether who sees all that the step depends on as ended may decide it without
 * asking anybody.  A join that is content with the first may have been made
 * ready by whoever saw that, and have ended since.
 */
static bool
closes(const FlowStepDef *step, const FlowEnds *ends)
{
	return step->needs != FLOW_NEEDS_ANY && step->needs != FLOW_NEEDS_FIRST &&
		!FlowReadyIsOpen(step, ends);
}

/*
 * Walks downstream from each failed step with a stack of step numbers; every
 * step is pushed at most once.
 */
void
FlowReadyComputeFate(const FlowDefinition *definition, const FlowEnds *ends,
					 uint8 *fate, int *cause)
{
	int		   *stack = palloc(sizeof(int) * (definition->n_steps + 1));
	int			depth = 0;

	for (int no = 1; no <= definition->n_steps; no++)
	{
		const FlowStepDef *step = &definition->steps[no - 1];

		fate[no] = ends->status[no] == 0 && step->part == FLOW_PART_COURSE &&
			step->needs != FLOW_NEEDS_ALWAYS ? FLOW_STEP_CANCELLED : 0;
		cause[no] = 0;
		if (step->part == FLOW_PART_COURSE &&
			FlowReadyFailsRun(step, ends->status[no], ends->events[no]))
		{
			cause[no] = no;
			stack[depth++] = no;
		}
	}
	while (depth > 0)
	{
		const FlowStepDef *step = &definition->steps[stack[--depth] - 1];

		for (int i = 0; i < step->n_dependents; i++)
		{
			int			next = step->dependents[i];

			if (cause[next] != 0 ||
				definition->steps[next - 1].needs == FLOW_NEEDS_ALWAYS)
				continue;
			cause[next] = cause[step->no];
			if (fate[next] != 0)
				fate[next] = FLOW_STEP_SKIPPED;
			stack[depth++] = next;
		}
	}
	pfree(stack);
}

void
FlowReadyComputeRetry(const FlowDefinition *definition, const FlowEnds *ends,
					  bool *forget)
{
	bool	   *below = palloc0(sizeof(bool) * (definition->n_steps + 1));
	int		   *stack = palloc(sizeof(int) * (definition->n_steps + 1));
	int			depth = 0;

	for (int no = 1; no <= definition->n_steps; no++)
	{
		const FlowStepDef *step = &definition->steps[no - 1];

		if (step->part != FLOW_PART_COURSE)
			continue;
		forget[no] = (ends->status[no] == FLOW_STEP_CANCELLED &&
					  !FlowReadyWasOvertaken(step, ends)) ||
			step->needs == FLOW_NEEDS_ALWAYS ||
			FlowReadyFailsRun(step, ends->status[no], ends->events[no]);
		if (forget[no])
			push_dependents(step, below, stack, &depth);
	}
	while (depth > 0)
	{
		int			no = stack[--depth];

		if (ends->status[no] == FLOW_STEP_SKIPPED)
			forget[no] = true;
		push_dependents(&definition->steps[no - 1], below, stack, &depth);
	}
	pfree(below);
	pfree(stack);
}

/*
 * The step that was first has run, or has found that its condition is not true;
 * one that could not run any more has overtaken nobody.
 */
bool
FlowReadyWasOvertaken(const FlowStepDef *step, const FlowEnds *ends)
{
	for (int i = 0; i < step->n_dependents; i++)
	{
		const FlowStepDef *next = &step->definition->steps[step->dependents[i] - 1];
		FlowStepStatus status = ends->status[next->no];

		if (next->needs == FLOW_NEEDS_FIRST && status != 0 &&
			status != FLOW_STEP_CANCELLED &&
			!FlowReadyFailsRun(next, status, ends->events[next->no]) &&
			FlowReadyCompute(next, ends) == FLOW_READY_RUN)
			return true;
	}
	return false;
}

static void
push_dependents(const FlowStepDef *step, bool *marked, int *stack, int *depth)
{
	for (int i = 0; i < step->n_dependents; i++)
	{
		int			next = step->dependents[i];

		if (marked[next])
			continue;
		marked[next] = true;
		stack[(*depth)++] = next;
	}
}
