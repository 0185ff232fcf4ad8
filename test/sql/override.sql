-- Steps ended by hand, runs made again, and whole runs in one transaction.
SET client_min_messages = warning;
CREATE TABLE override_effect (no int GENERATED ALWAYS AS IDENTITY, run_id bigint, step text);
CREATE FUNCTION override_error(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text; detail text; hint text;
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, '')), '\mrun \d+', 'run N', 'gi');
END $$;
CREATE FUNCTION override_step(name text, options jsonb DEFAULT '{}', sql text DEFAULT 'SELECT 1 AS n') RETURNS jsonb LANGUAGE sql AS $$
	SELECT flow_step(name, format('INSERT INTO override_effect (run_id, step) VALUES (flow.run_id, %L); %s', name, sql)) || options
$$;
SELECT flow_define('override', ARRAY[
	override_step('a'),
	override_step('b', '{"after": ["a"]}', $$ SELECT input->>'x' AS x $$),
	override_step('c', '{"after": ["b"]}', 'SELECT b'),
	override_step('d', '{"after": ["a"]}'),
	override_step('e', '{"after": ["c", "d"]}', $$ SELECT c->>'x' AS x, d->>'n' AS n $$)]);
CREATE VIEW override_steps AS
	SELECT run_id, string_agg(name || ' ' || status || coalesce(' ' || output::text, '') || coalesce(' (' || reason || ')', ''), ', ' ORDER BY step_no) AS steps,
		(SELECT string_agg(step, '' ORDER BY no) FROM override_effect f WHERE f.run_id = s.run_id) AS effects
	FROM flow.step s GROUP BY run_id;

-- finish: a mock for a step whose turn has not come, in the middle and at the start
SELECT flow_start('override') AS run \gset
SELECT flow_finish(:run, 'c', '{"x": "mock"}', reason => 'test'), flow_finish(:run, 'c', '{"x": "again"}');
SELECT flow_drain(:run);
SELECT steps, effects FROM override_steps WHERE run_id = :run;
SELECT flow_start('override', '{"x": 7}') AS run \gset
SELECT flow_finish(:run, 'a'), flow_drain(:run);
SELECT steps, effects FROM override_steps WHERE run_id = :run;
-- the last one ends the run
SELECT flow_define('override-one', ARRAY[override_step('a')]);
SELECT flow_start('override-one') AS run \gset
SELECT flow_finish(:run, 'a', '[1]'), flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;

-- skip: and what needs the step is skipped
SELECT flow_start('override') AS run \gset
SELECT flow_skip(:run, 'b', reason => 'not today'), flow_skip(:run, 'b'), flow_drain(:run);
SELECT steps, effects FROM override_steps WHERE run_id = :run;
-- while the run is paused, or pending
SELECT flow_start('override', start_at => '2999-01-01') AS pending, flow_start('override') AS paused \gset
SELECT flow_pause(:paused);
SELECT flow_skip(:paused, 'd'), flow_finish(:pending, 'd', '{"n": 5}');
SELECT flow_drain(:paused) AS nothing, flow_resume(:paused);
SELECT flow_drain(:paused), flow_drain(:pending, skip_time => true);
SELECT steps, effects FROM override_steps WHERE run_id IN (:paused, :pending) ORDER BY run_id = :pending;
-- what cannot be
SELECT override_error(format('flow_skip(%s, ''a'')', :run));
SELECT override_error(format('flow_finish(%s, ''b'')', :run));
SELECT override_error(format('flow_skip(%s, ''nobody'')', :run));
SELECT override_error('flow_skip(0, ''a'')');
SELECT override_error('flow_finish(NULL, ''a'')');
SELECT override_error('flow_finish(1, NULL)');
SELECT override_error(format('flow_skip(%s, ''a'', 1)', :run));
SELECT flow_start('override') AS run \gset
SELECT flow_cancel(:run);
SELECT override_error(format('flow_finish(%s, ''a'')', :run));
SELECT flow_define('override-inside', ARRAY[flow_step('a', $$ SELECT flow_skip(flow.run_id, 'b') $$), flow_step('b', 'SELECT 1', after => '{a}')]);
SELECT flow_start('override-inside') AS run \gset
SELECT flow_drain(:run);
SELECT error->>'sqlstate' AS sqlstate, error->>'message' AS message, error->>'hint' AS hint FROM flow.run WHERE id = :run;
-- who may: members of the owner, and operators
CREATE ROLE regress_flow_overrider;
GRANT USAGE ON SCHEMA flow TO regress_flow_overrider;
SELECT flow_start('override') AS run \gset
SET ROLE regress_flow_overrider;
SELECT override_error(format('flow_skip(%s, ''a'')', :run));
SELECT override_error(format('flow_finish(%s, ''a'')', :run));
SELECT override_error(format('flow_rerun(%s)', :run));
RESET ROLE;
SELECT flow_grant('override', 'regress_flow_overrider', 'operate');
BEGIN;
SET LOCAL ROLE regress_flow_overrider;
SELECT override_error(format('flow_skip(%s, ''a'')', :run));
SELECT override_error(format('flow_rerun(%s)', :run));
ROLLBACK;
-- a rerun is a start, and who has no right to that is not told how the run is
SELECT flow_revoke('override', 'regress_flow_overrider'), flow_grant('override', 'regress_flow_overrider', 'read');
SET ROLE regress_flow_overrider;
SELECT override_error(format('flow_rerun(%s)', :run));
SELECT override_error(format('flow_rerun(%s, ''nobody'')', :run));
RESET ROLE;
SELECT flow_grant('override', 'regress_flow_overrider', 'start');
SET ROLE regress_flow_overrider;
SELECT override_error(format('flow_rerun(%s)', :run));
RESET ROLE;
SELECT flow_revoke('override', 'regress_flow_overrider');
DROP OWNED BY regress_flow_overrider;
DROP ROLE regress_flow_overrider;
SELECT flow_drain(:run);
SELECT steps, effects FROM override_steps WHERE run_id = :run;

