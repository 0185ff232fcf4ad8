-- API.md 1.1, the constructors; 1.2, the names; 1.3, the output: each row of the
-- contract with what it gives and what it refuses.
\ir api.psql
SELECT no_plan();

-- Constructors in general
SELECT is((SELECT string_agg(concat_ws(' ', proname, provolatile, proisstrict, proparallel), ', ' ORDER BY proname) FROM pg_proc
	WHERE proname IN ('flow_step', 'flow_command', 'flow_delay', 'flow_wait', 'flow_approval', 'flow_choice', 'flow_subflow', 'flow_task', 'flow_http')),
	'flow_approval i f s, flow_choice i f s, flow_command i f s, flow_delay i f s, flow_http i f s, flow_step i f s, flow_subflow i f s, flow_task i f s, flow_wait i f s',
	'constructors: immutable, not strict, parallel safe');
SET LOCAL intervalstyle = 'postgres_verbose';
SELECT is(flow_delay('d', '1 hour')->>'delay', 'PT1H', 'constructors: intervals are written as ISO 8601, whatever IntervalStyle says');
SET LOCAL intervalstyle = 'postgres';
SELECT is(flow_step('s', 'SELECT 1', options => '{"retries": 3}')->>'retries', '3', 'constructors: options takes further options by name');
SELECT is(refused(flow_step('s', 'SELECT 1', options => '{"retrys": 3}')), '22023', 'constructors: an unknown name in options is refused');
SELECT is(refused(flow_step(NULL, 'SELECT 1')), '22023', 'constructors: a step without a name is refused');
SELECT is(refused(flow_step('s', NULL)), '22023', 'constructors: a step without its SQL is refused');

-- flow_step
SELECT is(effects(ran(ARRAY[flow_step('s', does('x'))])), 'x', 'flow_step: its effects are there');
SELECT is(effects(ran(ARRAY[flow_step('s', does('x') || '; SELECT 1 / 0')])), '', 'flow_step: those of a failed one are not');
SELECT is(became(ARRAY[flow_step('s', 'SELECT 1 / 0')]), 'failed: s failed', 'flow_step: an error fails it');

-- flow_delay
SELECT is(became(ARRAY[flow_delay('d', '1 hour')]), 'running: d sleeping', 'flow_delay: it sleeps');
SELECT is(became(ARRAY[flow_delay('d', '1 hour')], elapse => true), 'completed: d completed', 'flow_delay: until its time has come');
SELECT is(became(ARRAY[flow_delay('d', until => $$ clock_timestamp() + interval '1 hour' $$)]), 'running: d sleeping', 'flow_delay: until is SQL');
SELECT is(became(ARRAY[flow_delay('d', until => $$ now() - interval '1 day' $$)]), 'completed: d completed', 'flow_delay: what is overdue fires at once');
SELECT is(refused(flow_delay('d')), '22023', 'flow_delay: neither delay nor until is refused');
SELECT is(refused(flow_delay('d', '1 hour', 'now()')), '22023', 'flow_delay: both are refused');
SELECT is(refused(flow_delay('d', '-1 s')), '22023', 'flow_delay: a negative one is refused');

-- flow_wait
SELECT ran(ARRAY[flow_wait('w')]) AS run \gset
SELECT is(states(:run), 'running: w waiting', 'flow_wait: it waits');
SELECT is(flow_signal(:run, 'other'), true, 'flow_wait: another signal is kept');
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run), 'running: w waiting', 'flow_wait: ... and is none for it');
SELECT is(flow_signal(:run, 'w', '{"n": 1}'), true, 'flow_wait: the signal is by default the name of the step');
SELECT flow_drain(:run) AS d \gset
SELECT is(out_of(:run, 'w'), '{"n": 1}', 'flow_wait: its output is the payload');
SELECT ran(ARRAY[flow_wait('w', 'paid')]) AS run \gset
SELECT flow_signal(:run, 'paid'), flow_drain(:run) \g /dev/null
SELECT is(states(:run), 'completed: w completed', 'flow_wait: the signal may have another name');

