/*-------------------------------------------------------------------------
 * javascript.h
 *	  Whether a text that should be SQL is JavaScript.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_JAVASCRIPT_H
#define FLOW_JAVASCRIPT_H

#include "nodes/pg_list.h"

/*
 * What in the text shows that it is JavaScript, or NULL.  "values" are the names
 * (char *) of values that the text may use: x.y is JavaScript if x is one of
 * them and the text reads from no table.
 */
extern const char *FlowJavaScriptSign(const char *text, const List *values);

/*
 * The text with what is in comments, in quotes and between dollar quotes replaced
 * by spaces: as long as the text itself.
 */
extern char *FlowSqlOutline(const char *text);

/* True if its first word is one that a query begins with. */
extern bool FlowSqlIsQuery(const char *text);

#endif							/* FLOW_JAVASCRIPT_H */
