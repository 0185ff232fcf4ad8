/*-------------------------------------------------------------------------
 * parse.h
 *	  Whether the SQL of the steps parses, and whether its names resolve now.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_PARSE_H
#define FLOW_PARSE_H

#include "define/document.h"
#include "define/problem.h"

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

#endif							/* FLOW_PARSE_H */
