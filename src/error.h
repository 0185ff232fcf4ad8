/*-------------------------------------------------------------------------
 * error.h
 *	  The SQLSTATEs of class WF, one line each.
 *
 * A class that begins with a letter from I to Z is free for extensions.
 * Standard codes are used wherever one fits.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_ERROR_H
#define FLOW_ERROR_H

#include "utils/elog.h"

/* the run or step may not do that in the state it is in */
#define ERRCODE_FLOW_ILLEGAL_TRANSITION	MAKE_SQLSTATE('W','F','0','0','1')
/* the dependencies of a definition form a cycle */
#define ERRCODE_FLOW_CYCLE				MAKE_SQLSTATE('W','F','0','0','2')
/* a run of this key is in progress, or there has been one */
#define ERRCODE_FLOW_KEY_IN_PROGRESS	MAKE_SQLSTATE('W','F','0','0','3')
/* a step took longer than its time limit */
#define ERRCODE_FLOW_STEP_TIMEOUT		MAKE_SQLSTATE('W','F','0','0','4')
/* the server, or the step's process, went down while the step ran */
#define ERRCODE_FLOW_STEP_CRASHED		MAKE_SQLSTATE('W','F','0','0','5')
/* somebody has rejected an approval */
#define ERRCODE_FLOW_REJECTED			MAKE_SQLSTATE('W','F','0','0','6')
/* a choice named no event */
#define ERRCODE_FLOW_NO_CHOICE			MAKE_SQLSTATE('W','F','0','0','8')

#endif							/* FLOW_ERROR_H */
