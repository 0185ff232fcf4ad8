-- API.md 1.4, flow_define and what belongs to it: each row of the contract with what
-- it does and what it refuses.
\ir api.psql
SELECT no_plan();

-- flow_define: the version
SELECT is(flow_define('api-v', ARRAY[flow_step('a', 'SELECT 1')]), 1, 'flow_define: returns the version');
SELECT is(flow_define('api-v', ARRAY[flow_step('a', 'SELECT 1')]), 1, 'flow_define: the same again is the same version');
SELECT is(flow_define('api-v', ARRAY[flow_step('a', 'SELECT 2')]), 2, 'flow_define: a changed one is a new version');
SELECT is(flow_define('api-v', ARRAY[flow_step('a', 'SELECT 1')]), 3, 'flow_define: going back is one, too');
SELECT is(flow_define('api-v', ARRAY[flow_step('a', 'SELECT 1')], description => 'd', keep => '1 day', notify => 'none'), 3, 'flow_define: description, keep and notify are no part of it');
SELECT is(became('{}'), 'completed: ', 'flow_define: no steps is fine');

-- flow_define: its arguments
SELECT is((SELECT description FROM flow.workflow WHERE name = 'api-v' AND latest), 'd', 'description: it is kept');
SELECT is(answer($$ SELECT flow_define('{"name": "api", "steps": [], "description": 5}'::jsonb) $$), '22023', 'description: what is no text is refused');
SELECT flow_define('api-t', ARRAY[flow_wait('w')], timeout => '1 us'), flow_start('api-t') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run) || ' ' || failure(:run), 'failed: w cancelled WF004', 'timeout: past its deadline a run fails');
SELECT is(answer($$ SELECT flow_define('api', '{}', timeout => '-1 s') $$), '22023', 'timeout: a negative one is refused');
SELECT is((SELECT string_agg(answer(format('SELECT flow_define(''api-n-%1$s'', ''{}'', notify => %1$L)', n)), ' ') FROM unnest('{none,run}'::text[]) n), '1 1', 'notify: none, run');
SELECT is(answer($$ SELECT flow_define('api', '{}', notify => 'loud') $$), '22023', 'notify: another value is refused');
SELECT is(flow_define('api-k', '{}', keep => '1 day', keep_data => '1 hour'), 1, 'keep, keep_data: intervals');
SELECT is(answer($$ SELECT flow_define('api', '{}', keep => '0') $$) || answer($$ SELECT flow_define('api', '{}', keep_data => '-1 day') $$), '2202322023', 'keep, keep_data: none is refused');
SELECT flow_define('api-p', ARRAY[flow_step('a', 'SELECT 1 / CASE WHEN flow.attempt > 2 THEN 1 ELSE 0 END', on_error => 'pause')], resume_after => '1 us'), flow_start('api-p') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run) || ' ' || attempts, 'completed: a completed 2', 'resume_after: a run paused by on_error resumes by itself') FROM (SELECT count(*) AS attempts FROM flow.attempt WHERE run_id = :run) a;
SELECT flow_define('api-p', ARRAY[flow_step('a', 'SELECT 1 / 0', on_error => 'pause')], resume_after => '1 hour'), flow_start('api-p') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run), 'paused: a ready', 'resume_after: not before');
SELECT is(answer($$ SELECT flow_define('api', '{}', resume_after => '-1 s') $$), '22023', 'resume_after: a negative one is refused');
CREATE SCHEMA api_place;
CREATE TABLE api_place.only_here AS SELECT 5 AS n;
SELECT flow_define('api-s', ARRAY[flow_step('a', 'SELECT n FROM only_here')], search_path => 'api_place'), flow_start('api-s') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(result_of(:run), '{"n": 5}', 'search_path: steps run under it');
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT n FROM only_here')])), '42P01', 'search_path: else under the one in effect at flow_define');
SELECT is(answer($$ SELECT flow_define('api', '{}', search_path => '"') $$), '22023', 'search_path: what is none is refused');
SELECT is(flow_define('api-o', '{}', options => '{"keep": "1 day"}'), 1, 'options: further ones by name');
SELECT is(answer($$ SELECT flow_define('api', '{}', options => '{"keeps": "1 day"}') $$), '22023', 'options: an unknown one is refused');

