/*-------------------------------------------------------------------------
 * wait.c
 *	  Steps of kind "wait": until a signal comes.
 *
 * The oldest signal of its name that nobody has taken; the flush that ends the
 * step takes it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine/kinds/kind.h"
#include "engine/waiting.h"

void
FlowKindWaitExecute(FlowBatch *batch, FlowItem *item)
{
	FlowSignalRow signal;

	if (!FlowWaitingFindSignal(item, &signal))
	{
		FlowWaitingGoOn(item);
		return;
	}
	item->output = signal.payload;
	item->has_output = signal.has_payload;
}
