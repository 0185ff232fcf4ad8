/*-------------------------------------------------------------------------
 * source.h
 *	  A definition as the SQL that makes it.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SOURCE_H
#define FLOW_SOURCE_H

#include "define/document.h"

/*
 * The call of flow_define that makes this specification, which has no errors,
 * in the current memory context.  "schema" qualifies the functions; NULL: they
 * are found by search_path.
 */
extern char *FlowSourceOf(const FlowSpec *spec, const char *schema);

#endif							/* FLOW_SOURCE_H */
