/*-------------------------------------------------------------------------
 * parse.h
 *	  Whether the SQL of the steps parses, and whether its names resolve now.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PARSE_H
#define FLOW_PARSE_H

#include "define/document.h"
#include "define/problem.h"
#include "nodes/nodes.h"

/* Under whose eyes names are resolved */
typedef struct FlowParseScope
{
	Oid			role;			/* the owner of the workflow */
	const char *search_path;	/* as stored with the definition */
} FlowParseScope;

/*
 * SQL that does not parse, or holds a statement that no step may have, is an
 * error.  With a scope, and if the definition has no error at all, SQL that
 * does not resolve is a warning.  Needs a transaction; uses subtransactions.
 * Locks of the tables looked at are kept until its end.
 */
extern void FlowParseCheck(const FlowSpec *spec, const FlowParseScope *scope,
						   FlowProblems *problems);

/*
 * True if no step, or no command, may have that statement at its top level; then
 * sets sqlstate, detail and hint of the problem, and its message to what the
 * statement is.
 */
extern bool FlowParseFindFault(const Node *statement, bool is_command,
							   FlowProblem *problem);

#endif							/* FLOW_PARSE_H */
