-- Compensation: what a failed or cancelled run has done is undone
\pset format unaligned
\pset tuples_only on

CREATE TABLE log (no bigint GENERATED ALWAYS AS IDENTITY, step text, text text);
CREATE FUNCTION note(step text, text text DEFAULT NULL) RETURNS void LANGUAGE sql
AS $$ INSERT INTO log (step, text) VALUES (step, text) $$;
CREATE FUNCTION fail(message text) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION '%', message USING ERRCODE = 'P0001'; END $$;
CREATE FUNCTION logged() RETURNS text LANGUAGE sql
AS $$ WITH gone AS (DELETE FROM log RETURNING *)
	SELECT string_agg(concat_ws('=', step, text), ' ' ORDER BY no) FROM gone $$;
CREATE FUNCTION refused(command text, run bigint) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE format('SELECT flow_%s(%s)', command, run);
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat(SQLSTATE, ': ', replace(SQLERRM, run::text, '-'), '. ', detail);
END $$;
CREATE VIEW last_run AS
	SELECT r.* FROM flow.run r ORDER BY id DESC LIMIT 1;
CREATE VIEW steps AS
	SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) AS steps
	FROM flow.step WHERE run_id = (SELECT id FROM last_run);

-- A diamond, undone from its end; each compensation sees what its step has seen
SELECT flow_define('undo_diamond', ARRAY[
	flow_step('a', $$ SELECT note('a'), 1 AS x $$, undo => $$ SELECT note('-a', concat(a->>'x', input->>'y', flow_step_name())) $$),
	flow_step('b', $$ SELECT note('b'), 2 AS x $$, after => '{a}', undo => $$ SELECT note('-b', concat(a->>'x', b->>'x', flow_output('b')->>'x')) $$),
	flow_step('c', $$ SELECT note('c'), 3 AS x $$, after => '{a}', undo => $$ SELECT note('-c') FROM generate_series(1, 1) $$),
	flow_step('d', $$ SELECT note('d'), fail('no') $$, after => '{b,c}', undo => $$ SELECT note('-d') $$),
	flow_step('e', $$ SELECT note('e') $$, after => '{d}', needs => 'always')]);
SELECT flow_start('undo_diamond', '{"y": 7}') > 0 AS started \gset
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation, error->>'message' AS error, steps, steps_done FROM last_run;
SELECT name, output->>'x' AS x, error FROM flow.step WHERE run_id = (SELECT id FROM last_run) AND status = 'compensated' ORDER BY step_no;
SELECT status, by_role IS NULL AS engine FROM flow.event WHERE run_id = (SELECT id FROM last_run) ORDER BY id;
SELECT refused('retry', id), refused('cancel', id) FROM last_run;

-- Tried as often as the step; one that fails for good stops no other
CREATE SEQUENCE tries;
SELECT flow_define('undo_partial', ARRAY[
	flow_step('a', $$ SELECT note('a') $$, undo => $$ SELECT note('-a') $$),
	flow_step('b', $$ SELECT note('b') $$, after => '{a}', retries => 1, retry_delay => '1 h',
		undo => $$ SELECT note('-b', flow.attempt::text), CASE WHEN nextval('tries') = 1 THEN fail('once') END $$),
	flow_step('c', $$ SELECT note('c') $$, after => '{a}', undo => $$ SELECT note('-c'), fail('never') $$),
	flow_step('d', $$ SELECT fail('no') $$, after => '{b,c}')]);
SELECT flow_start('undo_partial') AS run \gset
SELECT flow_drain();
SELECT status, compensation, waiting_for LIKE 'retry of "b:undo" at %' AS waits, finished_at IS NULL AS unfinished FROM last_run;
SELECT * FROM steps;
SELECT c AS command, refused(c, :run) FROM unnest('{cancel,pause,resume,retry}'::text[]) c;
SELECT flow_drain(:run, skip_time => true);
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation, steps_done, error->>'message' AS error, errors->'c'->>'step' AS step, array(SELECT jsonb_object_keys(errors) ORDER BY 1) AS errors FROM last_run;
SELECT step, attempt, message, next_at IS NULL AS final FROM flow.attempt WHERE run_id = :run ORDER BY step;
SELECT name, reason, error->>'message' AS error, sqlstate FROM flow.step WHERE run_id = :run AND status = 'compensation_failed';

