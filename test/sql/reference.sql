-- Documents with actions, written for another system: what becomes of them,
-- and what is refused.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on

BEGIN;
CREATE ROLE regress_flow_ref LOGIN;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_ref;
SET ROLE regress_flow_ref;
SET search_path = public;

-- One that works: all that runs today, with every key of a step
SELECT flow_define('{
  "id": "order-processing", "name": "Order Processing",
  "steps": [
    {"id": "load", "name": "Load the order", "type": "task", "action": "sql",
     "params": {"sql": "SELECT 42 AS id, (input->>''amount'')::numeric AS amount"},
     "dependencies": [], "timeout": 30000,
     "retryPolicy": {"maxAttempts": 5, "backoffMultiplier": 3, "initialDelay": 1000, "maxDelay": 30000}},
    {"id": "total", "name": "Total", "type": "transform", "action": "transform",
     "params": {"code": "(load->>''amount'')::numeric * 1.2 -- with tax"}, "dependencies": ["load"]},
    {"id": "big", "name": "Big?", "type": "condition", "action": "condition",
     "params": {"expression": "total::numeric > 100;"}, "dependencies": ["total"]},
    {"id": "unknown", "name": null, "action": "condition", "params": {"expression": "NULL"}},
    {"id": "text", "action": "transform", "params": {"code": "''plain''"}},
    {"id": "object", "action": "transform", "params": {"code": "jsonb_build_object(''a'', big->''result'')"}, "dependencies": ["big"]},
    {"id": "row", "action": "transform", "params": {"code": "SELECT n, n * n AS square FROM generate_series(3, 3) n"}},
    {"id": "named", "action": "transform", "params": {"code": "make_interval(days => 1)"}}
  ]}');
SELECT jsonb_pretty(flow_definition('order-processing'));
SELECT flow_start('order-processing', '{"amount": 100}') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
-- What is stored is a definition like any other
SELECT flow_define(flow_definition('order-processing')) AS same;
SELECT flow_define('{"id": "empty", "name": "Nothing", "steps": []}');
SELECT flow_definition('empty');
SELECT flow_define('{"id": "two", "steps": [{"id": "a", "action": "sql", "params": {"sql": "SELECT 1"}, "timeout": "2 min", "retryPolicy": {"maxAttempts": 1, "initialDelay": "5 s"}}]}');
SELECT flow_definition('two');

-- The other actions, in the form that the engine would get
CREATE FUNCTION pg_temp.problems(document jsonb) RETURNS TABLE(workflow text, step text, severity text, code text, message text, hint text) LANGUAGE sql
AS $$ SELECT workflow, step, severity, code, message, hint FROM flow_check_document(document) $$;
CREATE FUNCTION pg_temp.problems_of(step jsonb) RETURNS TABLE(step text, severity text, code text, message text, hint text) LANGUAGE sql
AS $$ SELECT step, severity, code, message, hint FROM flow_check_document(jsonb_build_object('id', 'x', 'steps', jsonb_build_array('{"id": "a"}'::jsonb || step))) $$;
SELECT * FROM pg_temp.problems('{
  "id": "calls",
  "steps": [
    {"id": "nap", "action": "delay", "params": {"duration": 1500}, "timeout": 5, "retryPolicy": {"maxAttempts": 3}},
    {"id": "get", "action": "http.request", "params": {"url": "https://example.com/x", "method": "PUT", "headers": {"X-A": "b"}, "body": {"a": [1, null]}}, "dependencies": ["nap"]},
    {"id": "tell", "action": "webhook", "params": {"url": "https://example.com/y", "body": "it''s done"}, "dependencies": ["get"]}
  ],
  "webhooks": {"onComplete": "https://example.com/ok", "onFailure": "https://example.com/bad", "onStep": "https://example.com/step"}}');

