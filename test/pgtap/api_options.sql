-- API.md 1.1, the options of a step, its events, and how a run fails: each row of
-- the contract with what it does and what it refuses.
\ir api.psql
SELECT no_plan();

-- A step that does something, and one that fails
CREATE FUNCTION good(name text, after text[] DEFAULT '{}', needs text DEFAULT 'all') RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT flow_step(name, does(name), after => after, needs => needs)
$$;
CREATE FUNCTION bad(name text, on_error text DEFAULT 'fail', after text[] DEFAULT '{}', sqlstate text DEFAULT '22012', retries int DEFAULT 0, options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT flow_step(name, format('DO $do$ BEGIN RAISE ''bad'' USING ERRCODE = %L; END $do$', sqlstate), after => after, on_error => on_error, retries => retries, options => options)
$$;
CREATE FUNCTION attempts(run_no bigint) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM flow.attempt WHERE run_id = run_no
$$;
CREATE FUNCTION waits_ms(run_no bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(round(extract(epoch FROM next_at - finished_at) * 1000)::text, ' ' ORDER BY attempt) FROM flow.attempt WHERE run_id = run_no AND next_at IS NOT NULL
$$;

-- after
SELECT is(effects(ran(ARRAY[good('b', '{a}'), good('a')])), 'a b', 'after: a step runs behind what it depends on');
SELECT is(became(ARRAY[flow_step('a', $$ SELECT flow_emit('e') $$), good('b', '{a:e}'), good('c', '{a:f}')]), 'completed: a completed, b completed, c skipped', 'after: a:e counts if the event was emitted, else as skipped');
SELECT is(became(ARRAY[bad('a', 'continue'), good('b', '{a}')]), 'completed: a failed, b completed', 'after: a failure with on_error continue counts as completed');
SELECT is(refused(good('b', '{a}')), '42704', 'after: an unknown step is refused');
SELECT is(refused(good('a', '{b}'), good('b', '{a}')), 'WF002', 'after: a cycle is refused');
SELECT is(refused(good('a', '{a}')), 'WF002', 'after: also of one step');

-- needs
SELECT is(became(ARRAY[good('a'), flow_step('b', 'SELECT 1', condition => 'false'), good('c', '{a,b}')]), 'completed: a completed, b skipped, c skipped', 'needs all: one skipped, so is this');
SELECT is(became(ARRAY[good('a'), flow_step('b', 'SELECT 1', condition => 'false'), good('c', '{a,b}', 'any')]), 'completed: a completed, b skipped, c completed', 'needs any: one completed is enough');
SELECT is(became(ARRAY[good('a'), flow_wait('b'), good('c', '{a,b}', 'any')]), 'running: a completed, b waiting, c completed', 'needs any: as soon as it has');
SELECT is(became(ARRAY[good('a'), flow_wait('b'), good('c', '{a,b}', 'first')]), 'completed: a completed, b cancelled, c completed', 'needs first: the others are cancelled');
SELECT is(became(ARRAY[good('a'), flow_wait('b'), good('c', '{a,b}', 'some')]), 'running: a completed, b waiting, c pending', 'needs some: all have to end');
SELECT is(became(ARRAY[good('a'), flow_step('b', 'SELECT 1', condition => 'false'), good('c', '{a,b}', 'some')]), 'completed: a completed, b skipped, c completed', 'needs some: and one to complete');
SELECT is(became(ARRAY[bad('a'), good('b', '{a}', 'always')]), 'failed: a failed, b completed', 'needs always: also when the run fails');
SELECT is((SELECT string_agg(became(ARRAY[flow_step('b', 'SELECT 1', condition => 'false'), good('c', '{b}', needs)]), ' | ') FROM unnest('{any,first,some}'::text[]) needs),
	'completed: b skipped, c skipped | completed: b skipped, c skipped | completed: b skipped, c skipped', 'needs any, first, some: skipped when none can complete');
SELECT is(refused(good('a'), good('b', '{a}', 'most')), '22023', 'needs: another value is refused');
SELECT is(refused(good('b', needs => 'any')), '22023', 'needs: it means nothing without after');

-- condition
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', condition => $$ (input->>'n')::int > 1 $$)], '{"n": 2}'), 'completed: a completed', 'condition: true lets it run');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', condition => $$ (input->>'n')::int > 1 $$)], '{"n": 1}'), 'completed: a skipped', 'condition: false skips it');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', condition => 'NULL')]), 'completed: a skipped', 'condition: so does null');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', condition => '1 / 0 > 1')]), 'failed: a failed', 'condition: an error in it fails the step');
SELECT is(refused(flow_step('a', 'SELECT 1', condition => 'not (')), '42601', 'condition: what does not parse is refused');