-- A step of its own as the compensation of another
SELECT flow_define('undo_own', ARRAY[
	flow_step('pay', $$ SELECT note('pay'), 5 AS cents $$),
	flow_step('repay', $$ SELECT note('repay', flow.pay->>'cents'), 1 AS done $$, undo_of => 'pay', condition => $$ (input->>'repay')::boolean $$),
	flow_step('ship', $$ SELECT note('ship'), CASE WHEN (input->>'fail')::boolean THEN fail('no') END $$, after => '{pay}')]);
SELECT flow_start('undo_own', '{"fail": false}') > 0;
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation, steps, steps_done, output FROM last_run;
SELECT name, reason FROM flow.step WHERE run_id = (SELECT id FROM last_run) AND status = 'skipped';
SELECT flow_start('undo_own', '{"fail": true, "repay": true}') > 0;
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation, steps, steps_done, output FROM last_run;
SELECT flow_start('undo_own', '{"fail": true}') > 0;
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT compensation FROM last_run;

-- Nothing that has completed: nothing to undo, and it can be retried
SELECT flow_define('undo_early', ARRAY[
	flow_step('a', $$ SELECT note('a'), CASE WHEN nextval('tries') < 4 THEN fail('no') END $$, undo => $$ SELECT note('-a') $$)]);
SELECT flow_start('undo_early') AS run \gset
SELECT flow_drain();
SELECT status, compensation FROM last_run;
SELECT flow_retry(:run);
SELECT flow_drain();
SELECT logged();
SELECT status, compensation FROM last_run;

-- A run that goes on beside a failed branch is undone when it has ended
SELECT flow_define('undo_branches', ARRAY[
	flow_step('a', $$ SELECT fail('no') $$, on_error => 'isolate', undo => $$ SELECT note('-a') $$),
	flow_step('b', $$ SELECT note('b') $$, undo => $$ SELECT note('-b') $$),
	flow_step('c', $$ SELECT note('c') $$, after => '{b}', undo => $$ SELECT note('-c') $$)]);
SELECT flow_start('undo_branches') AS run \gset
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation FROM last_run;

-- Cancelled: what has completed is undone, after the steps that always run
SELECT flow_define('undo_cancelled', ARRAY[
	flow_step('a', $$ SELECT note('a') $$, undo => $$ SELECT note('-a') $$),
	flow_step('b', $$ SELECT note('b'), flow_pause(flow_run_id()) $$, after => '{a}', undo => $$ SELECT note('-b') $$),
	flow_step('c', $$ SELECT note('c') $$, after => '{b}', undo => $$ SELECT note('-c') $$),
	flow_step('d', $$ SELECT note('d') $$, after => '{c}', needs => 'always')]);
SELECT flow_start('undo_cancelled', key => 'k') AS run \gset
SELECT flow_drain();
SELECT status FROM last_run;
SELECT flow_cancel(:run, 'because');
SELECT flow_cancel(:run);
SELECT status, compensation, status_reason FROM last_run;
SELECT * FROM steps;
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation, status_reason FROM last_run;
SELECT status FROM flow.event WHERE run_id = :run ORDER BY id;
SELECT refused('retry', :run);

-- ... at once if nothing has; and nothing is undone for flow_drop
SELECT flow_start('undo_cancelled') AS run \gset
SELECT flow_cancel(:run);
SELECT status, compensation FROM last_run;
SELECT flow_start('undo_own', '{"fail": false}') AS run \gset
SELECT flow_drain(max_steps => 1);
SELECT * FROM steps;
SELECT flow_drop('undo_own', force => true);
SELECT flow_drain();
SELECT logged();
SELECT r.status, r.compensation, (SELECT string_agg(o.status, ' ' ORDER BY o.step_no) FROM flow_internal.outcome o WHERE o.run_id = r.id) AS steps FROM flow_internal.run r WHERE r.id = :run;

-- What a run has taken over from another is not undone by it, nor are steps beside
-- the graph ended by hand
SELECT flow_define('undo_again', ARRAY[
	flow_step('a', $$ SELECT note('a') $$, undo => $$ SELECT note('-a') $$),
	flow_step('b', $$ SELECT note('b') $$, after => '{a}'),
	flow_step('-b', $$ SELECT note('-b') $$, undo_of => 'b'),
	flow_step('c', $$ SELECT CASE WHEN (input->>'fail')::boolean THEN fail('no') END $$, after => '{b}')]);