-- flow_approval
CREATE ROLE api_boss;
CREATE ROLE api_clerk;
GRANT USAGE ON SCHEMA flow TO api_clerk, api_boss;
SELECT ran(ARRAY[flow_approval('ok')]) AS run \gset
SELECT flow_approve(:run, 'ok', 'fine', 'Ann'), flow_drain(:run) \g /dev/null
SELECT is(out_of(:run, 'ok'), jsonb_build_object('approved', true, 'by', session_user, 'approver', 'Ann', 'comment', 'fine'), 'flow_approval: its output tells who approved');
SELECT ran(ARRAY[flow_approval('ok')]) AS run \gset
SELECT flow_reject(:run, 'ok'), flow_drain(:run) \g /dev/null
SELECT is(failure(:run), 'WF006', 'flow_approval: a rejection fails it');
SELECT ran(ARRAY[flow_approval('ok', 'api_boss')]) AS run \gset
SET LOCAL ROLE api_clerk;
SELECT answer(format('SELECT flow_approve(%s, ''ok'')', :run)) AS said \gset
SET LOCAL ROLE api_boss;
SELECT answer(format('SELECT flow_approve(%s, ''ok'')', :run)) AS boss \gset
RESET ROLE;
SELECT isnt(:'said'::text, 'true', 'flow_approval: who is not in the role of its approvers does not decide');
SELECT is(:'boss'::text, 'true', 'flow_approval: who is in it does');

-- flow_choice
SELECT is(became(ARRAY[flow_choice('c', $$ CASE WHEN (input->>'n')::int > 1 THEN 'big' ELSE 'small' END $$),
	flow_step('b', 'SELECT 1', after => '{c:big}'), flow_step('s', 'SELECT 1', after => '{c:small}')], '{"n": 2}'),
	'completed: c completed, b completed, s skipped', 'flow_choice: the branch of its event runs, the other is skipped');
SELECT is(failure(ran(ARRAY[flow_choice('c', 'NULL::text')])), 'WF008', 'flow_choice: null fails');

-- flow_subflow
SELECT flow_define('api-child', ARRAY[flow_step('c', $$ SELECT (input->>'n')::int * 2 AS n $$)]) AS v \gset
SELECT is(out_of(ran(ARRAY[flow_subflow('sub', 'api-child')], '{"n": 3}'), 'sub'), '{"n": 6}', 'flow_subflow: the child has the parent''s input, and its output is the child''s');
SELECT is(out_of(ran(ARRAY[flow_subflow('sub', 'api-child', $$ jsonb_build_object('n', 10) $$)]), 'sub'), '{"n": 20}', 'flow_subflow: input is SQL');
SELECT is(became(ARRAY[flow_subflow('sub', 'api-child')], '{"n": "x"}'), 'failed: sub failed', 'flow_subflow: a failed child fails the step');
SELECT is(failure(ran(ARRAY[flow_subflow('sub', 'api-nowhere')])), '42704', 'flow_subflow: an unknown workflow fails it');

-- Names
SELECT is(yields(ARRAY[flow_step('a', 'SELECT 2 AS n'), flow_step('s', $$ SELECT flow.a, flow.input $$, after => '{a}')], '{"i": 1}'),
	'{"a": {"n": 2}, "input": {"i": 1}}', 'names: flow.input and flow.<step>');
SELECT is(yields(ARRAY[flow_step('a', 'SELECT 2 AS n'), flow_step('s', $$ SELECT a->'n' AS a, input->'i' AS i $$, after => '{a}')], '{"i": 1}'),
	'{"a": 2, "i": 1}', 'names: input and steps work bare');
SELECT is(yields(ARRAY[flow_step('a', 'SELECT 2 AS n'), flow_step('b', 'SELECT 3 AS n', after => '{a}'), flow_step('s', 'SELECT a, b', after => '{b}')]),
	'{"a": {"n": 2}, "b": {"n": 3}}', 'names: any step upstream');
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT 2 AS n'), flow_step('s', 'SELECT flow.a')])), '42703', 'names: a step that is not upstream is none');
SELECT is(yields(ARRAY[flow_step('s', $$ SELECT pg_typeof(flow.run_id) AS r, pg_typeof(flow.run_key) AS k, pg_typeof(flow.attempt) AS a, pg_typeof(flow.slot) AS s, pg_typeof(flow.input) AS i $$)]),
	'{"a": "integer", "i": "jsonb", "k": "text", "r": "bigint", "s": "timestamp with time zone"}', 'names: run_id, run_key, attempt, slot, input are typed');
