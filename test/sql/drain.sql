-- Running steps in the session that asks for it: order, outputs, names,
-- failures, retries.
CREATE TABLE drain_log (no int GENERATED ALWAYS AS IDENTITY, run_id bigint, step text, said text);

-- A graph, in order, once
SELECT flow_define('drain-diamond', ARRAY[
	flow_step('last', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'last') $$, after => '{port,starboard}'),
	flow_step('port', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'port') $$, after => '{first}'),
	flow_step('starboard', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'starboard') $$, after => '{first}'),
	flow_step('first', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'first') $$)]);
SELECT flow_start('drain-diamond') AS run \gset
SELECT flow_drain(:run);
SELECT string_agg(step, ' ' ORDER BY no) IN ('first port starboard last', 'first starboard port last') AS ordered FROM drain_log WHERE run_id = :run;
SELECT step_no, name, kind, status, attempt, reason, error FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_drain(:run) AS nothing_left;

-- Some of the steps
SELECT flow_start('drain-diamond') AS run \gset
SELECT flow_drain(:run, max_steps => 1);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT status, steps, steps_done FROM flow.run WHERE id = :run;
SELECT flow_drain(:run);

-- Outputs
CREATE TYPE drain_pair AS (a int, b text);
CREATE FUNCTION drain_nothing() RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION drain_pairs() RETURNS SETOF drain_pair LANGUAGE sql AS $$ VALUES (1, 'x'), (2, 'y') $$;
SELECT flow_define('drain-output', ARRAY[
	flow_step('no_result', $$ CREATE TEMP TABLE drain_gone (); DROP TABLE drain_gone $$),
	flow_step('no_row', $$ SELECT 1 AS a WHERE false $$),
	flow_step('void', $$ SELECT drain_nothing() $$),
	flow_step('one_row', $$ SELECT count(*), 'x' AS t, NULL AS n, 1.50 AS d, true AS b, 9007199254740993 AS i FROM drain_pairs() $$),
	flow_step('json_value', $$ SELECT '[1, {"a": null}]'::json $$),
	flow_step('jsonb_value', $$ SELECT '"text"'::jsonb $$),
	flow_step('jsonb_null', $$ SELECT 'null'::jsonb $$),
	flow_step('sql_null', $$ SELECT NULL::jsonb $$),
	flow_step('composite', $$ SELECT ROW(1, 'x')::drain_pair $$),
	flow_step('set_row', $$ SELECT * FROM drain_pairs() LIMIT 1 $$),
	flow_step('scalar', $$ SELECT 7 AS seven $$),
	flow_step('last_counts', $$ SELECT 1 AS one; SELECT 2 AS two $$),
	flow_step('inserted', $$ INSERT INTO drain_log (step) VALUES ('r') RETURNING step, said $$),
	flow_step('rows', $$ SELECT * FROM drain_pairs() $$, result => 'rows'),
	flow_step('rows_none', $$ SELECT 1 AS a WHERE false $$, result => 'rows'),
	flow_step('rows_jsonb', $$ SELECT to_jsonb(i) FROM generate_series(1, 3) i $$, result => 'rows'),
	flow_step('none', $$ SELECT * FROM drain_pairs() $$, result => 'none'),
	flow_step('array_column', $$ SELECT ARRAY[1, 2] AS a, '2020-01-01'::date AS d $$)]);
SELECT flow_start('drain-output') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- More rows than one
SELECT flow_define('drain-many', ARRAY[flow_step('s', $$ SELECT * FROM drain_pairs() $$)]);
SELECT flow_start('drain-many') AS run \gset
SELECT flow_drain(:run);
SELECT status, error->>'sqlstate' AS sqlstate, error->>'message' AS message, error->>'hint' AS hint FROM flow.run WHERE id = :run;

-- The output of a run: of its only sink that completed, or all by name
SELECT flow_define('drain-sinks', ARRAY[
	flow_step('a', $$ SELECT 1 AS a $$),
	flow_step('b', $$ SELECT 2 AS b $$, after => '{a}'),
	flow_step('c', $$ SELECT 3 AS c $$, after => '{a}')]);
SELECT flow_start('drain-sinks') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;

