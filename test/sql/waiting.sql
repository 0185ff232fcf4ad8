-- Steps that wait: for a time, a signal, a decision; and their time limits.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;

-- Nothing of what follows is committed, so that no worker meddles
BEGIN;
CREATE FUNCTION pg_temp.steps(run bigint) RETURNS TABLE(name text, status text, attempt int, output jsonb, sqlstate text)
LANGUAGE sql AS 'SELECT s.name, s.status, s.attempt, s.output, s.sqlstate FROM flow.step s WHERE s.run_id = run ORDER BY s.step_no';
CREATE FUNCTION pg_temp.try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text; detail text; hint text;
BEGIN
	EXECUTE call INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ': ' || regexp_replace(concat_ws(' | ', SQLERRM, detail, hint), '(?i)(run) \d+', '\1 N', 'g');
END $$;

-- Delays
SELECT flow_define('w-delay', ARRAY[
	flow_step('a', 'SELECT 1 AS n'),
	flow_delay('nap', '1 hour', after => '{a}'),
	flow_delay('soon', until => $$ clock_timestamp() + (flow.a->>'n')::int * interval '2 hours' $$, after => '{nap}'),
	flow_step('z', 'SELECT 2 AS n', after => '{soon}')]);
SELECT flow_start('w-delay') AS run \gset
SELECT flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT status, due_at BETWEEN now() + interval '59 minutes' AND clock_timestamp() + interval '1 hour' AS due,
	started_at IS NOT NULL AS since FROM flow.step WHERE run_id = :run AND name = 'nap';
SELECT regexp_replace(waiting_for, 'at .*', 'at T') FROM flow.run WHERE id = :run;
SELECT flow_drain(:run);
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT status, output FROM flow.run WHERE id = :run;

-- Zero and what has passed end at once; null is an error; a condition is asked first
SELECT flow_define('w-until', ARRAY[
	flow_delay('zero', '0'),
	flow_delay('past', until => $$ (input->>'at')::timestamptz $$, after => '{zero}'),
	flow_delay('never', '1 hour', after => '{past}', condition => 'false')]);
SELECT flow_start('w-until', '{"at": "2000-01-01"}') AS run \gset
SELECT flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT flow_start('w-until') AS run \gset
SELECT flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT error->>'message', error->>'detail', error->>'hint' FROM flow.run WHERE id = :run;
SELECT flow_start('w-until', '{"at": "infinity"}') AS run \gset
SELECT flow_drain(:run);
SELECT error->>'sqlstate', error->>'message' FROM flow.run WHERE id = :run;

-- The time that was decided on stays, also over pause, cancel and retry
SELECT flow_start('w-delay') AS run \gset
SELECT flow_drain(:run);
CREATE TEMP TABLE due AS SELECT due_at FROM flow.step WHERE run_id = :run AND name = 'nap';
SELECT flow_pause(:run), flow_resume(:run), flow_drain(:run);
SELECT s.status, s.due_at = d.due_at AS same FROM flow.step s, due d WHERE s.run_id = :run AND s.name = 'nap';
SELECT flow_cancel(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT flow_retry(:run), flow_drain(:run);
SELECT s.status, s.due_at = d.due_at AS same FROM flow.step s, due d WHERE s.run_id = :run AND s.name = 'nap';
SELECT flow_cancel(:run);

-- Signals: kept before the step, taken oldest first, each once
SELECT flow_define('w-signal', ARRAY[
	flow_step('a', 'SELECT 1 AS n'),
	flow_wait('paid', after => '{a}'),
	flow_wait('again', 'paid', after => '{paid}'),
	flow_step('z', $$ SELECT flow.paid->'n' AS first, flow.again AS second $$, after => '{again}')]);
SELECT flow_start('w-signal', key => 'k1') AS run \gset
SELECT flow_signal(:run, 'paid', '{"n": 1}', 'id1'), flow_signal(:run, 'paid', '{"n": 9}', 'id1') AS repeated,
	flow_signal(:run, 'other', '1');
SELECT flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT waiting_for FROM flow.run WHERE id = :run;
SELECT waiting FROM flow.queue WHERE workflow = 'w-signal';
SELECT flow_signal_key('w-signal', 'k1', 'paid', NULL, 'id1'), flow_signal_key('w-signal', 'k1', 'paid', '7', 'id1') AS repeated;
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;
SELECT run_id = :run AS run, key, name, payload, signal_id, sent_by = current_user AS by, taken_by_run = :run AS taken, taken_by_step
FROM flow.signal WHERE workflow = 'w-signal' ORDER BY id;
-- after its end
SELECT flow_signal(:run, 'paid', NULL, 'id1') AS repeated, pg_temp.try(format('SELECT flow_signal(%s, %L)', :run, 'paid'));
-- before the run exists
SELECT flow_signal_key('w-signal', 'k2', 'paid', '{"n": 1}'), flow_signal_key('w-signal', 'k2', 'paid', '{"n": 2}');
SELECT flow_start('w-signal', key => 'k2') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;

-- A time limit, and who handles it; a signal that is there wins
SELECT flow_define('w-limit', ARRAY[
	flow_wait('go', timeout => '1 day'),
	flow_step('yes', 'SELECT 1', after => '{go}'),
	flow_step('late', $$ SELECT flow_error('go')->>'sqlstate' AS e $$, after => '{go:timeout}')]);
SELECT flow_start('w-limit') AS run \gset
SELECT flow_drain(:run);
SELECT status, due_at > now() + interval '23 hours' AS due FROM flow.step WHERE run_id = :run AND name = 'go';
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT error->>'message', error->>'detail', error->>'hint' FROM flow.step WHERE run_id = :run AND name = 'go';
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_start('w-limit') AS run \gset
SELECT flow_drain(:run), flow_signal(:run, 'go'), flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);