SELECT is(failure(ran(ARRAY[flow_step('s', 'SELECT flow.nothing')])), '42703', 'names: an unknown one fails');
SELECT is(yields(ARRAY[flow_step('order', 'SELECT 1 AS n'), flow_step('charge-it', 'SELECT 2 AS n'), flow_step('s', $$ SELECT flow.order, flow."charge-it" AS c $$, after => '{order,charge-it}')]),
	'{"c": {"n": 2}, "order": {"n": 1}}', 'names: the full form works for reserved words and quoted names');
SELECT is(failure(ran(ARRAY[flow_step('what', 'SELECT 1 AS n'), flow_step('s', 'SELECT what FROM effect', after => '{what}')])), '42702', 'names: a bare name that is also a column is ambiguous');
SELECT is(became(ARRAY[flow_step('what', 'SELECT 1 AS n'), flow_step('s', 'SELECT flow.what, effect.what AS e FROM effect LIMIT 1', after => '{what}')]),
	'completed: what completed, s completed', 'names: ... and both ways out of it work');
SELECT is((SELECT string_agg(refused(flow_step(n, 'SELECT 1')), ' ') FROM unnest('{input,item,item_no,event,run_id,run_key,attempt,slot}'::text[]) n),
	'42939 42939 42939 42939 42939 42939 42939 42939', 'names: a step cannot be named so');

-- Functions for what a step calls
SELECT flow_define('api-told', ARRAY[flow_step('up', 'SELECT 5 AS n'),
	flow_step('s', $$ SELECT flow_run_id() = flow.run_id AS id, flow_run_key() AS key, flow_step_name() AS step, flow_attempt() AS attempt,
		flow_slot() = '2024-02-01 03:00+00' AS slot, flow_input() AS input, flow_output('up') AS up, length(flow_idempotency_key()) AS length,
		flow_get('nothing') AS got, flow_hook_event() AS event $$, after => '{up}')]) AS v \gset
SELECT flow_start('api-told', '{"i": 1}', key => 'k', slot => '2024-02-01 03:00+00') AS run \gset
SELECT flow_drain(:run) AS d \gset
SELECT is(out_of(:run, 's') - 'event', '{"id": true, "key": "k", "step": "s", "attempt": 1, "slot": true, "input": {"i": 1}, "up": {"n": 5}, "length": 64, "got": null}',
	'functions: flow_run_id, flow_run_key, flow_step_name, flow_attempt, flow_slot, flow_input, flow_output, flow_idempotency_key');
SELECT is(answer('SELECT ' || call), '55000', 'functions: outside a step ' || call || ' is refused')
FROM unnest(ARRAY['flow_run_id()', 'flow_run_key()', 'flow_step_name()', 'flow_attempt()', 'flow_slot()', 'flow_input()', 'flow_output(''x'')',
	'flow_hook_event()', 'flow_error(''x'')', 'flow_get(''x'')', 'flow_set(''x'', ''1'')', 'flow_emit(''x'')', 'flow_event(''x'', ''y'')',
	'flow_again(''1 s'')', 'flow_idempotency_key()']) call;
SELECT is(out_of(ran(ARRAY[flow_step('s', $$ DO 'BEGIN PERFORM flow_set(''k'', flow_input()); END'; SELECT flow_get('k') $$)], '{"i": 1}'), 's'), '{"i": 1}', 'functions: flow_set and flow_get, in a DO block');
SELECT is(out_of(ran(ARRAY[flow_step('a', $$ SELECT flow_set('k', '1'); SELECT flow_set('k', NULL) $$), flow_step('s', $$ SELECT flow_get('k') IS NULL AS gone $$, after => '{a}')]), 's'),
	'{"gone": true}', 'functions: flow_set of null removes');
SELECT is(out_of(ran(ARRAY[flow_step('a', $$ SELECT flow_set('k', '1'); SELECT 1 / 0 $$, on_error => 'continue'), flow_step('s', $$ SELECT flow_get('k') IS NULL AS gone $$, after => '{a}')]), 's'),
	'{"gone": true}', 'functions: flow_set of a failed step is not kept');
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT 1 / 0'), flow_step('s', $$ SELECT flow_error('a')->>'sqlstate' AS e $$, after => '{a:failed}')]), 's'), '{"e": "22012"}', 'functions: flow_error');
SELECT is(out_of(ran(ARRAY[flow_step('a', $$ SELECT flow_emit('e', '1'); SELECT flow_emit('e', '2') $$), flow_step('s', $$ SELECT flow_event('a', 'e') $$, after => '{a:e}')]), 's'), '[1, 2]', 'functions: flow_emit and flow_event, in order');
SELECT is(failure(ran(ARRAY[flow_step('s', $$ SELECT flow_output('nowhere') $$)])), '42704', 'functions: flow_output of an unknown step');
SELECT is(effects(ran(ARRAY[flow_step('s', does('x') || $$; SELECT flow_again('1 s') WHERE (SELECT count(*) FROM effect e WHERE e.run_id = flow.run_id) < 3 $$)], elapse => true)), 'x x x', 'functions: flow_again runs the step again');

