/*-------------------------------------------------------------------------
 * source.c
 *	  A definition as the SQL that makes it.
 *
 * Works from the tables of document.c: a value that is the default is left
 * out, and what is written reads the same under every setting of a session.
 * SQL is put between dollars, so that it can be read and changed; any other
 * text is a literal.  Running it must give the definition it was made from:
 * an option needs nothing here, but what its kind is about comes second and
 * without its name if it is in the table below.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"

#include "define/source.h"

#define MARGIN	"  "

/* By kind: its constructor, and the option that is its second argument */
static const struct
{
	const char *name;
	FlowOption	second;
}			constructors[FLOW_KIND_COUNT] = {
	[FLOW_KIND_SQL] = {"flow_step", FLOW_OPT_SQL},
	[FLOW_KIND_COMMAND] = {"flow_command", FLOW_OPT_SQL},
	[FLOW_KIND_DELAY] = {"flow_delay", FLOW_OPT_DELAY},
	[FLOW_KIND_WAIT] = {"flow_wait", FLOW_OPT_SIGNAL},
	[FLOW_KIND_APPROVAL] = {"flow_approval", FLOW_OPT_APPROVERS},
	[FLOW_KIND_CHOICE] = {"flow_choice", FLOW_OPT_SQL},
	[FLOW_KIND_SUBFLOW] = {"flow_subflow", FLOW_OPT_WORKFLOW},
	[FLOW_KIND_TASK] = {"flow_task", FLOW_OPT_QUEUE},
	[FLOW_KIND_HTTP] = {"flow_http", FLOW_OPT_SERVER},
};

/* Options that are SQL, whatever they hold */
static const FlowOption sql_options[] = {
	FLOW_OPT_SQL, FLOW_OPT_UNTIL, FLOW_OPT_INPUT, FLOW_OPT_PAYLOAD,
	FLOW_OPT_HEADERS, FLOW_OPT_BODY, FLOW_OPT_CONDITION, FLOW_OPT_FOR_EACH,
	FLOW_OPT_AGAIN, FLOW_OPT_ON_RESULT, FLOW_OPT_UNDO, FLOW_OPT_LIMIT_KEY
};

static void append_step(StringInfo out, const FlowStepSpec *step,
						const char *schema);
static void append_function(StringInfo out, const char *schema,
							const char *name);
static bool is_sql(FlowOption option);
static void append_named(StringInfo out, const FlowField *field,
						 const FlowValue *value, bool sql);
static void append_value(StringInfo out, const FlowField *field,
						 const FlowValue *value, bool sql);
static char *dollar_quoted(const char *sql);
static char *interval_literal(const Interval *interval);
static char *array_literal(const FlowValue *value);
static char *shortest_number(double number);

char *
FlowSourceOf(const FlowSpec *spec, const char *schema)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT ");
	append_function(&out, schema, "flow_define");
	append_value(&out, &FlowArgumentFields[FLOW_ARG_NAME],
				 &spec->values[FLOW_ARG_NAME], false);
	appendStringInfoString(&out, spec->n_steps ? ", ARRAY[\n" : ", '{}'");
	for (int i = 0; i < spec->n_steps; i++)
	{
		append_step(&out, &spec->steps[i], schema);
		appendStringInfoString(&out, i + 1 < spec->n_steps ? ",\n" : "\n]");
	}
	for (int a = FLOW_ARG_NAME + 1; a < FLOW_ARGUMENT_COUNT; a++)
		append_named(&out, &FlowArgumentFields[a], &spec->values[a],
					 a == FLOW_ARG_MAX_RUNS_BY);
	appendStringInfoString(&out, ");");
	return out.data;
}

static void
append_function(StringInfo out, const char *schema, const char *name)
{
	appendStringInfo(out, "%s(", quote_qualified_identifier(schema, name));
}

