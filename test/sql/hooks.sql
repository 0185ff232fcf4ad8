-- Hooks: steps that run when something happens to their run
\pset format unaligned
\pset tuples_only on

CREATE TABLE hook_log (no bigint GENERATED ALWAYS AS IDENTITY, run_id bigint, hook text, event jsonb);
CREATE FUNCTION hooked() RETURNS void LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO hook_log (run_id, hook, event) VALUES (flow_run_id(), flow_step_name(), flow_hook_event()); END $$;
CREATE FUNCTION hooks() RETURNS SETOF text LANGUAGE sql
AS $$ WITH gone AS (DELETE FROM hook_log RETURNING *)
	SELECT concat_ws(' ', hook, event - '{run,at,workflow}'::text[]) FROM gone ORDER BY no $$;
CREATE SEQUENCE hook_tries;

SELECT flow_define('hooks', ARRAY[
	flow_step('a', $$ SELECT 1 AS x $$, undo => 'SELECT 1'),
	flow_step('b', $$ SELECT 1 / (input->>'b')::int AS y $$, after => '{a}'),
	flow_step('on_completed', 'SELECT hooked()', hook => '{completed}'),
	flow_step('on_failed', 'SELECT hooked()', hook => '{failed}'),
	flow_step('on_failed_2', 'SELECT hooked()', hook => '{failed,finished}'),
	flow_step('on_paused', 'SELECT hooked()', hook => '{paused}'),
	flow_step('on_cancelled', 'SELECT hooked()', hook => '{cancelled}'),
	flow_step('on_finished', $$ INSERT INTO hook_log (run_id, hook, event) VALUES (flow.run_id, 'by name', flow.event), ((event->>'run')::bigint, event->>'workflow', NULL) $$, hook => '{finished}')]);

-- A run that completes: its own steps, and no others, make its output
SELECT flow_start('hooks', '{"b": 1}', key => 'hooked') AS run \gset
SELECT flow_drain();
SELECT * FROM hooks();
SELECT status, steps, steps_done, output FROM flow.run WHERE id = :run;
SELECT name, status, reason FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- One that fails, and is compensated before; both hooks of one event run
SELECT flow_start('hooks', '{"b": 0}') AS run \gset
SELECT flow_drain();
SELECT * FROM hooks();
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- One that is paused, twice, and cancelled, at once or not
SELECT flow_start('hooks', '{"b": 1}') AS run \gset
SELECT flow_pause(:run, 'look');
SELECT flow_drain();
SELECT * FROM hooks();
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_resume(:run);
SELECT flow_pause(:run);
SELECT flow_cancel(:run, 'no more');
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_drain();
SELECT * FROM hooks();
SELECT step_no, item_no, status FROM flow_internal.outcome WHERE run_id = :run ORDER BY step_no, item_no;
SELECT flow_start('hooks', '{"b": 1}') AS run \gset
SELECT flow_drain(max_steps => 1);
SELECT flow_cancel(:run);
SELECT flow_drain();
SELECT * FROM hooks();
SELECT flow_start('hooks', start_at => '2200-01-01') AS run \gset
SELECT flow_cancel(:run);
SELECT flow_drain();
SELECT count(*) FROM hooks();

-- A transaction that is rolled back has no run, and no hook
BEGIN;
SELECT flow_start('hooks', '{"b": 1}') > 0;
SELECT flow_drain() > 0;
ROLLBACK;
SELECT flow_drain();
SELECT count(*) FROM hook_log;

-- A retry: hooks run again, for what happens then
SELECT flow_define('hooks_retry', ARRAY[
	flow_step('a', $$ SELECT 1 / (nextval('hook_tries') - 1) AS x $$),
	flow_step('h', 'SELECT hooked()', hook => '{finished}')]);
SELECT flow_start('hooks_retry') AS run \gset
SELECT flow_drain();
SELECT flow_retry(:run);
SELECT flow_drain();
SELECT * FROM hooks();
SELECT name, status, attempt FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- Tried again as it says; one that fails changes nothing about its run
SELECT flow_define('hooks_fail', ARRAY[
	flow_step('a', 'SELECT 1 AS x'),
	flow_step('h', $$ SELECT 1 / 0 $$, hook => '{completed}', retries => 1, retry_on => '{22012}'),
	flow_step('i', $$ SELECT hooked() $$, hook => '{completed}', condition => $$ event->>'status' = 'failed' $$)]);
SELECT flow_start('hooks_fail') AS run \gset
SELECT flow_drain();
SELECT flow_drain(:run, skip_time => true);
SELECT status, errors FROM flow.run WHERE id = :run;
SELECT name, status, attempt, sqlstate FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT step, item_no, attempt, sqlstate FROM flow.attempt WHERE run_id = :run ORDER BY attempt;
SELECT count(*) FROM flow_internal.task WHERE run_id = :run;

-- Paused by a failure; every step that has run
SELECT flow_define('hooks_step', ARRAY[
	flow_step('a', 'SELECT 1 AS x'),
	flow_step('b', $$ SELECT 1 / 0 $$, after => '{a}', on_error => 'pause'),
	flow_step('c', 'SELECT 1 AS x', after => '{b}'),
	flow_step('p', 'SELECT hooked()', hook => '{paused}'),
	flow_step('s', 'SELECT hooked()', hook => '{step}')]);
SELECT flow_start('hooks_step') AS run \gset
SELECT flow_drain();
SELECT * FROM hooks();
SELECT flow_finish(:run, 'b', '{}');
SELECT flow_resume(:run);
SELECT flow_drain();
SELECT * FROM hooks();
SELECT status FROM flow.run WHERE id = :run;

-- Nothing but hooks
SELECT flow_define('hooks_only', ARRAY[flow_step('h', 'SELECT hooked()', hook => '{completed}')]);
SELECT flow_start('hooks_only') AS run \gset
SELECT flow_drain();
SELECT * FROM hooks();
SELECT status, output, steps FROM flow.run WHERE id = :run;

-- A hook that has not run yet is no unfinished run
SELECT flow_define('hooks_late', ARRAY[flow_step('a', 'SELECT 1'), flow_step('h', 'SELECT hooked()', hook => '{completed}')]);
SELECT flow_start('hooks_late') AS run \gset
SELECT flow_drain(max_steps => 1);
SELECT status FROM flow.run WHERE id = :run;
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT runs_unfinished FROM flow.workflow WHERE name = 'hooks_late';
SELECT flow_drop('hooks_late');
SELECT flow_drain();
SELECT * FROM hooks();

-- What a definition may not say
SELECT flow_define('w', ARRAY[flow_step('a', 'SELECT 1', hook => '{complete}')]);
SELECT flow_define('w', ARRAY[flow_step('a', 'SELECT 1', hook => '{}')]);
SELECT flow_define('w', ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', 'SELECT 1', after => '{a}', hook => '{failed}')]);
SELECT flow_define('w', ARRAY[flow_step('a', 'SELECT 1', hook => '{failed}', undo => 'SELECT 1')]);
SELECT flow_define('w', ARRAY[flow_step('a', 'SELECT 1', hook => '{failed}'), flow_step('b', 'SELECT 1', after => '{a}')]);
SELECT flow_define('w', ARRAY[flow_step('a', 'SELECT 1', hook => '{failed}'), flow_step('b', 'SELECT 1', undo_of => 'a')]);
SELECT flow_define('w_event', ARRAY[flow_step('a', 'SELECT flow.event, event')]);
SELECT flow_hook_event();
