/*-------------------------------------------------------------------------
 * json.h
 *	  Typed values of JSON objects, read and written by a table of fields.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_JSON_H
#define FLOW_JSON_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef enum FlowFieldType
{
	FLOW_FIELD_TEXT,
	FLOW_FIELD_INT,
	FLOW_FIELD_FLOAT,
	FLOW_FIELD_BOOL,
	FLOW_FIELD_INTERVAL,		/* in JSON: text, written as ISO 8601 */
	FLOW_FIELD_TEXTS,			/* text[]; in JSON: an array of strings */
	FLOW_FIELD_OTHER			/* any other type: its text */
} FlowFieldType;

/* One key that an object may have; a table of them describes the object */
typedef struct FlowField
{
	const char *name;
	FlowFieldType type;
	const char *initial;		/* the default, as text; NULL: null */
	const char *const *choices; /* all values allowed, ending in NULL; NULL:
								 * any */
	uint32		applies;		/* the table's owner's: what it is for */
	uint32		flags;			/* the table's owner's */
} FlowField;

typedef struct FlowValue
{
	bool		isset;			/* false: null */
	union
	{
		char	   *text;		/* TEXT, OTHER */
		int32		integer;
		double		number;
		bool		truth;
		Interval	interval;
		struct
		{
			int			n;
			char	  **items;
		}			texts;
	}			u;
} FlowValue;

/* What is wrong with a key of an object */
typedef enum FlowFieldFault
{
	FLOW_FAULT_UNKNOWN_KEY,
	FLOW_FAULT_WRONG_TYPE
} FlowFieldFault;

typedef void (*FlowFieldComplaint) (void *arg, FlowFieldFault fault,
									const char *key, const FlowField *field);

typedef struct FlowFieldReader
{
	const FlowField *fields;
	int			n_fields;
	FlowFieldComplaint complain;	/* may raise, or note it and return */
	void	   *arg;
} FlowFieldReader;

/*
 * Sets values[i] for every field that the object has.  Keys without a field and
 * values of another type are told to the reader's complain and left out.  A
 * JSON null leaves the value as it is.  Values are in the current context.
 */
extern void FlowObjectRead(const FlowFieldReader *reader,
						   JsonbContainer *object, FlowValue *values);

/* Sets every value to its field's default. */
extern void FlowObjectInit(const FlowField *fields, int n, FlowValue *values);

/* One value; false if it is not of that type. */
extern bool FlowValueFromJson(FlowFieldType type, const JsonbValue *json,
							  FlowValue *value);
extern bool FlowValueFromText(FlowFieldType type, const char *text,
							  FlowValue *value);

/* A not null Datum of that SQL type. */
extern void FlowValueFromDatum(FlowFieldType type, Oid sql_type, Datum datum,
							   FlowValue *value);

/* True if the value is the default of its field, or null. */
extern bool FlowValueIsInitial(const FlowField *field, const FlowValue *value);

/* Appends key and value to the object being built. */
extern void FlowValuePush(JsonbParseState **state, const FlowField *field,
						  const FlowValue *value);
extern void FlowJsonPushKey(JsonbParseState **state, const char *key);
extern void FlowJsonPushText(JsonbParseState **state, JsonbIteratorToken token,
							 const char *text);
extern void FlowJsonPushJsonb(JsonbParseState **state, JsonbIteratorToken token,
							  Datum jsonb, bool isnull);

/* A member of an object that is a string, copied; NULL if there is none. */
extern char *FlowJsonGetText(Datum object, const char *key);

/* Index of the field of that name, or -1. */
extern int	FlowFieldFind(const FlowField *fields, int n, const char *name);

/* "a whole number", "an interval, such as \"5 min\"" ... */
extern const char *FlowFieldExpects(FlowFieldType type);

/*
 * Of a field with choices: whether a value is one of them; all of them, for a
 * detail; and a hint with the one that was probably meant, or NULL.
 */
extern bool FlowFieldAllows(const FlowField *field, const char *given);
extern const char *FlowFieldChoices(const FlowField *field);
extern const char *FlowFieldNearest(const FlowField *field, const char *given);

/*
 * The nearest of the candidates added so far to what somebody wrote, or NULL
 * when none is near.
 */
typedef struct FlowSuggestion
{
	const char *given;
	const char *best;
	int			distance;
} FlowSuggestion;

extern void FlowSuggestionInit(FlowSuggestion *suggestion, const char *given);
extern void FlowSuggestionAdd(FlowSuggestion *suggestion, const char *name);

#endif							/* FLOW_JSON_H */
