/*-------------------------------------------------------------------------
 * map.c
 *	  Steps that run once for each item: their items become ready, and end.
 *
 * The step itself is executed like any other: that computes the items, and
 * they are stored with the commit.  From then on its row in task is "running",
 * which nobody claims; its items are rows of another step (define/item.h), that
 * workers claim, retry and end like any other.  Only so many of them have a
 * row at a time: those that end make room for the next, so a map of a million
 * items fills no queue, and max_parallel is but a smaller room.
 *
 * What items end is settled once per flush, with the run locked, and by counts
 * kept in one row (cat_item.h): no flush reads the ends of other items, but the
 * one that ends the step (gather.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "catalog/cat_item.h"
#include "catalog/cat_live.h"
#include "define/item.h"
#include "engine/claim.h"
#include "engine/context.h"
#include "engine/gather.h"
#include "engine/map.h"
#include "engine/settle.h"
#include "engine/statement.h"
#include "engine/subflow.h"
#include "shmem/testpoint.h"

/* Items of one step that have a row in task at a time ... */
#define MAX_LIVE		1000

/* ... and that one flush makes ready, which a commit can announce */
#define MAX_FILL		200

/* What of the items of a step has ended in this batch */
typedef struct Tally
{
	int			step_no;
	int			ended;			/* rows of task that go */
	int			done;
	int			failed;
	bool		goes_on;		/* map is it, and more items may run */
	FlowMapRow	map;
} Tally;

static bool is_known(const FlowItem *item);
static void require_array(const FlowItem *item, Datum value, bool isnull);
static void add_task(const FlowItem *item);
static void store(const FlowItem *item);
static Datum *elements_of(Jsonb *array, int n);
static void fill(FlowRunRef *run, FlowStepDef *step, FlowMapRow *map,
				 FlowChanges *changes);
static int	find_next(const FlowRunRef *run, const FlowStepDef *step,
					  const FlowMapRow *map, int room, FlowItemNext *next);
static Tally *find_tally(FlowRunRef *run, int step_no);
static void settle_map(FlowBatch *batch, FlowRunRef *run, Tally *tally,
					   FlowChanges *changes);
static void go_on(FlowRunRef *run, Tally *tally, FlowChanges *changes);
static int	stop_items(FlowBatch *batch, FlowRunRef *run, const FlowStepDef *step,
					   FlowChanges *changes);
static FlowItem *item_of(FlowBatch *batch, const FlowStepKey *key);
static void write_items(FlowChanges *changes);
static void end_map(FlowBatch *batch, FlowRunRef *run, const FlowMapRow *map,
					const FlowTaskRow *task, FlowChanges *changes);

void
FlowMapExecute(FlowBatch *batch, FlowItem *item)
{
	const FlowStepDef *step = item->step;
	ParamListInfo params;
	Datum		value;
	bool		isnull;

	item->status = FLOW_STEP_RUNNING;
	if (is_known(item))
		return;
	params = FlowContextParams(step->definition);
	value = FlowStatementsRun(item->step, FLOW_SQL_FOR_EACH, params,
							  batch->context, &isnull);
	require_array(item, value, isnull);
	item->value = value;
	item->has_value = true;
	if (JB_ROOT_COUNT(DatumGetJsonbP(value)) > 0)
		return;
	item->status = FLOW_STEP_COMPLETED;
	item->has_output = FlowItemStep(step)->sql[FLOW_SQL_STEP].result != FLOW_RESULT_NONE ||
		FlowItemKind(step) != FLOW_KIND_SQL;
	item->output = value;
}

/* They were computed by an earlier attempt that went on, or in another run. */
static bool
is_known(const FlowItem *item)
{
	FlowIdentity identity;
	FlowMapRow	map;
	bool		known;

	if (!item->run->early && item->attempt == 1)
		return false;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	FlowIdentityRaise(&identity);
	known = FlowMapLoad(item->run->id, item->step->no, &map);
	FlowIdentityRestore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	return known;
}

static void
require_array(const FlowItem *item, Datum value, bool isnull)
{
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"for_each\" of step \"%s\" is null", item->step->name),
				 errdetail("It gives the items of the step, as an array."),
				 errhint("Use coalesce(..., '[]') if that means no items.")));
	if (!JB_ROOT_IS_ARRAY(DatumGetJsonbP(value)) ||
		JB_ROOT_IS_SCALAR(DatumGetJsonbP(value)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("\"for_each\" of step \"%s\" is not an array", item->step->name),
				 errdetail("Its elements are the items of the step."),
				 errhint("Use jsonb_build_array() for a single item.")));
}

