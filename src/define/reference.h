/*-------------------------------------------------------------------------
 * reference.h
 *	  Documents with actions: the JSON of another system, read as a definition.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_REFERENCE_H
#define FLOW_REFERENCE_H

#include "define/document.h"
#include "define/problem.h"

/*
 * True if the document is of that form: one of its steps has an action or
 * params, or it is known by an id and has none of our own keys.
 */
extern bool FlowReferenceIs(Jsonb *document);

/*
 * Its specification, in the current memory context, like that of a document of
 * our own: what is checked is the form of the document, and that what should
 * be SQL is no JavaScript.
 */
extern FlowSpec *FlowReferenceRead(Jsonb *document, FlowProblems *problems);

#endif							/* FLOW_REFERENCE_H */