-- retries and their delays
SELECT is(attempts(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 2)], elapse => true)), 3::bigint, 'retries: attempts after the first');
SELECT is(attempts(ran(ARRAY[bad('a', sqlstate => 'P0001')], elapse => true)), 1::bigint, 'retries: none by default');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1 / CASE WHEN flow.attempt < 3 THEN 0 ELSE 1 END', retries => 2, options => '{"no_retry_on": []}')], elapse => true), 'completed: a completed', 'retries: the last one may complete it');
SELECT is(refused(flow_step('a', 'SELECT 1', retries => -1)), '22023', 'retries: a negative number is refused');
SELECT is(waits_ms(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 3)], elapse => true)), '1000 2000 4000', 'retry_delay, backoff: 1 s, doubled');
SELECT is(waits_ms(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 3, options => '{"retry_delay": "10 ms", "backoff": 3}')], elapse => true)), '10 30 90', 'retry_delay, backoff: as given');
SELECT is(refused(flow_step('a', 'SELECT 1', retry_delay => '-1 s')), '22023', 'retry_delay: a negative one is refused');
SELECT is(refused(flow_step('a', 'SELECT 1', backoff => 0.5)), '22023', 'backoff: less than 1 is refused');
SELECT is(waits_ms(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 3, options => '{"max_delay": "1500 ms"}')], elapse => true)), '1000 1500 1500', 'max_delay: no more than that');
SELECT is(refused(flow_step('a', 'SELECT 1', max_delay => '-1 s')), '22023', 'max_delay: a negative one is refused');
SELECT ok((SELECT bool_and(w::int BETWEEN 500 AND 1000) FROM string_to_table(waits_ms(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 5, options => '{"backoff": 1, "jitter": 0.5}')], elapse => true)), ' ') w), 'jitter: takes off up to that part');
SELECT is(refused(flow_step('a', 'SELECT 1', jitter => 1.5)), '22023', 'jitter: more than 1 is refused');

-- retry_on, no_retry_on
SELECT is(attempts(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 1, options => '{"retry_on": ["P0"]}')], elapse => true)), 2::bigint, 'retry_on: these are retried, also by class');
SELECT is(attempts(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 1, options => '{"retry_on": ["40", "08006"]}')], elapse => true)), 1::bigint, 'retry_on: others are not');
SELECT is(refused(flow_step('a', 'SELECT 1', retry_on => '{4}')), '22023', 'retry_on: what is no SQLSTATE is refused');
SELECT is((SELECT string_agg(attempts(ran(ARRAY[bad('a', sqlstate => code, retries => 1)], elapse => true))::text, '') FROM unnest('{0A000,22012,23505,28000,2F000,3F000,42P01}'::text[]) code), '1111111', 'no_retry_on: by default not those that cannot heal');
SELECT is(attempts(ran(ARRAY[bad('a', retries => 1, options => '{"no_retry_on": ["23"]}')], elapse => true)), 2::bigint, 'no_retry_on: replaces the default');
SELECT is(attempts(ran(ARRAY[bad('a', sqlstate => 'P0001', retries => 1, options => '{"retry_on": ["P0"], "no_retry_on": ["P0001"]}')], elapse => true)), 1::bigint, 'no_retry_on: an error in both is not retried');
SELECT is(refused(flow_step('a', 'SELECT 1', no_retry_on => '{abcde}')), '22023', 'no_retry_on: what is no SQLSTATE is refused');

