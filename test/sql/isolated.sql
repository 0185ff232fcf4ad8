-- Steps at an isolation level of their own: what flow_define takes, and what a
-- client's flow_drain does with them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on

-- What is stored is what is not the default
SELECT flow_step('a', 'SELECT 1', isolation => 'read committed');
SELECT flow_step('a', 'SELECT 1', isolation => 'serializable', batch => true);
SELECT flow_define('levels', ARRAY[
	flow_step('rc', 'SELECT 1 AS x', isolation => 'read committed'),
	flow_step('rr', 'SELECT 2 AS x', isolation => 'repeatable read'),
	flow_step('ser', 'SELECT 3 AS x', isolation => 'serializable', batch => false),
	flow_step('last', 'SELECT rc, rr, ser', after => '{rc,rr,ser}')]);
SELECT name, options FROM flow.workflow_step WHERE workflow = 'levels' ORDER BY step_no;
SELECT flow_define(flow_definition('levels'));
SELECT * FROM flow_check('levels');

-- Refused: other levels, and kinds of step that have none
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1', isolation => 'read uncommitted')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1', isolation => 'Serializable')]);
SELECT flow_define('{"name": "x", "steps": [{"name": "a", "sql": "SELECT 1", "isolation": 1}]}');
SELECT flow_define('{"name": "x", "steps": [{"name": "a", "sql": "SELECT 1", "isolation": "repeatable"}]}');
SELECT flow_define('{"name": "x", "steps": [{"name": "a", "kind": "delay", "delay": "1 s", "isolation": "serializable"}]}');

-- A client's transaction has its own level, so it runs the others and leaves
-- these to a worker, however many there are
BEGIN;
SELECT flow_start('levels') AS run \gset
SELECT count(flow_start('levels')) FROM generate_series(1, 120);
SELECT flow_drain(:run);
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_drain(:run);
SELECT flow_drain();
SELECT name, status, count(*) FROM flow.step WHERE workflow = 'levels' GROUP BY name, status ORDER BY name;
SELECT ready FROM flow.queue WHERE workflow = 'levels';
SELECT flow_drain(max_steps => 5);
ROLLBACK;

-- Nor does one start them as part of a chain
SELECT flow_define('chain', ARRAY[
	flow_step('a', 'SELECT 1'),
	flow_step('b', 'SELECT 2', isolation => 'serializable', after => '{a}'),
	flow_step('c', 'SELECT 3', after => '{b}')]);
SELECT flow_start('chain') AS run \gset
SELECT flow_drain(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- What has not run is cancelled as ever
SELECT flow_cancel(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_drop('levels'), flow_drop('chain');
