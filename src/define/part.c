/*-------------------------------------------------------------------------
 * part.c
 *	  Objects within a document that was written for another system.
 *
 * Objects lie within objects there, and what a key may hold is looser than in
 * our own form, so they are read key by key and not by a table of fields.
 * What is wrong is told with the path of the key, and reading goes on.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/timestamp.h"

#include "define/part.h"

#define MAX_MILLISECONDS	(366.0 * 1000 * SECS_PER_DAY * 1000)

/* Keys as our own form and others call them */
static const struct
{
	const char *other;
	const char *key;
}			synonyms[] = {
	{"after", "dependencies"},
	{"depends", "dependencies"},
	{"dependsOn", "dependencies"},
	{"depends_on", "dependencies"},
	{"description", "name"},
	{"kind", "action"},
	{"retries", "retryPolicy"},
	{"retry", "retryPolicy"},
	{"retry_delay", "initialDelay"},
	{"backoff", "backoffMultiplier"},
	{"max_delay", "maxDelay"},
	{"delay", "duration"},
	{"query", "sql"},
	{"condition", "expression"},
};

static const char *nearest_key(const char *const *keys, const char *key);

/* NULL for one that is not there, or null. */
JsonbValue *
FlowPartMember(JsonbContainer *object, const char *key, JsonbValue *buffer)
{
	JsonbValue *value = object == NULL ? NULL :
	getKeyJsonValueFromContainer(object, key, strlen(key), buffer);

	return value && value->type != jbvNull ? value : NULL;
}

/* NULL if it is no array, or no object. */
JsonbContainer *
FlowPartContainer(const JsonbValue *value, bool array)
{
	if (value == NULL || value->type != jbvBinary)
		return NULL;
	if (array ? !JsonContainerIsArray(value->val.binary.data) :
		!JsonContainerIsObject(value->val.binary.data))
		return NULL;
	return value->val.binary.data;
}

void
FlowPartCheckKeys(const FlowPart *part, const char *const *keys)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	json;

	if (part->object == NULL)
		return;
	it = JsonbIteratorInit(part->object);
	while ((token = JsonbIteratorNext(&it, &json, true)) != WJB_DONE)
	{
		char	   *key;
		const char *near;
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(json.val.string.val, json.val.string.len);
		for (int i = 0; keys[i]; i++)
			known |= strcmp(keys[i], key) == 0;
		if (known)
			continue;
		near = nearest_key(keys, key);
		FlowPartReport(part, key, psprintf("unknown key \"%s\" in %s", key, part->owner),
					   NULL, near ? psprintf("Perhaps you meant \"%s\".", near) : NULL);
	}
}

/* NULL if none is near. */
static const char *
nearest_key(const char *const *keys, const char *key)
{
	FlowSuggestion suggestion;

	for (int i = 0; keys[i]; i++)
		for (int s = 0; s < lengthof(synonyms); s++)
			if (strcmp(synonyms[s].key, keys[i]) == 0 &&
				pg_strcasecmp(synonyms[s].other, key) == 0)
				return keys[i];
	FlowSuggestionInit(&suggestion, key);
	for (int i = 0; keys[i]; i++)
		FlowSuggestionAdd(&suggestion, keys[i]);
	return suggestion.best;
}

/* key NULL: the object itself. */
void
FlowPartReport(const FlowPart *part, const char *key, const char *message,
			   const char *detail, const char *hint)
{
	FlowProblem problem = {ERROR, ERRCODE_INVALID_PARAMETER_VALUE, part->step};

	problem.path = key ? psprintf("%s%s%s", part->place,
								  *part->place ? "." : "", key) :
		*part->place ? part->place : NULL;
	problem.message = message;
	problem.detail = detail;
	problem.hint = hint;
	FlowProblemReport(part->problems, &problem);
}

void
FlowPartReportType(const FlowPart *part, const char *key, const char *expected)
{
	FlowPartReport(part, key, psprintf("invalid value for \"%s\" in %s", key, part->owner),
				   psprintf("Expected %s.", expected), NULL);
}

/* An object within; one that is not there is as good as an empty one. */
FlowPart
FlowPartWithin(const FlowPart *part, const char *key)
{
	JsonbValue	buffer;
	JsonbValue *value = FlowPartMember(part->object, key, &buffer);
	FlowPart	result = *part;

	result.object = FlowPartContainer(value, false);
	result.place = psprintf("%s%s%s", part->place, *part->place ? "." : "", key);
	if (value && result.object == NULL)
		FlowPartReportType(part, key, "an object");
	return result;
}

/* NULL if it is not there, or is no text, which it tells. */
char *
FlowPartText(const FlowPart *part, const char *key)
{
	JsonbValue	buffer;
	JsonbValue *value = FlowPartMember(part->object, key, &buffer);

	if (value == NULL)
		return NULL;
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	FlowPartReportType(part, key, FlowFieldExpects(FLOW_FIELD_TEXT));
	return NULL;
}

/* False if it is not there, or is no such number, which it tells. */
bool
FlowPartNumber(const FlowPart *part, const char *key, double least, bool whole,
			   double *number)
{
	FlowFieldType type = whole ? FLOW_FIELD_INT : FLOW_FIELD_FLOAT;
	JsonbValue	buffer;
	JsonbValue *value = FlowPartMember(part->object, key, &buffer);
	FlowValue	read;

	if (value == NULL)
		return false;
	if (FlowValueFromJson(type, value, &read))
	{
		*number = whole ? read.u.integer : read.u.number;
		if (*number >= least)
			return true;
	}
	FlowPartReportType(part, key, psprintf("%s of at least %g",
										   FlowFieldExpects(type), least));
	return false;
}

/* A number of milliseconds, or an interval; false as above. */
bool
FlowPartTime(const FlowPart *part, const char *key, FlowValue *value)
{
	JsonbValue	buffer;
	JsonbValue *json = FlowPartMember(part->object, key, &buffer);
	FlowValue	number;

	if (json == NULL || FlowValueFromJson(FLOW_FIELD_INTERVAL, json, value))
		return json != NULL;
	if (FlowValueFromJson(FLOW_FIELD_FLOAT, json, &number) &&
		number.u.number >= 0 && number.u.number <= MAX_MILLISECONDS)
	{
		memset(value, 0, sizeof(*value));
		value->isset = true;
		value->u.interval.time = (TimeOffset) rint(number.u.number * 1000);
		return true;
	}
	FlowPartReportType(part, key, "a number of milliseconds, up to 1000 years, or an interval such as \"5 min\"");
	return false;
}