/* One statement for all of them. */
void
FlowMapReadItems(FlowBatch *batch)
{
	int			n = list_length(batch->items);
	FlowItem  **found = palloc(sizeof(FlowItem *) * Max(n, 1));
	FlowStepKey *keys = palloc(sizeof(FlowStepKey) * Max(n, 1));
	int32	   *steps = palloc(sizeof(int32) * Max(n, 1));
	NullableDatum *values = palloc(sizeof(NullableDatum) * Max(n, 1));
	FlowIdentity identity;
	ListCell   *cell;

	n = 0;
	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->step == NULL || item->key.item_no == 0 ||
			!FlowItemIsSeen(item->step))
			continue;
		keys[n] = item->key;
		steps[n] = item->step->maps ? item->step->maps : item->step->undoes;
		found[n++] = item;
	}
	if (n == 0)
		return;
	FlowIdentityRaise(&identity);
	FlowItemRead(keys, steps, n, values);
	FlowIdentityRestore(&identity);
	for (int i = 0; i < n; i++)
	{
		found[i]->value = values[i].value;
		found[i]->has_value = !values[i].isnull;
	}
}

void
FlowMapPark(FlowItem *item)
{
	FlowRunRef *run = item->run;
	FlowStepDef *step = FlowItemStep(item->step);
	FlowMapRow	map;

	FLOW_TEST_POINT("map-park");
	add_task(item);
	if (item->has_value)
		store(item);
	if (!FlowMapLoad(run->id, item->step->no, &map))
		elog(ERROR, "items of step \"%s\" are gone", item->step->name);
	map.next = 1;
	map.live = 0;
	map.done = map.failed = 0;
	if (run->early || !item->has_value)
	{
		FlowItemForgetBeyond(run->id, step->no, map.total);
		FlowItemCount(run->id, step->no, map.total, &map.done, &map.failed);
	}
	FlowMapUpdate(&map);
	(void) find_tally(run, item->step->no);
}

/* One that has run right behind another has no row yet. */
static void
add_task(const FlowItem *item)
{
	FlowTaskNew row;

	FlowSettleInitTask(&row, item, FLOW_STEP_RUNNING);
	if (item->has_task)
		FlowTaskSleep(&row, 1);
	else
		FlowTaskInsert(&row, 1);
}

static void
store(const FlowItem *item)
{
	Jsonb	   *array = DatumGetJsonbP(item->value);
	FlowMapRow	map;

	memset(&map, 0, sizeof(map));
	map.run_id = item->run->id;
	map.step_no = item->step->no;
	map.total = JB_ROOT_COUNT(array);
	map.next = 1;
	map.started_at = item->started_at;
	FlowMapInsert(&map);
	FlowItemInsert(map.run_id, map.step_no, elements_of(array, map.total),
				   map.total);
}

static Datum *
elements_of(Jsonb *array, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * n);
	JsonbIterator *iterator = JsonbIteratorInit(&array->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			found = 0;

	(void) JsonbIteratorNext(&iterator, &value, true);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_ELEM)
		elements[found++] = JsonbPGetDatum(JsonbValueToJsonb(&value));
	Assert(token == WJB_END_ARRAY && found == n);
	return elements;
}

/* Makes ready what there is room for. */
static void
fill(FlowRunRef *run, FlowStepDef *step, FlowMapRow *map, FlowChanges *changes)
{
	int			most = step->max_parallel > 0 ?
	Min(step->max_parallel, MAX_LIVE) : MAX_LIVE;
	int			room = Min(most - map->live, MAX_FILL);
	FlowItemNext *next;
	int			n;

	if (room <= 0 || map->next > map->total || !FlowRunLets(run, step))
		return;
	next = palloc(sizeof(FlowItemNext) * room);
	n = find_next(run, step, map, room, next);
	for (int i = 0; i < n; i++)
		FlowSettleReadyItem(run, step, &next[i], changes);
	map->live += n;
	map->next = n < room ? map->total + 1 : next[n - 1].item_no + 1;
	pfree(next);
}

