/*-------------------------------------------------------------------------
 * signal.h
 *	  Signals: what clients tell a run that may wait for it.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_SIGNAL_H
#define FLOW_SIGNAL_H

#include "catalog/cat_waiting.h"

/*
 * Sends a signal to a run (run_id), or to whatever run of a workflow has that
 * key, now or later.  False if its signal_id was sent before.  Needs SPI.
 */
extern bool FlowSignalSend(FlowSignalNew *signal);
extern bool FlowSignalSendToKey(const char *workflow, FlowSignalNew *signal);

#endif							/* FLOW_SIGNAL_H */