-- ... of all of them, also when a cursor has looked at the names of a step
SELECT flow_define('drain-sinks-cursor', ARRAY[
	flow_step('before', $$ SELECT 'B' AS v $$),
	flow_step('a', $$ DECLARE c CURSOR FOR SELECT 1; SELECT 'A' AS v $$),
	flow_step('in_block', $$ DO $do$ DECLARE r record; BEGIN FOR r IN SELECT 1 LOOP PERFORM flow_set('k', '1'); END LOOP; END $do$; SELECT 'C' AS v $$),
	flow_step('after', $$ SELECT 'D' AS v $$)]);
SELECT flow_start('drain-sinks-cursor') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;
SELECT flow_define('drain-cursor-upstream', ARRAY[
	flow_step('up', $$ SELECT 5 AS n $$),
	flow_step('open', $$ DECLARE c CURSOR FOR SELECT (up->>'n')::int AS n; SELECT 'A' AS v $$, after => '{up}'),
	flow_step('other', $$ SELECT up->'n' AS n $$, after => '{up}')]);
SELECT flow_start('drain-cursor-upstream') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;

-- Names
CREATE TABLE drain_item (item int, qty int);
INSERT INTO drain_item VALUES (1, 10), (2, 20);
SELECT flow_define('drain-names', ARRAY[
	flow_step('order', $$ SELECT input->>'who' AS who, flow.input->'n' AS n $$),
	flow_step('charge-payment', $$ SELECT flow."order"->>'who' AS who, flow.run_key AS key, flow.attempt AS attempt $$, after => '{order}'),
	flow_step('sum', $$ SELECT sum(qty) AS sum, flow."charge-payment"->>'key' AS key FROM drain_item WHERE item = (flow.order->>'n')::int $$, after => '{charge-payment}'),
	flow_step('functions', $$ SELECT flow_step_name() AS step, flow_attempt() AS attempt, flow_run_key() AS key,
		flow_run_id() = flow.run_id AS run, flow_input() AS input, flow_output('sum') AS sum,
		flow_idempotency_key() ~ '^[0-9a-f]{64}$' AS idempotency_key $$, after => '{sum}'),
	flow_step('block', $$ DO $do$ BEGIN PERFORM flow_set('from-do', flow_output('functions')->'step'); END $do$ $$, after => '{functions}'),
	flow_step('data', $$ SELECT flow_get('from-do') AS got, flow_get('nothing') IS NULL AS nothing $$, after => '{block}')]);
SELECT flow_start('drain-names', '{"who": "ann", "n": 2}', key => 'the key') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, output, error->>'message' AS error FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT key, value FROM flow.data WHERE run_id = :run;

-- Nothing is pasted into the text
SELECT flow_define('drain-injection', ARRAY[flow_step('s', $$ SELECT input->>'x' AS x $$)]);
SELECT flow_start('drain-injection', '{"x": "''; DROP TABLE drain_log; --"}') AS run \gset
SELECT flow_drain(:run);
SELECT output FROM flow.run WHERE id = :run;

-- Several statements, each sees what the one before did, DDL included
SELECT flow_define('drain-statements', ARRAY[
	flow_step('make', $$
		CREATE TABLE drain_made (n int);
		INSERT INTO drain_made SELECT generate_series(1, (input->>'n')::int);
		ALTER TABLE drain_made ADD COLUMN twice int;
		UPDATE drain_made SET twice = 2 * n;
		SELECT sum(twice) AS sum FROM drain_made;
		$$),
	flow_step('use', $$ SELECT count(*), make->'sum' AS sum FROM drain_made; $$, after => '{make}')]);
SELECT flow_start('drain-statements', '{"n": 4}') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;
DROP TABLE drain_made;

-- A failure undoes its step, and only that
SELECT flow_define('drain-fail', ARRAY[
	flow_step('good', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'good') $$),
	flow_step('bad', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'bad');
		SELECT 1 / (input->>'n')::int $$, after => '{good}'),
	flow_step('below', $$ SELECT 1 $$, after => '{bad}'),
	flow_step('deeper', $$ SELECT 1 $$, after => '{below}'),
	flow_step('beside', $$ SELECT 1 $$, after => '{good}')]);
SELECT flow_start('drain-fail', '{"n": 0}') AS run \gset
SELECT flow_drain(:run) > 0 AS drained;
SELECT status, error - 'context' AS error, errors ? 'bad' AS by_step FROM flow.run WHERE id = :run;
SELECT name, status, sqlstate FROM flow.step WHERE run_id = :run AND name <> 'beside' ORDER BY step_no;
SELECT string_agg(step, ' ' ORDER BY no) FROM drain_log WHERE run_id = :run;
SELECT step, attempt, sqlstate, message, next_at FROM flow.attempt WHERE run_id = :run;
SELECT context LIKE '%drain-fail%' AS workflow, context LIKE '%"bad"%' AS step FROM flow.attempt WHERE run_id = :run;

