/*-------------------------------------------------------------------------
 * decision.h
 *	  Who approves or rejects, and when that counts.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_DECISION_H
#define FLOW_DECISION_H

#include "catalog/cat_waiting.h"

/*
 * Decides an approval that waits, or an item of it (0: it has none).  False if it was decided so before.  Needs
 * SPI.
 */
extern bool FlowDecide(int64 run_id, const char *step, int32 item_no,
					   FlowDecisionRow *decision);

#endif							/* FLOW_DECISION_H */
