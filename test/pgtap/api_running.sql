-- API.md 2, starting, awaiting, executing, draining runs, and signals: each row of the
-- contract with what it does and what it refuses.
\set ECHO none
\set QUIET 1

-- flow_await wants a run that others have committed
SET client_min_messages = error;
SELECT flow_define('api-await', ARRAY[flow_step('a', 'SELECT 5 AS n')]) AS v, flow_define('api-late', ARRAY[flow_wait('w')]) AS w \gset
SELECT flow_start('api-await') AS done, flow_start('api-late') AS late \gset
SELECT flow_drain(:done) AS d \gset
SELECT status AS status, output AS output FROM flow_await(:done) \gset
SELECT status AS late_status FROM flow_await(:late, '10 ms') \gset
\set ON_ERROR_STOP off
BEGIN ISOLATION LEVEL REPEATABLE READ;
\o /dev/null
SELECT status FROM flow_await(:late);
\set frozen :SQLSTATE
\o
ROLLBACK;
\set ON_ERROR_STOP on
SELECT flow_drop('api-await', force => true), flow_drop('api-late', force => true) \g /dev/null

\ir api.psql
SELECT no_plan();
SELECT is(:'status' || ' ' || :'output', 'completed {"n": 5}', 'flow_await: returns the row of the run when it has finished');
SELECT is(:'late_status'::text, 'running', 'flow_await: on timeout the row as it is');
SELECT is(:'frozen'::text, '55000', 'flow_await: a snapshot that cannot see the end is refused');
SELECT is(answer($$ SELECT status FROM flow_await(-1) $$), '42704', 'flow_await: an unknown run');
SELECT flow_define('api-one', ARRAY[flow_step('a', 'SELECT input')]), flow_define('api-hold', ARRAY[flow_wait('w')]) \g /dev/null
SELECT flow_start('api-hold') AS run \gset
SELECT is(answer(format('SELECT status FROM flow_await(%s)', :run)), '55000', 'flow_await: a run started in the same transaction is refused');

-- flow_start
SELECT is(yields(ARRAY[flow_step('a', 'SELECT input')], '{"n": 1}'), '{"n": 1}', 'flow_start: input');
SELECT is((SELECT status FROM flow.run WHERE id = :run), 'running', 'flow_start: running from then on');
SELECT is(answer($$ SELECT flow_start('api-nowhere') $$), '42704', 'flow_start: an unknown workflow');
SELECT is(answer($$ SELECT flow_start('api-one', NULL) $$) ~ '^\d+$', true, 'flow_start: null is an input');
SAVEPOINT before_start;
SELECT flow_start('api-hold', key => 'ghost') AS ghost \gset
ROLLBACK TO before_start;
SELECT is(flow_find('api-hold', 'ghost'), NULL, 'flow_start: rolled back, there is no run');

-- key and on_conflict
SELECT flow_start('api-hold', key => 'k') AS run \gset
SELECT is(flow_start('api-hold', key => 'k'), :run::bigint, 'on_conflict return: the id of the unfinished run');
SELECT is(flow_start('api-hold', key => 'k', on_conflict => 'skip'), NULL, 'on_conflict skip: null');
SELECT is(answer($$ SELECT flow_start('api-hold', key => 'k', on_conflict => 'error') $$), 'WF003', 'on_conflict error: WF003');
SELECT isnt(flow_start('api-hold', key => 'k', on_conflict => 'cancel'), :run::bigint, 'on_conflict cancel: another run');
SELECT is(states(:run), 'cancelled: w cancelled', 'on_conflict cancel: ... the first is cancelled');
SELECT is(answer($$ SELECT flow_start('api-hold', key => 'k', on_conflict => 'ignore') $$), '22023', 'on_conflict: another value is refused');
SELECT isnt(flow_start('api-hold', key => 'k2'), flow_start('api-hold', key => 'k3'), 'key: other keys are other runs');
SELECT is(answer($$ SELECT flow_start('api-hold', key => repeat('x', 501)) $$), '22023', 'key: more than 500 bytes are refused');
SELECT is(answer($$ SELECT flow_start('api-hold', key => repeat('x', 500)) $$) ~ '^\d+$', true, 'key: 500 are not');

