-- What flow_define refuses, each with its own message, place and hint.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on

-- Raised, one by one
SELECT flow_define(NULL::text, '{}');
SELECT flow_define('x', NULL);
SELECT flow_define(NULL::jsonb);
SELECT flow_define('[]');
SELECT flow_define('{"name": "x"}');
SELECT flow_define('{"name": "x", "steps": null}');
SELECT flow_define('{"name": "x", "stps": []}');
SELECT flow_define('{"name": "x", "steps": {}}');
SELECT flow_definition(NULL);
SELECT flow_enable(NULL);
SELECT flow_grant('x', NULL);
SELECT flow_grant('x', 'public', NULL);
SELECT * FROM flow_check_document(NULL);
SELECT flow_define('x', '{null}');
SELECT flow_define('x', ARRAY['"a"'::jsonb]);
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1'), flow_step('a', 'SELECT 2')]);
SELECT flow_define('x', ARRAY[flow_step('ship', 'SELECT 1', after => '{pay}'), flow_step('pya', 'SELECT 2')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1', after => '{a}')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1', after => '{c}'), flow_step('b', 'SELECT 1', after => '{a}'), flow_step('c', 'SELECT 1', after => '{b}')]);
\echo :SQLSTATE
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1', options => '{"afer": ["b"]}')]);
SELECT flow_define('x', '{}', options => '{"max_run": 1}');
SELECT flow_define('x', '{}', options => '[]');
SELECT flow_define('x', '{}', 'text', options => '{"description": "other"}');
SELECT flow_define('x', '{}', max_runs => 0);
SELECT flow_define('x', ARRAY[flow_http('d', 's')]);
\echo :SQLSTATE
SELECT flow_define('x', ARRAY[flow_step('a', 'SELEC 1')]);
SELECT flow_define('x', ARRAY[flow_step('a', E'SELECT 1;\n  SELECT 1 FORM x')]);

-- SQL that no step may hold
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1; COMMIT')]);
\echo :SQLSTATE
SELECT flow_define('x', ARRAY[flow_step('a', 'ROLLBACK')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'BEGIN')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'SAVEPOINT s')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'RELEASE s')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'ROLLBACK TO s')]);
SELECT flow_define('x', ARRAY[flow_step('a', $$PREPARE TRANSACTION 'x'$$)]);
SELECT flow_define('x', ARRAY[flow_step('a', $$COMMIT PREPARED 'x'$$)]);
SELECT flow_define('x', ARRAY[flow_step('a', 'SELECT 1; COPY t FROM STDIN')]);
SELECT flow_define('x', ARRAY[flow_step('a', 'COPY (SELECT 1) TO STDOUT')]);
\echo :SQLSTATE
SELECT flow_define('x', ARRAY[flow_step('a', E' ;\n')]);
SELECT flow_define('x', ARRAY[flow_step('a', '-- nothing')]);

-- The rest collected: every problem of a document is a row
CREATE FUNCTION pg_temp.problems(steps jsonb, other jsonb DEFAULT '{}')
RETURNS TABLE(step text, severity text, code text, message text, hint text) LANGUAGE sql
AS $$ SELECT step, severity, code, message, hint FROM flow_check_document(jsonb_build_object('name', 'x', 'steps', steps) || other) $$;

-- names of workflows
SELECT name, code, message FROM (VALUES (''), ('a:b'), ('task.x'), (repeat('x', 59)), (repeat('x', 58)), (E'a\tb'), ('a b')) v(name), flow_check_document(jsonb_build_object('name', name, 'steps', '[]'::jsonb));
SELECT code, message FROM flow_check_document('{"steps": []}');
SELECT code, message FROM flow_check_document('7');
SELECT code, message, hint FROM flow_check_document('{"step": []}');
-- names of steps
SELECT * FROM pg_temp.problems(jsonb_build_array(
	'{"sql": "SELECT 1"}'::jsonb, flow_step('', 'SELECT 1'), flow_step('a:b', 'SELECT 1'), flow_step(repeat('x', 64), 'SELECT 1'),
	flow_step('input', 'SELECT 1'), flow_step('item', 'SELECT 1'), flow_step('item_no', 'SELECT 1'), flow_step('event', 'SELECT 1'),
	flow_step('run_id', 'SELECT 1'), flow_step('run_key', 'SELECT 1'), flow_step('attempt', 'SELECT 1'), flow_step('slot', 'SELECT 1'), 5));