-- Approvals
SELECT flow_define('w-approval', ARRAY[
	flow_step('a', 'SELECT 1'),
	flow_approval('ok', after => '{a}', timeout => '1 day'),
	flow_step('ship', 'SELECT 1 AS shipped', after => '{ok}'),
	flow_step('yes', 'SELECT 1', after => '{ok:approved}'),
	flow_step('no', $$ SELECT flow_error('ok')->>'detail' AS why $$, after => '{ok:rejected}')]);
SELECT flow_start('w-approval') AS run \gset
SELECT pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'ok'));
SELECT flow_drain(:run);
SELECT waiting_for FROM flow.run WHERE id = :run;
SELECT pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'a')), pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'none'));
SELECT flow_approve(:run, 'ok', 'fine', 'Ada'), flow_approve(:run, 'ok') AS repeated, pg_temp.try(format('SELECT flow_reject(%s, %L)', :run, 'ok'));
SELECT flow_drain(:run);
SELECT name, status, output - 'by', output->>'by' = session_user AS by FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_approve(:run, 'ok') AS repeated, pg_temp.try(format('SELECT flow_reject(%s, %L)', :run, 'ok'));
SELECT flow_start('w-approval') AS run \gset
SELECT flow_drain(:run);
SELECT flow_reject(:run, 'ok', 'too dear', 'Bob'), flow_reject(:run, 'ok') AS repeated;
SELECT flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT error->>'message', error->>'detail' FROM flow.step WHERE run_id = :run AND name = 'ok';
SELECT flow_reject(:run, 'ok') AS repeated, pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'ok'));
-- unhandled, and asked again by a retry
SELECT flow_define('w-gate', ARRAY[flow_approval('ok')]);
SELECT flow_start('w-gate') AS run \gset
SELECT flow_drain(:run), flow_reject(:run, 'ok'), flow_drain(:run);
SELECT status, error->>'sqlstate' FROM flow.run WHERE id = :run;
SELECT flow_retry(:run), flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT flow_approve(:run, 'ok'), flow_drain(:run);
SELECT status FROM flow.run WHERE id = :run;

-- A step that runs again: what each round did stays
CREATE TEMP TABLE rounds (n int);
SELECT flow_define('w-again', ARRAY[
	flow_step('a', 'SELECT 1 AS n'),
	flow_step('poll', $$ WITH i AS (INSERT INTO rounds VALUES (1) RETURNING n) SELECT count(*) + (SELECT count(*) FROM rounds) AS seen, max(flow.attempt) AS attempt FROM i $$,
		after => '{a}', condition => '(SELECT count(*) FROM rounds) = 0',
		again => $$ CASE WHEN (poll->>'seen')::int < 3 THEN interval '1 hour' END $$),
	flow_step('call', $$ INSERT INTO rounds VALUES (2); SELECT CASE WHEN flow.attempt < 3 THEN flow_again('1 day') END;
		DO 'BEGIN PERFORM flow_again(''1 h''); RAISE EXCEPTION ''x''; EXCEPTION WHEN raise_exception THEN NULL; END';
		SELECT flow.attempt AS attempt $$, after => '{poll}'),
	flow_step('z', 'SELECT flow.poll AS poll, flow.call AS call', after => '{call}')]);