-- Names
SELECT is(answer(format('SELECT flow_define(%L, ''{}'')', name)), '42602', 'names of workflows: ' || quote_nullable(translate(left(name, 10), E'\n', '_')) || ' is refused')
FROM unnest(ARRAY['', 'task.x', 'a:b', E'a\nb', repeat('x', 59)]) name;
SELECT is(flow_define(repeat('x', 58), '{}'), 1, 'names of workflows: 58 bytes are not too long');
SELECT is(refused(flow_step(name, 'SELECT 1')), '42602', 'names of steps: ' || quote_nullable(translate(left(name, 10), E'\n', '_')) || ' is refused')
FROM unnest(ARRAY['', 'a:b', E'a\nb', repeat('x', 64)]) name;
SELECT is(refused(flow_step(repeat('x', 63), 'SELECT 1')), 'accepted', 'names of steps: 63 bytes are not too long');
SELECT is(refused(flow_step('a', 'SELECT 1'), flow_step('a', 'SELECT 2')), '42710', 'names of steps: twice the same is refused');

-- What is checked
SELECT matches((SELECT hint FROM flow_check_document('{"name": "x", "steps": [{"name": "load", "sql": "SELECT 1"}, {"name": "b", "sql": "SELECT 1", "after": ["laod"]}]}')), 'load', 'checked: an unknown dependency, with what was meant');
SELECT matches((SELECT message FROM flow_check_document('{"name": "x", "steps": [{"name": "a", "sql": "SELECT 1", "after": ["b"]}, {"name": "b", "sql": "SELECT 1", "after": ["a"]}]}')), '(a -> b -> a|b -> a -> b)', 'checked: a cycle, printed');
SELECT is(refused(flow_step('a', 'SELEC 1')), '42601', 'checked: SQL that does not parse is refused');
SELECT is(refused(flow_step('a', 'SELECT * FROM not_yet')), 'accepted', 'checked: SQL that does not resolve is not');
SELECT is((SELECT severity FROM flow_check_document('{"name": "x", "steps": [{"name": "a", "sql": "SELECT * FROM not_yet"}]}')), 'warning', 'checked: ... but warned of');
SELECT is(answer($$ SELECT flow_define('api', ARRAY[flow_step('a', 'SELECT 1') || '{"kind": "magic"}']) $$), '22023', 'checked: an unknown kind is refused');

-- The document form
SELECT is(flow_define('{"name": "api-doc", "steps": [{"name": "a", "sql": "SELECT 1 AS n"}, {"name": "b", "sql": "SELECT a", "after": ["a"], "retries": 2}]}'::jsonb), 1, 'document: the names of arguments and options');
SELECT is(answer($$ SELECT flow_define('{"steps": []}'::jsonb) $$), '22023', 'document: a workflow without a name is refused');
SELECT is(flow_define($json${"id": "api-json", "name": "Orders", "steps": [
	{"id": "s1", "name": "first", "type": "action", "action": "sql", "params": {"sql": "SELECT 1 AS n"}, "retryPolicy": {"maxAttempts": 3, "backoffMultiplier": 2, "initialDelay": 500, "maxDelay": 9000}, "timeout": 2000},
	{"id": "s2", "type": "action", "action": "condition", "params": {"expression": "(s1->>'n')::int = 1"}, "dependencies": ["s1"]},
	{"id": "s3", "type": "action", "action": "transform", "params": {"code": "SELECT 5 AS n"}, "dependencies": ["s2"]},
	{"id": "s4", "type": "action", "action": "delay", "params": {"duration": 10}, "dependencies": ["s3"]}]}$json$::jsonb), 1, 'document: that of the README, as it stands');
