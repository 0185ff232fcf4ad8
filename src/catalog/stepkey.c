/*-------------------------------------------------------------------------
 * stepkey.c
 *	  Keys of steps as arguments of statements, and in what they return.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/spi.h"
#include "catalog/stepkey.h"

void
FlowStepKeyWrite(const FlowStepKey *key, Datum *args)
{
	args[0] = Int64GetDatum(key->run_id);
	args[1] = Int32GetDatum(key->step_no);
	args[2] = Int32GetDatum(key->item_no);
}

void
FlowStepKeyWriteAll(const FlowStepKey *keys, int n, Datum *args)
{
	Datum	   *runs = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *steps = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *items = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		runs[i] = Int64GetDatum(keys[i].run_id);
		steps[i] = Int32GetDatum(keys[i].step_no);
		items[i] = Int32GetDatum(keys[i].item_no);
	}
	args[0] = FlowArray(INT8OID, runs, NULL, n);
	args[1] = FlowArray(INT4OID, steps, NULL, n);
	args[2] = FlowArray(INT4OID, items, NULL, n);
}

void
FlowStepKeyRead(HeapTuple row, FlowStepKey *key)
{
	key->run_id = FlowRowInt64(row, 1);
	key->step_no = FlowRowInt32(row, 2);
	key->item_no = FlowRowInt32(row, 3);
}
