/*-------------------------------------------------------------------------
 * gather.h
 *	  What a step comes to whose items have ended.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_GATHER_H
#define FLOW_GATHER_H

#include "catalog/cat_item.h"
#include "engine/batch.h"

/*
 * Fills in how the step that had the items has ended: output and events, or
 * failure.  Needs all outcomes of its items written, and SPI; must be raised.
 */
extern void FlowGather(FlowItem *item, const FlowMapRow *map);

#endif							/* FLOW_GATHER_H */
