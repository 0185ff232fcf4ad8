/*-------------------------------------------------------------------------
 * total.c
 *	  The time limit of a step over all its attempts, delays and rounds.
 *
 * It begins when the step becomes ready, and is decided for good the first time
 * that the step sleeps or waits (cat_total.c), so that neither a restart nor a
 * pause moves it.  An attempt is interrupted when it is over; a step that
 * sleeps or waits until a later moment wakes up then, and fails instead of
 * being executed.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_total.h"
#include "engine/total.h"
#include "engine/waiting.h"
#include "error.h"

static const char *const hint =
"Give the step a longer total_timeout, or let another step depend on its event \"timeout\".";

static char *message_of(const FlowItem *item);
static char *detail_of(const FlowItem *item);

TimestampTz
FlowTotalDue(FlowItem *item)
{
	FlowIdentity identity;
	TimestampTz ready_at;

	if (item->step->total_timeout == 0)
		return DT_NOEND;
	if (item->total_due != 0)
		return item->total_due;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	item->total_due = FlowTotalLoad(&item->key, &ready_at);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	if (TIMESTAMP_IS_NOEND(item->total_due))
		item->total_due = GetCurrentTimestamp() + item->step->total_timeout;
	else if (TIMESTAMP_IS_NOBEGIN(item->total_due))
		item->total_due = ready_at + item->step->total_timeout;
	return item->total_due;
}

bool
FlowTotalIsOver(FlowItem *item)
{
	return item->step->total_timeout > 0 &&
		FlowTotalDue(item) <= GetCurrentTimestamp();
}

void
FlowTotalRequire(FlowItem *item)
{
	if (FlowTotalIsOver(item))
		ereport(ERROR,
				(errcode(ERRCODE_FLOW_STEP_TIMEOUT),
				 errmsg_internal("%s", message_of(item)),
				 errdetail_internal("%s", detail_of(item)),
				 errhint("%s", hint)));
}

void
FlowTotalFail(FlowItem *item)
{
	FlowWaitingFail(item, ERRCODE_FLOW_STEP_TIMEOUT, message_of(item),
					detail_of(item), unconstify(char *, hint));
}

static char *
message_of(const FlowItem *item)
{
	return psprintf("step \"%s\" took longer than its total_timeout",
					item->step->name);
}

static char *
detail_of(const FlowItem *item)
{
	return psprintf("All its attempts, delays and rounds may take %g s.",
					item->step->total_timeout / 1e6);
}

/* It was looked up when the attempt began. */
void
FlowTotalExplain(const FlowItem *item, FlowFailure *failure)
{
	if (item->total_due == 0 || item->total_due > GetCurrentTimestamp())
		return;
	failure->message = message_of(item);
	failure->detail = detail_of(item);
	failure->hint = pstrdup(hint);
}

void
FlowTotalBound(FlowItem *item)
{
	FlowIdentity identity;

	if (item->step->total_timeout == 0 || item->status != FLOW_STEP_SLEEPING)
		return;
	if (FlowTotalDue(item) <= item->finished_at)
	{
		item->status = FLOW_STEP_FAILED;
		item->next_at = DT_NOEND;
		return;
	}
	item->next_at = Min(item->next_at, item->total_due);
	FlowIdentityRaise(&identity);
	FlowTotalKeep(item);
	FlowIdentityRestore(&identity);
}

void
FlowTotalKeep(FlowItem *item)
{
	if (item->step->total_timeout > 0)
		FlowTotalSave(&item->key, item->total_due);
}

void
FlowTotalRestart(const FlowItem *item)
{
	if (item->step->total_timeout > 0)
		FlowTotalSave(&item->key, DT_NOEND);
}

void
FlowTotalForget(int64 run_id, const FlowStepDef *step)
{
	FlowStepKey key = {run_id, step->no, 0};

	if (step->total_timeout > 0)
		FlowTotalDelete(&key);
}
