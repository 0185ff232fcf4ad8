/*-------------------------------------------------------------------------
 * json.c
 *	  Typed values of JSON objects, read and written by a table of fields.
 *
 * What a table says holds for every form a value can come in: a member of a
 * JSON object, an argument of an SQL function, a default.  One value has one
 * written form, whatever the settings of the session, so that two objects
 * mean the same if and only if their written forms are equal.
 *
 * Nothing here raises an error for bad input: it is told to the caller, who
 * knows where it stood and may want to collect them all.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/string.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/json.h"

#define SUGGEST_MAX_LENGTH	127

static bool number_from_json(const JsonbValue *json, double *number);
static bool texts_from_json(const JsonbValue *json, FlowValue *value);
static bool interval_from_text(const char *text, Interval *interval);
static void texts_from_datum(Datum datum, FlowValue *value);
static bool value_equals(FlowFieldType type, const FlowValue *a,
						 const FlowValue *b);
static bool texts_equal(const FlowValue *a, const FlowValue *b);
static void push_number(JsonbParseState **state, double number);
static void push_interval(JsonbParseState **state, const Interval *interval);
static void push_texts(JsonbParseState **state, const FlowValue *value);

void
FlowObjectRead(const FlowFieldReader *reader, JsonbContainer *object,
			   FlowValue *values)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	json;
	char	   *key = NULL;
	int			i = -1;

	while ((token = JsonbIteratorNext(&it, &json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = pnstrdup(json.val.string.val, json.val.string.len);
			i = FlowFieldFind(reader->fields, reader->n_fields, key);
			if (i < 0)
				reader->complain(reader->arg, FLOW_FAULT_UNKNOWN_KEY, key,
								 NULL);
		}
		else if (token == WJB_VALUE && i >= 0 && json.type != jbvNull)
		{
			if (!FlowValueFromJson(reader->fields[i].type, &json, &values[i]))
				reader->complain(reader->arg, FLOW_FAULT_WRONG_TYPE, key,
								 &reader->fields[i]);
		}
	}
}

void
FlowObjectInit(const FlowField *fields, int n, FlowValue *values)
{
	for (int i = 0; i < n; i++)
	{
		values[i].isset = false;
		if (fields[i].initial != NULL &&
			!FlowValueFromText(fields[i].type, fields[i].initial, &values[i]))
			elog(ERROR, "bad default of field \"%s\"", fields[i].name);
	}
}

/* Leaves the value alone if it is not of that type. */
bool
FlowValueFromJson(FlowFieldType type, const JsonbValue *json, FlowValue *value)
{
	double		number;
	Interval	interval;

	switch (type)
	{
		case FLOW_FIELD_TEXT:
		case FLOW_FIELD_OTHER:
			if (json->type != jbvString)
				return false;
			value->u.text = pnstrdup(json->val.string.val,
									 json->val.string.len);
			break;
		case FLOW_FIELD_INT:
			if (!number_from_json(json, &number) || number != rint(number) ||
				number < PG_INT32_MIN || number > PG_INT32_MAX)
				return false;
			value->u.integer = (int32) number;
			break;
		case FLOW_FIELD_FLOAT:
			if (!number_from_json(json, &number))
				return false;
			value->u.number = number;
			break;
		case FLOW_FIELD_BOOL:
			if (json->type != jbvBool)
				return false;
			value->u.truth = json->val.boolean;
			break;
		case FLOW_FIELD_INTERVAL:
			if (json->type != jbvString ||
				!interval_from_text(pnstrdup(json->val.string.val,
											 json->val.string.len),
									&interval))
				return false;
			value->u.interval = interval;
			break;
		case FLOW_FIELD_TEXTS:
			return texts_from_json(json, value);
	}
	value->isset = true;
	return true;
}

static bool
number_from_json(const JsonbValue *json, double *number)
{
	if (json->type != jbvNumeric)
		return false;
	*number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												 NumericGetDatum(json->val.numeric)));
	return isfinite(*number);
}

static bool
texts_from_json(const JsonbValue *json, FlowValue *value)
{
	JsonbContainer *array;
	char	  **items;
	int			n;

	if (json->type != jbvBinary || !JsonContainerIsArray(json->val.binary.data))
		return false;
	array = json->val.binary.data;
	if (JsonContainerIsScalar(array))
		return false;
	n = JsonContainerSize(array);
	items = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(array, i);

		if (item->type != jbvString)
			return false;
		items[i] = pnstrdup(item->val.string.val, item->val.string.len);
	}
	value->u.texts.n = n;
	value->u.texts.items = items;
	value->isset = true;
	return true;
}

/* What interval_in does, without its errors. */
static bool
interval_from_text(const char *text, Interval *interval)
{
	struct pg_itm_in itm;
	char		buffer[256];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf;
	int			dtype = DTK_DELTA;
	int			error;

	memset(&itm, 0, sizeof(itm));
	error = ParseDateTime(text, buffer, sizeof(buffer), field, ftype,
						  MAXDATEFIELDS, &nf);
	if (error == 0)
		error = DecodeInterval(field, ftype, nf, INTERVAL_FULL_RANGE,
							   &dtype, &itm);
	if (error == DTERR_BAD_FORMAT)
		error = DecodeISO8601Interval(unconstify(char *, text), &dtype, &itm);
	return error == 0 && dtype == DTK_DELTA &&
		itmin2interval(&itm, interval) == 0;
}

