-- API.md 1.1, 1.4, 2 and 7, how many run at once: each row of the contract with what it
-- does and what it refuses.  Places are given by the scheduler, which does not see what
-- is not committed; that no more run than there are places, and in which order, is shown
-- by test/t/050_max_runs.pl, 051_limits.pl and 052_max_parallel.pl.
\ir api.psql
SELECT no_plan();

-- Codes of what is wrong with a call of flow_define, or of flow_limit
CREATE FUNCTION defined(arguments text, steps jsonb[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT answer(format('SELECT flow_define(''api'', %L::jsonb[], %s)', steps, arguments))
$$;
CREATE FUNCTION limited(VARIADIC arguments text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(answer('SELECT flow_limit(' || a || ')'), ' ') FROM unnest(arguments) a
$$;
CREATE FUNCTION warnings(step jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', severity, code, w.step), ', '), '') FROM flow_check_document(jsonb_build_object('name', 'api', 'steps', jsonb_build_array($1))) w
$$;

-- max_runs
SELECT flow_define('api-few', ARRAY[flow_step('a', 'SELECT 1 AS n')], max_runs => 2) AS v, flow_start('api-few') AS run, flow_start('api-few', start_at => now() + interval '1 day') AS later \gset
SELECT is(states(:run), 'pending: a pending', 'max_runs: a run that has no place is pending');
SELECT is((SELECT waiting_for || ' ' || (started_at IS NULL) FROM flow.run WHERE id = :run), 'a place under max_runs true', 'max_runs: ... and tells what it waits for');
SELECT isnt((SELECT waiting_for FROM flow.run WHERE id = :later), 'a place under max_runs', 'max_runs: ... unless that is its start_at');
SELECT is((SELECT pending || ' ' || ready FROM flow.queue WHERE workflow = 'api-few'), '2 0', 'max_runs: flow.queue counts them');
SELECT is(became('{}'), 'completed: ', 'max_runs: without it nobody waits');
SELECT is(flow_drain(:run), 1, 'max_runs: flow_drain waits for no place');
SELECT is(states(:run), 'completed: a completed', 'max_runs: ... but runs it');
SELECT is(flow_execute('api-few'), '{"n": 1}', 'max_runs: nor does flow_execute');
SELECT is((SELECT max_runs FROM flow.workflow WHERE name = 'api-few' AND latest), 2, 'max_runs: it is shown');
SELECT is(flow_define('api-few', ARRAY[flow_step('a', 'SELECT 1 AS n')], max_runs => 5), 1, 'max_runs: no part of the version');
SELECT is((SELECT max_runs FROM flow.workflow WHERE name = 'api-few' AND latest), 5, 'max_runs: it changes in place');
SELECT is(flow_define('api-few', ARRAY[flow_step('a', 'SELECT 1 AS n')]), 1, 'max_runs: it can be taken away');
SELECT is((SELECT max_runs FROM flow.workflow WHERE name = 'api-few' AND latest), NULL, 'max_runs: ... and is gone');
SELECT is(defined('max_runs => 0') || defined('max_runs => -1'), '2202322023', 'max_runs: below one it is refused');
SELECT is(defined($$ options => '{"max_runs": "many"}' $$), '22023', 'max_runs: what is no number is refused');

-- A pending run is steered as others are
SELECT flow_define('api-few', ARRAY[flow_step('a', 'SELECT 1 AS n')], max_runs => 1) AS v, flow_start('api-few', key => 'k') AS run \gset
SELECT is(flow_start('api-few', key => 'k'), :run::bigint, 'pending: it is the unfinished run of its key');
SELECT is(flow_pause(:run) AND flow_resume(:run), true, 'pending: it can be paused and resumed');
SELECT is(states(:run), 'pending: a pending', 'pending: ... and is pending again');
SELECT is(flow_cancel(:run), true, 'pending: it can be cancelled');
SELECT is(states(:run), 'cancelled: a cancelled', 'pending: ... and does not begin');
SELECT is(answer(format('SELECT flow_resume(%s)', :run)), 'WF001', 'pending: ... nor can it be resumed then');

-- max_runs_by
SELECT is(flow_define('api-by', ARRAY[flow_step('a', 'SELECT input')], max_runs => 1, max_runs_by => $$ input->>'customer' $$), 1, 'max_runs_by: SQL over input');
SELECT is((SELECT max_runs_by FROM flow.workflow WHERE name = 'api-by' AND latest), $$ input->>'customer' $$, 'max_runs_by: it is shown');
SELECT is((SELECT count(*) FROM flow_check('api-by')), 0::bigint, 'max_runs_by: nothing is wrong with it');
SELECT is(flow_define('api-by', ARRAY[flow_step('a', 'SELECT input')], max_runs => 1), 1, 'max_runs_by: no part of the version');
SELECT is((SELECT max_runs_by FROM flow.workflow WHERE name = 'api-by' AND latest), NULL, 'max_runs_by: it changes in place');
SELECT is(defined($$ max_runs_by => 'input' $$), '22023', 'max_runs_by: it means nothing without max_runs');
SELECT is(defined($$ max_runs => 1, max_runs_by => 'input->>' $$), '42601', 'max_runs_by: what does not parse is refused');
SELECT is(defined($$ max_runs => 1, max_runs_by => '1, 2' $$), '42601', 'max_runs_by: more than one expression is refused');
SELECT matches(defined($$ max_runs => 1, max_runs_by => 'a->>''x''' $$, ARRAY[flow_step('a', 'SELECT 1')]), '^[0-9]{1,2}$', 'max_runs_by: what does not resolve is not');
SELECT is((SELECT severity || ' ' || code FROM flow_check('api')), 'warning 42703', 'max_runs_by: ... but warned of, such as the name of a step');

-- max_parallel of a workflow
SELECT is(flow_define('api-wide', ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_step('b', 'SELECT 2 AS n')], max_parallel => 1), 1, 'max_parallel of a workflow: steps of one run at once');
SELECT is(flow_definition('api-wide', 1)->>'max_parallel', '1', 'max_parallel of a workflow: it is in the definition');
SELECT is(flow_define('api-wide', ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_step('b', 'SELECT 2 AS n')], max_parallel => 2), 2, 'max_parallel of a workflow: a part of the version, so that runs keep theirs');
SELECT is(flow_execute('api-wide'), '{"a": {"n": 1}, "b": {"n": 2}}', 'max_parallel of a workflow: flow_execute asks nobody');
SELECT is((SELECT count(*) FROM flow.limit_state), 0::bigint, 'max_parallel of a workflow: no limit by name');
SELECT is(defined('max_parallel => 0') || defined('max_parallel => -1'), '2202322023', 'max_parallel of a workflow: below one it is refused');

-- flow_limit
SELECT is((SELECT pg_get_function_arguments(oid) || ' ' || prorettype::regtype FROM pg_proc WHERE proname = 'flow_limit'),
	'name text, running integer DEFAULT NULL::integer, rate integer DEFAULT NULL::integer, per interval DEFAULT ''00:01:00''::interval void', 'flow_limit: as in the contract');
SELECT is(limited($$ 'api-desk', running => 2 $$), '', 'flow_limit: so many at once');
SELECT is(limited($$ 'api-rate', rate => 100, per => '2 min' $$), '', 'flow_limit: so many starts in a time');
SELECT is(limited($$ 'api-both', 3, 50 $$), '', 'flow_limit: or both');
SELECT is((SELECT string_agg(concat_ws(' ', name, coalesce(max_running, 0), rate, CASE WHEN rate > 0 THEN per END), ', ' ORDER BY name) FROM flow.limit_state),
	'api-both 3 50 00:01:00, api-desk 2, api-rate 0 100 00:02:00', 'flow_limit: they are there; per is a minute by default');
SELECT is(limited($$ 'api-desk', running => 7 $$), '', 'flow_limit: called again it changes the limit');
SELECT is((SELECT max_running FROM flow.limit_state WHERE name = 'api-desk'), 7, 'flow_limit: ... at once');
SELECT is(limited($$ 'api-both' $$), '', 'flow_limit: both null removes it');
SELECT is((SELECT count(*) FROM flow.limit_state WHERE name = 'api-both'), 0::bigint, 'flow_limit: ... and it is gone');
SELECT is(limited($$ 'api-nobody' $$), '', 'flow_limit: one that is not there is removed, too');
SELECT is(limited($$ 'x', running => 0 $$, $$ 'x', running => -1 $$, $$ 'x', rate => 0 $$, $$ 'x', rate => -1 $$), '22023 22023 22023 22023', 'flow_limit: numbers below one are refused');
SELECT is(limited($$ 'x', rate => 1, per => '0' $$, $$ 'x', rate => 1, per => '-1 s' $$, $$ 'x', rate => 1, per => '2 years' $$), '22023 22023 22023', 'flow_limit: so are times of nothing, or too long');
SELECT is(limited($$ NULL, 1 $$, $$ 'x', rate => 1, per => NULL $$), '22004 22004', 'flow_limit: so is null');
SELECT is(limited($$ '', 1 $$, $$ repeat('x', 64), 1 $$, $$ E'a\nb', 1 $$), '42602 42602 42602', 'flow_limit: so are names of no bytes, too many, or control characters');
CREATE ROLE api_limiter;
GRANT USAGE ON SCHEMA flow TO api_limiter;
SET LOCAL ROLE api_limiter;
SELECT answer($$ SELECT flow_limit('api-desk', 1) $$) AS said \gset
RESET ROLE;
GRANT CREATE ON SCHEMA flow TO api_limiter;
SET LOCAL ROLE api_limiter;
SELECT answer($$ SELECT flow_limit('api-desk', 1) $$) AS granted \gset
RESET ROLE;
SELECT is(:'said'::text, '42501', 'flow_limit: needs CREATE on schema flow');
SELECT is(:'granted'::text, '', 'flow_limit: ... with which a role limits');

-- limits
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', limits => '{api-desk,api-rate}'), flow_choice('c', $$ 'x' $$, limits => '{api-desk}')]), 'completed: a completed, c completed', 'limits: flow_drain asks for no place');
SELECT is((SELECT running + waiting FROM flow.limit_state WHERE name = 'api-desk'), 0::bigint, 'limits: ... and takes none');
SELECT is((SELECT options->>'limits' FROM flow.workflow_step WHERE workflow = 'api' AND name = 'a' ORDER BY version DESC LIMIT 1), '["api-desk", "api-rate"]', 'limits: they are shown');
SELECT is(refused(flow_step('a', 'SELECT 1', limits => '{a,b,c,d,e,f,g,h}')), 'accepted', 'limits: eight are not too many');
SELECT is(refused(flow_step('a', 'SELECT 1', limits => '{}')) || refused(flow_step('a', 'SELECT 1', limits => '{a,b,c,d,e,f,g,h,i}')), '2202322023', 'limits: none, or nine, are refused');
SELECT is(refused(flow_step('a', 'SELECT 1', limits => '{""}')), '42602', 'limits: a name that is none is refused');
SELECT is((SELECT string_agg(refused(step), ' ') FROM unnest(ARRAY[flow_delay('a', '1 s', limits => '{x}'), flow_wait('a', limits => '{x}'), flow_approval('a', limits => '{x}'), flow_subflow('a', 'b', limits => '{x}')]) step),
	'22023 22023 22023 22023', 'limits: they mean nothing for a kind that only waits');
SELECT is(warnings(flow_step('a', 'SELECT 1', limits => '{api-desk}')), '', 'flow_check: a limit that is there');
SELECT is(warnings(flow_step('a', 'SELECT 1', limits => '{api-desk,api-nobody,api-no}')), 'warning 42704 a, warning 42704 a', 'flow_check: it warns of each that is not');
SELECT flow_define('api-lone', ARRAY[flow_step('a', 'SELECT 1 AS n', limits => '{api-later}')]) AS v \gset
SELECT matches((SELECT message || ' ' || hint FROM flow_check('api-lone')), 'api-later.*flow_limit\(''api-later''', 'flow_check: ... and says which, and how to make it');
SELECT is(flow_execute('api-lone'), '{"n": 1}', 'flow_check: ... it stops nobody');
SELECT flow_limit('api-later', 1) \g /dev/null
SELECT is((SELECT count(*) FROM flow_check('api-lone')), 0::bigint, 'flow_check: not any more when it is there');

-- limit_key
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_step('b', 'SELECT 1', after => '{a}', limits => '{api-desk}', limit_key => $$ a->>'n' $$)]), 'completed: a completed, b completed', 'limit_key: SQL over the names of the step');
SELECT is((SELECT options->>'limit_key' FROM flow.workflow_step WHERE workflow = 'api' AND name = 'b' ORDER BY version DESC LIMIT 1), $$ a->>'n' $$, 'limit_key: it is shown');
SELECT is(warnings(flow_step('a', 'SELECT 1', for_each => 'VALUES (1)', limits => '{api-desk}', limit_key => $$ item->>'column1' $$)), '', 'limit_key: of an item, too');
SELECT is(refused(flow_step('a', 'SELECT 1', limit_key => '1')), '22023', 'limit_key: it means nothing without limits');
SELECT is(refused(flow_step('a', 'SELECT 1', limits => '{api-desk}', limit_key => 'input->>')), '42601', 'limit_key: what does not parse is refused');
SELECT is(refused(flow_step('a', 'SELECT 1', limits => '{api-desk}', limit_key => 'SELECT 1')) || refused(flow_step('a', 'SELECT 1', limits => '{api-desk}', limit_key => '1, 2')), '4260142601', 'limit_key: so is what is not one expression');
SELECT is(warnings(flow_step('a', 'SELECT 1', limits => '{api-desk}', limit_key => 'nothing')), 'warning 42703 a', 'limit_key: what does not resolve is warned of');

