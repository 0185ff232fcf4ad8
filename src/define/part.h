/*-------------------------------------------------------------------------
 * part.h
 *	  Objects within a document that was written for another system.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PART_H
#define FLOW_PART_H

#include "base/json.h"
#include "define/problem.h"

/* An object of the document, and where it stands */
typedef struct FlowPart
{
	FlowProblems *problems;
	JsonbContainer *object;		/* NULL: it is not there */
	const char *owner;			/* "step \"a\"", "the definition" */
	const char *step;			/* its id; NULL: none */
	const char *place;			/* its path: "steps[2].params", "" */
	const List *values;			/* names that SQL may use, char * */
} FlowPart;

/* NULL for one that is not there, or null. */
extern JsonbValue *FlowPartMember(JsonbContainer *object, const char *key,
								  JsonbValue *buffer);

/* NULL if the value is no array, or no object. */
extern JsonbContainer *FlowPartContainer(const JsonbValue *value, bool array);

/* The object under that key; one that is not there is as good as an empty one. */
extern FlowPart FlowPartWithin(const FlowPart *part, const char *key);

/* Tells of keys that are none of these, which end in NULL. */
extern void FlowPartCheckKeys(const FlowPart *part, const char *const *keys);

/*
 * The value of a key: NULL or false if it is not there, or is not of that
 * type, which it tells.  A time is a number of milliseconds, or an interval.
 */
extern char *FlowPartText(const FlowPart *part, const char *key);
extern bool FlowPartNumber(const FlowPart *part, const char *key, double least,
						   bool whole, double *number);
extern bool FlowPartTime(const FlowPart *part, const char *key,
						 FlowValue *value);

/* Report a problem of a key; key NULL: of the object itself. */
extern void FlowPartReport(const FlowPart *part, const char *key,
						   const char *message, const char *detail,
						   const char *hint);
extern void FlowPartReportType(const FlowPart *part, const char *key,
							   const char *expected);

#endif							/* FLOW_PART_H */