/* For the defaults in a table, and for what is simple enough elsewhere. */
bool
FlowValueFromText(FlowFieldType type, const char *text, FlowValue *value)
{
	char	   *end;

	value->isset = true;
	switch (type)
	{
		case FLOW_FIELD_TEXT:
		case FLOW_FIELD_OTHER:
			value->u.text = pstrdup(text);
			return true;
		case FLOW_FIELD_INT:
			value->u.integer = strtoint(text, &end, 10);
			return *end == '\0';
		case FLOW_FIELD_FLOAT:
			value->u.number = strtod(text, &end);
			return *end == '\0';
		case FLOW_FIELD_BOOL:
			return parse_bool(text, &value->u.truth);
		case FLOW_FIELD_INTERVAL:
			return interval_from_text(text, &value->u.interval);
		case FLOW_FIELD_TEXTS:
			value->u.texts.n = 0;
			value->u.texts.items = NULL;
			return strcmp(text, "{}") == 0;
	}
	return false;
}

void
FlowValueFromDatum(FlowFieldType type, Oid sql_type, Datum datum,
				   FlowValue *value)
{
	Oid			output;
	bool		is_varlena;

	value->isset = true;
	switch (type)
	{
		case FLOW_FIELD_TEXT:
			value->u.text = TextDatumGetCString(datum);
			break;
		case FLOW_FIELD_INT:
			value->u.integer = DatumGetInt32(datum);
			break;
		case FLOW_FIELD_FLOAT:
			value->u.number = DatumGetFloat8(datum);
			break;
		case FLOW_FIELD_BOOL:
			value->u.truth = DatumGetBool(datum);
			break;
		case FLOW_FIELD_INTERVAL:
			value->u.interval = *DatumGetIntervalP(datum);
			break;
		case FLOW_FIELD_TEXTS:
			texts_from_datum(datum, value);
			break;
		case FLOW_FIELD_OTHER:
			getTypeOutputInfo(sql_type, &output, &is_varlena);
			value->u.text = OidOutputFunctionCall(output, datum);
			break;
	}
}

/* A null element stays a NULL pointer, and is written as a JSON null. */
static void
texts_from_datum(Datum datum, FlowValue *value)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &n);
	value->u.texts.n = n;
	value->u.texts.items = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		value->u.texts.items[i] = nulls[i] ? NULL :
			TextDatumGetCString(elements[i]);
}

bool
FlowValueIsInitial(const FlowField *field, const FlowValue *value)
{
	FlowValue	initial;

	if (!value->isset)
		return true;
	if (field->initial == NULL)
		return false;
	return FlowValueFromText(field->type, field->initial, &initial) &&
		value_equals(field->type, &initial, value);
}

static bool
value_equals(FlowFieldType type, const FlowValue *a, const FlowValue *b)
{
	switch (type)
	{
		case FLOW_FIELD_TEXT:
		case FLOW_FIELD_OTHER:
			return strcmp(a->u.text, b->u.text) == 0;
		case FLOW_FIELD_INT:
			return a->u.integer == b->u.integer;
		case FLOW_FIELD_FLOAT:
			return a->u.number == b->u.number;
		case FLOW_FIELD_BOOL:
			return a->u.truth == b->u.truth;
		case FLOW_FIELD_INTERVAL:
			return a->u.interval.time == b->u.interval.time &&
				a->u.interval.day == b->u.interval.day &&
				a->u.interval.month == b->u.interval.month;
		case FLOW_FIELD_TEXTS:
			return texts_equal(a, b);
	}
	return false;
}

static bool
texts_equal(const FlowValue *a, const FlowValue *b)
{
	if (a->u.texts.n != b->u.texts.n)
		return false;
	for (int i = 0; i < a->u.texts.n; i++)
		if (a->u.texts.items[i] == NULL || b->u.texts.items[i] == NULL ||
			strcmp(a->u.texts.items[i], b->u.texts.items[i]) != 0)
			return false;
	return true;
}

void
FlowValuePush(JsonbParseState **state, const FlowField *field,
			  const FlowValue *value)
{
	JsonbValue	json;

	FlowJsonPushKey(state, field->name);
	switch (field->type)
	{
		case FLOW_FIELD_TEXT:
		case FLOW_FIELD_OTHER:
			FlowJsonPushText(state, WJB_VALUE, value->u.text);
			break;
		case FLOW_FIELD_INT:
			push_number(state, value->u.integer);
			break;
		case FLOW_FIELD_FLOAT:
			push_number(state, value->u.number);
			break;
		case FLOW_FIELD_BOOL:
			json.type = jbvBool;
			json.val.boolean = value->u.truth;
			pushJsonbValue(state, WJB_VALUE, &json);
			break;
		case FLOW_FIELD_INTERVAL:
			push_interval(state, &value->u.interval);
			break;
		case FLOW_FIELD_TEXTS:
			push_texts(state, value);
			break;
	}
}