SELECT * FROM pg_temp.problems(jsonb_build_array(flow_step('order', 'SELECT 1'), flow_step('left', 'SELECT 1'), flow_step('value', 'SELECT 1'), flow_step(repeat('x', 63), 'SELECT 1')));
-- keys and types
SELECT * FROM pg_temp.problems('[{"name": "a", "sql": "SELECT 1", "retrys": 1, "batch": "no", "retries": 1.5, "backoff": "2", "after": "b", "timeout": 5000, "max_delay": "soon", "priority": 99999999999, "retry_on": [40], "description": {}}]');
SELECT * FROM pg_temp.problems('[{"id": "a", "sql": "SELECT 1"}, {"name": "b", "sql": "SELECT 1", "depends": [], "dependencies": [], "depends_on": [], "dependsOn": []}]');
SELECT * FROM pg_temp.problems('{}');
SELECT * FROM pg_temp.problems('[]', '{"notify": 1, "keep": "x", "id": "y", "search_path": "a,,b"}');
-- values
SELECT * FROM pg_temp.problems(jsonb_build_array(
	flow_step('a', 'SELECT 1', retries => -1, retry_delay => '-1 s', backoff => 0.5, max_delay => '-1 day', jitter => 1.5, timeout => '0'),
	flow_step('b', 'SELECT 1', backoff => 'NaN', jitter => 'Infinity', timeout => '100000 years', retry_on => '{4,400}', no_retry_on => '{P0001,p0001}'),
	flow_step('c', 'SELECT 1', result => 'rws', needs => 'al', isolation => 'none', on_error => 'explode'),
	jsonb_build_object('name', 'd', 'kind', 'taks')));
SELECT * FROM pg_temp.problems('[]', '{"notify": "runs"}');
SELECT * FROM pg_temp.problems('[]', '{"notify": "step"}');
-- what a kind needs, what means nothing for it, what needs or excludes another
SELECT * FROM pg_temp.problems(jsonb_build_array(
	flow_step('a', NULL), flow_delay('b'), flow_delay('c', '1 s', 'now()'), flow_subflow('d', NULL), flow_delay('e', '-1 s', retries => 3, timeout => '1 s'),
	flow_wait('f', undo => 'SELECT 1', options => '{"sql": "SELECT 1"}'), flow_step('g', 'SELECT 1', on_result => 'SELECT 1'),
	flow_http('h', 'srv', url => 'http://x')));
SELECT * FROM pg_temp.problems(jsonb_build_array(
	flow_step('a', 'SELECT 1', max_parallel => 0, on_item_error => 'collect'), flow_step('b', 'SELECT 1', limit_key => '1'),
	flow_step('c', 'SELECT 1', after => '{b}', hook => '{failed}')));
-- what has to wait
SELECT * FROM pg_temp.problems(jsonb_build_array(
	flow_step('a', 'SELECT 1', needs => 'any', condition => 'true', for_each => 'SELECT 1', on_error => 'continue'),
	flow_step('b', 'SELECT 1', again => 'x', emits => '{e}', limits => '{l}', isolation => 'serializable'),
	flow_step('c', 'SELECT 1', hook => '{failed}'), flow_step('d', 'SELECT 1', after => '{a:failed}'),
	flow_command('e', 'VACUUM'), flow_wait('f'), flow_approval('g'), flow_choice('h', '1'), flow_subflow('i', 'w'), flow_task('j'), flow_http('k', 's')));
SELECT * FROM pg_temp.problems('[]', '{"timeout": "1 h", "max_runs": 1, "max_runs_by": "x", "max_parallel": 1, "resume_after": "1 h"}');
SELECT * FROM pg_temp.problems('[]', '{"keep": "0", "keep_data": "1100 years", "resume_after": "-1 s"}');
-- dependencies
SELECT * FROM pg_temp.problems(jsonb_build_array(
	flow_step('a', 'SELECT 1', after => '{nobody,b,b}'), flow_step('b', 'SELECT 1', after => '{a}'), flow_step('b', 'SELECT 1')));
-- SQL: errors of all steps, and no warnings while there are errors
SELECT * FROM pg_temp.problems(jsonb_build_array(
	flow_step('a', 'SELECT * FROM nowhere'), flow_step('b', 'SELEC'), flow_step('c', 'COMMIT; COPY x TO STDOUT'), flow_step('d', 'SELECT (')));
-- a cycle of a thousand is printed in short
SELECT length(message) < 400 AS short, code FROM pg_temp.problems(
	(SELECT jsonb_agg(flow_step('s' || i, 'SELECT 1', after => ARRAY['s' || ((i + 999) % 1000)])) FROM generate_series(0, 999) i));
-- nothing of it was stored
SELECT count(*) FROM flow_internal.workflow WHERE name = 'x';
