-- API.md 1.1, 1.2, 2 and 8, flow_command, total_timeout, on_result, the time limit of a
-- subflow, and flow.signal_keep: each row of the contract with what it does and what it
-- refuses.  A command does not run in a transaction; that it runs, at least once, and its
-- output is shown by test/t/061_command.pl, that signals expire by test/t/038_retention.pl.
\set ECHO none
\set QUIET 1

-- flow_await wants runs that others have committed
SET client_min_messages = error;
CREATE FUNCTION pg_temp.await(run bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	RETURN (SELECT status FROM flow_await(run, '0'));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || hint;
END $$;
SELECT flow_define('api-vacuum', ARRAY[flow_command('v', 'VACUUM')]), flow_define('api-over', ARRAY[flow_subflow('s', 'api-vacuum')]), flow_define('api-plain', ARRAY[flow_wait('w')]) \g /dev/null
SELECT flow_start('api-vacuum') AS vacuum, flow_start('api-over') AS over, flow_start('api-plain') AS plain \gset
SELECT pg_temp.await(:vacuum) AS vacuum_said, pg_temp.await(:over) AS over_said, pg_temp.await(:plain) AS plain_said \gset
SELECT flow_cancel(:vacuum) AS c \gset
SELECT pg_temp.await(:vacuum) AS end_said \gset
SELECT flow_drop(w, force => true) FROM unnest('{api-vacuum,api-over,api-plain}'::text[]) w \g /dev/null

\ir api.psql
SELECT no_plan();
SELECT matches(:'vacuum_said'::text, '^55000 .*LISTEN', 'flow_await: a run that has a command is refused, with a hint to LISTEN');
SELECT matches(:'over_said'::text, '^55000 .*LISTEN', 'flow_await: so is one with a subflow that has');
SELECT is(:'plain_said'::text, 'running', 'flow_await: others are not');
SELECT is(:'end_said'::text, 'cancelled', 'flow_await: nor is one that has ended');

CREATE FUNCTION warnings(step jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', severity, code, w.step), ', '), '') FROM flow_check_document(jsonb_build_object('name', 'api', 'steps', jsonb_build_array($1))) w
$$;
CREATE FUNCTION drained(run_no bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM flow_drain(run_no);
	RETURN states(run_no);
END $$;

-- flow_command
SELECT is(flow_command('c', 'VACUUM') - '{name,sql}'::text[], '{"kind": "command"}', 'flow_command: a step of kind command, without build by default');
SELECT is((SELECT string_agg(refused(flow_command('c', sql)), ' ') FROM unnest('{VACUUM,CREATE INDEX CONCURRENTLY i ON effect (what),CALL p(1),ALTER SYSTEM RESET work_mem}'::text[]) sql), 'accepted accepted accepted accepted', 'flow_command: what cannot be in a transaction block');
SELECT is(refused(flow_command('c', 'VACUUM; VACUUM')), '42601', 'flow_command: more than one statement is refused');
SELECT is(refused(flow_command('c', '-- nothing')) || refused(flow_command('c', NULL)), '2202322023', 'flow_command: so is none');
SELECT is(refused(flow_command('c', 'VACUM effect')), '42601', 'flow_command: so is what does not parse');
SELECT is((SELECT string_agg(refused(flow_command('c', sql)), ' ') FROM unnest('{BEGIN,COMMIT,ROLLBACK,COPY effect FROM STDIN,COPY effect TO STDOUT}'::text[]) sql), '2D000 2D000 2D000 0A000 0A000', 'flow_command: so are BEGIN, COMMIT, ROLLBACK, and COPY from and to the client');
SELECT is(refused(flow_command('c', 'SELECT 1', after => '{a}', needs => 'any', condition => 'true', for_each => 'VALUES (1)', max_parallel => 1, on_item_error => 'collect', retries => 2, retry_on => '{40}',
	timeout => '1 min', total_timeout => '1 h', on_error => 'continue', again => 'NULL::interval', on_result => 'SELECT c', undo => 'SELECT 1', emits => '{e}', limits => '{x}', limit_key => '1', priority => 5, description => 'd'), flow_step('a', 'SELECT 1')),
	'accepted', 'flow_command: takes the options of a step');
SELECT is(refused(flow_command('c', 'VACUUM', options => '{"result": "rows"}')) || refused(flow_command('c', 'VACUUM', options => '{"batch": false}')) || refused(flow_command('c', 'VACUUM', options => '{"isolation": "serializable"}')), '220232202322023', 'flow_command: but result, batch and isolation');
SELECT flow_define('api', ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_command('c', 'VACUUM', after => '{a}'), flow_step('z', 'SELECT c', after => '{c}')]) AS v, flow_start('api') AS run \gset
SELECT is(drained(:run), 'running: a completed, c ready, z pending', 'flow_command: flow_drain leaves it');
SELECT is(flow_drain(:run, skip_time => true), 0, 'flow_command: ... always');
SELECT is(flow_finish(:run, 'c', '{"mock": true}'), true, 'flow_command: ... for flow_finish');
SELECT is(drained(:run) || ' ' || result_of(:run), 'completed: a completed, c completed, z completed {"mock": true}', 'flow_command: what follows it runs');
SELECT flow_start('api') AS run \gset
SELECT flow_drain(:run), flow_cancel(:run) \g /dev/null
SELECT is(states(:run), 'cancelled: a completed, c cancelled, z cancelled', 'flow_command: it can be cancelled');
SELECT is(answer(format('SELECT flow_finish(%s, ''c'')', :run)), 'WF001', 'flow_command: ... and is then over');
SELECT is(answer('SELECT flow_execute(''api'')'), '0A000', 'flow_execute: commands are an error');
SELECT matches((SELECT hint FROM flow_check_document('{"name": "x", "steps": [{"name": "a", "sql": "COMMIT"}]}')), 'flow_command', 'statements: COMMIT at the top level has a hint to flow_command');
SELECT matches((SELECT hint FROM flow_check_document('{"name": "x", "steps": [{"name": "a", "sql": "ROLLBACK"}]}')), 'flow_command', 'statements: so has ROLLBACK');
SELECT is(refused(flow_step('a', does('a')), flow_command('u', 'VACUUM', undo_of => 'a')), 'accepted', 'undo_of: a command undoes another step');
SELECT is(refused(flow_command('h', 'VACUUM', hook => '{failed}')), 'accepted', 'hook: of kind command');

-- build
SELECT is(flow_command('c', $$ 'VACUUM' $$, build => true)->>'build', 'true', 'build: it is kept');
SELECT is(warnings(flow_command('c', $$ format('VACUUM (ANALYZE) %s', item->>'part') $$, build => true, for_each => $$ SELECT 'p' AS part $$)), '', 'build: an expression over the names of the step');
SELECT is(refused(flow_command('c', $$ SELECT 'VACUUM' $$, build => true)), '42601', 'build: what is no expression is refused');
SELECT is(refused(flow_command('c', $$ 'VACUUM', 'VACUUM' $$, build => true)), '42601', 'build: so are two');
SELECT is(warnings(flow_command('c', '1', build => true)), 'warning 42804 c', 'build: what is no text is warned of');
SELECT is(warnings(flow_command('c', 'VACUUM effect', build => true)), 'warning 42703 c', 'build: a statement is none');
SELECT is(refused(flow_step('a', 'SELECT 1', options => '{"build": true}')), '22023', 'build: it means nothing for another kind');
SELECT is(answer($$ SELECT flow_define('api', ARRAY[flow_command('c', 'VACUUM', options => '{"build": "perhaps"}')]) $$), '22023', 'build: what is no boolean is refused');
SELECT flow_define('api-build', ARRAY[flow_command('c', $$ format('VACUUM %I', input->>'t') $$, build => true)]) AS v \gset
SELECT is(flow_define(flow_definition('api-build')) || answer('SELECT x FROM (' || rtrim(flow_source('api-build'), E'; \n') || ') x'), '1(1)', 'build: it goes through flow_definition and flow_source');

-- total_timeout
CREATE FUNCTION failing(total interval, again text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT ran(ARRAY[flow_step('a', CASE WHEN $2 IS NULL THEN 'SELECT 1 / CASE WHEN flow.attempt < 3 THEN 0 ELSE 1 END' ELSE 'SELECT 1' END, again => $2,
		retries => 5, retry_delay => '1 h', backoff => 1, options => '{"no_retry_on": []}', total_timeout => $1)], elapse => true)
$$;
SELECT failing('90 min') AS run \gset
SELECT is(failure(:run) || ' ' || count(*), 'WF004 3', 'total_timeout: over all attempts and delays') FROM flow.attempt WHERE run_id = :run;
SELECT is(states(failing('3 h')), 'completed: a completed', 'total_timeout: of one that ends before, nothing is seen');
SELECT is(failure(failing('90 min', $$ interval '1 h' $$)), 'WF004', 'total_timeout: over rounds, too');
SELECT is(states(failing('3 h', $$ CASE WHEN flow.attempt < 3 THEN interval '1 h' END $$)), 'completed: a completed', 'total_timeout: ... that do not end before');
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT count(*) FROM generate_series(1, 1000000000000)', retries => 9, total_timeout => '10 ms')])), 'WF004', 'total_timeout: an attempt that runs is ended');
SELECT is((SELECT string_agg(failure(ran(ARRAY[step], elapse => true)), ' ') FROM unnest(ARRAY[flow_wait('a', total_timeout => '1 h'), flow_approval('a', total_timeout => '1 h'), flow_delay('a', '2 h', total_timeout => '1 h')]) step), 'WF004 WF004 WF004', 'total_timeout: of kinds that wait, too');
SELECT is(became(ARRAY[flow_delay('a', '1 h', total_timeout => '2 h')], elapse => true), 'completed: a completed', 'total_timeout: a delay that is shorter completes');
SELECT is(became(ARRAY[flow_wait('a', total_timeout => '1 h'), flow_step('b', 'SELECT 1', after => '{a:timeout}'), flow_step('c', 'SELECT 1', after => '{a}')], elapse => true), 'completed: a failed, b completed, c skipped', 'total_timeout: it emits timeout');
SELECT is(refused(flow_step('a', 'SELECT 1', total_timeout => '0')) || refused(flow_step('a', 'SELECT 1', total_timeout => '-1 s')), '2202322023', 'total_timeout: zero and less are refused');

-- timeout of a subflow
SELECT flow_define('api-slow', ARRAY[flow_wait('w')]), flow_define('api-quick', ARRAY[flow_step('a', 'SELECT 1 AS n')]) \g /dev/null
SELECT ran(ARRAY[flow_subflow('s', 'api-slow', timeout => '1 us'), flow_step('b', 'SELECT 1', after => '{s:timeout}')]) AS run \gset
SELECT is(drained(:run), 'completed: s failed, b completed', 'timeout: of a subflow, from ready to answer');
SELECT is((SELECT string_agg(r.status, ' ') FROM flow.run r WHERE parent_run = :run), 'cancelled', 'timeout: ... its run is cancelled');
SELECT is(became(ARRAY[flow_subflow('s', 'api-quick', timeout => '1 h', total_timeout => '1 h')]), 'completed: s completed', 'timeout: ... one that ends before, completes');
SELECT is(refused(flow_subflow('s', 'api-quick', timeout => '0')), '22023', 'timeout: ... zero is refused');

-- on_result
SELECT ran(ARRAY[
	flow_delay('d', '0', on_result => does('d') || ' RETURNING d IS NULL AS none'),
	flow_wait('w', on_result => does('w') || $$; SELECT w->'x' AS x $$),
	flow_approval('p', on_result => $$ SELECT p->'approved' $$),
	flow_choice('c', $$ 'left' $$, on_result => 'SELECT flow.c'),
	flow_subflow('s', 'api-quick', on_result => $$ SELECT s->'n' AS got, flow.attempt $$)]) AS run \gset
SELECT flow_signal(:run, 'w', '{"x": 5}'), flow_approve(:run, 'p') \g /dev/null
SELECT is(drained(:run), 'completed: d completed, w completed, p completed, c completed, s completed', 'on_result: every kind but sql');
SELECT is(result_of(:run), '{"d": {"none": true}, "w": 5, "p": true, "c": "left", "s": {"got": 1, "attempt": 1}}', 'on_result: it sees the result under the name of the step, and its own is the output');
SELECT is(effects(:run), 'd w', 'on_result: ... and does something');
SELECT is(refused(flow_command('c', 'VACUUM', on_result => 'SELECT c')), 'accepted', 'on_result: of a command');
SELECT is(refused(flow_step('a', 'SELECT 1', options => '{"on_result": "SELECT 1"}')), '22023', 'on_result: it means nothing for sql');
SELECT ran(ARRAY[flow_choice('c', $$ 'x' $$, on_result => does('lost') || '; SELECT 1 / 0')]) AS run \gset
SELECT is(states(:run) || effects(:run), 'failed: c failed', 'on_result: an error in it fails the step, and nothing of it is kept');
SELECT is(effects(ran(ARRAY[flow_choice('c', 'NULL::text', on_result => does('x'))])), '', 'on_result: of a step that fails, it is not run');
SELECT ran(ARRAY[flow_wait('w', on_result => does('x'))]) AS run \gset
SELECT flow_finish(:run, 'w', '1') AS f \gset
SELECT is(drained(:run) || effects(:run), 'completed: w completed', 'on_result: nor of one that is ended by hand');
SELECT is(effects(ran(ARRAY[flow_choice('c', $$ 'x' $$, again => $$ CASE WHEN flow.attempt < 3 THEN interval '0' END $$, on_result => does('x'))], elapse => true)), 'x', 'on_result: with again, for the last round');
SELECT is(out_of(ran(ARRAY[flow_subflow('s', 'api-quick', for_each => 'SELECT 3 AS n UNION SELECT 4', on_result => $$ SELECT item_no AS i $$)]), 's'), '[{"i": 1}, {"i": 2}]', 'on_result: of each item');
SELECT is(refused(flow_wait('w', on_result => 'SELECT (')) || refused(flow_wait('w', on_result => 'COMMIT')), '426012D000', 'on_result: what does not parse, and COMMIT, are refused');
SELECT is(warnings(flow_wait('w', on_result => 'SELECT nothing')), 'warning 42703 w', 'on_result: what does not resolve is warned of');

-- flow.signal_keep
SELECT is((SELECT concat_ws(' ', boot_val::int * interval '1 s' = '7 days', unit, context, min_val) FROM pg_settings WHERE name = 'flow.signal_keep'), 't s sighup 1', 'flow.signal_keep: 7 days, set for the server');
SELECT is(answer($$ SELECT set_config('flow.signal_keep', '1 s', true) $$), '55P02', 'flow.signal_keep: ... and by no session');
SELECT ran(ARRAY[flow_wait('w')]) AS run \gset
SELECT flow_signal(:run, 'other'), flow_drain(:run) \g /dev/null
SELECT is((SELECT count(*) FROM flow.signal WHERE run_id = :run AND taken_at IS NULL), 1::bigint, 'flow.signal_keep: until then a signal is kept that no step takes');
SELECT flow_cancel(:run) AS c \gset
SELECT is(answer(format('SELECT flow_signal(%s, ''other'')', :run)), 'WF001', 'flow.signal_keep: none is kept for a run that has ended');

SELECT * FROM finish();
ROLLBACK;