SELECT is((SELECT concat_ws(' ', d->>'description', s->>'retries', s->>'retry_delay', s->>'max_delay', s->>'timeout') FROM flow_definition('api-json') d, LATERAL (SELECT d->'steps'->0 AS s) x), 'Orders 2 PT0.5S PT9S PT2S', 'document: numbers are milliseconds, retries are maxAttempts - 1');
SELECT flow_start('api-json') AS run \gset
SELECT flow_drain(:run, skip_time => true) AS d \gset
SELECT is(states(:run) || ' ' || out_of(:run, 's2'), 'completed: s1 completed, s2 completed, s3 completed, s4 completed {"result": true}', 'document: sql, condition, transform, delay');
SELECT is(answer($$ SELECT flow_define('{"id": "js", "steps": [{"id": "a", "action": "transform", "params": {"code": "return input.x * 2;"}}]}'::jsonb) $$) ~ '^(42601|22023|0A000)$', true, 'document: JavaScript is refused');
SELECT is(answer($$ SELECT flow_define('{"id": "js", "steps": [{"id": "a", "action": "fly"}]}'::jsonb) $$), '22023', 'document: an unknown action is refused');

-- flow_definition, flow_source
SELECT is(flow_define(flow_definition('api-doc')), 1, 'flow_definition: round-trips through flow_define');
SELECT isnt(flow_definition('api-v', 2), flow_definition('api-v'), 'flow_definition: of a version');
SELECT is(answer($$ SELECT flow_definition('api-nowhere') $$), '42704', 'flow_definition: an unknown workflow') ;
SELECT is(answer($$ SELECT flow_definition('api-v', 9) $$), '42704', 'flow_definition: an unknown version');
SELECT is(answer('SELECT x FROM (' || rtrim(flow_source('api-doc'), E'; \n') || ') x'), '(1)', 'flow_source: running it stores nothing new');
SELECT is(answer($$ SELECT flow_source('api-nowhere') $$), '42704', 'flow_source: an unknown workflow');

-- flow_check, flow_check_document
SELECT is((SELECT count(*) FROM flow_check('api-doc')), 0::bigint, 'flow_check: nothing is wrong');
SELECT flow_define('api-lost', ARRAY[flow_step('a', 'SELECT * FROM not_yet')]) AS v \gset
SELECT is((SELECT concat_ws(' ', workflow, severity, code, step) FROM flow_check('api-lost')), 'api-lost warning 42P01 a', 'flow_check: what is');
SELECT is((SELECT count(*) FROM flow_check() WHERE workflow = 'api-lost'), 1::bigint, 'flow_check: null is all it may see');
SELECT is(answer($$ SELECT count(*) FROM flow_check('api-nowhere') $$), '42704', 'flow_check: an unknown workflow');
SELECT is((SELECT string_agg(severity || ' ' || step, ', ' ORDER BY step) FROM flow_check_document('{"name": "x", "steps": [{"name": "a", "sql": "SELEC"}, {"name": "b", "sql": "SELECT 1", "needs": "most"}]}')), 'error a, error b, error b', 'flow_check_document: all problems');
SELECT is((SELECT count(*) FROM flow_check_document(flow_definition('api-doc'))), 0::bigint, 'flow_check_document: nothing is wrong');

-- flow_drop
SELECT is(flow_drop('api-doc'), true, 'flow_drop: drops a workflow');
SELECT is(flow_drop('api-doc'), false, 'flow_drop: false if there is none');
SELECT is(answer($$ SELECT flow_start('api-doc') $$), '42704', 'flow_drop: ... which cannot be started');
SELECT flow_define('api-busy', ARRAY[flow_wait('w')]), flow_start('api-busy') AS run \gset
SELECT is(answer($$ SELECT flow_drop('api-busy') $$), '55006', 'flow_drop: with unfinished runs it is refused');
SELECT is(flow_drop('api-busy', force => true), true, 'flow_drop: force drops it');
SELECT is(states(:run), 'cancelled: w cancelled', 'flow_drop: ... cancels them, and history stays');
SELECT is(flow_drop('api-v', 2), true, 'flow_drop: a version');
SELECT is((SELECT string_agg(version::text, ' ' ORDER BY version) FROM flow.workflow WHERE name = 'api-v'), '1 3', 'flow_drop: ... only that');

