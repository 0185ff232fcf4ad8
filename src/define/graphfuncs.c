/*-------------------------------------------------------------------------
 * graphfuncs.c
 *	  SQL functions by which tests drive graph.c directly.
 *
 * flow_internal.test_graph_*(n, tails int[], heads int[]): a graph of n
 * nodes, counted from 0, with an edge from each tail to the head beside it.
 * In the schema of the inner functions and granted to nobody.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "define/graph.h"

PG_FUNCTION_INFO_V1(flow_test_graph_order);
PG_FUNCTION_INFO_V1(flow_test_graph_levels);
PG_FUNCTION_INFO_V1(flow_test_graph_cycle);
PG_FUNCTION_INFO_V1(flow_test_graph_reach);

static FlowGraph *graph_argument(FunctionCallInfo fcinfo);
static int *int_array(ArrayType *array, int *n);
static Datum make_array(const int *numbers, int n);

static FlowGraph *
graph_argument(FunctionCallInfo fcinfo)
{
	int			n = PG_GETARG_INT32(0);
	int			n_tails;
	int			n_heads;
	int		   *tails = int_array(PG_GETARG_ARRAYTYPE_P(1), &n_tails);
	int		   *heads = int_array(PG_GETARG_ARRAYTYPE_P(2), &n_heads);
	FlowEdge   *edges = palloc(sizeof(FlowEdge) * Max(n_tails, 1));

	for (int e = 0; e < n_tails; e++)
	{
		if (n_heads != n_tails || tails[e] < 0 || tails[e] >= n ||
			heads[e] < 0 || heads[e] >= n)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("edge %d is not between two of %d nodes", e, n),
					 errdetail("Nodes count from 0, and each tail has a head beside it."),
					 errhint("Give two arrays of one length, of numbers below %d.", n)));
		edges[e].from = tails[e];
		edges[e].to = heads[e];
	}
	return FlowGraphCreate(n, edges, n_tails);
}

static int *
int_array(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	int		   *numbers;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &elements, &nulls, n);
	numbers = palloc(sizeof(int) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		numbers[i] = nulls[i] ? -1 : DatumGetInt32(elements[i]);
	return numbers;
}

static Datum
make_array(const int *numbers, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = Int32GetDatum(numbers[i]);
	return PointerGetDatum(construct_array(elements, n, INT4OID, sizeof(int32),
										   true, TYPALIGN_INT));
}

/* The nodes in topological order, fewer than n if there is a cycle. */
Datum
flow_test_graph_order(PG_FUNCTION_ARGS)
{
	FlowGraph  *graph = graph_argument(fcinfo);
	int		   *order = palloc(sizeof(int) * Max(graph->n, 1));
	int			n = FlowGraphSort(graph, order);

	return make_array(order, n);
}

/* The level of each node; null if there is a cycle. */
Datum
flow_test_graph_levels(PG_FUNCTION_ARGS)
{
	FlowGraph  *graph = graph_argument(fcinfo);
	int		   *levels = palloc(sizeof(int) * Max(graph->n, 1));

	if (FlowGraphSort(graph, levels) < graph->n)
		PG_RETURN_NULL();
	FlowGraphLevels(graph, levels);
	return make_array(levels, graph->n);
}

/* The nodes of a cycle; null if there is none. */
Datum
flow_test_graph_cycle(PG_FUNCTION_ARGS)
{
	FlowGraph  *graph = graph_argument(fcinfo);
	int		   *cycle = palloc(sizeof(int) * Max(graph->n, 1));
	int			n = FlowGraphFindCycle(graph, cycle);

	if (n == 0)
		PG_RETURN_NULL();
	return make_array(cycle, n);
}

/* The nodes that can be reached from the fourth argument, ascending. */
Datum
flow_test_graph_reach(PG_FUNCTION_ARGS)
{
	FlowGraph  *graph = graph_argument(fcinfo);
	int			from = PG_GETARG_INT32(3);
	bool	   *reached = palloc(sizeof(bool) * Max(graph->n, 1));
	int		   *nodes = palloc(sizeof(int) * Max(graph->n, 1));
	int			n = 0;

	if (from < 0 || from >= graph->n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("node %d is none of %d nodes", from, graph->n),
				 errdetail("Nodes count from 0."),
				 errhint("Give a number below %d.", graph->n)));
	FlowGraphReach(graph, from, reached);
	for (int i = 0; i < graph->n; i++)
		if (reached[i])
			nodes[n++] = i;
	return make_array(nodes, n);
}