-- Unknown keys, wherever they are
SELECT * FROM pg_temp.problems('{"id": "x", "nme": "y", "version": 1, "steps": [
  {"id": "a", "action": "sql", "params": {"sql": "SELECT 1", "sq": 1}, "depndencies": [], "after": ["b"], "retries": 3, "retryPolcy": {}},
  {"id": "b", "action": "sql", "params": {"query": "SELECT 1"}, "retryPolicy": {"maxAttemps": 3, "backoff": 2, "initalDelay": 1, "max_delay": 5, "jitter": 1}},
  {"id": "c", "action": "delay", "params": {"delay": 5, "durtion": 5}},
  {"id": "d", "action": "http.request", "params": {"uri": "http://x", "header": {}, "payload": 1}},
  {"id": "e", "action": "webhook", "params": {"url": "http://x", "method": "PUT"}},
  {"id": "f", "acton": "sql", "params": {"sql": "SELECT 1"}}],
  "webhooks": {"onCompleted": "http://x", "onfailure": "http://x", "onCancel": "http://x"}}');

-- Actions
SELECT flow_define('{"id": "x", "steps": [{"id": "a", "action": "foo", "params": {}}]}');
\echo :SQLSTATE
SELECT * FROM pg_temp.problems_of('{"action": "http"}');
SELECT * FROM pg_temp.problems_of('{"action": "http.requst", "params": {"url": "http://x"}}');
SELECT * FROM pg_temp.problems_of('{"params": {}}');
SELECT * FROM pg_temp.problems_of('{"action": 5}');
SELECT * FROM pg_temp.problems_of('{"action": "sql"}');
SELECT * FROM pg_temp.problems_of('{"action": "delay", "params": null}');
SELECT * FROM pg_temp.problems_of('{"action": "transform", "params": {}}');
SELECT * FROM pg_temp.problems_of('{"action": "condition", "params": {"expression": true}}');
SELECT * FROM pg_temp.problems_of('{"action": "webhook", "params": {}}');

-- Types and ranges
SELECT * FROM pg_temp.problems('{"id": 1, "name": 2, "steps": [3, {"id": 4, "action": "sql", "params": [], "dependencies": "x", "timeout": -1, "name": {}},
  {"id": "b", "action": "sql", "params": {"sql": "SELECT 1"}, "timeout": 0, "dependencies": [1], "retryPolicy": {"maxAttempts": 0, "backoffMultiplier": 0.5, "initialDelay": "soon", "maxDelay": 1e300}},
  {"id": "c", "action": "sql", "params": {"sql": "SELECT 1"}, "timeout": "-1 s", "retryPolicy": {"maxAttempts": 1.5, "backoffMultiplier": "2", "initialDelay": -5}},
  {"id": "d", "action": "sql", "params": {"sql": "SELECT 1"}, "retryPolicy": 5},
  {"id": "e", "action": "http.request", "params": {"url": 1, "method": 2, "headers": "X: y"}},
  {"id": "f", "action": "http.request", "params": {"url": "http://x/${input.id}"}}], "webhooks": {"onStep": 1}}');
SELECT * FROM pg_temp.problems('{"id": "x", "webhooks": []}');
SELECT * FROM pg_temp.problems('{"id": "x", "steps": {}}');
SELECT * FROM pg_temp.problems('{"id": "x", "steps": [{"action": "sql", "params": {"sql": "SELECT 1"}}]}');
SELECT * FROM pg_temp.problems('{"name": "x", "steps": [{"id": "a", "action": "sql", "params": {"sql": "SELECT 1"}}]}');
-- what is checked of every definition speaks of the keys that are there
SELECT * FROM pg_temp.problems('{"id": "a:b", "steps": [
  {"id": "input", "action": "sql", "params": {"sql": "SELECT 1"}, "dependencies": ["nobody"]},
  {"id": "a", "action": "transform", "params": {"code": "1 +"}, "dependencies": ["b"], "timeout": "-1 s"},
  {"id": "b", "action": "sql", "params": {"sql": "COMMIT"}, "dependencies": ["a"]},
  {"id": "b", "action": "condition", "params": {"expression": "nothing"}}]}');
SELECT * FROM pg_temp.problems_of('{"action": "transform", "params": {"code": "nothing"}}');
SELECT * FROM pg_temp.problems_of('{"action": "delay", "params": {"duration": "-5 s"}}');
SELECT flow_define('{"id": "x", "steps": [{"id": "a", "action": "transform", "params": {"code": "1 +"}}]}');

