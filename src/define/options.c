/*-------------------------------------------------------------------------
 * options.c
 *	  Whether the options of a step mean something, by themselves and together.
 *
 * By tables: document.c says which kinds an option is for and which values it
 * may have; the two below say in which range a number lies, and which options
 * need or exclude each other.  A new option is a line in them.
 *
 * Pure but for what it reports; a step may have no name, which is for check.c
 * to say.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "define/check.h"
#include "define/limited.h"
#include "define/options.h"

#define MAX_INTERVAL_DAYS	(366.0 * 1000)

/* Values between bounds; intervals in days */
typedef struct Bound
{
	FlowOption	option;
	double		low;
	bool		above_low;		/* must differ from low */
	double		high;
	const char *expected;
} Bound;

static const Bound bounds[] = {
	{FLOW_OPT_DELAY, 0, false, MAX_INTERVAL_DAYS, "an interval from 0 to 1000 years"},
	{FLOW_OPT_MAX_PARALLEL, 1, false, PG_INT32_MAX, "a number above zero"},
	{FLOW_OPT_RETRIES, 0, false, PG_INT32_MAX, "a number that is not negative"},
	{FLOW_OPT_RETRY_DELAY, 0, false, MAX_INTERVAL_DAYS, "an interval from 0 to 1000 years"},
	{FLOW_OPT_BACKOFF, 1, false, 1e9, "a number of at least 1"},
	{FLOW_OPT_MAX_DELAY, 0, false, MAX_INTERVAL_DAYS, "an interval from 0 to 1000 years"},
	{FLOW_OPT_JITTER, 0, false, 1, "a number from 0 to 1"},
	{FLOW_OPT_TIMEOUT, 0, true, MAX_INTERVAL_DAYS, "an interval above 0, up to 1000 years"},
	{FLOW_OPT_TOTAL_TIMEOUT, 0, true, MAX_INTERVAL_DAYS, "an interval above 0, up to 1000 years"},
};

/* Options that need another one, or cannot be beside it */
typedef struct Pairing
{
	FlowOption	option;
	FlowOption	other;
	bool		wants;			/* else: excludes */
} Pairing;

static const Pairing pairings[] = {
	{FLOW_OPT_AFTER, FLOW_OPT_HOOK, false},
	{FLOW_OPT_HOOK, FLOW_OPT_UNDO, false},
	{FLOW_OPT_HOOK, FLOW_OPT_ON_ERROR, false},
	{FLOW_OPT_HOOK, FLOW_OPT_FOR_EACH, false},
	{FLOW_OPT_UNDO_OF, FLOW_OPT_AFTER, false},
	{FLOW_OPT_UNDO_OF, FLOW_OPT_UNDO, false},
	{FLOW_OPT_UNDO_OF, FLOW_OPT_HOOK, false},
	{FLOW_OPT_UNDO_OF, FLOW_OPT_FOR_EACH, false},
	{FLOW_OPT_UNDO_OF, FLOW_OPT_ON_ERROR, false},
	{FLOW_OPT_NEEDS, FLOW_OPT_AFTER, true},
	{FLOW_OPT_MAX_PARALLEL, FLOW_OPT_FOR_EACH, true},
	{FLOW_OPT_ON_ITEM_ERROR, FLOW_OPT_FOR_EACH, true},
	{FLOW_OPT_LIMIT_KEY, FLOW_OPT_LIMITS, true},
	{FLOW_OPT_DELAY, FLOW_OPT_UNTIL, false},
	{FLOW_OPT_AGAIN, FLOW_OPT_ISOLATION, false},
	{FLOW_OPT_SERVER, FLOW_OPT_URL, false},
};

/* Kinds that this version can execute */
static const bool is_supported[FLOW_KIND_COUNT] = {
	[FLOW_KIND_SQL] = true,
	[FLOW_KIND_COMMAND] = true,
	[FLOW_KIND_CHOICE] = true,
	[FLOW_KIND_SUBFLOW] = true,
	[FLOW_KIND_DELAY] = true,
	[FLOW_KIND_WAIT] = true,
	[FLOW_KIND_APPROVAL] = true,
};

static bool check_applies(FlowCheck *check, int i, FlowOption option);
static void check_choice(FlowCheck *check, int i, FlowOption option);
static void check_bound(FlowCheck *check, int i, const Bound *bound);
static double as_number(const FlowField *field, const FlowValue *value);
static void check_pairing(FlowCheck *check, int i, const Pairing *pairing);
static void check_sqlstates(FlowCheck *check, int i, FlowOption option);
static void report_unsupported(FlowCheck *check, int i, FlowOption option);
static bool is_given(const FlowCheck *check, int i, FlowOption option);