SELECT flow_start('w-again') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, attempt, rounds, due_at > now() + interval '50 minutes' AS due FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT regexp_replace(waiting_for, 'at .*', 'at T') FROM flow.run WHERE id = :run;
SELECT flow_drain(:run, skip_time => true);
SELECT name, status, attempt, rounds, due_at FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT n, count(*) FROM rounds GROUP BY n ORDER BY n;
SELECT status, output FROM flow.run WHERE id = :run;
-- a failure counts against the retries, a round does not
SELECT flow_define('w-rounds', ARRAY[flow_step('s', $$ SELECT 1 / (flow.attempt - 2) AS n $$, retries => 1, no_retry_on => '{}',
	again => $$ CASE WHEN flow.attempt < 4 THEN interval '1 s' END $$)]);
SELECT flow_start('w-rounds') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT status, attempt, rounds FROM flow.step WHERE run_id = :run;
-- a wait takes a signal in each round
SELECT flow_define('w-each', ARRAY[flow_wait('s', again => $$ CASE WHEN s->>'more' = 'true' THEN interval '0' END $$)]);
SELECT flow_start('w-each') AS run \gset
SELECT flow_signal(:run, 's', '{"more": true}'), flow_drain(:run);
SELECT status, rounds FROM flow.step WHERE run_id = :run;
SELECT flow_signal(:run, 's', '{"more": false}'), flow_drain(:run);
SELECT status, rounds, output FROM flow.step WHERE run_id = :run;
-- in a run that fails it is cancelled
SELECT flow_define('w-last', ARRAY[flow_step('s', 'SELECT flow_again(''1 s'')'), flow_step('t', 'SELECT 1/0', after => '{u}'), flow_step('u', 'SELECT 1')]);
SELECT flow_start('w-last') AS run \gset
SELECT flow_drain(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
-- what is not right
SELECT pg_temp.try($$ SELECT flow_again('1 s') $$);
SELECT flow_define('w-badly', ARRAY[flow_step('s', 'SELECT 1', again => '42')]);
SELECT flow_start('w-badly') AS run \gset
SELECT flow_drain(:run);
SELECT error->>'sqlstate', error->>'message' FROM flow.run WHERE id = :run;
SELECT pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_step('s', 'SELECT 1', again => 'null', isolation => 'serializable')]) $$);

-- A workflow that waits is not executed at once
SELECT pg_temp.try($$ SELECT flow_execute('w-gate') $$), pg_temp.try($$ SELECT flow_execute('w-delay') $$);

-- The deadline of a run: it leaves nothing behind, and does not elapse by skip_time
SELECT flow_define('w-deadline', ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_delay('d', '1 hour', after => '{a}')], timeout => '1 day');
SELECT flow_definition('w-deadline')->>'timeout', flow_define(flow_definition('w-deadline'));
SELECT flow_start('w-deadline') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_start('w-deadline') AS run \gset
SELECT flow_drain(:run), flow_cancel(:run);
SELECT count(*) FROM flow_internal.task t JOIN flow.run r ON r.id = t.run_id WHERE r.status IN ('completed', 'failed', 'cancelled');
SELECT flow_define('w-overdue', ARRAY[flow_step('a', 'SELECT 1 AS n'), flow_delay('d', '1 hour', after => '{a}'), flow_step('z', 'SELECT 1', after => '{d}'),
	flow_step('last', 'SELECT 2', after => '{z}', needs => 'always')], timeout => '1 microsecond');
SELECT flow_start('w-overdue') AS run \gset
SELECT flow_drain(:run) > 0;
SELECT name, status, reason FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT status, error FROM flow.run WHERE id = :run;
SELECT pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_wait('s')], timeout => '0') $$), pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_wait('s')], timeout => '2000 years') $$);

-- A run that fails or is cancelled ends what waits; a step that always runs may wait
SELECT flow_define('w-fails', ARRAY[
	flow_wait('s'), flow_approval('ok'), flow_delay('d', '1 day'),
	flow_step('bad', 'SELECT 1/0', after => '{first}'), flow_wait('first'),
	flow_wait('last', needs => 'always', after => '{bad}')]);