-- JavaScript is refused, and says so
SELECT flow_define('{"id": "x", "steps": [{"id": "a", "action": "transform", "params": {"code": "input => input.items.length"}}]}');
\echo :SQLSTATE
SELECT v.code, p.message FROM (VALUES
	('return input.x * 2;'), ('(x) => x'), ('x => x + 1'), ('async () => 1'), ('const a = 1; return a'), ('let a = 2'), ('var a = 2'),
	('function (x) { return x }'), ('function f(x) x'), ('input.status === 1'), ('input.status !== 1'), ('a == 1'), ('`total ${x}`'), ('{a: 1}'),
	('input->''a'' // note'), ('input.amount > 100'), ('input.items.map(x => x.id)'), ('f(input).filter(x => x)'), ('total.value'), ('context.total'),
	('JSON.stringify(input)'), ('Math.round(1)'), ('new Date()'), ('typeof input'), ('await f(1)'), ('throw ''x'''), ('input ? 1 : 2'), ('1; return 2'), ('if (input) return 1'),
	('(function (x) x)(1)'), ('new In(1)'), ('input[0].total'), ('total[''a''].x')) v(code),
	LATERAL (SELECT message FROM flow_check_document(jsonb_build_object('id', 'x', 'steps', jsonb_build_array(
		'{"id": "total", "action": "sql", "params": {"sql": "SELECT 1"}}'::jsonb,
		jsonb_build_object('id', 'a', 'action', 'condition', 'params', jsonb_build_object('expression', v.code), 'dependencies', '["total"]'::jsonb))))) p
ORDER BY v.code COLLATE "C";
-- ... and SQL is not taken for it
SELECT v.code, message FROM (VALUES
	('make_interval(days => 1) > ''0'''), ('input->>''return'' = ''=> === ${x} { const a''),'), ('input ? ''a:b'''), ('(ARRAY[1,2])[1:2] = ''{1}'''),
	('input::jsonb ? ''x'' AND ''1''::text = ''1'''), ('EXISTS (SELECT 1 FROM jsonb_each(input) input WHERE input.key = ''x'')'),
	('$$ return { $$ = E''\'' => '''), ('true -- return {'), ('/* async => */ true'), ('"return" = 1'), ('total::pg_catalog.text = ''x'''),
	('EXISTS (SELECT function FROM (SELECT 1 AS function) AS t)'), ('EXISTS (SELECT count(*) var FROM pg_class AS typeof)'), ('EXISTS (SELECT new FROM (SELECT 1 AS new) AS t)'),
	('input[''a''] = ''1'''), ('flow.total IS NOT NULL'), ('1 = 1 AND (input->''a'') @> ''{"a": 1}'''), ('(SELECT true)'), ('pg_catalog.now() > ''2000-01-01''')) v(code)
	LEFT JOIN LATERAL (SELECT message FROM flow_check_document(jsonb_build_object('id', 'x', 'steps', jsonb_build_array(
		'{"id": "total", "action": "sql", "params": {"sql": "SELECT 1"}}'::jsonb,
		jsonb_build_object('id', 'a', 'action', 'condition', 'params', jsonb_build_object('expression', v.code), 'dependencies', '["total"]'::jsonb))))) p ON true
ORDER BY v.code COLLATE "C";

-- Our own form with a key of theirs is still our own
SELECT * FROM flow_check_document('{"id": "x", "steps": [{"name": "a", "sql": "SELECT 1"}]}');
SELECT * FROM flow_check_document('{"id": "x", "notify": "none", "steps": []}');
-- Names of webhooks give way to those of steps
SELECT step, message FROM flow_check_document('{"id": "x", "steps": [{"id": "onStep", "action": "sql", "params": {"sql": "SELECT 1"}}], "webhooks": {"onStep": "http://x"}}');
-- Nothing of it was stored
SELECT count(*) FROM flow.workflow WHERE name IN ('x', 'calls');
ROLLBACK;
