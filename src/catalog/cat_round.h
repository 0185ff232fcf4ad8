/*-------------------------------------------------------------------------
 * cat_round.h
 *	  How often a step has run again: rows of flow_internal.round.
 *
 * Every function needs a connection to SPI and must be called raised.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_ROUND_H
#define FLOW_CAT_ROUND_H

#include "flow.h"

extern int	FlowRoundCount(const FlowStepKey *key);
extern void FlowRoundAdd(const FlowStepKey *key);
extern void FlowRoundDelete(const FlowStepKey *key);

#endif							/* FLOW_CAT_ROUND_H */
