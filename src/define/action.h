/*-------------------------------------------------------------------------
 * action.h
 *	  What a step of a document with actions does, as options of our own.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ACTION_H
#define FLOW_ACTION_H

#include "define/document.h"
#include "define/part.h"

/*
 * Reads action and params of the step "part" into kind and values, which have
 * their defaults.  What cannot be read is told; the step is then one of SQL
 * that does nothing, so that no more problems come of it.
 */
extern void FlowActionRead(const FlowPart *part, FlowStepSpec *step);

/* An option that is text; NULL: none. */
extern void FlowActionSetText(FlowValue *value, const char *content);

#endif							/* FLOW_ACTION_H */
