-- The pure graph code, on small graphs by eye and on random ones by property.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;

-- a diamond: 0 -> 1, 2 -> 3
SELECT flow_internal.test_graph_order(4, '{0,0,1,2}', '{1,2,3,3}') AS node_order,
       flow_internal.test_graph_levels(4, '{0,0,1,2}', '{1,2,3,3}') AS levels,
       flow_internal.test_graph_cycle(4, '{0,0,1,2}', '{1,2,3,3}') AS cycle,
       flow_internal.test_graph_reach(4, '{0,0,1,2}', '{1,2,3,3}', 1) AS from_1;
-- nothing, and no edges
SELECT flow_internal.test_graph_order(0, '{}', '{}') AS node_order,
       flow_internal.test_graph_levels(0, '{}', '{}') AS levels,
       flow_internal.test_graph_cycle(0, '{}', '{}') AS cycle;
SELECT flow_internal.test_graph_order(3, '{}', '{}') AS node_order,
       flow_internal.test_graph_levels(3, '{}', '{}') AS levels;
-- an edge given twice counts once
SELECT flow_internal.test_graph_order(2, '{1,1,1}', '{0,0,0}') AS node_order;
-- a node that depends on itself, and two cycles of which one is named
SELECT flow_internal.test_graph_cycle(3, '{0,1}', '{1,1}') AS cycle,
       flow_internal.test_graph_levels(3, '{0,1}', '{1,1}') AS levels;
SELECT flow_internal.test_graph_cycle(6, '{4,5,3,2,1}', '{5,4,2,1,3}') AS cycle;
-- a long chain and a long cycle need no stack
SELECT max(level) FROM unnest(flow_internal.test_graph_levels(100000,
       (SELECT array_agg(i) FROM generate_series(0, 99998) i),
       (SELECT array_agg(i) FROM generate_series(1, 99999) i))) AS level;
SELECT cardinality(flow_internal.test_graph_cycle(100000,
       (SELECT array_agg(i) FROM generate_series(0, 99999) i),
       (SELECT array_agg((i + 1) % 100000) FROM generate_series(0, 99999) i)));
-- not an edge
SELECT flow_internal.test_graph_order(2, '{0}', '{2}');
SELECT flow_internal.test_graph_reach(2, '{0}', '{1}', 2);

-- Four hundred random graphs.  Edges go from lower to higher numbers under a
-- random renumbering, so the graph has no cycle until one edge is turned.
DO $$
DECLARE
	n int; tails int[]; heads int[]; nodes int[]; levels int[]; cycle int[];
	back int; from_node int; wanted int[];
BEGIN
	FOR round IN 1..400 LOOP
		n := 1 + (random() * 24)::int;
		SELECT array_agg(i ORDER BY random()) INTO nodes FROM generate_series(0, n - 1) i;
		SELECT coalesce(array_agg(nodes[a]), '{}'), coalesce(array_agg(nodes[b]), '{}')
		  INTO tails, heads
		  FROM generate_series(1, n) a, generate_series(1, n) b
		 WHERE a < b AND random() < 0.2;

		-- every node once, every edge forwards
		nodes := flow_internal.test_graph_order(n, tails, heads);
		ASSERT (SELECT array_agg(i ORDER BY i) FROM unnest(nodes) i)
			= (SELECT array_agg(i) FROM generate_series(0, n - 1) i), 'order is no permutation';
		ASSERT (SELECT coalesce(bool_and(array_position(nodes, t) < array_position(nodes, h)), true)
			FROM unnest(tails, heads) e(t, h)), 'an edge goes backwards';

		-- a level is one more than the highest level before it
		levels := flow_internal.test_graph_levels(n, tails, heads);
		ASSERT (SELECT bool_and(levels[i + 1] = coalesce((SELECT max(levels[t + 1]) + 1
			FROM unnest(tails, heads) e(t, h) WHERE h = i), 0))
			FROM generate_series(0, n - 1) i), 'levels are wrong';
		ASSERT flow_internal.test_graph_cycle(n, tails, heads) IS NULL, 'a cycle that is none';

		-- what can be reached, against a recursive query
		from_node := (random() * (n - 1))::int;
		WITH RECURSIVE r(i) AS (
			SELECT h FROM unnest(tails, heads) e(t, h) WHERE t = from_node
			UNION SELECT h FROM r, unnest(tails, heads) e(t, h) WHERE t = r.i)
		SELECT coalesce(array_agg(i ORDER BY i), '{}') INTO wanted FROM r;
		ASSERT flow_internal.test_graph_reach(n, tails, heads, from_node) = wanted, 'reach is wrong';

		-- one edge back to an earlier node on a path closes a cycle
		CONTINUE WHEN wanted = '{}';
		back := wanted[1 + (random() * (cardinality(wanted) - 1))::int];
		tails := tails || back;
		heads := heads || from_node;
		cycle := flow_internal.test_graph_cycle(n, tails, heads);
		ASSERT cycle IS NOT NULL, 'no cycle found';
		ASSERT (SELECT count(*) = count(DISTINCT c) FROM unnest(cycle) c), 'a node twice in a cycle';
		ASSERT (SELECT bool_and(EXISTS (SELECT FROM unnest(tails, heads) e(t, h)
			WHERE t = cycle[i] AND h = cycle[i % cardinality(cycle) + 1]))
			FROM generate_series(1, cardinality(cycle)) i), 'a cycle without its edges';
		ASSERT flow_internal.test_graph_levels(n, tails, heads) IS NULL, 'levels of a cycle';
		ASSERT cardinality(flow_internal.test_graph_order(n, tails, heads)) < n, 'order of a cycle';
	END LOOP;
END
$$;
