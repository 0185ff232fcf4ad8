-- States of runs and steps: every transition a caller can ask for, and that
-- what the views say agrees with itself in all of them.
\set ECHO none
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
SELECT plan(33);

SELECT flow_define('states', ARRAY[
	flow_step('a', $$ SELECT 1 / (input->>'n')::int AS a $$),
	flow_step('b', $$ SELECT a->'a' AS b $$, after => '{a}')]) \g /dev/null

-- A new run in a state
CREATE FUNCTION states_run(state text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE run_no bigint;
BEGIN
	run_no := flow_start('states', jsonb_build_object('n', CASE state WHEN 'failed' THEN 0 ELSE 1 END),
		start_at => CASE state WHEN 'pending' THEN now() + interval '1 day' END);
	CASE state
		WHEN 'paused' THEN PERFORM flow_pause(run_no);
		WHEN 'cancelled' THEN PERFORM flow_cancel(run_no);
		WHEN 'completed', 'failed' THEN PERFORM flow_drain(run_no);
		ELSE NULL;
	END CASE;
	RETURN run_no;
END $$;

-- What a call does to a run in a state: its answer and the new state, or the
-- SQLSTATE
CREATE FUNCTION states_call(call text, state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	run_no bigint := states_run(state);
	answer boolean;
BEGIN
	EXECUTE format('SELECT %s(%s)', call, run_no) INTO answer;
	RETURN answer || ' ' || (SELECT status FROM flow.run WHERE id = run_no);
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN 'WF001';
END $$;

CREATE FUNCTION states_of(state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE run_no bigint := states_run(state);
BEGIN
	RETURN (SELECT status FROM flow.run WHERE id = run_no);
END $$;

SELECT is(states_of(state), state, 'a run can be ' || state)
FROM unnest('{pending,running,paused,completed,failed,cancelled}'::text[]) AS state;

SELECT is(states_call(call, state), expected, format('%s of a run that is %s', call, state))
FROM (VALUES
	('flow_pause', 'pending', 'true paused'), ('flow_pause', 'running', 'true paused'),
	('flow_pause', 'paused', 'false paused'), ('flow_pause', 'completed', 'WF001'),
	('flow_pause', 'failed', 'WF001'), ('flow_pause', 'cancelled', 'WF001'),
	('flow_resume', 'pending', 'false pending'), ('flow_resume', 'running', 'false running'),
	('flow_resume', 'paused', 'true running'), ('flow_resume', 'completed', 'WF001'),
	('flow_resume', 'failed', 'WF001'), ('flow_resume', 'cancelled', 'WF001'),
	('flow_cancel', 'pending', 'true cancelled'), ('flow_cancel', 'running', 'true cancelled'),
	('flow_cancel', 'paused', 'true cancelled'), ('flow_cancel', 'completed', 'WF001'),
	('flow_cancel', 'failed', 'WF001'), ('flow_cancel', 'cancelled', 'false cancelled'),
	('flow_retry', 'pending', 'WF001'), ('flow_retry', 'running', 'false running'),
	('flow_retry', 'paused', 'WF001'), ('flow_retry', 'completed', 'WF001'),
	('flow_retry', 'failed', 'true running'), ('flow_retry', 'cancelled', 'true running')) AS v(call, state, expected);

-- The states that are stored are those of the documentation
SELECT is((SELECT count(*) FROM flow.run WHERE status NOT IN
	('pending', 'running', 'paused', 'held', 'compensating', 'completed', 'failed', 'cancelled')), 0::bigint, 'no other run status');
SELECT is((SELECT count(*) FROM flow.step WHERE status NOT IN
	('pending', 'ready', 'running', 'sleeping', 'waiting', 'held', 'completed', 'failed', 'skipped',
	 'cancelled', 'compensated', 'compensation_failed')), 0::bigint, 'no other step status');
SELECT is((SELECT count(*) FROM flow.run r
	WHERE (r.finished_at IS NULL) <> EXISTS (SELECT FROM flow_internal.task t WHERE t.run_id = r.id)),
	0::bigint, 'an unfinished run has live work, a finished one has none');

SELECT * FROM finish();
ROLLBACK;