-- Several statements, and what is refused at the top level
SELECT is(gave('CREATE TEMP TABLE stage ON COMMIT DROP AS SELECT 1 AS n; UPDATE stage SET n = 2; SELECT n FROM stage'), '{"n": 2}', 'statements: each sees those before it, DDL included');
SELECT is((SELECT string_agg(refused(flow_step('s', sql)), ' ') FROM unnest('{COMMIT,ROLLBACK,COPY effect FROM STDIN,COPY effect TO STDOUT}'::text[]) sql),
	'2D000 2D000 0A000 0A000', 'statements: COMMIT, ROLLBACK and COPY from and to the client are refused');
SELECT isnt(failure(ran(ARRAY[flow_step('s', $$ DO 'BEGIN COMMIT; END' $$)])), NULL, 'statements: from inside a function they fail');

-- Output
SELECT is(gave('UPDATE effect SET what = what WHERE false'), NULL, 'output: no result set is null');
SELECT is(gave('SELECT 1 WHERE false'), NULL, 'output: no row is null');
SELECT is(gave('SELECT pg_advisory_xact_lock(77)'), NULL, 'output: a void column is null');
SELECT is(gave('SELECT 1 AS a, NULL AS b'), '{"a": 1, "b": null}', 'output: a row is an object by column name');
SELECT is(gave('SELECT count(*) FROM pg_class WHERE false'), '{"count": 0}', 'output: a single column is an object too');
SELECT is(gave($$ SELECT '[1]'::jsonb $$), '[1]', 'output: unless it is jsonb');
SELECT is(gave($$ SELECT '{"a": 1}'::json $$), '{"a": 1}', 'output: ... or json');
SELECT is(gave($$ SELECT e FROM (VALUES (1, 2)) e(a, b) $$), '{"a": 1, "b": 2}', 'output: ... or of a composite type');
SELECT is(failure(ran(ARRAY[flow_step('s', 'SELECT generate_series(1, 2) AS n')])), '21000', 'output: more than one row is an error');
SELECT matches(hint(ran(ARRAY[flow_step('s', 'SELECT generate_series(1, 2) AS n')])), 'rows', 'output: ... that names result => rows');
SELECT is(gave('SELECT generate_series(1, 2) AS n', 'rows'), '[{"n": 1}, {"n": 2}]', 'output: rows is an array');
SELECT is(gave('SELECT 1 WHERE false', 'rows'), '[]', 'output: ... [] for none');
SELECT is(gave('SELECT generate_series(1, 2) AS n', 'none'), NULL, 'output: none is discarded');
SELECT is(gave('SELECT 1 AS a; SELECT 2 AS b'), '{"b": 2}', 'output: the last statement counts');
SELECT is(refused(flow_step('s', 'SELECT 1', result => 'table')), '22023', 'output: another value of result is refused');
SELECT is(yields(ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_step('b', 'SELECT 2 AS n', after => '{a}')]), '{"n": 2}', 'output of a run: that of its only sink');
SELECT is(yields(ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_step('b', 'SELECT 2 AS n')]), '{"a": {"n": 1}, "b": {"n": 2}}', 'output of a run: an object of several by name');
SELECT is(yields(ARRAY[flow_step('a', 'SELECT 1 AS n', condition => 'false'), flow_step('b', 'SELECT 2 AS n')]), '{"n": 2}', 'output of a run: only sinks that completed');

-- Kinds that are later work
SELECT is(refused(flow_task('t')), '0A000', 'flow_task: not supported yet');
SELECT is(refused(flow_http('h', url => 'http://x/')), '0A000', 'flow_http: not supported yet');

SELECT * FROM finish();
ROLLBACK;
