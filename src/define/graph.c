/*-------------------------------------------------------------------------
 * graph.c
 *	  Order, cycles, levels and reachability of a directed graph.
 *
 * Pure: numbers in, numbers out.  It knows nothing of steps, reads no table
 * and takes no lock, so that all of it can be tested on thousands of random
 * graphs.  No function recurses: a chain may be as long as memory allows.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "define/graph.h"

static void bucket(FlowGraph *graph, const FlowEdge *edges, int n_edges);
static void drop_repeated(FlowGraph *graph);
static int	find_back_edge(const FlowGraph *graph, int root, char *color,
						   int *stack, int *position);
static int	rotate_lowest_first(const int *path, int length, int *cycle);

FlowGraph *
FlowGraphCreate(int n, const FlowEdge *edges, int n_edges)
{
	FlowGraph  *graph = palloc(sizeof(FlowGraph));

	graph->n = n;
	graph->first = palloc0(sizeof(int) * (n + 1));
	graph->targets = palloc(sizeof(int) * Max(n_edges, 1));
	graph->indegree = palloc0(sizeof(int) * Max(n, 1));
	bucket(graph, edges, n_edges);
	drop_repeated(graph);
	return graph;
}

/*
 * Two passes of a counting sort, by head and then by tail, leave the targets
 * of each node ascending.
 */
static void
bucket(FlowGraph *graph, const FlowEdge *edges, int n_edges)
{
	int		   *start = palloc0(sizeof(int) * (graph->n + 1));
	int		   *by_head = palloc(sizeof(int) * Max(n_edges, 1));

	for (int e = 0; e < n_edges; e++)
	{
		start[edges[e].to + 1]++;
		graph->first[edges[e].from + 1]++;
	}
	for (int i = 0; i < graph->n; i++)
	{
		start[i + 1] += start[i];
		graph->first[i + 1] += graph->first[i];
	}
	for (int e = 0; e < n_edges; e++)
		by_head[start[edges[e].to]++] = e;

	memcpy(start, graph->first, sizeof(int) * (graph->n + 1));
	for (int i = 0; i < n_edges; i++)
	{
		const FlowEdge *edge = &edges[by_head[i]];

		graph->targets[start[edge->from]++] = edge->to;
	}
	pfree(start);
	pfree(by_head);
}

static void
drop_repeated(FlowGraph *graph)
{
	int			kept = 0;
	int			next = 0;

	for (int i = 0; i < graph->n; i++)
	{
		int			begin = kept;

		for (; next < graph->first[i + 1]; next++)
		{
			int			target = graph->targets[next];

			if (kept > begin && graph->targets[kept - 1] == target)
				continue;
			graph->targets[kept++] = target;
			graph->indegree[target]++;
		}
		graph->first[i] = begin;
	}
	graph->first[graph->n] = kept;
}

int
FlowGraphSort(const FlowGraph *graph, int *order)
{
	int		   *waiting = palloc(sizeof(int) * Max(graph->n, 1));
	int			done = 0;
	int			found = 0;

	memcpy(waiting, graph->indegree, sizeof(int) * graph->n);
	for (int i = 0; i < graph->n; i++)
		if (waiting[i] == 0)
			order[found++] = i;
	for (; done < found; done++)
	{
		int			node = order[done];

		for (int e = graph->first[node]; e < graph->first[node + 1]; e++)
			if (--waiting[graph->targets[e]] == 0)
				order[found++] = graph->targets[e];
	}
	pfree(waiting);
	return found;
}

void
FlowGraphLevels(const FlowGraph *graph, int *levels)
{
	int		   *order = palloc(sizeof(int) * Max(graph->n, 1));
	int			n = FlowGraphSort(graph, order);

	Assert(n == graph->n);
	memset(levels, 0, sizeof(int) * graph->n);
	for (int i = 0; i < n; i++)
	{
		int			node = order[i];

		for (int e = graph->first[node]; e < graph->first[node + 1]; e++)
			levels[graph->targets[e]] = Max(levels[graph->targets[e]],
											levels[node] + 1);
	}
	pfree(order);
}

/*
 * Depth first.  A node is white until it is met, grey while it is on the
 * path and black after; an edge to a grey node closes a cycle.
 */
int
FlowGraphFindCycle(const FlowGraph *graph, int *cycle)
{
	char	   *color = palloc0(Max(graph->n, 1));
	int		   *path = palloc(sizeof(int) * Max(graph->n, 1));
	int		   *position = palloc(sizeof(int) * Max(graph->n, 1));
	int			length = 0;

	for (int root = 0; root < graph->n && length == 0; root++)
	{
		int			depth;

		if (color[root] != 0)
			continue;
		depth = find_back_edge(graph, root, color, path, position);
		if (depth > 0)
		{
			int			closing = graph->targets[position[path[depth - 1]] - 1];
			int			begin = 0;

			while (path[begin] != closing)
				begin++;
			length = rotate_lowest_first(path + begin, depth - begin, cycle);
		}
	}
	pfree(color);
	pfree(path);
	pfree(position);
	return length;
}

/*
 * Returns the length of the path whose last node has an edge back into it, or
 * 0.  position[node] is the edge of that node to look at next.
 */
static int
find_back_edge(const FlowGraph *graph, int root, char *color, int *path,
			   int *position)
{
	const char	grey = 1;
	const char	black = 2;
	int			depth = 0;

	path[depth++] = root;
	position[root] = graph->first[root];
	color[root] = grey;
	while (depth > 0)
	{
		int			node = path[depth - 1];
		int			target;

		if (position[node] == graph->first[node + 1])
		{
			color[node] = black;
			depth--;
			continue;
		}
		target = graph->targets[position[node]++];
		if (color[target] == grey)
			return depth;
		if (color[target] == 0)
		{
			path[depth++] = target;
			position[target] = graph->first[target];
			color[target] = grey;
		}
	}
	return 0;
}

static int
rotate_lowest_first(const int *path, int length, int *cycle)
{
	int			lowest = 0;

	for (int i = 1; i < length; i++)
		if (path[i] < path[lowest])
			lowest = i;
	for (int i = 0; i < length; i++)
		cycle[i] = path[(lowest + i) % length];
	return length;
}

void
FlowGraphReach(const FlowGraph *graph, int from, bool *reached)
{
	int		   *pending = palloc(sizeof(int) * (graph->n + 1));
	int			n = 0;

	memset(reached, 0, sizeof(bool) * graph->n);
	pending[n++] = from;
	while (n > 0)
	{
		int			node = pending[--n];

		for (int e = graph->first[node]; e < graph->first[node + 1]; e++)
		{
			int			target = graph->targets[e];

			if (!reached[target])
			{
				reached[target] = true;
				pending[n++] = target;
			}
		}
	}
	pfree(pending);
}