SELECT flow_start('undo_again', '{"fail": false}') AS run \gset
SELECT flow_drain();
SELECT logged();
SELECT flow_rerun(:run, 'b', '{"fail": true}') AS run \gset
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation FROM last_run;
SELECT flow_rerun(:run, '-b');
SELECT flow_start('undo_again') AS run \gset
SELECT flow_skip(:run, '-b');
SELECT flow_finish(:run, 'a', '{}');
SELECT flow_cancel(:run);
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;

-- A key is free while its last run is compensating, for whoever cancels that
SELECT flow_define('undo_keyed', ARRAY[
	flow_step('a', 'SELECT 1 AS x', retries => 1, retry_delay => '1 h', undo => $$ SELECT CASE WHEN flow.attempt = 1 THEN fail('once') END $$),
	flow_step('b', $$ SELECT fail('no') $$, after => '{a}')]);
SELECT flow_start('undo_keyed', key => 'k') AS run \gset
SELECT flow_drain();
SELECT status FROM last_run;
SELECT flow_start('undo_keyed', key => 'k') = :run AS same;
SELECT flow_start('undo_keyed', key => 'k', on_conflict => 'cancel') = :run AS same;
SELECT flow_drain(:run, skip_time => true);
SELECT status, compensation FROM flow.run WHERE id = :run;

-- Random graphs: every step is undone once, behind all that depends on it
SELECT setseed(0.42) IS NULL;
SELECT count(flow_define('undo_random_' || g, ARRAY(
	SELECT flow_step('s' || i, format('SELECT note(%L)', 's' || i),
		after => ARRAY(SELECT 's' || j FROM generate_series(1, i - 1) j WHERE i > 0 AND random() < 0.3),
		undo => CASE WHEN random() < 0.8 THEN format('SELECT note(%L)', '-s' || i) END)
	FROM generate_series(1, 12) i)
	|| flow_step('last', $$ SELECT fail('no') $$, after => ARRAY(SELECT 's' || i FROM generate_series(1, 12) i))))
FROM generate_series(1, 15) g;
CREATE FUNCTION wrong_order(workflow text) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
	wrong bigint;
BEGIN
	PERFORM flow_start(workflow);
	PERFORM flow_drain();
	WITH RECURSIVE edge AS (
		SELECT d.name AS dependency, s.name
		FROM flow.workflow_step s CROSS JOIN LATERAL unnest(s.after) AS d(name)
		WHERE s.workflow = wrong_order.workflow AND s.name <> 'last'
	), below AS (
		SELECT dependency, name FROM edge
		UNION
		SELECT b.dependency, e.name FROM below b JOIN edge e ON e.dependency = b.name
	)
	SELECT (SELECT count(*) FROM below b
			JOIN log x ON x.step = '-' || b.dependency
			JOIN log y ON y.step = '-' || b.name
			WHERE y.no > x.no)
		+ (SELECT count(*) FROM flow.workflow_step s
		   WHERE s.workflow = wrong_order.workflow
		   AND (SELECT count(*) FROM log l WHERE l.step = '-' || s.name)
			<> CASE WHEN s.options ? 'undo' THEN 1 ELSE 0 END)
		+ (SELECT count(*) FROM flow.run r WHERE r.workflow = wrong_order.workflow
		   AND r.compensation <> 'complete')
	INTO wrong;
	PERFORM logged();
	RETURN wrong;
END $$;
SELECT count(*), sum(wrong_order('undo_random_' || g)) AS wrong FROM generate_series(1, 15) g;

-- What a definition may not say
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', undo_of => 'aa')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', undo_of => 'a'), flow_step('c', 'SELECT 1', undo_of => 'b')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', undo_of => 'a'), flow_step('c', 'SELECT 1', undo_of => 'a')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1', undo => 'SELECT 1'), flow_step('b', 'SELECT 1', undo_of => 'a')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', undo_of => 'a', after => '{a}')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', undo_of => 'a', undo => 'SELECT 1')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', undo_of => 'a'), flow_step('c', 'SELECT 1', after => '{a,b:completed}')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1', undo => 'COMMIT')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1', undo => '')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', undo => 'SELECT a->>0')]);
SELECT flow_define('undo_w', ARRAY[flow_step('a', 'SELECT 1', undo => 'SELECT nowhere')]);