-- timeout
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT count(*) FROM generate_series(1, 1000000000000)', timeout => '10 ms')])), 'WF004', 'timeout: an attempt of SQL that takes longer fails');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', timeout => '1 hour')]), 'completed: a completed', 'timeout: one that does not, completes');
SELECT is((SELECT string_agg(failure(ran(ARRAY[step], elapse => true)), ' ') FROM unnest(ARRAY[flow_wait('a', timeout => '1 hour'), flow_approval('a', timeout => '1 hour')]) step), 'WF004 WF004', 'timeout: of wait and approval, from ready to answer');
SELECT is(refused(flow_step('a', 'SELECT 1', timeout => '0')), '22023', 'timeout: zero is refused');
SELECT is(refused(flow_delay('a', '1 s', timeout => '1 s')), '22023', 'timeout: it means nothing for a delay');

-- on_error
SELECT is(became(ARRAY[bad('a'), good('b', '{a}'), flow_wait('c')]), 'failed: a failed, b skipped, c cancelled', 'on_error fail: the run fails');
SELECT is(became(ARRAY[bad('a', 'isolate'), good('b', '{a}'), good('c')]), 'failed: a failed, b skipped, c completed', 'on_error isolate: other branches go on, the run ends failed');
SELECT is(yields(ARRAY[bad('a', 'continue'), flow_step('b', 'SELECT a IS NULL AS n', after => '{a}')]), '{"n": true}', 'on_error continue: dependents run and see null');
SELECT is(became(ARRAY[bad('a', 'skip'), good('b', '{a}'), good('c')]), 'completed: a skipped, b skipped, c completed', 'on_error skip: as if its condition had been false');
SELECT is(became(ARRAY[bad('a', 'pause'), good('b', '{a}')]), 'paused: a ready, b pending', 'on_error pause: the run pauses');
SELECT is(refused(flow_step('a', 'SELECT 1', on_error => 'ignore')), '22023', 'on_error: another value is refused');

-- again
SELECT is(effects(ran(ARRAY[flow_step('a', does('x') || ' RETURNING (SELECT count(*) FROM effect e WHERE e.run_id = flow.run_id) AS n', again => $$ CASE WHEN (a->>'n')::int < 2 THEN interval '1 min' END $$)], elapse => true)), 'x x x', 'again: the step runs again, keeping what it did');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', again => 'NULL::interval')]), 'completed: a completed', 'again: null ends it');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', again => $$ 'soon'::interval $$)]), 'failed: a failed', 'again: what is no interval fails');

-- undo, undo_of
SELECT is(effects(ran(ARRAY[flow_step('a', does('a'), undo => does('-a')), flow_step('b', does('b'), after => '{a}', undo => does('-b')), bad('c', after => '{b}')])), 'a b -b -a', 'undo: in reverse when the run fails');
SELECT is(effects(ran(ARRAY[flow_step('a', does('a'), undo => does('-a')), flow_step('b', does('b'), after => '{a}', undo => does('-b'))])), 'a b', 'undo: not when it completes');
SELECT is(effects(ran(ARRAY[flow_step('a', does('a') || $$ RETURNING 7 AS n $$, undo => $$ INSERT INTO effect (run_id, what) VALUES (flow.run_id, a->>'n') $$), bad('c', after => '{a}')])), 'a 7', 'undo: sees the output of its own step');
SELECT is(refused(flow_wait('a', undo => 'SELECT 1')), '22023', 'undo: it means nothing for a wait');
SELECT is(effects(ran(ARRAY[flow_step('a', does('a')), flow_step('u', does('-a'), undo_of => 'a'), bad('c', after => '{a}')])), 'a -a', 'undo_of: a step of its own undoes another');
SELECT is(refused(flow_step('u', 'SELECT 1', undo_of => 'nowhere')), '42704', 'undo_of: an unknown step is refused');