SELECT flow_start('w-fails') AS run \gset
SELECT flow_drain(:run);
SELECT waiting_for ~ '^signal "s", approval of "ok", "d" at .*, signal "first"$' FROM flow.run WHERE id = :run;
SELECT flow_signal(:run, 'first'), flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT flow_signal(:run, 'last'), flow_drain(:run);
SELECT status, steps_done FROM flow.run WHERE id = :run;
SELECT flow_start('w-fails') AS run \gset
SELECT flow_drain(:run), flow_pause(:run), flow_signal(:run, 's'), flow_drain(:run), flow_resume(:run), flow_drain(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_cancel(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT count(*) FROM flow_internal.task t JOIN flow.run r ON r.id = t.run_id WHERE r.status IN ('completed', 'failed', 'cancelled');

-- Rights
CREATE ROLE regress_w_owner LOGIN;
CREATE ROLE regress_w_starter;
CREATE ROLE regress_w_boss;
CREATE ROLE regress_w_approver IN ROLE regress_w_boss;
CREATE ROLE regress_w_chief IN ROLE regress_w_boss;
CREATE ROLE regress_w_other;
GRANT USAGE ON SCHEMA flow TO regress_w_owner, regress_w_starter, regress_w_approver, regress_w_chief, regress_w_other;
GRANT CREATE ON SCHEMA flow TO regress_w_owner;
SET ROLE regress_w_owner;
SELECT flow_define('w-rights', ARRAY[flow_approval('ok', 'regress_w_boss'), flow_approval('free'), flow_wait('s')]);
SELECT flow_grant('w-rights', 'regress_w_starter', 'start'), flow_grant('w-rights', 'regress_w_approver', 'approve');
SET ROLE regress_w_starter;
SELECT flow_start('w-rights', key => 'r') AS run \gset
SET ROLE regress_w_owner;
SELECT flow_drain(:run);
SELECT pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'ok'));
SET ROLE regress_w_starter;
SELECT pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'free'));
SELECT flow_signal(:run, 'x'), flow_signal_key('w-rights', 'r', 'x');
SET ROLE regress_w_other;
SELECT pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'free')), pg_temp.try(format('SELECT flow_signal(%s, %L)', :run, 's')),
	pg_temp.try($$ SELECT flow_signal_key('w-rights', 'r', 's') $$);
SELECT count(*) FROM flow.signal;
SET ROLE regress_w_chief;
SELECT pg_temp.try(format('SELECT flow_approve(%s, %L)', :run, 'free')), flow_approve(:run, 'ok');
SET ROLE regress_w_approver;
SELECT pg_temp.try(format('SELECT flow_signal(%s, %L)', :run, 's')), flow_approve(:run, 'ok'), flow_approve(:run, 'free');
SET ROLE regress_w_owner;
SELECT flow_signal(:run, 's'), flow_drain(:run);
SELECT status FROM flow.run WHERE id = :run;
SELECT key, name, sent_by, taken_by_step FROM flow.signal ORDER BY id;
RESET ROLE;

-- What is not right
SELECT pg_temp.try('SELECT flow_signal(NULL, ''x'')'), pg_temp.try('SELECT flow_signal(1000000000, ''x'')'), pg_temp.try(format('SELECT flow_signal(%s, NULL)', :run));
SELECT pg_temp.try(format('SELECT flow_signal(%s, %L)', :run, '')), pg_temp.try(format('SELECT flow_signal(%s, %L, NULL, repeat(%L, 501))', :run, 'x', 'i'));
SELECT pg_temp.try($$ SELECT flow_signal_key('w-none', 'k', 'x') $$), pg_temp.try($$ SELECT flow_signal_key('w-gate', '', 'x') $$), pg_temp.try($$ SELECT flow_signal_key('w-gate', NULL, 'x') $$);
SELECT pg_temp.try(format('SELECT flow_approve(%s, %L, item_no => 1)', :run, 'ok')), pg_temp.try(format('SELECT flow_reject(%s, NULL)', :run));
SELECT pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_delay('d')]) $$), pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_delay('d', '1 s', 'now()')]) $$),
	pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_delay('d', '-1 s')]) $$), pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_delay('d', until => 'now(')]) $$),
	pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_delay('d', '1 s', timeout => '1 s')]) $$), pg_temp.try($$ SELECT flow_define('w-bad', ARRAY[flow_wait('d', retries => 1)]) $$);
SELECT flow_define('w-typed', ARRAY[flow_delay('d', until => '42')]);
SELECT flow_start('w-typed') AS run \gset
SELECT flow_drain(:run);
SELECT error->>'sqlstate', error->>'message' FROM flow.run WHERE id = :run;
ROLLBACK;
