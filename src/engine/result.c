/*-------------------------------------------------------------------------
 * result.c
 *	  A step's result set, turned into its output while it is produced.
 *
 * A destination of our own, rather than SPI's: SPI keeps every row before
 * anybody can count them, and its row limit would silently cut short an
 * INSERT ... RETURNING.  Rows become jsonb here, so while the statement still
 * runs as the owner of the workflow: a cast that a user's type brings along
 * is called with that role's rights, never with the engine's.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "engine/result.h"
#include "guc.h"

typedef struct Receiver
{
	DestReceiver pub;
	FlowResultMode mode;
	MemoryContext context;		/* where the output is built */
	TupleDesc	tupdesc;
	bool		single;			/* one column, whose value is the output */
	bool		discard;		/* one column of type void */
	FmgrInfo	to_jsonb;
	uint64		n_rows;
	Size		size;			/* bytes so far */
	Datum		value;			/* mode row: the output */
	bool		has_value;
	JsonbParseState *state;		/* modes of arrays: what is being built */
} Receiver;

static void startup(DestReceiver *self, int operation, TupleDesc typeinfo);
static bool receive(TupleTableSlot *slot, DestReceiver *self);
static void raise_not_one(FlowResultMode mode) pg_attribute_noreturn();
static void finish(DestReceiver *self);
static void destroy(DestReceiver *self);
static bool is_array(FlowResultMode mode);
static bool is_value_type(Oid type);
static void prepare_to_jsonb(FmgrInfo *function, Oid type);
static Datum convert(Receiver *receiver, TupleTableSlot *slot, bool *isnull);
static void check_size(Receiver *receiver, Datum value);
static void append(Receiver *receiver, Datum value, bool isnull);

DestReceiver *
FlowResultCreate(FlowResultMode mode, MemoryContext context)
{
	Receiver   *receiver = MemoryContextAllocZero(context, sizeof(Receiver));

	receiver->pub.receiveSlot = receive;
	receiver->pub.rStartup = startup;
	receiver->pub.rShutdown = finish;
	receiver->pub.rDestroy = destroy;
	receiver->pub.mydest = mode == FLOW_RESULT_NONE ? DestNone : DestTuplestore;
	receiver->mode = mode;
	receiver->context = context;
	return &receiver->pub;
}

Datum
FlowResultTake(DestReceiver *self, bool *isnull)
{
	Receiver   *receiver = (Receiver *) self;
	MemoryContext caller = MemoryContextSwitchTo(receiver->context);
	Datum		value = receiver->value;

	*isnull = !receiver->has_value;
	if (is_array(receiver->mode))
	{
		if (receiver->state == NULL)
			pushJsonbValue(&receiver->state, WJB_BEGIN_ARRAY, NULL);
		value = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&receiver->state,
																WJB_END_ARRAY,
																NULL)));
		*isnull = false;
	}
	MemoryContextSwitchTo(caller);
	return value;
}

static bool
is_array(FlowResultMode mode)
{
	return mode == FLOW_RESULT_ROWS || mode == FLOW_RESULT_OBJECTS;
}

static void
startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	Receiver   *receiver = (Receiver *) self;
	MemoryContext caller = MemoryContextSwitchTo(receiver->context);
	Oid			type;

	if (receiver->mode != FLOW_RESULT_NONE)
	{
		receiver->tupdesc = BlessTupleDesc(CreateTupleDescCopy(typeinfo));
		type = typeinfo->natts == 1 ? TupleDescAttr(typeinfo, 0)->atttypid : InvalidOid;
		receiver->discard = type == VOIDOID;
		receiver->single = OidIsValid(type) &&
			receiver->mode != FLOW_RESULT_OBJECTS &&
			(receiver->mode == FLOW_RESULT_VALUE || is_value_type(type));
		prepare_to_jsonb(&receiver->to_jsonb, receiver->single ? type : RECORDOID);
	}
	MemoryContextSwitchTo(caller);
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *receiver = (Receiver *) self;
	MemoryContext caller;
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (receiver->mode == FLOW_RESULT_NONE)
		return true;
	if (!is_array(receiver->mode) && receiver->n_rows > 0)
		raise_not_one(receiver->mode);
	receiver->n_rows++;

	caller = MemoryContextSwitchTo(receiver->context);
	if (!receiver->discard)
		value = convert(receiver, slot, &isnull);
	if (!isnull)
		check_size(receiver, value);
	if (is_array(receiver->mode))
		append(receiver, value, isnull);
	else
	{
		receiver->value = value;
		receiver->has_value = !isnull;
	}
	MemoryContextSwitchTo(caller);
	return true;
}