void
FlowOptionsCheck(FlowCheck *check, int i)
{
	for (int option = 0; option < FLOW_OPTION_COUNT; option++)
		if (check_applies(check, i, option))
			check_choice(check, i, option);
	for (int b = 0; b < lengthof(bounds); b++)
		check_bound(check, i, &bounds[b]);
	for (int p = 0; p < lengthof(pairings); p++)
		check_pairing(check, i, &pairings[p]);
	check_sqlstates(check, i, FLOW_OPT_RETRY_ON);
	check_sqlstates(check, i, FLOW_OPT_NO_RETRY_ON);
	FlowLimitedCheckStep(check, i);
	if (check->spec->steps[i].kind == FLOW_KIND_DELAY &&
		!is_given(check, i, FLOW_OPT_DELAY) &&
		!is_given(check, i, FLOW_OPT_UNTIL))
		FlowCheckReport(FlowCheckAtStep(check, i),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("step \"%s\" needs \"delay\" or \"until\"",
								 FlowStepLabel(check->spec, i)),
						NULL, NULL);
}

/* What the kind needs is there, and nothing that means nothing for it. */
static bool
check_applies(FlowCheck *check, int i, FlowOption option)
{
	const FlowField *field = &FlowOptionFields[option];
	FlowStepKind kind = check->spec->steps[i].kind;
	bool		applies = (field->applies & FLOW_KIND_BIT(kind)) != 0;
	bool		given = is_given(check, i, option);

	if (applies && !given && (field->flags & FLOW_FIELD_REQUIRED) &&
		option != FLOW_OPT_NAME)
		FlowCheckReport(FlowCheckAtStep(check, i),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("step \"%s\" needs \"%s\"",
								 FlowStepLabel(check->spec, i), field->name),
						NULL, NULL);
	if (!applies && given)
	{
		StringInfoData kinds;

		initStringInfo(&kinds);
		for (int k = 0; k < FLOW_KIND_COUNT; k++)
			if (field->applies & FLOW_KIND_BIT(k))
				appendStringInfo(&kinds, "%s%s", kinds.len ? ", " : "",
								 FlowOptionFields[FLOW_OPT_KIND].choices[k]);
		FlowCheckReport(FlowCheckAtOption(check, i, option),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("\"%s\" means nothing for step \"%s\" of kind \"%s\"",
								 field->name, FlowStepLabel(check->spec, i),
								 FlowOptionFields[FLOW_OPT_KIND].choices[kind]),
						NULL,
						psprintf("It is for steps of kind %s.", kinds.data));
	}
	return applies && given;
}

static void
check_choice(FlowCheck *check, int i, FlowOption option)
{
	const FlowField *field = &FlowOptionFields[option];
	const char *given;

	if (field->choices == NULL)
		return;
	given = FlowStepText(&check->spec->steps[i], option);
	if (FlowFieldAllows(field, given))
		return;
	FlowCheckReport(FlowCheckAtOption(check, i, option),
					ERRCODE_INVALID_PARAMETER_VALUE,
					psprintf("invalid value for \"%s\" in step \"%s\": \"%s\"",
							 field->name, FlowStepLabel(check->spec, i), given),
					psprintf("Expected one of: %s.",
							 FlowFieldChoices(field)),
					FlowFieldNearest(field, given));
}

static void
check_bound(FlowCheck *check, int i, const Bound *bound)
{
	const FlowField *field = &FlowOptionFields[bound->option];
	const FlowValue *value = &check->spec->steps[i].values[bound->option];
	double		number;

	if (!value->isset)
		return;
	number = as_number(field, value);
	if (number <= bound->high &&
		(bound->above_low ? number > bound->low : number >= bound->low))
		return;
	FlowCheckReport(FlowCheckAtOption(check, i, bound->option),
					ERRCODE_INVALID_PARAMETER_VALUE,
					psprintf("value for \"%s\" in step \"%s\" is out of range",
							 field->name, FlowStepLabel(check->spec, i)),
					psprintf("Expected %s.", bound->expected), NULL);
}