-- emits
SELECT is(became(ARRAY[flow_step('a', $$ SELECT flow_emit('e') $$, emits => '{e,f}'), good('b', '{a:e}')]), 'completed: a completed, b completed', 'emits: a declared event');
SELECT is(failure(ran(ARRAY[flow_step('a', $$ SELECT flow_emit('g') $$, emits => '{e,f}')])), '22023', 'emits: emitting another fails');
SELECT is(refused(flow_step('a', 'SELECT 1', emits => '{e,f}'), good('b', '{a:g}')), '42704', 'emits: depending on another is refused');

-- priority
SELECT is(effects(ran(ARRAY[flow_step('a', does('a')), flow_step('b', does('b'), priority => 5)])), 'b a', 'priority: higher first');
SELECT is(answer($$ SELECT flow_define('api', ARRAY[flow_step('a', 'SELECT 1', options => '{"priority": "high"}')]) $$), '22023', 'priority: what is no number is refused');

-- hook
CREATE FUNCTION hooked(steps jsonb[], hook text) RETURNS text LANGUAGE sql AS $$
	SELECT effects(ran(steps || flow_step('h', $h$ INSERT INTO effect (run_id, what) VALUES (flow.run_id, concat_ws('/', event->>'event', event->>'step')) $h$, hook => ARRAY[hook])))
