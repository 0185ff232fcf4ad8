-- Steering: what each call does in each state, and what it refuses.
SELECT flow_define('control-two', ARRAY[
	flow_step('a', $$ SELECT 1 / (input->>'n')::int AS a $$),
	flow_step('b', $$ SELECT 2 AS b $$, after => '{a}')]);

-- A run in each state
SELECT flow_start('control-two', '{"n": 1}', start_at => now() + interval '1 day', key => 'pending') AS pending \gset
SELECT flow_start('control-two', '{"n": 1}', key => 'running') AS running \gset
SELECT flow_start('control-two', '{"n": 1}', key => 'paused') AS paused \gset
SELECT flow_pause(:paused, 'lunch');
SELECT flow_start('control-two', '{"n": 1}', key => 'completed') AS completed \gset
SELECT flow_drain(:completed);
SELECT flow_start('control-two', '{"n": 0}', key => 'failed') AS failed \gset
SELECT flow_drain(:failed);
SELECT flow_start('control-two', '{"n": 1}', key => 'cancelled') AS cancelled \gset
SELECT flow_cancel(:cancelled, 'never mind');
SELECT key, status, status_reason, finished_at IS NOT NULL AS finished FROM flow.run WHERE workflow = 'control-two' ORDER BY id;

-- Every call against every state, each undone
CREATE FUNCTION control_try(call text, key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	run_id bigint := flow_find('control-two', key);
	answer boolean;
	now_is text;
BEGIN
	EXECUTE format('SELECT %s(%s)', call, run_id) INTO answer;
	SELECT status INTO now_is FROM flow.run WHERE id = run_id;
	RAISE EXCEPTION USING MESSAGE = answer || ' ' || now_is, ERRCODE = 'ZZZZZ';
EXCEPTION
	WHEN SQLSTATE 'ZZZZZ' THEN RETURN SQLERRM;
	WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
SELECT key, control_try('flow_pause', key) AS pause, control_try('flow_resume', key) AS resume,
	control_try('flow_cancel', key) AS cancel, control_try('flow_retry', key) AS retry
FROM unnest('{pending,running,paused,completed,failed,cancelled}'::text[]) AS key;

-- The errors in full
CREATE FUNCTION control_error(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text; detail text; hint text;
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, '')), '\mrun \d+', 'run N', 'gi');
END $$;

SELECT control_error(format('%s(%s)', call, flow_find('control-two', key)))
FROM (VALUES ('flow_pause', 'completed'), ('flow_resume', 'failed'), ('flow_cancel', 'completed'), ('flow_retry', 'pending')) AS t(call, key);
SELECT flow_pause(0);
SELECT flow_cancel(NULL);

-- Pause: nothing starts; resume: it goes on
SELECT flow_drain(:paused) AS nothing;
SELECT name, status FROM flow.step WHERE run_id = :paused ORDER BY step_no;
SELECT reason, hint = format('SELECT flow_resume(%s)', :paused) AS hint FROM flow.stuck WHERE run_id = :paused;
SELECT flow_resume(:paused), flow_resume(:paused);
SELECT status, status_reason FROM flow.run WHERE id = :paused;
SELECT flow_drain(:paused);
SELECT status FROM flow.run WHERE id = :paused;

-- A paused planned run does not start when its time has come
SELECT flow_pause(:pending);
SELECT status FROM flow.run WHERE id = :pending;
SELECT flow_drain(:pending, skip_time => true) AS nothing;
SELECT flow_resume(:pending);
SELECT status FROM flow.run WHERE id = :pending;
SELECT flow_drain(:pending, skip_time => true);
SELECT status FROM flow.run WHERE id = :pending;

-- Cancel: every step has an outcome, the key is free
SELECT name, status FROM flow.step WHERE run_id = :cancelled ORDER BY step_no;
SELECT flow_start('control-two', '{"n": 1}', key => 'cancelled', on_conflict => 'error') > :cancelled AS key_is_free;
SELECT flow_cancel(flow_find('control-two', 'cancelled'));