-- flow_enable, flow_disable
SELECT is(flow_disable('api-v'), true, 'flow_disable: disables');
SELECT is(flow_disable('api-v'), false, 'flow_disable: false if it was');
SELECT is(answer($$ SELECT flow_start('api-v') $$), '55000', 'flow_disable: no new runs');
SELECT is(flow_enable('api-v'), true, 'flow_enable: enables');
SELECT is(flow_enable('api-v'), false, 'flow_enable: false if it was');
SELECT isnt(flow_start('api-v'), NULL, 'flow_enable: new runs');
SELECT is(answer($$ SELECT flow_disable('api-nowhere') $$) || answer($$ SELECT flow_enable('api-nowhere') $$), '4270442704', 'flow_enable, flow_disable: an unknown workflow');

-- flow_set_owner, flow_grant, flow_revoke, and whose rights a run has
CREATE ROLE api_owner;
CREATE ROLE api_guest;
GRANT USAGE ON SCHEMA flow TO api_guest, api_owner;
GRANT CREATE ON SCHEMA flow TO api_owner;
ALTER ROLE api_owner LOGIN;
SELECT flow_define('api-mine', ARRAY[flow_step('a', 'SELECT session_user AS s, current_user AS c')]) AS v \gset
SELECT is(answer($$ SELECT flow_set_owner('api-mine', 'api_owner') $$), '', 'flow_set_owner: gives it to another role');
SELECT is((SELECT owner::text FROM flow.workflow WHERE name = 'api-mine'), 'api_owner', 'flow_set_owner: ... which is shown');
SELECT is(answer($$ SELECT flow_set_owner('api-mine', 'api_nobody') $$), '42704', 'flow_set_owner: an unknown role');
SET LOCAL ROLE api_guest;
SELECT answer($$ SELECT flow_start('api-mine') $$) AS before, answer($$ SELECT flow_set_owner('api-mine', 'api_guest') $$) AS own, answer($$ SELECT flow_grant('api-mine', 'api_guest') $$) AS grant_it \gset
SELECT answer($$ SELECT flow_define('api-guest', '{}') $$) AS define_it, answer($$ SELECT flow_define('api-mine', '{}') $$) AS redefine \gset
RESET ROLE;
SELECT isnt(:'before'::text ~ '^(42501|42704)$', false, 'flow_grant: without it a role does not start');
SELECT isnt(:'own'::text ~ '^(42501|42704)$', false, 'flow_set_owner: only by the owner''s members');
SELECT isnt(:'grant_it'::text ~ '^(42501|42704)$', false, 'flow_grant: only by the owner''s members');
SELECT is(:'define_it'::text, '42501', 'flow_define: needs CREATE on schema flow');
SELECT is(:'redefine'::text, '42501', 'flow_define: re-defining needs membership in the owner''s role');
SELECT is((SELECT string_agg(answer(format('SELECT flow_grant(''api-mine'', ''api_guest'', %L)', p)), '') FROM unnest('{start,read,approve,operate,work}'::text[]) p), '', 'flow_grant: start, read, approve, operate, work');
SELECT is(answer($$ SELECT flow_grant('api-mine', 'api_guest', 'fly') $$), '22023', 'flow_grant: another privilege is refused');
SELECT is(answer($$ SELECT flow_grant('api-mine', 'api_nobody') $$), '42704', 'flow_grant: an unknown role');
SET LOCAL ROLE api_guest;
SELECT flow_start('api-mine') AS run \gset
RESET ROLE;
SELECT is((SELECT owner || ' ' || started_by FROM flow.run WHERE id = :run), 'api_owner api_guest', 'flow_grant: with it a role starts, and the run is the owner''s');
SELECT is(answer($$ SELECT flow_revoke('api-mine', 'api_guest', 'start') $$) || answer($$ SELECT flow_revoke('api-mine', 'api_guest') $$), '', 'flow_revoke: one, or all');
SET LOCAL ROLE api_guest;
SELECT answer($$ SELECT flow_start('api-mine') $$) AS after_it \gset
RESET ROLE;
SELECT isnt(:'after_it'::text ~ '^(42501|42704)$', false, 'flow_revoke: then a role does not start any more');
SELECT is(answer($$ SELECT flow_revoke('api-mine', 'api_guest', 'fly') $$), '22023', 'flow_revoke: another privilege is refused');

SELECT * FROM finish();
ROLLBACK;