static void
raise_not_one(FlowResultMode mode)
{
	if (mode == FLOW_RESULT_VALUE)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("expression returned more than one row"),
				 errdetail("Its value is taken from a single row."),
				 errhint("Use an aggregate, or LIMIT 1.")));
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("step returned more than one row"),
			 errdetail("Its result is taken as a single row."),
			 mode == FLOW_RESULT_ONE ?
			 errhint("Have it return a single row, by jsonb_agg() or LIMIT 1 for instance, or none.") :
			 errhint("Use result => 'rows' for an array of all rows, or result => 'none' to discard them.")));
}

static void
finish(DestReceiver *self)
{
}

static void
destroy(DestReceiver *self)
{
}

/* The types whose value is the output itself, when they are the only column. */
static bool
is_value_type(Oid type)
{
	return type == JSONOID || type == JSONBOID || type_is_rowtype(type);
}

/*
 * to_jsonb() is declared with a pseudo-type and asks its call expression what it
 * was given, so it gets one.
 */
static void
prepare_to_jsonb(FmgrInfo *function, Oid type)
{
	Param	   *param = makeNode(Param);
	FuncExpr   *call;

	param->paramkind = PARAM_EXTERN;
	param->paramtype = type;
	param->paramtypmod = -1;
	call = makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(param),
						InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	fmgr_info(F_TO_JSONB, function);
	fmgr_info_set_expr((Node *) call, function);
}

static Datum
convert(Receiver *receiver, TupleTableSlot *slot, bool *isnull)
{
	Datum		value;

	if (receiver->single)
	{
		value = slot_getattr(slot, 1, isnull);
		if (*isnull)
			return (Datum) 0;
	}
	else
	{
		HeapTuple	tuple = ExecCopySlotHeapTuple(slot);

		value = heap_copy_tuple_as_datum(tuple, receiver->tupdesc);
		*isnull = false;
	}
	value = FunctionCall1(&receiver->to_jsonb, value);
	return PointerGetDatum(PG_DETOAST_DATUM(value));
}

static void
check_size(Receiver *receiver, Datum value)
{
	receiver->size += VARSIZE_ANY(DatumGetPointer(value));
	if (receiver->size > (Size) FlowMaxResultSize * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("result of the step is larger than %d kB", FlowMaxResultSize),
				 errdetail("The setting \"flow.max_result_size\" limits what one step may hand on."),
				 errhint("Keep large results in a table and return a key, or use result => 'none'.")));
}

static void
append(Receiver *receiver, Datum value, bool isnull)
{
	JsonbValue	element;

	if (receiver->state == NULL)
		pushJsonbValue(&receiver->state, WJB_BEGIN_ARRAY, NULL);
	if (isnull)
		element.type = jbvNull;
	else
	{
		Jsonb	   *jsonb = DatumGetJsonbP(value);

		if (JB_ROOT_IS_SCALAR(jsonb))
			(void) JsonbExtractScalar(&jsonb->root, &element);
		else
		{
			element.type = jbvBinary;
			element.val.binary.data = &jsonb->root;
			element.val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
		}
	}
	pushJsonbValue(&receiver->state, WJB_ELEM, &element);
}