-- start_at, priority, version, once, slot, options
SELECT flow_start('api-one', start_at => now() + interval '1 hour') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run), 'pending: a pending', 'start_at: pending until then');
SELECT flow_drain(:run, skip_time => true) AS d \gset
SELECT is(states(:run), 'completed: a completed', 'start_at: ... and then it runs');
SELECT flow_start('api-one', key => 'p', priority => 7) AS run \gset
SELECT is((SELECT priority FROM flow.run WHERE key = 'p'), 7, 'priority: it is the run''s');
SELECT flow_define('api-two', ARRAY[flow_step('a', 'SELECT 1 AS n')]), flow_define('api-two', ARRAY[flow_step('a', 'SELECT 2 AS n')]) \g /dev/null
SELECT flow_start('api-two', version => 1) AS old, flow_start('api-two') AS new \gset
SELECT flow_drain() AS d \gset
SELECT is(result_of(:old)::text || result_of(:new)::text, '{"n": 1}{"n": 2}', 'version: that one, else the newest');
SELECT is(answer($$ SELECT flow_start('api-two', version => 9) $$), '42704', 'version: an unknown one');
SELECT flow_start('api-one', key => 'o', once => true) AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(flow_start('api-one', key => 'o', once => true), :run::bigint, 'once: one run of this key ever');
SELECT isnt(flow_start('api-one', key => 'o'), NULL, 'once: not asked for, a finished run is none in the way');
SELECT is(answer($$ SELECT flow_start('api-one', key => 'o', once => true, on_conflict => 'cancel') $$), '22023', 'once: with cancel it is refused');
SELECT is(answer($$ SELECT flow_start('api-one', once => true) $$), '22023', 'once: without a key it is refused');
SELECT flow_start('api-one', key => 's', slot => '2024-02-01 03:00+00') AS run \gset
SELECT is((SELECT slot FROM flow.run WHERE id = :run), '2024-02-01 03:00+00'::timestamptz, 'slot: it is the run''s');
SELECT is(answer($$ SELECT flow_start('api-one', options => '{"priority": 3}') $$) ~ '^\d+$', true, 'options: further ones by name');
SELECT is(answer($$ SELECT flow_start('api-one', options => '{"prioritty": 3}') $$), '22023', 'options: an unknown one is refused');

-- flow_find
SELECT flow_start('api-hold', key => 'f') AS first \gset
SELECT is(flow_find('api-hold', 'f'), :first::bigint, 'flow_find: the unfinished run of that key');
SELECT flow_cancel(:first) AS c, flow_find('api-hold', 'f') AS found \gset
SELECT is(:found::bigint, :first::bigint, 'flow_find: else the latest');
SELECT is(flow_find('api-hold', 'never'), NULL, 'flow_find: else null');
SELECT is(answer($$ SELECT flow_find('api-nowhere', 'f') $$), '42704', 'flow_find: an unknown workflow');

-- flow_execute
SELECT is(flow_execute('api-one', '{"n": 1}'), '{"n": 1}', 'flow_execute: runs the whole of it, and gives its output');
SELECT flow_define('api-bad', ARRAY[flow_step('a', does('x')), flow_step('b', 'SELECT 1 / 0', after => '{a}')]) AS v \gset
SELECT is(answer($$ SELECT flow_execute('api-bad') $$) || (SELECT count(*) FROM effect WHERE what = 'x'), '220120', 'flow_execute: all or nothing');
SELECT is(answer($$ SELECT flow_execute('api-hold') $$), '0A000', 'flow_execute: kinds that must wait are an error');
SELECT is(answer($$ SELECT flow_execute('api-nowhere') $$), '42704', 'flow_execute: an unknown workflow');

-- flow_status
SELECT flow_start('api-one', '{"n": 1}') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is((SELECT concat_ws(' ', (s->>'executionId')::bigint = :run, s->>'workflowId', s->>'status', s->'completedSteps', s->'failedSteps', s->'stepResults'->'a'->'attempts', s->'stepResults'->'a'->'result') FROM flow_status(:run) s),
	't api-one completed ["a"] [] 1 {"n": 1}', 'flow_status: one document');
SELECT is(answer('SELECT flow_status(-1)'), '42704', 'flow_status: an unknown run');

-- flow_signal
SELECT flow_define('api-sig', ARRAY[flow_wait('w'), flow_wait('x', 'w', after => '{w}')]), flow_start('api-sig') AS run \gset
SELECT is(flow_signal(:run, 'w', '1', 'id-1'), true, 'flow_signal: also before the step waits');
SELECT is(flow_signal(:run, 'w', '2', 'id-1'), false, 'flow_signal: a repeated signal_id is false');
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run), 'running: w completed, x waiting', 'flow_signal: each is taken once');
SELECT flow_signal(:run, 'w', '3'), flow_drain(:run) \g /dev/null
SELECT is(out_of(:run, 'w')::text || out_of(:run, 'x')::text, '13', 'flow_signal: in order');
SELECT is(flow_signal(:run, 'w', '1', 'id-1'), false, 'flow_signal: a repeated one also after the end');
SELECT is(answer(format('SELECT flow_signal(%s, ''w'')', :run)), 'WF001', 'flow_signal: another to a finished run is WF001');
SELECT is(answer($$ SELECT flow_signal(-1, 'w') $$), '42704', 'flow_signal: an unknown run');