-- What fails in one run leaves the others alone
SELECT count(flow_start('drain-fail', jsonb_build_object('n', n % 3))) FROM generate_series(1, 9) n;
SELECT flow_drain() > 0 AS drained;
SELECT status, count(*) FROM flow.run WHERE workflow = 'drain-fail' GROUP BY status ORDER BY status;
SELECT step, count(*) FROM drain_log WHERE step IN ('good', 'bad') GROUP BY step ORDER BY step;

-- Errors other than those that cannot heal are tried again
CREATE SEQUENCE drain_tries;
CREATE FUNCTION drain_flaky(fail int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint := nextval('drain_tries');
BEGIN
	IF n <= fail THEN RAISE 'not yet' USING ERRCODE = 'P0001', DETAIL = 'try ' || n, HINT = 'Wait.'; END IF;
	RETURN n;
END $$;
SELECT flow_define('drain-retry', ARRAY[
	flow_step('s', $$ SELECT drain_flaky(2) AS n, flow.attempt AS attempt $$, retries => 3, retry_delay => '1 min', backoff => 3)]);
SELECT flow_start('drain-retry') AS run \gset
SELECT flow_drain(:run);
SELECT status, attempt, due_at > now() AS later FROM flow.step WHERE run_id = :run;
SELECT waiting_for LIKE 'retry of "s" at %' AS waits FROM flow.run WHERE id = :run;
SELECT flow_drain(:run) AS not_due;
SELECT flow_drain(:run, skip_time => true) AS skipped_time;
SELECT status, output FROM flow.run WHERE id = :run;
SELECT attempt, sqlstate, message, detail, hint, date_trunc('second', next_at - finished_at) AS delay FROM flow.attempt WHERE run_id = :run ORDER BY attempt;
ALTER SEQUENCE drain_tries RESTART;
SELECT flow_define('drain-retry', ARRAY[
	flow_step('s', $$ SELECT drain_flaky(9) AS n $$, retries => 2)]);
SELECT flow_start('drain-retry') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT r.status, s.attempt, s.sqlstate FROM flow.run r JOIN flow.step s ON s.run_id = r.id WHERE r.id = :run;
SELECT flow_define('drain-retry', ARRAY[
	flow_step('s', $$ SELECT drain_flaky(9) AS n $$, retries => 2, no_retry_on => '{P0}')]);
SELECT flow_start('drain-retry') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT r.status, s.attempt FROM flow.run r JOIN flow.step s ON s.run_id = r.id WHERE r.id = :run;

-- A time limit
SELECT flow_define('drain-limit', ARRAY[flow_step('s', $$ SELECT pg_sleep(600) $$, timeout => '50 ms')]);
SELECT flow_start('drain-limit') AS run \gset
SELECT flow_drain(:run);
SELECT status, error->>'sqlstate' AS sqlstate, error->>'message' AS message FROM flow.run WHERE id = :run;

-- Inside steps: control takes effect with the step, the forbidden is refused
SELECT flow_define('drain-inside', ARRAY[
	flow_step('child', $$ SELECT flow_start('drain-sinks', key => 'child') > 0 AS started $$),
	flow_step('pause', $$ SELECT flow_pause(flow.run_id, 'by itself') AS paused $$, after => '{child}'),
	flow_step('later', $$ SELECT 1 AS one $$, after => '{pause}')]);
SELECT flow_start('drain-inside') AS run \gset
SELECT flow_drain(:run);
SELECT status, status_reason FROM flow.run WHERE id = :run;
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_resume(:run);
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;
SELECT status FROM flow.run WHERE id = flow_find('drain-sinks', 'child');
SELECT flow_drain() AS child;
SELECT flow_define('drain-stop', ARRAY[
	flow_step('first', $$ SELECT 1 AS one $$),
	flow_step('stop', $$ SELECT CASE input->>'how' WHEN 'pause' THEN flow_pause(flow.run_id, 'by itself') ELSE flow_cancel(flow.run_id, 'by itself') END AS stopped $$, after => '{first}'),
	flow_step('later', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'later') $$, after => '{stop}'),
	flow_step('beside', $$ INSERT INTO drain_log (run_id, step) VALUES (flow.run_id, 'beside') $$, after => '{first}', priority => -1)]);
