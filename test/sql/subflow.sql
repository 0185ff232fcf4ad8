-- Runs that are steps of other runs.
SET client_min_messages = warning;
CREATE VIEW subflow_tree AS
	SELECT r.id, r.workflow, r.parent_run, r.parent_step, r.status, r.output, r.error->>'message' AS message,
		(SELECT string_agg(name || ' ' || s.status, ', ' ORDER BY step_no) FROM flow.step s WHERE s.run_id = r.id) AS steps
	FROM flow.run r;
SELECT flow_define('sub-child', ARRAY[
	flow_step('a', $$ SELECT (input->>'n')::int * 2 AS n $$),
	flow_step('b', $$ SELECT 10 / (a->>'n')::int AS n $$, after => '{a}')]);
SELECT flow_define('sub-parent', ARRAY[
	flow_step('before', $$ SELECT (input->>'n')::int + 1 AS n $$),
	flow_subflow('own', 'sub-child', $$ jsonb_build_object('n', before->'n') $$, after => '{before}'),
	flow_subflow('same', 'sub-child', after => '{before}', on_error => 'continue'),
	flow_step('after', $$ SELECT own->>'n' AS own, same->>'n' AS same $$, after => '{own,same}')]);

-- started once, in the step's transaction; the output is the child's
SELECT flow_start('sub-parent', '{"n": 1}') AS run \gset
SELECT flow_drain(:run, max_steps => 3);
SELECT status, regexp_replace(waiting_for, '\d+', 'N') AS waiting_for FROM flow.run WHERE id = :run;
SELECT flow_drain(:run);
SELECT id - :run AS id, workflow, parent_run - :run AS parent, parent_step, status, output, steps FROM subflow_tree WHERE id >= :run ORDER BY id;
-- a failure is the step's
SELECT flow_start('sub-parent', '{"n": 0}') AS run \gset
SELECT flow_drain(:run);
SELECT id - :run AS id, workflow, parent_step, status, message, steps FROM subflow_tree WHERE id >= :run ORDER BY id;
SELECT sqlstate, error->>'message' AS message, replace(error->>'detail', (SELECT max(id) FROM flow.run)::text, 'N') AS detail FROM flow.step WHERE run_id = :run AND name = 'same';
SELECT flow_start('sub-parent', '{"n": -1}') AS run \gset
SELECT flow_drain(:run);
SELECT id - :run AS id, workflow, parent_step, status, message, steps FROM subflow_tree WHERE id >= :run ORDER BY id;
-- retried, it is started again
SELECT flow_retry(:run), flow_drain(:run);
SELECT count(*) FROM flow.run WHERE parent_run = :run;

-- pause, resume and cancel pass down
SELECT flow_start('sub-parent', '{"n": 1}') AS run \gset
SELECT flow_drain(:run, max_steps => 3);
SELECT flow_pause(:run), flow_drain();
SELECT id - :run AS id, status, steps FROM subflow_tree WHERE id >= :run ORDER BY id;
SELECT flow_resume(:run), flow_drain(max_steps => 1);
SELECT flow_cancel(:run), flow_drain();
SELECT id - :run AS id, status, steps FROM subflow_tree WHERE id >= :run ORDER BY id;
-- the child alone, too: then the step fails
SELECT flow_start('sub-parent', '{"n": 1}') AS run \gset
SELECT flow_drain(:run, max_steps => 3);
SELECT flow_cancel(id) FROM flow.run WHERE parent_run = :run ORDER BY id;
SELECT flow_drain(:run);
SELECT id - :run AS id, status, regexp_replace(message, '\d+', 'N') AS message, steps FROM subflow_tree WHERE id >= :run ORDER BY id;
-- a parent that fails takes it along
SELECT flow_define('sub-fails', ARRAY[
	flow_subflow('child', 'sub-child'),
	flow_step('bad', 'SELECT 1/0', priority => -1)]);
SELECT flow_start('sub-fails', '{"n": 1}') AS run \gset
SELECT flow_drain(:run, max_steps => 1);
SELECT flow_drain(:run);
SELECT id - :run AS id, status, message, steps FROM subflow_tree WHERE id >= :run ORDER BY id;
-- a step ended by hand needs it no more
SELECT flow_start('sub-fails', '{"n": 1}') AS run \gset
SELECT flow_drain(:run, max_steps => 1);
SELECT flow_finish(:run, 'child', '"instead"'), flow_skip(:run, 'bad'), flow_drain(:run);
SELECT id - :run AS id, status, output, steps FROM subflow_tree WHERE id >= :run ORDER BY id;

-- in one transaction
SELECT flow_execute('sub-parent', '{"n": 4}');
-- without end
SELECT flow_define('sub-endless', ARRAY[flow_subflow('again', 'sub-endless')]);
SELECT flow_start('sub-endless') AS run \gset
SELECT flow_drain(:run) > 0 AS drained;
SELECT count(*) AS runs, bool_and(status = 'failed') AS failed, count(DISTINCT error->>'sqlstate') AS sqlstates FROM flow.run WHERE workflow = 'sub-endless';
SELECT error->>'sqlstate' AS sqlstate, error->>'message' AS message, error->>'hint' AS hint FROM flow.run WHERE id = :run;
-- wrong
SELECT flow_define('sub-wrong', ARRAY[flow_subflow('a', 'sub-nobody')]);
SELECT flow_start('sub-wrong') AS run \gset
SELECT flow_drain(:run);
SELECT error->>'sqlstate' AS sqlstate, error->>'message' AS message FROM flow.run WHERE id = :run;
SELECT flow_define('sub-wrong', ARRAY[flow_subflow('a', 'sub-child', retries => 1)]);
SELECT flow_define('sub-wrong', ARRAY[flow_subflow('a', NULL)]);
SELECT flow_define('sub-wrong', ARRAY[flow_subflow('a', 'sub-child', input => '1, 2')]);
SELECT count(*) AS left_behind FROM flow_internal.task t JOIN flow.run r ON r.id = t.run_id WHERE workflow ~ '^sub-';
DROP VIEW subflow_tree;
