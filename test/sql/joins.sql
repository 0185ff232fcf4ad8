-- Joins, events, conditions, choices and what a failure means: each in
-- flow_drain, by what becomes of the steps.
SET client_min_messages = warning;

-- An error, without the number of the run
CREATE FUNCTION failure(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text; detail text; hint text;
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, '')), '\mrun \d+', 'run N');
END $$;
-- Runs a workflow of these steps; its steps and their ends, and the run's
CREATE FUNCTION ends(steps jsonb[], input jsonb DEFAULT '{}') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	started bigint;
BEGIN
	PERFORM flow_define('joins', steps);
	started := flow_start('joins', input);
	PERFORM flow_drain(started);
	RETURN QUERY
		SELECT format('%s %s%s%s', s.name, s.status, CASE WHEN s.handled THEN ', handled' END,
			': ' || nullif(coalesce(s.output #>> '{}', s.reason, s.error->>'message'), ''))
		FROM flow.step s WHERE s.run_id = started ORDER BY s.step_no;
	RETURN QUERY
		SELECT format('run %s%s%s', r.status, ': ' || (r.output #>> '{}'), ': ' || (r.error->>'step') || ' ' || (r.error->>'sqlstate'))
		FROM flow.run r WHERE r.id = started;
END $$;
-- What flow_define says, with detail and hint
CREATE FUNCTION refusal(steps jsonb[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text; detail text; hint text;
BEGIN
	PERFORM flow_define('refused', steps);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, ''));
END $$;

-- condition: false and null skip the step, and what needs it
SELECT ends(ARRAY[
	flow_step('a', 'SELECT 1 AS n'),
	flow_step('yes', 'SELECT 2 AS n', after => '{a}', condition => $$ (a->>'n')::int = 1 $$),
	flow_step('no', 'SELECT 1/0', after => '{a}', condition => $$ a->>'n' = '2' $$),
	flow_step('unknown', 'SELECT 1/0', after => '{a}', condition => $$ (a->>'x')::boolean $$),
	flow_step('below', 'SELECT 1', after => '{no}'),
	flow_step('further', 'SELECT 1', after => '{below,yes}')]);
-- a condition that fails is a failed attempt of the step; one of another type is, too
SELECT ends(ARRAY[flow_step('a', 'SELECT 1', condition => $$ 1 / (input->>'n')::int = 1 $$)], '{"n": 0}');
SELECT ends(ARRAY[flow_step('a', 'SELECT 1', condition => $$ input->'n' $$)], '{"n": 1}');
-- and so is the same in words
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1', condition => 'true, false')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1', condition => 'true;')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1', condition => '')]);
SET client_min_messages = notice;
SELECT flow_define('warned', ARRAY[flow_step('a', 'SELECT 1', condition => '1 + 1'), flow_step('b', 'SELECT 1', condition => 'nobody IS NULL')]);
SET client_min_messages = warning;

-- needs: of three branches, one completes, one is skipped, one fails and is let pass
SELECT ends(ARRAY[
	flow_step('done', $$ SELECT 'd' AS v $$),
	flow_step('skipped', 'SELECT 1', condition => 'false'),
	flow_step('passed', 'SELECT 1/0', on_error => 'continue'),
	flow_step('all', 'SELECT 1', after => '{done,skipped,passed}'),
	flow_step('any', $$ SELECT done->>'v' AS v, skipped IS NULL AS null $$, after => '{done,skipped}', needs => 'any'),
	flow_step('some', 'SELECT 1', after => '{done,skipped,passed}', needs => 'some'),
	flow_step('always', 'SELECT 1', after => '{done,skipped,passed}', needs => 'always'),
	flow_step('pass', 'SELECT 1', after => '{done,passed}')]);
-- none completes: any, first and some are skipped, always runs
SELECT ends(ARRAY[
	flow_step('a', 'SELECT 1', condition => 'false'),
	flow_step('b', 'SELECT 1', condition => 'false'),
	flow_step('any', 'SELECT 1', after => '{a,b}', needs => 'any'),
	flow_step('first', 'SELECT 1', after => '{a,b}', needs => 'first'),
	flow_step('some', 'SELECT 1', after => '{a,b}', needs => 'some'),
	flow_step('always', 'SELECT 1', after => '{a,b}', needs => 'always')]);
-- first: the others are cancelled, and what needs them is skipped
SELECT ends(ARRAY[
	flow_step('fast', 'SELECT 1 AS n', priority => 1),
	flow_step('slow', 'SELECT 2 AS n', batch => false),
	flow_step('slower', 'SELECT 3 AS n', after => '{slow}'),
	flow_step('first', 'SELECT fast->>$$n$$ AS n', after => '{fast,slower}', needs => 'first'),
	flow_step('below', 'SELECT 1', after => '{slower}')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1', needs => 'any')]);

-- a choice, and its branches
SELECT flow_define('choice', ARRAY[
	flow_step('order', $$ SELECT (input->>'amount')::int AS amount $$),
	flow_choice('size', $$ CASE WHEN (flow.order->>'amount')::int > 100 THEN 'large' WHEN (flow.order->>'amount')::int > 0 THEN 'small' END $$,
		after => '{order}', emits => '{large,small}'),
	flow_step('audit', 'SELECT 1', after => '{size:large}'),
	flow_step('ship', 'SELECT 2', after => '{size:small}'),
	flow_step('tell', 'SELECT audit IS NULL AS small', after => '{audit,ship}', needs => 'some')]);
SELECT flow_drain(flow_start('choice', jsonb_build_object('amount', amount))) FROM unnest('{500,5,-1}'::int[]) AS amount;
SELECT input, status, output, error->>'sqlstate' AS sqlstate, error->>'message' AS message,
	(SELECT string_agg(name || ' ' || s.status, ', ' ORDER BY step_no) FROM flow.step s WHERE run_id = id) AS steps
FROM flow.run WHERE workflow = 'choice' ORDER BY id;
SELECT ends(ARRAY[flow_choice('c', $$ 1 + 1 $$)]);
SELECT ends(ARRAY[flow_choice('c', $$ 'other' $$, emits => '{large}')]);
SELECT ends(ARRAY[flow_choice('c', $$ 'failed' $$)]);
SELECT ends(ARRAY[flow_choice('c', $$ 'nobody depends on it' $$)]);

-- events of a step's own: many to many, several times, in order
SELECT ends(ARRAY[
	flow_step('a', $$ SELECT flow_emit('x', to_jsonb(i)), flow_emit('y') FROM generate_series(1, 3) i $$, result => 'none'),
	flow_step('b', $$ SELECT flow_emit('x', '"b"'), flow_emit('z', '{"k": [1]}') $$, result => 'none'),
	flow_step('x', $$ SELECT flow_event('a', 'x') AS a, flow_event('b', 'x') AS b, flow_event('a', 'y') AS y, flow_event('b', 'none') AS none $$, after => '{a:x,b:x}'),
	flow_step('z', $$ SELECT flow_event('b', 'z') AS z $$, after => '{b:z,a}'),
	flow_step('never', 'SELECT 1', after => '{a:z}'),
	flow_step('either', 'SELECT 1', after => '{a:z,b:z}', needs => 'any')]);
-- what a block emits that is rolled back, is not emitted
SELECT ends(ARRAY[
	flow_step('a', $$ DO $do$ BEGIN
		PERFORM flow_emit('kept', '1');
		BEGIN
			PERFORM flow_emit('lost');
			PERFORM 1/0;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
		BEGIN
			PERFORM flow_emit('kept', '2');
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END $do$ $$),
	flow_step('kept', $$ SELECT flow_event('a', 'kept') AS v $$, after => '{a:kept}'),
	flow_step('lost', 'SELECT 1', after => '{a:lost}')]);
SELECT ends(ARRAY[flow_step('a', $$ SELECT flow_emit('completed') $$)]);
SELECT ends(ARRAY[flow_step('a', $$ SELECT flow_emit(NULL) $$)]);
SELECT ends(ARRAY[flow_step('a', $$ SELECT flow_emit('y') $$, emits => '{x}')]);
SELECT ends(ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', $$ SELECT flow_event('nobody', 'x') $$, after => '{a}')]);
SELECT flow_emit('x');
SELECT flow_event('a', 'x');
SELECT flow_error('a');
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1', emits => '{large}'), flow_step('b', 'SELECT 1', after => '{a:lage}')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', after => '{a:approved}')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', after => '{a:timeout}')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', after => '{a:}')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1', emits => '{failed}')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1', emits => '{x,x}')]);
SELECT refusal(ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', after => '{c:x}')]);
SELECT refusal(flow_step('a', 'SELECT 1') || array_agg(flow_step('s' || i, 'SELECT 1', after => ARRAY['a:e' || i]))) FROM generate_series(1, 60) i;

-- a failure that is handled: the run goes on, what needs the step is skipped
SELECT ends(ARRAY[
	flow_step('a', $$ DO $do$ BEGIN RAISE 'no money' USING DETAIL = 'none at all'; END $do$ $$),
	flow_step('catch', $$ SELECT flow_error('a')->>'message' AS message, flow_error('a')->>'sqlstate' AS code, a IS NULL AS null $$, after => '{a:failed}'),
	flow_step('use', 'SELECT 1', after => '{a}'),
	flow_step('end', $$ SELECT 'after all' AS v $$, after => '{catch,use}', needs => 'any')]);
-- the same branch when nothing fails
SELECT ends(ARRAY[
	flow_step('a', $$ SELECT 1 AS n $$),
	flow_step('catch', $$ SELECT 1 $$, after => '{a:failed}'),
	flow_step('use', $$ SELECT flow_error('a') IS NULL AS good $$, after => '{a:completed}')]);
-- by its time limit
SELECT ends(ARRAY[
	flow_step('a', $$ SELECT pg_sleep(60) $$, timeout => '10 ms'),
	flow_step('late', $$ SELECT flow_error('a')->>'sqlstate' AS code $$, after => '{a:timeout}'),
	flow_step('both', 'SELECT 1', after => '{a:timeout,a:failed}')]);

-- what a failure means that nobody handles
SELECT ends(ARRAY[flow_step('a', 'SELECT 1/0'), flow_step('b', 'SELECT 1', after => '{a}'), flow_step('c', 'SELECT 1', after => '{b}'),
	flow_step('clean', $$ SELECT 'up' AS v $$, after => '{c}', needs => 'always')]);
SELECT ends(ARRAY[flow_step('a', 'SELECT 1/0', on_error => 'isolate'), flow_step('b', 'SELECT 1', after => '{a}'),
	flow_step('c', 'SELECT 3 AS n'), flow_step('d', 'SELECT 4 AS n', after => '{c}'), flow_step('e', $$ SELECT 'x'::int $$, on_error => 'isolate', after => '{d}')]);
SELECT ends(ARRAY[flow_step('a', 'SELECT 1/0', on_error => 'continue'), flow_step('b', 'SELECT a IS NULL AS null', after => '{a}')]);
SELECT ends(ARRAY[flow_step('a', 'SELECT 1/0', on_error => 'skip'), flow_step('b', 'SELECT 1', after => '{a}'), flow_step('c', 'SELECT 1')]);
SELECT (SELECT string_agg(key || ' ' || (value->>'sqlstate') || ' ' || (value->>'attempt'), ', ' ORDER BY key) FROM jsonb_each(errors)) AS errors FROM (
	SELECT id, errors FROM flow.run WHERE workflow = 'joins' AND errors IS NOT NULL ORDER BY id DESC LIMIT 4) r ORDER BY id;

-- pause: resuming tries the step again, with all its retries
SELECT flow_define('pauses', ARRAY[
	flow_step('a', $$ SELECT 1 / (SELECT n FROM divisor) AS n $$, on_error => 'pause', retries => 1, retry_delay => '0', no_retry_on => '{}'),
	flow_step('b', 'SELECT a', after => '{a}')]);
CREATE TABLE divisor AS SELECT 0 AS n;
SELECT flow_start('pauses') AS run \gset
SELECT flow_drain(:run);
SELECT status, status_reason FROM flow.run WHERE id = :run;
SELECT name, status, attempt FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_resume(:run), flow_drain(:run);
SELECT name, status, attempt FROM flow.step WHERE run_id = :run ORDER BY step_no;
UPDATE divisor SET n = 1;
SELECT flow_resume(:run), flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;
SELECT step, attempt, sqlstate FROM flow.attempt WHERE run_id = :run ORDER BY attempt;
SELECT status FROM flow.event WHERE run_id = :run ORDER BY id;
-- cancelled while it is paused
UPDATE divisor SET n = 0;
SELECT flow_start('pauses') AS run \gset
SELECT flow_drain(:run), flow_cancel(:run);
SELECT name, status, attempt FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- cancel: steps that always run, run
SELECT flow_define('cleans', ARRAY[
	flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 2', after => '{a}', priority => -1), flow_step('c', 'SELECT 3', after => '{b}'),
	flow_step('clean', $$ SELECT flow_error('b') IS NULL AS v $$, after => '{b,c}', needs => 'always'),
	flow_step('later', 'SELECT 1', after => '{clean}'),
	flow_step('last', 'SELECT 1', after => '{later}', needs => 'always')]);
SELECT flow_start('cleans', key => 'tidy') AS run \gset
SELECT flow_drain(:run, max_steps => 1);
SELECT flow_cancel(:run, 'enough'), flow_cancel(:run);
SELECT status, status_reason, finished_at IS NULL AS unfinished FROM flow.run WHERE id = :run;
SELECT failure('flow_pause(' || :run || ')');
SELECT flow_start('cleans', key => 'tidy') > :run AS key_is_free;
SELECT flow_drain(flow_find('cleans', 'tidy')) AS other, flow_drain(:run);
SELECT status, status_reason, finished_at IS NULL AS unfinished FROM flow.run WHERE id = :run;
SELECT name, status, reason FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT status FROM flow.event WHERE run_id = :run ORDER BY id;
-- not if it never began
SELECT flow_start('cleans', start_at => '2999-01-01') AS run \gset
SELECT flow_cancel(:run);
SELECT status FROM flow.run WHERE id = :run;
-- nor does the failure of one hide why the run failed; it is retried as others are
SELECT ends(ARRAY[flow_step('a', 'SELECT 1/0'),
	flow_step('clean', $$ SELECT 'x'::int $$, after => '{a}', needs => 'always', retries => 1, retry_delay => '0', no_retry_on => '{}')]);

-- retry: what failed goes on, what was handled or skipped by itself stays
SELECT flow_define('again', ARRAY[
	flow_step('a', 'SELECT 1/0'),
	flow_step('catch', 'SELECT 1', after => '{a:failed}'),
	flow_step('off', 'SELECT 1', condition => 'false'),
	flow_step('below', 'SELECT 1', after => '{off}'),
	flow_step('b', 'SELECT 1 / (SELECT n FROM divisor) AS n', after => '{catch}'),
	flow_step('c', 'SELECT 2', after => '{b}'),
	flow_step('clean', 'SELECT 3', after => '{b,c}', needs => 'always')]);
SELECT flow_start('again') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, attempt, reason FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT failure(format('flow_retry(%s, ''a'')', :run));
SELECT failure(format('flow_retry(%s, ''off'')', :run));
SELECT failure(format('flow_retry(%s, ''c'')', :run));
UPDATE divisor SET n = 1;
SELECT flow_retry(:run), flow_drain(:run);
SELECT name, status, attempt, reason FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT status, error FROM flow.run WHERE id = :run;
