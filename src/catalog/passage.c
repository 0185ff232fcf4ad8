/*-------------------------------------------------------------------------
 * passage.c
 *	  One statement of ours, for callers that are neither raised nor connected.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/palloc.h"

#include "catalog/passage.h"

void
FlowPassageEnter(FlowPassage *passage)
{
	passage->caller = CurrentMemoryContext;
	SPI_connect();
	FlowIdentityRaise(&passage->identity);
}

void
FlowPassageLeave(FlowPassage *passage)
{
	FlowIdentityRestore(&passage->identity);
	SPI_finish();
}

uint64
FlowPassageExecute(FlowStatement *statement, Datum *values, const bool *nulls)
{
	FlowPassage passage;
	uint64		n;

	FlowPassageEnter(&passage);
	n = FlowStatementExecute(statement, values, nulls);
	FlowPassageLeave(&passage);
	return n;
}

int32
FlowPassageFetchInt(FlowStatement *statement, Datum *values)
{
	FlowPassage passage;
	int32		result = 0;

	FlowPassageEnter(&passage);
	if (FlowStatementExecute(statement, values, NULL) > 0)
		result = FlowRowInt32(SPI_tuptable->vals[0], 1);
	SPI_freetuptable(SPI_tuptable);
	FlowPassageLeave(&passage);
	return result;
}