-- flow_signal_key
SELECT is(flow_signal_key('api-sig', 'later', 'w', '"early"', 'id-2'), true, 'flow_signal_key: also before the run exists');
SELECT is(flow_signal_key('api-sig', 'later', 'w', '"early"', 'id-2'), false, 'flow_signal_key: a repeated signal_id is false');
SELECT flow_start('api-sig', key => 'later') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(out_of(:run, 'w'), '"early"', 'flow_signal_key: the run of that key takes it');
SELECT is(answer($$ SELECT flow_signal_key('api-nowhere', 'k', 'w') $$), '42704', 'flow_signal_key: an unknown workflow');

-- flow_drain
SELECT flow_define('api-five', ARRAY(SELECT flow_step('s' || i, 'SELECT 1') FROM generate_series(1, 5) i)), flow_start('api-five') AS run \gset
SELECT is(flow_drain(:run, max_steps => 2), 2, 'flow_drain: max_steps');
SELECT is(flow_drain(:run), 3, 'flow_drain: the steps it has run');
SELECT is(flow_drain(:run), 0, 'flow_drain: nothing is left');
SELECT flow_start('api-one') AS run \gset
SELECT is(flow_drain() > 0, true, 'flow_drain: all runs, also those of this transaction');
SELECT is(states(:run), 'completed: a completed', 'flow_drain: ... they have ended');
SELECT is(answer('SELECT flow_drain(-1)'), '42704', 'flow_drain: an unknown run');
SELECT is(answer('SELECT flow_drain(skip_time => true)'), '22023', 'flow_drain: skip_time needs a run');
-- What time skipped has passed counts; else these would go round for ever
SET LOCAL statement_timeout = '60 s';
SELECT ran(ARRAY[flow_step('a', 'SELECT 1', again => $$ interval '40 min' $$, total_timeout => '1 h')], elapse => true) AS run \gset
SELECT is(states(:run) || ' ' || rounds, 'failed: a failed 2', 'flow_drain: skip_time counts against total_timeout') FROM flow.step WHERE run_id = :run;
SELECT flow_define('api-inner', ARRAY[flow_wait('w', timeout => '1 h'), flow_wait('t', total_timeout => '1 h'), flow_delay('d', '2 h', total_timeout => '1 h'),
	flow_step('r', 'SELECT 1', again => $$ interval '40 min' $$, total_timeout => '1 h'), flow_delay('e', '1 h')] || ARRAY(SELECT flow_step(n || '-late', 'SELECT 1', after => ARRAY[n || ':timeout']) FROM unnest('{w,t,d,r}'::text[]) n)) AS v \gset
SELECT is(became(ARRAY[flow_subflow('s', 'api-inner')], elapse => true), 'completed: s completed', 'flow_drain: skip_time, of its subflows, too');
SELECT is((SELECT string_agg(name || ' ' || s.status, ', ' ORDER BY step_no) FROM flow.step s WHERE run_id = (SELECT max(id) FROM flow.run)),
	'w failed, t failed, d failed, r failed, e completed, w-late completed, t-late completed, d-late completed, r-late completed', 'flow_drain: ... each of their time limits');
RESET statement_timeout;
CREATE ROLE api_other;
GRANT USAGE, CREATE ON SCHEMA flow TO api_other;
GRANT SELECT ON flow.run TO api_other;
SELECT flow_start('api-one') AS run, answer('SELECT flow_grant(''api-one'', ''api_other'', ''operate'')') AS g \gset
SET LOCAL ROLE api_other;
SELECT answer(format('SELECT flow_drain(%s)', :run)) AS said \gset
RESET ROLE;
SELECT is(:'said'::text, '42501', 'flow_drain: only as the owner');
SELECT flow_define('api-exec', ARRAY[flow_step('a', 'SELECT 1')]), answer('SELECT flow_grant(''api-exec'', ''api_other'')') \g /dev/null
SET LOCAL ROLE api_other;
SELECT answer('SELECT flow_execute(''api-exec'')') AS said \gset
RESET ROLE;
SELECT is(:'said'::text, '42501', 'flow_execute: only as the owner');
SELECT is((SELECT string_agg(failure(ran(ARRAY[flow_step('a', call)])), ' ') FROM unnest('{SELECT flow_drain(),SELECT flow_execute($x$api-one$x$),SELECT flow_await(flow_run_id())}'::text[]) call), '55000 55000 55000', 'flow_drain, flow_execute, flow_await: refused inside a step');

SELECT * FROM finish();
ROLLBACK;