SELECT flow_start('drain-stop', '{"how": "cancel"}') AS run \gset
SELECT flow_drain(:run);
SELECT status, status_reason, output FROM flow.run WHERE id = :run;
SELECT name, status, reason, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT count(*) FROM drain_log WHERE run_id = :run;
SELECT flow_start('drain-stop', '{"how": "pause"}') AS run \gset
SELECT flow_drain(:run);
SELECT status, status_reason, output FROM flow.run WHERE id = :run;
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT count(*) FROM drain_log WHERE run_id = :run;
SELECT flow_resume(:run);
SELECT flow_drain(:run);
SELECT status FROM flow.run WHERE id = :run;
SELECT step FROM drain_log WHERE run_id = :run ORDER BY step;
-- ... in its last step: the run is paused all the same, and not over
SELECT flow_define('drain-stop-last', ARRAY[
	flow_step('first', $$ SELECT 1 AS one $$),
	flow_step('last', $$ SELECT flow_pause(flow.run_id) AS paused $$, after => '{first}')]);
SELECT flow_start('drain-stop-last', key => 'stop-last') AS run \gset
SELECT flow_drain(:run);
SELECT status, finished_at IS NULL AS unfinished, steps, steps_done FROM flow.run WHERE id = :run;
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_start('drain-stop-last', key => 'stop-last') = :run AS has_its_key;
\set VERBOSITY sqlstate
SELECT flow_drop('drain-stop-last');
\set VERBOSITY default
SELECT runs_unfinished FROM flow.workflow WHERE name = 'drain-stop-last';
SELECT flow_drain(:run) AS nothing;
SELECT flow_resume(:run);
SELECT flow_drain(:run) AS no_step;
SELECT status, output FROM flow.run WHERE id = :run;
SELECT flow_drop('drain-stop-last');
-- ... and a step that fails has asked for nothing
SELECT flow_define('drain-stop-not', ARRAY[
	flow_step('s', $$ SELECT flow_pause(flow.run_id, 'by itself'); SELECT 1 / (flow.attempt - 1) AS n $$, retries => 1, no_retry_on => '{}')]);
SELECT flow_start('drain-stop-not') AS run \gset
SELECT flow_drain(:run);
SELECT status, status_reason FROM flow.run WHERE id = :run;
SELECT flow_drain(:run, skip_time => true);
SELECT status, status_reason FROM flow.run WHERE id = :run;
SELECT flow_cancel(:run);
SELECT flow_define('drain-refused', ARRAY[
	flow_step('drain', $$ SELECT flow_drain() $$),
	flow_step('await', $$ SELECT flow_await(1) $$)]);
SELECT flow_start('drain-refused') AS run \gset
SELECT flow_drain(:run) > 0 AS drained;
SELECT step, sqlstate, message FROM flow.attempt WHERE run_id = :run ORDER BY step LIMIT 1;

-- Outside a step
SELECT flow_run_id();
SELECT flow_set('k', '1');
SELECT flow_output('s');

-- An uncommitted run, as in a test that rolls back
BEGIN;
SELECT flow_start('drain-sinks') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;
ROLLBACK;

-- Refused
SELECT flow_drain(skip_time => true);
SELECT flow_drain(-1);
SELECT flow_drain(0);
SELECT flow_drain(max_steps => 0);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT flow_drain();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT flow_drain();
ROLLBACK;
\set VERBOSITY sqlstate
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT flow_drain();
ROLLBACK;
\set VERBOSITY default
CREATE ROLE drain_other;
GRANT USAGE ON SCHEMA flow TO drain_other;
SELECT flow_start('drain-sinks') AS run \gset
SET ROLE drain_other;
\set VERBOSITY sqlstate
SELECT flow_drain(:run);
\set VERBOSITY default
RESET ROLE;
SELECT flow_drain(:run);
BEGIN READ ONLY;
SELECT flow_drain();
ROLLBACK;

REVOKE USAGE ON SCHEMA flow FROM drain_other;
DROP ROLE drain_other;
DROP TABLE drain_log, drain_item;
DROP SEQUENCE drain_tries;
DROP FUNCTION drain_flaky, drain_nothing, drain_pairs;
DROP TYPE drain_pair;
