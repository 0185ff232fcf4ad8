/*-------------------------------------------------------------------------
 * graph.h
 *	  Order, cycles, levels and reachability of a directed graph; pure.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_GRAPH_H
#define FLOW_GRAPH_H

/* "to" depends on "from"; nodes count from 0 */
typedef struct FlowEdge
{
	int			from;
	int			to;
} FlowEdge;

typedef struct FlowGraph
{
	int			n;
	int		   *first;			/* n + 1 positions in "targets" */
	int		   *targets;		/* heads of the edges of each node, ascending */
	int		   *indegree;		/* edges that end in each node */
} FlowGraph;

/*
 * A graph of n nodes in the current memory context.  An edge given twice
 * counts once.  All of it takes time proportional to nodes and edges.
 */
extern FlowGraph *FlowGraphCreate(int n, const FlowEdge *edges, int n_edges);

/*
 * Writes the nodes in topological order and returns how many there were: less
 * than n if there is a cycle.
 */
extern int	FlowGraphSort(const FlowGraph *graph, int *order);

/*
 * The length of the longest path to each node: 0 for those without
 * dependencies.  The graph must have no cycle.
 */
extern void FlowGraphLevels(const FlowGraph *graph, int *levels);

/*
 * Writes the nodes of one cycle, in the direction of its edges and from the
 * lowest on, and returns its length; 0 if there is none.
 */
extern int	FlowGraphFindCycle(const FlowGraph *graph, int *cycle);

/* Marks the nodes that can be reached from a node by one edge or more. */
extern void FlowGraphReach(const FlowGraph *graph, int from, bool *reached);

#endif							/* FLOW_GRAPH_H */