$$;
SELECT is(hooked(ARRAY[flow_step('a', 'SELECT 1')], 'completed'), 'completed', 'hook completed');
SELECT is(hooked(ARRAY[bad('a')], 'completed'), '', 'hook completed: not when the run fails');
SELECT is(hooked(ARRAY[bad('a')], 'failed'), 'failed/a', 'hook failed');
SELECT is(hooked(ARRAY[flow_step('a', 'SELECT 1')], 'failed'), '', 'hook failed: not when the run completes');
SELECT is(hooked(ARRAY[flow_step('a', 'SELECT 1')], 'finished') || ' ' || hooked(ARRAY[bad('a')], 'finished'), 'completed failed/a', 'hook finished: any end');
SELECT is(hooked(ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', after => '{a}')], 'step'), 'step/a step/b', 'hook step: each step''s end');
SELECT is(hooked(ARRAY[bad('a', 'pause')], 'paused'), 'paused/a', 'hook paused');
SELECT is(hooked(ARRAY[flow_step('a', 'SELECT 1')], 'paused'), '', 'hook paused: not without a pause');
SELECT ran(ARRAY[flow_wait('w'), flow_step('h', does('gone'), hook => '{cancelled}')]) AS run \gset
SELECT flow_cancel(:run), flow_drain(:run) \g /dev/null
SELECT is(effects(:run), 'gone', 'hook cancelled');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1'), flow_step('h', 'SELECT 1 / 0', hook => '{completed}')]), 'completed: a completed, h failed', 'hook: it never changes the outcome of the run');
SELECT is(refused(flow_step('h', 'SELECT 1', hook => '{started}')), '22023', 'hook: another event is refused');
SELECT is(refused(good('a'), flow_step('h', 'SELECT 1', hook => '{failed}', after => '{a}')), '22023', 'hook: not beside after');

-- description
SELECT is(flow_step('a', 'SELECT 1', description => 'what it is for')->>'description', 'what it is for', 'description: it is kept');
SELECT is(refused(flow_step('a', 'SELECT 1', options => '{"description": 5}')), '22023', 'description: what is no text is refused');

-- isolation, batch
SELECT is(refused(flow_step('a', 'SELECT 1', isolation => 'repeatable read')) || refused(flow_step('a', 'SELECT 1', isolation => 'serializable')), 'acceptedaccepted', 'isolation: repeatable read, serializable');
SELECT is(refused(flow_step('a', 'SELECT 1', isolation => 'chaos')), '22023', 'isolation: another value is refused');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', batch => false)]), 'completed: a completed', 'batch: false');
SELECT is(answer($$ SELECT flow_define('api', ARRAY[flow_step('a', 'SELECT 1', options => '{"batch": "maybe"}')]) $$), '22023', 'batch: what is no boolean is refused');

-- Options that mean nothing for a kind
SELECT is(refused(flow_delay('a', '1 s', retries => 1)), '22023', 'meaningless: retries on a delay');
SELECT is(refused(flow_wait('a', options => '{"batch": false}')), '22023', 'meaningless: batch on a wait');
SELECT is(refused(flow_wait('a', options => '{"sql": "SELECT 1"}')), '22023', 'meaningless: sql on a wait');
SELECT is(refused(flow_approval('a', options => '{"isolation": "serializable"}')), '22023', 'meaningless: isolation on an approval');

-- Events
SELECT is(became(ARRAY[good('a'), good('b', '{a:completed}'), good('c', '{a:failed}')]), 'completed: a completed, b completed, c skipped', 'event completed');
SELECT is(became(ARRAY[bad('a'), good('b', '{a:completed}'), good('c', '{a:failed}')]), 'completed: a failed, b skipped, c completed', 'event failed: handled, the run goes on');
SELECT is(became(ARRAY[bad('a'), good('b', '{a}'), good('c', '{a:failed}')]), 'completed: a failed, b skipped, c completed', 'event failed: those behind plain a are skipped');
SELECT is((SELECT handled FROM flow.step WHERE name = 'a' AND run_id = (SELECT max(id) FROM flow.run)), true, 'event failed: and it is shown as handled');
SELECT ran(ARRAY[flow_approval('a'), good('b', '{a:approved}'), good('c', '{a:rejected}')]) AS run \gset
SELECT flow_approve(:run, 'a'), flow_drain(:run) \g /dev/null
SELECT is(states(:run), 'completed: a completed, b completed, c skipped', 'event approved');
SELECT ran(ARRAY[flow_approval('a'), good('b', '{a:approved}'), good('c', '{a:rejected}')]) AS run \gset
SELECT flow_reject(:run, 'a'), flow_drain(:run) \g /dev/null
SELECT is(states(:run), 'completed: a failed, b skipped, c completed', 'event rejected');
SELECT is(became(ARRAY[flow_wait('a', timeout => '1 hour'), good('b', '{a:timeout}'), good('c', '{a:failed}')], elapse => true), 'completed: a failed, b completed, c completed', 'event timeout: it is a failure too');
SELECT is(refused(good('a'), good('b', '{a:timeout}')), '22023', 'event timeout: not of a step without a time limit');
SELECT is((SELECT string_agg(failure(ran(ARRAY[flow_step('a', format('SELECT flow_emit(%L)', event))])), ' ') FROM unnest('{completed,failed,approved,rejected,timeout}'::text[]) event), '22023 22023 22023 22023 22023', 'events: those five names are reserved');

-- How a run fails
SELECT ran(ARRAY[bad('a'), good('b', '{a}'), flow_wait('w'), good('x', '{w}'), flow_step('u', does('u'), undo => does('-u'), priority => 9), good('f', '{u,w}', 'always'), flow_step('h', does('h'), hook => '{failed}')]) AS run \gset
SELECT is(states(:run), 'failed: a failed, b skipped, w cancelled, x cancelled, u compensated, f completed, h completed', 'failing: downstream skipped, the rest cancelled');
SELECT is(effects(:run), 'u f -u h', 'failing: then always steps, undos, hooks');
SELECT is((SELECT array_agg(k) FROM flow.run, jsonb_object_keys(errors) k WHERE id = :run), '{a}', 'failing: errors, by step');
SELECT is((SELECT compensation FROM flow.run WHERE id = :run), 'complete', 'failing: how far undoing came');
SELECT ran(ARRAY[flow_step('a', does('a'), undo => 'SELECT 1 / 0'), flow_step('b', does('b'), undo => does('-b')), bad('c', after => '{a,b}')]) AS run \gset
SELECT is(states(:run) || ' ' || effects(:run), 'failed: a compensation_failed, b compensated, c failed a b -b', 'failing: an undo that fails stops no other');

SELECT * FROM finish();
ROLLBACK;