void
FlowOptionsCheckArgument(FlowCheck *check, FlowArgument argument)
{
	const FlowField *field = &FlowArgumentFields[argument];
	const FlowValue *value = &check->spec->values[argument];
	double		days = value->isset ? as_number(field, value) : 0;

	if (!value->isset || (days > 0 && days <= MAX_INTERVAL_DAYS))
		return;
	FlowCheckReport(FlowCheckAt(check, -1, field->name),
					ERRCODE_INVALID_PARAMETER_VALUE,
					psprintf("value for \"%s\" of a workflow is out of range",
							 field->name),
					"Expected an interval above 0, up to 1000 years.",
					argument == FLOW_ARG_RESUME_AFTER ?
					"Leave it out to resume runs by hand." :
					"Leave it out to keep everything.");
}

static double
as_number(const FlowField *field, const FlowValue *value)
{
	if (field->type == FLOW_FIELD_INT)
		return value->u.integer;
	if (field->type == FLOW_FIELD_FLOAT)
		return value->u.number;
	return value->u.interval.time / (double) USECS_PER_DAY +
		value->u.interval.day +
		value->u.interval.month * (double) DAYS_PER_MONTH;
}

static void
check_pairing(FlowCheck *check, int i, const Pairing *pairing)
{
	const char *name = FlowOptionFields[pairing->option].name;
	const char *other = FlowOptionFields[pairing->other].name;

	if (!is_given(check, i, pairing->option) ||
		is_given(check, i, pairing->other) == pairing->wants)
		return;
	FlowCheckReport(FlowCheckAtOption(check, i, pairing->option),
					ERRCODE_INVALID_PARAMETER_VALUE,
					pairing->wants ?
					psprintf("\"%s\" means nothing without \"%s\" in step \"%s\"",
							 name, other, FlowStepLabel(check->spec, i)) :
					psprintf("\"%s\" and \"%s\" exclude each other in step \"%s\"",
							 name, other, FlowStepLabel(check->spec, i)),
					NULL, NULL);
}

static void
check_sqlstates(FlowCheck *check, int i, FlowOption option)
{
	const FlowValue *value = &check->spec->steps[i].values[option];

	for (int c = 0; value->isset && c < value->u.texts.n; c++)
	{
		const char *code = value->u.texts.items[c];
		int			length = strlen(code);

		if ((length == 5 || length == 2) &&
			strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == length)
			continue;
		FlowCheckReport(FlowCheckAt(check, i, psprintf("%s[%d]", FlowOptionPath(i, option), c)),
						ERRCODE_INVALID_PARAMETER_VALUE,
						psprintf("invalid SQLSTATE in step \"%s\": \"%s\"",
								 FlowStepLabel(check->spec, i), code),
						NULL,
						"Use a code such as 40P01, or the two characters of a class such as 40.");
	}
}

void
FlowOptionsCheckSupported(FlowCheck *check, int i)
{
	FlowStepKind kind = check->spec->steps[i].kind;

	if (!is_supported[kind])
	{
		FlowCheckReport(FlowCheckAtOption(check, i, FLOW_OPT_KIND),
						ERRCODE_FEATURE_NOT_SUPPORTED,
						psprintf("kind \"%s\" of step \"%s\" is not supported yet",
								 FlowOptionFields[FLOW_OPT_KIND].choices[kind],
								 FlowStepLabel(check->spec, i)),
						NULL, NULL);
		return;
	}
	for (int option = 0; option < FLOW_OPTION_COUNT; option++)
		if ((FlowOptionFields[option].flags & FLOW_FIELD_LATER) &&
			is_given(check, i, option))
			report_unsupported(check, i, option);
}

/*
 * An option with choices is there, and all its values but the default are not;
 * of a value that is no choice, check_choice has told.
 */
static void
report_unsupported(FlowCheck *check, int i, FlowOption option)
{
	const FlowField *field = &FlowOptionFields[option];
	const char *given;

	FlowCheckAtOption(check, i, option);
	if (field->choices != NULL)
	{
		given = FlowStepText(&check->spec->steps[i], option);
		if (FlowFieldAllows(field, given))
			FlowCheckReport(check, ERRCODE_FEATURE_NOT_SUPPORTED,
							psprintf("value \"%s\" for \"%s\" is not supported yet",
									 given, field->name),
							NULL,
							psprintf("Use \"%s\".", field->initial));
	}
	else
		FlowCheckReport(check, ERRCODE_FEATURE_NOT_SUPPORTED,
						psprintf("option \"%s\" of step \"%s\" is not supported yet",
								 field->name, FlowStepLabel(check->spec, i)),
						NULL, NULL);
}

static bool
is_given(const FlowCheck *check, int i, FlowOption option)
{
	return !FlowValueIsInitial(&FlowOptionFields[option],
							   &check->spec->steps[i].values[option]);
}