static void
append_step(StringInfo out, const FlowStepSpec *step, const char *schema)
{
	FlowOption	second = constructors[step->kind].second;

	appendStringInfoString(out, MARGIN);
	append_function(out, schema, constructors[step->kind].name);
	append_value(out, &FlowOptionFields[FLOW_OPT_NAME],
				 &step->values[FLOW_OPT_NAME], false);
	if (step->values[second].isset)
	{
		appendStringInfoString(out, ", ");
		append_value(out, &FlowOptionFields[second], &step->values[second],
					 is_sql(second));
	}
	for (int option = 0; option < FLOW_OPTION_COUNT; option++)
		if (option != FLOW_OPT_NAME && option != FLOW_OPT_KIND && option != second)
			append_named(out, &FlowOptionFields[option], &step->values[option],
						 is_sql(option));
	appendStringInfoChar(out, ')');
}

static bool
is_sql(FlowOption option)
{
	for (int i = 0; i < lengthof(sql_options); i++)
		if (sql_options[i] == option)
			return true;
	return false;
}

static void
append_named(StringInfo out, const FlowField *field, const FlowValue *value,
			 bool sql)
{
	if (FlowValueIsInitial(field, value))
		return;
	appendStringInfo(out, ", %s => ", quote_identifier(field->name));
	append_value(out, field, value, sql);
}

static void
append_value(StringInfo out, const FlowField *field, const FlowValue *value,
			 bool sql)
{
	switch (field->type)
	{
		case FLOW_FIELD_TEXT:
		case FLOW_FIELD_OTHER:
			appendStringInfoString(out, sql ? dollar_quoted(value->u.text) :
								   quote_literal_cstr(value->u.text));
			break;
		case FLOW_FIELD_INT:
			appendStringInfo(out, "%d", value->u.integer);
			break;
		case FLOW_FIELD_FLOAT:
			appendStringInfoString(out, shortest_number(value->u.number));
			break;
		case FLOW_FIELD_BOOL:
			appendStringInfoString(out, value->u.truth ? "true" : "false");
			break;
		case FLOW_FIELD_INTERVAL:
			appendStringInfoString(out, interval_literal(&value->u.interval));
			break;
		case FLOW_FIELD_TEXTS:
			appendStringInfoString(out, array_literal(value));
			break;
	}
}

/*
 * With a tag if the text needs one.  The text and the delimiter that closes it
 * must not hold that delimiter any earlier, not even where they meet.
 */
static char *
dollar_quoted(const char *sql)
{
	const char *delimiter = "$$";
	char	   *closed;

	for (int tag = 0;; tag++)
	{
		if (tag > 0)
			delimiter = tag == 1 ? "$sql$" : psprintf("$sql%d$", tag);
		closed = psprintf("%s%s", sql, delimiter);
		if (strstr(closed, delimiter) == closed + strlen(sql))
			return psprintf("%s%s", delimiter, closed);
		pfree(closed);
	}
}

/* In ISO 8601, so that it reads the same under every IntervalStyle. */
static char *
interval_literal(const Interval *interval)
{
	struct pg_itm itm;
	char		buffer[MAXDATELEN + 1];

	interval2itm(*interval, &itm);
	EncodeInterval(&itm, INTSTYLE_ISO_8601, buffer);
	return quote_literal_cstr(buffer);
}

static char *
array_literal(const FlowValue *value)
{
	int			n = value->u.texts.n;
	Datum	   *items = palloc(sizeof(Datum) * Max(n, 1));
	ArrayType  *array;

	for (int i = 0; i < n; i++)
		items[i] = CStringGetTextDatum(value->u.texts.items[i]);
	array = construct_array(items, n, TEXTOID, -1, false, TYPALIGN_INT);
	return quote_literal_cstr(OidOutputFunctionCall(F_ARRAY_OUT,
													PointerGetDatum(array)));
}

/* The shortest that reads as the same number, whatever extra_float_digits is. */
static char *
shortest_number(double number)
{
	char	   *buffer = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);

	double_to_shortest_decimal_buf(number, buffer);
	return buffer;
}