/* Only of a run that was steered by hand may some have ended before. */
static int
find_next(const FlowRunRef *run, const FlowStepDef *step,
		  const FlowMapRow *map, int room, FlowItemNext *next)
{
	int			n = Min(room, map->total + 1 - map->next);

	if (run->early)
		return FlowItemFind(map, step->no, room, next);
	for (int i = 0; i < n; i++)
	{
		next[i].item_no = map->next + i;
		next[i].attempt = 0;
	}
	return n;
}

void
FlowMapNoteEnd(const FlowItem *item)
{
	Tally	   *tally = find_tally(item->run, item->step->maps);

	if (item->has_task)
		tally->ended++;
	if (item->status == FLOW_STEP_FAILED)
		tally->failed++;
	else if (item->status != FLOW_STEP_CANCELLED)
		tally->done++;
}

static Tally *
find_tally(FlowRunRef *run, int step_no)
{
	MemoryContext caller;
	Tally	   *tally;
	ListCell   *cell;

	foreach(cell, run->tallies)
	{
		tally = lfirst(cell);
		if (tally->step_no == step_no)
			return tally;
	}
	caller = MemoryContextSwitchTo(GetMemoryChunkContext(run));
	tally = palloc0(sizeof(Tally));
	tally->step_no = step_no;
	run->tallies = lappend(run->tallies, tally);
	MemoryContextSwitchTo(caller);
	return tally;
}

/*
 * Whoever has ended an item by hand asks to look at the run.  An item that only
 * waits makes no room, but there may be some: one flush does not fill it.
 */
void
FlowMapSettle(FlowBatch *batch, FlowChanges *changes)
{
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		const FlowItem *item = lfirst(cell);

		if (item->step != NULL && item->step->maps != 0 &&
			item->status != FLOW_STEP_READY)
			(void) find_tally(item->run, item->step->maps);
	}
	foreach(cell, batch->runs)
	{
		FlowRunRef *run = lfirst(cell);
		FlowDefinition *definition = run->definition;

		if (!run->locked || !definition->has_items ||
			FlowRunStatusIsFinal(run->status))
			continue;
		for (int i = 0; i < definition->n_steps && run->settling; i++)
			if (definition->steps[i].items != 0)
				(void) find_tally(run, i + 1);
		for (int i = 0; i < list_length(run->tallies); i++)
			settle_map(batch, run, list_nth(run->tallies, i), changes);
		for (int i = 0; i < list_length(run->tallies); i++)
			go_on(run, list_nth(run->tallies, i), changes);
	}
}

/*
 * A step whose row is not "running" any more was ended before its items.  The
 * first item that fails stops the others; those that run now are waited for.
 */
static void
settle_map(FlowBatch *batch, FlowRunRef *run, Tally *tally, FlowChanges *changes)
{
	FlowStepDef *head = &run->definition->steps[tally->step_no - 1];
	FlowStepDef *step = FlowItemStep(head);
	FlowStepKey key = {run->id, head->no, 0};
	FlowMapRow *map = &tally->map;
	FlowTaskRow task;

	switch (FlowTaskLock(&key, FLOW_STEP_RUNNING, &task))
	{
		case FLOW_HOLD_BUSY:
			FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
		case FLOW_HOLD_GONE:
			return;
		case FLOW_HOLD_TAKEN:
			break;
	}
	if (!FlowMapLoad(run->id, head->no, map))
		elog(ERROR, "items of step \"%s\" are gone", head->name);
	map->done += tally->done;
	map->failed += tally->failed;
	if (map->failed > 0 && !step->collects)
	{
		map->live = stop_items(batch, run, step, changes);
		if (map->live == 0)
			end_map(batch, run, map, &task, changes);
		FlowMapUpdate(map);
		return;
	}
	map->live -= tally->ended;
	tally->goes_on = map->done + map->failed < map->total;
	if (!tally->goes_on)
	{
		FlowMapUpdate(map);
		end_map(batch, run, map, &task, changes);
	}
}

/* Only when it is known whether the run does: a step may have failed it. */
static void
go_on(FlowRunRef *run, Tally *tally, FlowChanges *changes)
{
	FlowStepDef *step;

	if (!tally->goes_on)
		return;
	step = FlowItemStep(&run->definition->steps[tally->step_no - 1]);
	if ((run->fails == NULL && !run->overdue) || step->needs == FLOW_NEEDS_ALWAYS)
		fill(run, step, &tally->map, changes);
	FlowMapUpdate(&tally->map);
}

