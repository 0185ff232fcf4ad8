/*-------------------------------------------------------------------------
 * target.c
 *	  A table of ours that rows are written to: its indexes, and slots.
 *
 * To find out which indexes a table has, and to compile the predicates of
 * those that are partial, takes several times as long as to write a row.  So a
 * backend does it once for each table, until the relation cache says that the
 * table, or an index of it, has changed.
 *
 * What is kept refers to nothing that a transaction owns: descriptions of
 * indexes, compiled predicates, a copy of the shape of a row.  The indexes
 * themselves are opened each time, and of the partial ones, which are most,
 * only those into which one of the rows goes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/target.h"
#include "compat.h"

struct FlowTarget
{
	FlowTarget *next;			/* of all that are kept */
	MemoryContext context;		/* of all of it */
	Oid			relid;
	bool		is_valid;		/* nothing has changed since it was made */
	bool		is_kept;		/* for the next time: all its indexes are
								 * btrees, which note nothing in their
								 * description about an open relation */
	EState	   *estate;
	ResultRelInfo result;		/* its indexes are open or NULL */
	Oid		   *indexes;
	TupleDesc	desc;
	TupleTableSlot **slots;
	int			n_slots;
};

static FlowTarget *targets = NULL;
static uint64 changes = 0;		/* that the relation cache has told of */

static void forget(Datum arg, Oid relid);
static bool has_index(FlowTarget *target, Oid relid);
static FlowTarget *make(Relation relation);
static void keep(FlowTable *table, FlowTarget *target);
static void fill(FlowTarget *target, Relation relation);
static void discard(FlowTarget *target);
static bool is_wanted(FlowTarget *target, IndexInfo *info,
					  TupleTableSlot **slots, int n);

FlowTarget *
FlowTargetOpen(FlowTable *table, Relation relation)
{
	static bool registered = false;
	FlowTarget *target = table->target;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		registered = true;
	}
	if (target != NULL &&
		(!target->is_valid || target->relid != RelationGetRelid(relation)))
	{
		table->target = NULL;
		discard(target);
		target = NULL;
	}
	if (target == NULL)
	{
		target = make(relation);
		if (target->is_kept)
			keep(table, target);
	}
	target->result.ri_RelationDesc = relation;
	/* an error may have left some */
	for (int i = 0; i < target->result.ri_NumIndices; i++)
		target->result.ri_IndexRelationDescs[i] = NULL;
	return target;
}

static void
forget(Datum arg, Oid relid)
{
	changes++;
	for (FlowTarget *target = targets; target != NULL; target = target->next)
		if (relid == InvalidOid || relid == target->relid ||
			has_index(target, relid))
			target->is_valid = false;
}

static bool
has_index(FlowTarget *target, Oid relid)
{
	for (int i = 0; i < target->result.ri_NumIndices; i++)
		if (target->indexes[i] == relid)
			return true;
	return false;
}

static FlowTarget *
make(Relation relation)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "flow target",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	FlowTarget *target = palloc0(sizeof(FlowTarget));
	uint64		before = changes;

	target->context = context;
	target->relid = RelationGetRelid(relation);
	target->is_kept = true;
	fill(target, relation);
	target->is_valid = changes == before;
	MemoryContextSwitchTo(caller);
	return target;
}

static void
keep(FlowTable *table, FlowTarget *target)
{
	MemoryContextSetParent(target->context, TopMemoryContext);
	target->next = targets;
	targets = target;
	table->target = target;
}

static void
fill(FlowTarget *target, Relation relation)
{
	ResultRelInfo *result = &target->result;

	target->desc = CreateTupleDescCopy(RelationGetDescr(relation));
	target->estate = CreateExecutorState();
	InitResultRelInfo(result, relation, 1, NULL, 0);
	ExecOpenIndices(result, false);
	target->indexes = palloc(sizeof(Oid) * Max(result->ri_NumIndices, 1));
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		Relation	index = result->ri_IndexRelationDescs[i];
		IndexInfo  *info = result->ri_IndexRelationInfo[i];

		target->indexes[i] = RelationGetRelid(index);
		target->is_kept = target->is_kept && info->ii_Am == BTREE_AM_OID;
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate,
												  target->estate);
	}
	ExecCloseIndices(result);
}

static void
discard(FlowTarget *target)
{
	FlowTarget **link = &targets;

	while (*link != target)
		link = &(*link)->next;
	*link = target->next;
	MemoryContextDelete(target->context);
}

void
FlowTargetClose(FlowTarget *target)
{
	for (int i = 0; i < target->n_slots; i++)
		ExecClearTuple(target->slots[i]);
	ExecCloseIndices(&target->result);
	if (!target->is_kept)
		MemoryContextDelete(target->context);
}

TupleTableSlot **
FlowTargetSlots(FlowTarget *target, int n)
{
	MemoryContext caller;

	if (n <= target->n_slots)
		return target->slots;
	caller = MemoryContextSwitchTo(target->context);
	if (target->slots == NULL)
		target->slots = palloc(sizeof(TupleTableSlot *) * n);
	else
		target->slots = repalloc(target->slots, sizeof(TupleTableSlot *) * n);
	for (; target->n_slots < n; target->n_slots++)
		target->slots[target->n_slots] =
			MakeSingleTupleTableSlot(target->desc, &TTSOpsVirtual);
	MemoryContextSwitchTo(caller);
	return target->slots;
}

MemoryContext
FlowTargetMemory(FlowTarget *target)
{
	return GetPerTupleMemoryContext(target->estate);
}

void
FlowTargetIndex(FlowTarget *target, TupleTableSlot **slots, int n,
				bool summarizing)
{
	ResultRelInfo *result = &target->result;

	for (int i = 0; i < result->ri_NumIndices; i++)
		if (result->ri_IndexRelationDescs[i] == NULL &&
			is_wanted(target, result->ri_IndexRelationInfo[i], slots, n))
			result->ri_IndexRelationDescs[i] = index_open(target->indexes[i],
														  RowExclusiveLock);
	for (int i = 0; i < n; i++)
	{
		(void) FlowExecInsertIndexTuples(result, slots[i], target->estate,
										 summarizing);
		ResetPerTupleExprContext(target->estate);
	}
}

/* Does one of the rows go into the index? */
static bool
is_wanted(FlowTarget *target, IndexInfo *info, TupleTableSlot **slots, int n)
{
	ExprContext *context = GetPerTupleExprContext(target->estate);

	if (info->ii_Predicate == NIL)
		return true;
	for (int i = 0; i < n; i++)
	{
		context->ecxt_scantuple = slots[i];
		if (ExecQual(info->ii_PredicateState, context))
			return true;
	}
	return false;
}