/* JSON has no infinite numbers; they go as text, which no reader accepts. */
static void
push_number(JsonbParseState **state, double number)
{
	JsonbValue	json;

	if (!isfinite(number))
	{
		FlowJsonPushText(state, WJB_VALUE, "not a finite number");
		return;
	}
	json.type = jbvNumeric;
	json.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric,
														   Float8GetDatum(number)));
	pushJsonbValue(state, WJB_VALUE, &json);
}

/* ISO 8601, so that it reads the same under every IntervalStyle. */
static void
push_interval(JsonbParseState **state, const Interval *interval)
{
	struct pg_itm itm;
	char		buffer[MAXDATELEN + 1];

	interval2itm(*interval, &itm);
	EncodeInterval(&itm, INTSTYLE_ISO_8601, buffer);
	FlowJsonPushText(state, WJB_VALUE, pstrdup(buffer));
}

static void
push_texts(JsonbParseState **state, const FlowValue *value)
{
	JsonbValue	null = {.type = jbvNull};

	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < value->u.texts.n; i++)
	{
		if (value->u.texts.items[i] == NULL)
			pushJsonbValue(state, WJB_ELEM, &null);
		else
			FlowJsonPushText(state, WJB_ELEM, value->u.texts.items[i]);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

void
FlowJsonPushKey(JsonbParseState **state, const char *key)
{
	FlowJsonPushText(state, WJB_KEY, key);
}

void
FlowJsonPushText(JsonbParseState **state, JsonbIteratorToken token,
				 const char *text)
{
	JsonbValue	json;

	json.type = jbvString;
	json.val.string.val = unconstify(char *, text);
	json.val.string.len = strlen(text);
	pushJsonbValue(state, token, &json);
}

/* Null, a scalar or a whole tree, as a value or an element. */
void
FlowJsonPushJsonb(JsonbParseState **state, JsonbIteratorToken token,
				  Datum jsonb, bool isnull)
{
	JsonbValue	value = {.type = jbvNull};

	if (!isnull)
	{
		Jsonb	   *tree = DatumGetJsonbP(jsonb);

		if (!JB_ROOT_IS_SCALAR(tree) ||
			!JsonbExtractScalar(&tree->root, &value))
		{
			value.type = jbvBinary;
			value.val.binary.data = &tree->root;
			value.val.binary.len = VARSIZE(tree) - VARHDRSZ;
		}
	}
	pushJsonbValue(state, token, &value);
}

char *
FlowJsonGetText(Datum object, const char *key)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&DatumGetJsonbP(object)->root,
													 key, strlen(key), &buffer);

	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

int
FlowFieldFind(const FlowField *fields, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(fields[i].name, name) == 0)
			return i;
	return -1;
}

const char *
FlowFieldExpects(FlowFieldType type)
{
	switch (type)
	{
		case FLOW_FIELD_TEXT:
		case FLOW_FIELD_OTHER:
			return "a string";
		case FLOW_FIELD_INT:
			return "a whole number";
		case FLOW_FIELD_FLOAT:
			return "a number";
		case FLOW_FIELD_BOOL:
			return "true or false";
		case FLOW_FIELD_INTERVAL:
			return "an interval as a string, such as \"5 min\"";
		case FLOW_FIELD_TEXTS:
			return "an array of strings";
	}
	return "another value";
}

bool
FlowFieldAllows(const FlowField *field, const char *given)
{
	for (int c = 0; field->choices[c]; c++)
		if (strcmp(field->choices[c], given) == 0)
			return true;
	return false;
}

const char *
FlowFieldChoices(const FlowField *field)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	for (int c = 0; field->choices[c]; c++)
		appendStringInfo(&buffer, "%s\"%s\"", c ? ", " : "",
						 field->choices[c]);
	return buffer.data;
}

const char *
FlowFieldNearest(const FlowField *field, const char *given)
{
	FlowSuggestion suggestion;

	FlowSuggestionInit(&suggestion, given);
	for (int c = 0; field->choices[c]; c++)
		FlowSuggestionAdd(&suggestion, field->choices[c]);
	return suggestion.best ?
		psprintf("Perhaps you meant \"%s\".", suggestion.best) : NULL;
}

void
FlowSuggestionInit(FlowSuggestion *suggestion, const char *given)
{
	suggestion->given = given;
	suggestion->best = NULL;
	/* up to half of it may differ, but no more than three characters */
	suggestion->distance = 1 + Min(3, Max(1, (int) strlen(given) / 2));
}

void
FlowSuggestionAdd(FlowSuggestion *suggestion, const char *name)
{
	int			given_length = strlen(suggestion->given);
	int			length = strlen(name);
	int			distance;

	if (suggestion->distance == 0 || length > SUGGEST_MAX_LENGTH ||
		given_length > SUGGEST_MAX_LENGTH)
		return;
	distance = varstr_levenshtein_less_equal(suggestion->given, given_length,
											 name, length, 1, 1, 1,
											 suggestion->distance, true);
	if (distance < suggestion->distance)
	{
		suggestion->distance = distance;
		suggestion->best = name;
	}
}