/*
 * Takes away the items that nobody is running; they have not ended, so that
 * flow_retry finds them.  Returns how many are left to others.  Not one that
 * waits: who has locked that one has no end of it to record (waiting.c), and
 * nobody would come back for it.
 */
static int
stop_items(FlowBatch *batch, FlowRunRef *run, const FlowStepDef *step,
		   FlowChanges *changes)
{
	int			mine = 0;
	int			all = 0;
	int			waiting = 0;
	ListCell   *cell;

	foreach(cell, FlowTaskLockOf(run->id))
	{
		FlowTaskRow *task = lfirst(cell);
		FlowItem   *item = item_of(batch, &task->key);

		if (task->key.step_no != step->no || (item == NULL && task->ended))
			continue;
		mine++;
		waiting -= task->waits;
		if (item != NULL && item->status != FLOW_STEP_READY &&
			item->status != FLOW_STEP_SLEEPING &&
			item->status != FLOW_STEP_WAITING)
			continue;			/* it has ended; its row goes */
		if (item != NULL)
			item->status = FLOW_STEP_CANCELLED;
		FlowRowsAdd(&changes->deletes, &task->tid);
		if (step->kind == FLOW_KIND_SUBFLOW && task->waits)
			FlowSubflowTell(run->id, step->no, task->key.item_no, FLOW_ITEM_CANCEL);
	}
	foreach(cell, FlowTaskListOf(run->id))
	{
		const FlowTaskRow *task = lfirst(cell);

		if (task->key.step_no != step->no)
			continue;
		all++;
		waiting += task->waits;
	}
	if (waiting > 0)
		FlowBatchAbandon(batch, FLOW_VERDICT_AGAIN);
	return all - mine;
}

static FlowItem *
item_of(FlowBatch *batch, const FlowStepKey *key)
{
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (memcmp(&item->key, key, sizeof(FlowStepKey)) == 0)
			return item;
	}
	return NULL;
}

/*
 * Writes how the items of this batch have ended, to be read with the others.
 * The ends of steps wait: written already, they would look like somebody else's.
 */
static void
write_items(FlowChanges *changes)
{
	FlowOutcomeRow *rows = (FlowOutcomeRow *) changes->outcomes.rows;
	FlowOutcomeRow *items = palloc(sizeof(FlowOutcomeRow) * Max(changes->outcomes.n, 1));
	int			n_items = 0;
	int			n_steps = 0;

	for (int i = 0; i < changes->outcomes.n; i++)
	{
		if (rows[i].key.item_no > 0)
			items[n_items++] = rows[i];
		else
			rows[n_steps++] = rows[i];
	}
	changes->outcomes.n = n_steps;
	FlowOutcomeInsert(items, n_items);
	pfree(items);
}

static void
end_map(FlowBatch *batch, FlowRunRef *run, const FlowMapRow *map,
		const FlowTaskRow *task, FlowChanges *changes)
{
	FlowStepDef *head = &run->definition->steps[map->step_no - 1];
	FlowItem   *item = palloc0(sizeof(FlowItem));

	FLOW_TEST_POINT("map-end");
	item->key = task->key;
	item->run = run;
	item->step = head;
	item->has_task = true;
	item->tid = task->tid;
	item->attempt = task->attempt;
	item->started_at = map->started_at;
	item->finished_at = GetCurrentTimestamp();
	item->ended = true;
	item->worker = MyProcPid;
	item->status = FLOW_STEP_COMPLETED;

	write_items(changes);
	FlowGather(item, map);
	run->items[head->no] = item;
	batch->items = lappend(batch->items, item);
	FlowSettleItem(batch, item, changes);
}

/* One that has committed already is kept: it had its effect before. */
void
FlowMapOvertake(FlowBatch *batch, FlowRunRef *run, int step_no)
{
	ListCell   *cell;

	foreach(cell, batch->items)
	{
		FlowItem   *item = lfirst(cell);

		if (item->run != run || item->step == NULL ||
			item->step->maps != step_no || item->ended)
			continue;
		if (item->executed)
			FlowBatchAbandon(batch, FLOW_VERDICT_DROPPED);
		item->overtaken = true;
		if (item->status == FLOW_STEP_READY)
			item->status = FLOW_STEP_CANCELLED;
	}
}