-- Retry: goes on from the failed step, with a fresh count of attempts
SELECT status, error->>'sqlstate' AS sqlstate FROM flow.run WHERE id = :failed;
SELECT name, status, attempt FROM flow.step WHERE run_id = :failed ORDER BY step_no;
SELECT flow_retry(:failed);
SELECT status, error, finished_at FROM flow.run WHERE id = :failed;
SELECT name, status FROM flow.step WHERE run_id = :failed ORDER BY step_no;
SELECT flow_drain(:failed);
SELECT status FROM flow.run WHERE id = :failed;
SELECT attempt, sqlstate FROM flow.attempt WHERE run_id = :failed ORDER BY attempt;

-- Retry of a cancelled run keeps what had completed
SELECT flow_define('control-keep', ARRAY[
	flow_step('a', $$ SELECT 1 AS a $$),
	flow_step('b', $$ SELECT a->'a' AS b $$, after => '{a}')]);
SELECT flow_start('control-keep') AS run \gset
SELECT flow_drain(:run, max_steps => 1);
SELECT flow_cancel(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_retry(:run);
SELECT flow_drain(:run) AS only_b;
SELECT name, status, attempt, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT control_error(format('flow_retry(%s, %L)', :run, step)) FROM unnest('{a,nothing}'::text[]) AS step;

-- Retry of one step: it is the one that failed, and nothing before it is missing
SELECT flow_define('control-alone', ARRAY[
	flow_step('x', $$ SELECT 1 / (input->>'x')::int AS x $$),
	flow_step('y', $$ SELECT 1 / ((input->>'y')::int * (flow.attempt - 1)) AS y $$, after => '{x}'),
	flow_step('below', $$ SELECT 1 AS one $$, after => '{y}')]);
SELECT flow_start('control-alone', '{"x": 1, "y": 1}') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, attempt FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT step, control_error(format('flow_retry(%s, %L)', :run, step)) FROM unnest('{x,below,nothing}'::text[]) AS step;
SELECT status, error->>'step' AS step FROM flow.run WHERE id = :run;
SELECT flow_retry(:run, 'y');
SELECT status, error, errors FROM flow.run WHERE id = :run;
SELECT flow_drain(:run);
SELECT name, status, attempt FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT status, output FROM flow.run WHERE id = :run;

-- A retry takes its key again, unless another run has it
SELECT flow_start('control-two', '{"n": 0}', key => 'taken') AS first \gset
SELECT flow_drain(:first);
SELECT flow_start('control-two', '{"n": 1}', key => 'taken') AS second \gset
SELECT control_error(format('flow_retry(%s)', :first));
SELECT flow_cancel(:second);
SELECT flow_retry(:first);
SELECT flow_find('control-two', 'taken') = :first AS has_it_again;
SELECT flow_cancel(:first);

-- Nothing is steered where nothing may be written
SELECT flow_start('control-keep') AS run \gset
BEGIN READ ONLY;
SELECT flow_cancel(:run);
ROLLBACK;
BEGIN READ ONLY;
SELECT flow_pause(:run);
ROLLBACK;
BEGIN READ ONLY;
SELECT flow_drop('control-keep', force => true);
ROLLBACK;
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_cancel(:run);

-- Dropping: not while runs are unfinished, unless forced
SELECT flow_start('control-keep') AS run \gset
SELECT flow_drop('control-keep');
SELECT flow_drop('control-keep', force => true);
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_drop('control-keep');

-- The events of a run
SELECT e.status, e.by_role = current_user AS by_me FROM flow_events() e JOIN flow.run r ON r.id = e.run_id
WHERE r.id = :paused ORDER BY e.id;
SELECT string_agg(status, ' ' ORDER BY id) FROM flow.event WHERE run_id = :cancelled;
SELECT string_agg(status, ' ' ORDER BY id) FROM flow.event WHERE run_id = :failed;

SELECT flow_drain() >= 0 AS drained;
DROP FUNCTION control_try, control_error;