-- rerun: all of it, from a step, with another input
SELECT flow_start('override', '{"x": 1}', key => 'override', slot => '2024-05-01') AS run \gset
SELECT override_error(format('flow_rerun(%s)', :run));
SELECT flow_drain(:run);
SELECT flow_rerun(:run) AS again \gset
SELECT flow_drain(:again);
SELECT steps, effects FROM override_steps WHERE run_id = :again;
SELECT flow_rerun(:run, 'c') AS again \gset
SELECT override_error(format('flow_rerun(%s)', :run));
SELECT flow_drain(:again);
SELECT steps, effects FROM override_steps WHERE run_id = :again;
SELECT key, slot, input, status, output FROM flow.run WHERE id = :again;
SELECT flow_rerun(:again, 'b', '{"x": 2}') AS again \gset
SELECT flow_drain(:again);
SELECT steps, effects FROM override_steps WHERE run_id = :again;
SELECT override_error(format('flow_rerun(%s, ''nobody'')', :run));
SELECT override_error('flow_rerun(0)');
SELECT override_error('flow_rerun(NULL)');
-- of a failed one: what failed runs again too, and with it what is below; data goes along
CREATE TABLE override_divisor AS SELECT 0 AS n;
SELECT flow_define('override-fails', ARRAY[
	override_step('a', sql => $$ SELECT flow_set('k', '1') $$),
	override_step('b', '{"after": ["a"]}', 'SELECT 1 / n AS n FROM override_divisor'),
	override_step('c', '{"after": ["a"]}', $$ SELECT flow_get('k') AS k $$),
	override_step('d', '{"after": ["b"]}'),
	override_step('clean', '{"after": ["d"], "needs": "always"}')]);
SELECT flow_start('override-fails') AS run \gset
SELECT flow_drain(:run);
SELECT steps, effects FROM override_steps WHERE run_id = :run;
UPDATE override_divisor SET n = 1;
SELECT flow_rerun(:run, 'c') AS again \gset
SELECT flow_drain(:again);
SELECT steps, effects FROM override_steps WHERE run_id = :again;

-- A rerun is one of the same workflow, not of another that has its name now
SELECT flow_define('override-renewed', ARRAY[override_step('a')]) AS version, flow_start('override-renewed') AS run \gset
SELECT flow_drain(:run);
SELECT flow_drop('override-renewed');
SELECT flow_define('override-renewed', ARRAY[override_step('p')]);
SELECT override_error(format('flow_rerun(%s)', :run)) ~ 'does not exist any more' AS refused,
	override_error(format('flow_rerun(%s, ''a'')', :run)) ~ 'does not exist any more' AS refused_from_a_step;

-- execute: the output, or the step's error and nothing kept; delays elapse
SELECT flow_execute('override', '{"x": 3}');
SELECT count(*) AS runs FROM flow.run WHERE workflow = 'override' AND status = 'completed' AND input = '{"x": 3}';
UPDATE override_divisor SET n = 0;
SELECT override_error('flow_execute(''override-fails'')');
SELECT count(*) AS runs, count(*) FILTER (WHERE status = 'failed') AS failed FROM flow.run WHERE workflow = 'override-fails';
SELECT flow_define('override-slow', ARRAY[override_step('a', '{"retries": 2, "retry_delay": "1 h", "no_retry_on": []}', 'SELECT 1 / (flow.attempt - 1) AS n')]);
SELECT flow_execute('override-slow');
SELECT flow_define('override-level', ARRAY[override_step('a', '{"isolation": "serializable"}')]);
SELECT override_error('flow_execute(''override-level'')');
SELECT override_error('flow_execute(''nobody'')');
SELECT override_error('flow_execute(NULL)');
SELECT flow_define('override-empty', '{}');
SELECT flow_execute('override-empty', NULL);
DROP VIEW override_steps;