-- They go through flow_definition and flow_source
SELECT flow_define('api-round', ARRAY[flow_step('a', 'SELECT 1', limits => '{api-desk,api-rate}', limit_key => $$ input->>'k' $$)], max_runs => 3, max_runs_by => $$ input->>'k' $$, max_parallel => 4) AS v \gset
SELECT is(flow_define(flow_definition('api-round')), 1, 'flow_definition: limits round-trip');
SELECT is(answer('SELECT x FROM (' || rtrim(flow_source('api-round'), E'; \n') || ') x'), '(1)', 'flow_source: running it stores nothing new');
SELECT is((SELECT max_runs || max_runs_by FROM flow.workflow WHERE name = 'api-round' AND latest), $$3 input->>'k' $$, 'flow_source: ... and takes nothing away');

-- flow.limit_state
SELECT is((SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'flow.limit_state'::regclass AND attnum BETWEEN 1 AND 7), '{name,key,running,waiting,rate,per,next_at}', 'flow.limit_state: its columns');
SELECT is((SELECT concat_ws(' ', running, waiting, key IS NULL, next_at IS NULL) FROM flow.limit_state WHERE name = 'api-rate'), '0 0 t t', 'flow.limit_state: of a limit that nobody uses');
CREATE ROLE api_stranger;
SET LOCAL ROLE api_stranger;
SELECT answer('SELECT count(*) FROM flow.limit_state') AS said \gset
RESET ROLE;
SELECT is(:'said'::text, '42501', 'flow.limit_state: not for who is not admitted to schema flow');

SELECT * FROM finish();
ROLLBACK;
