/*-------------------------------------------------------------------------
 * stepkey.h
 *	  Keys of steps as arguments of statements, and in what they return.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_STEPKEY_H
#define FLOW_STEPKEY_H

#include "access/htup.h"
#include "flow.h"

/* The columns run_id, step_no and item_no: the first three arguments. */
extern void FlowStepKeyWrite(const FlowStepKey *key, Datum *args);

/* The same of n steps, as three arrays; needs a memory context to put them in. */
extern void FlowStepKeyWriteAll(const FlowStepKey *keys, int n, Datum *args);

/* From the first three columns of a row in SPI_tuptable. */
extern void FlowStepKeyRead(HeapTuple row, FlowStepKey *key);

#endif							/* FLOW_STEPKEY_H */
