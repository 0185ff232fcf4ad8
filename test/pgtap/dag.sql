-- Several hundred random graphs, run to their end: order respected, each step
-- exactly once, cycles found where they are, skipped steps neither too many
-- nor too few.
\set ECHO none
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
SELECT plan(12);
SELECT setseed(0.42);

CREATE TABLE dag_audit (no bigint GENERATED ALWAYS AS IDENTITY, run_id bigint, step text, seen jsonb);

-- Edges of graph g; each goes from a lower to a higher number
CREATE TABLE dag_edge (g int, tail int, head int);
CREATE TABLE dag_node (g int, node int, bad boolean);
INSERT INTO dag_node
SELECT g, node, random() < 0.08 AND g > 200
FROM (SELECT g, 1 + (random() * 12)::int AS n FROM generate_series(1, 400) g) AS graph
	CROSS JOIN LATERAL generate_series(1, n) node;
INSERT INTO dag_edge
SELECT t.g, t.node, h.node
FROM dag_node t JOIN dag_node h ON h.g = t.g AND h.node > t.node
WHERE random() < 0.3;

-- A step writes its row and what it saw of its dependencies; a bad one fails.
-- Steps are defined in an order that has nothing to do with the edges.
CREATE FUNCTION dag_step(graph int, number int, is_bad boolean) RETURNS jsonb LANGUAGE sql AS $$
	SELECT flow_step('s' || number,
		format('INSERT INTO dag_audit (run_id, step, seen) VALUES (flow.run_id, %L, jsonb_build_array(%s)) RETURNING no%s',
			's' || number, coalesce(string_agg('s' || tail || '->''no''', ', '), ''),
			CASE WHEN is_bad THEN ', 1 / 0' ELSE '' END),
		after => coalesce(array_agg('s' || tail) FILTER (WHERE tail IS NOT NULL), '{}'))
	FROM (SELECT tail FROM dag_edge WHERE g = graph AND head = number) AS e
$$;
SELECT flow_define('dag-' || g, array_agg(dag_step(g, node, bad) ORDER BY md5(g || ' ' || node)))
FROM dag_node GROUP BY g \g /dev/null

CREATE TABLE dag_run AS
SELECT g, flow_start('dag-' || g) AS id FROM generate_series(1, 400) g;
SELECT flow_drain(id) FROM dag_run \g /dev/null

SELECT is((SELECT count(*) FROM dag_run JOIN flow.run USING (id)
		   WHERE (status = 'completed') = EXISTS (SELECT FROM dag_node n WHERE n.g = dag_run.g AND bad)),
	0::bigint, 'graphs without a bad step complete, the others fail');
SELECT is((SELECT count(*) FROM dag_run JOIN flow.run USING (id) WHERE status NOT IN ('completed', 'failed')),
	0::bigint, 'every run has ended');
SELECT cmp_ok((SELECT count(*) FROM dag_run JOIN flow.run USING (id) WHERE status = 'failed'),
	'>', 50::bigint, 'enough of them fail to mean something');

-- Effects
SELECT is((SELECT count(*) FROM flow.step s JOIN dag_run r ON r.id = s.run_id
		   WHERE (s.status = 'completed') <> EXISTS (SELECT FROM dag_audit a WHERE a.run_id = s.run_id AND a.step = s.name)),
	0::bigint, 'a step has an effect if, and only if, it completed');
SELECT is((SELECT count(*) FROM (SELECT FROM dag_audit GROUP BY run_id, step HAVING count(*) > 1) twice),
	0::bigint, 'no step ran twice');
SELECT is((SELECT count(*) FROM dag_edge e JOIN dag_run r USING (g)
		   JOIN dag_audit t ON t.run_id = r.id AND t.step = 's' || tail
		   JOIN dag_audit h ON h.run_id = r.id AND h.step = 's' || head
		   WHERE t.no >= h.no),
	0::bigint, 'a step runs after all it depends on');
SELECT is((SELECT count(*) FROM dag_edge e JOIN dag_run r USING (g)
		   JOIN dag_audit t ON t.run_id = r.id AND t.step = 's' || tail
		   JOIN dag_audit h ON h.run_id = r.id AND h.step = 's' || head
		   WHERE NOT h.seen @> to_jsonb(t.no)),
	0::bigint, 'a step sees the outputs of what it depends on');

-- Failures
CREATE TABLE dag_below AS
WITH RECURSIVE below (g, node) AS (
	SELECT r.g, substr(s.name, 2)::int FROM flow.step s JOIN dag_run r ON r.id = s.run_id WHERE s.status = 'failed'
	UNION
	SELECT e.g, e.head FROM below b JOIN dag_edge e ON e.g = b.g AND e.tail = b.node
)
SELECT * FROM below;
SELECT is((SELECT count(*) FROM flow.step s JOIN dag_run r ON r.id = s.run_id
		   WHERE s.status = 'failed' AND NOT (SELECT bad FROM dag_node n WHERE n.g = r.g AND 's' || node = s.name)),
	0::bigint, 'only bad steps fail');
SELECT is((SELECT count(*) FROM flow.step s JOIN dag_run r ON r.id = s.run_id
		   WHERE (s.status = 'skipped') <> (s.status <> 'failed'
			   AND EXISTS (SELECT FROM dag_below b WHERE b.g = r.g AND 's' || b.node = s.name))),
	0::bigint, 'skipped are exactly the steps below a failed one');
SELECT is((SELECT count(*) FROM flow.step s JOIN dag_run r ON r.id = s.run_id
		   WHERE s.status NOT IN ('completed', 'failed', 'skipped', 'cancelled')),
	0::bigint, 'every step of an ended run has ended');
SELECT is((SELECT count(*) FROM flow_internal.task t JOIN dag_run r ON r.id = t.run_id),
	0::bigint, 'no task is left');

-- Cycles: one edge more, backwards, over a path or not
CREATE FUNCTION dag_define_with(graph int, from_node int, to_node int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO dag_edge VALUES (graph, from_node, to_node);
	PERFORM flow_define('dag-' || graph, array_agg(dag_step(g, node, bad)) ) FROM dag_node WHERE g = graph GROUP BY g;
	RAISE EXCEPTION 'stored' USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN 'stored';
WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE FUNCTION dag_reaches(graph int, from_node int, to_node int) RETURNS boolean LANGUAGE sql AS $$
	WITH RECURSIVE reached (node) AS (
		SELECT from_node
		UNION
		SELECT head FROM reached JOIN dag_edge ON g = graph AND tail = reached.node
	)
	SELECT EXISTS (SELECT FROM reached WHERE node = to_node)
$$;
SELECT is((SELECT count(*)
	FROM (SELECT t.g, t.node AS tail, h.node AS head, random() AS r
		  FROM dag_node t JOIN dag_node h USING (g)
		  WHERE h.node <= t.node
		  ORDER BY r LIMIT 300) AS back
	WHERE dag_define_with(g, tail, head)
		<> CASE WHEN dag_reaches(g, head, tail) THEN 'WF002' ELSE 'stored' END),
	0::bigint, 'an edge backwards is a cycle if, and only if, a path leads forward');

SELECT * FROM finish();
ROLLBACK;
