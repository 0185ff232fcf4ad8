-- What is done with a step's result in the transaction that records its end.
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.problems(step jsonb) RETURNS TABLE (problem text) LANGUAGE sql AS $$
	SELECT concat_ws('|', severity, code, message, hint) FROM flow_check_document(jsonb_build_object('name', 'r-bad', 'steps', jsonb_build_array(step)))
$$;
CREATE FUNCTION pg_temp.steps(run bigint) RETURNS TABLE (name text, status text, attempt int, output jsonb, sqlstate text)
	LANGUAGE sql AS 'SELECT name, status, attempt, output, sqlstate FROM flow.step WHERE run_id = run ORDER BY step_no';
CREATE TABLE kept (step text, result jsonb, run_id bigint DEFAULT flow_run_id(), by text DEFAULT current_user);

SELECT * FROM pg_temp.problems(flow_step('a', 'SELECT 1', options => '{"on_result": "SELECT 1"}'));
SELECT * FROM pg_temp.problems(flow_wait('a', on_result => 'SELECT FROM WHERE'));
SELECT * FROM pg_temp.problems(flow_wait('a', on_result => ''));
SELECT * FROM pg_temp.problems(flow_wait('a', on_result => 'COMMIT'));
SELECT * FROM pg_temp.problems(flow_wait('a', on_result => 'SELECT b'));
SELECT * FROM pg_temp.problems(flow_wait('a', on_result => 'SELECT a, flow.a, input'));

-- Every kind
SELECT flow_define('r-child', ARRAY[flow_step('s', $$ SELECT input->'n' AS n $$)]);
SELECT flow_define('r-all', ARRAY[
	flow_delay('d', '0', on_result => $$ INSERT INTO kept (step, result) VALUES (flow_step_name(), d) RETURNING 1 AS one $$),
	flow_wait('w', on_result => $$ INSERT INTO kept (step, result) VALUES ('w', w); SELECT w->>'x' AS x, flow_set('w', w) IS NULL AS set $$),
	flow_approval('p', on_result => $$ SELECT p->'approved' $$),
	flow_choice('c', $$ 'left' $$, on_result => $$ INSERT INTO kept (step, result) VALUES ('c', flow.c) $$),
	flow_subflow('s', 'r-child', $$ jsonb '{"n": 3}' $$, on_result => $$ SELECT s::int + 1 AS more, flow.attempt $$),
	flow_subflow('m', 'r-child', 'item', for_each => $$ SELECT n FROM generate_series(1, 3) n $$, on_result => $$ SELECT m::int * 10 + item_no AS n $$),
	flow_step('left', $$ SELECT c, d, flow_get('w') AS w $$, after => '{c:left,d,w}')]);
SELECT flow_start('r-all') AS run \gset
SELECT flow_drain(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_signal(:run, 'w', '{"x": "y"}'), flow_approve(:run, 'p');
SELECT flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);
SELECT step, result, by = current_user AS mine FROM kept WHERE run_id = :run ORDER BY step;
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_define('r-whole', ARRAY[flow_subflow('s', 'r-child', on_result => 'SELECT s AS whole')]);
SELECT flow_execute('r-whole', '{"n": 9}');

-- An error is a failed attempt; of a kind that is not tried again, the step's end
SELECT flow_define('r-errors', ARRAY[
	flow_wait('w', on_result => $$ INSERT INTO kept (step) VALUES ('lost'); SELECT 1/(w->>'n')::int AS n $$, on_error => 'continue'),
	flow_choice('c', $$ 'x' $$, retries => 2, retry_delay => '1 s', on_result => $$ SELECT 1/(flow.attempt - 1)::float AS half $$, no_retry_on => '{}'),
	flow_subflow('s', 'r-child', on_result => $$ SELECT nothing $$, on_error => 'continue'),
	flow_subflow('f', 'r-child', on_result => $$ SELECT 'not run' $$, on_error => 'continue', condition => 'false')]);
SELECT flow_start('r-errors', '{"n": 1}') AS run \gset
SELECT flow_signal(:run, 'w', '{"n": 0}');
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT step, attempt, sqlstate FROM flow.attempt WHERE run_id = :run ORDER BY step, attempt;
SELECT count(*) FROM kept WHERE step = 'lost';
SELECT status FROM flow.run WHERE id = :run;

-- Rounds: it is for the last one, and may ask for another
SELECT flow_define('r-rounds', ARRAY[
	flow_choice('c', $$ 'x' $$, again => $$ CASE WHEN flow.attempt < 3 THEN interval '0' END $$, on_result => $$ INSERT INTO kept (step, result) VALUES ('round', to_jsonb(flow.attempt)) RETURNING result $$),
	flow_choice('f', $$ 'y' $$, on_result => $$ INSERT INTO kept (step, result) VALUES ('asked', to_jsonb(flow.attempt)); SELECT CASE WHEN flow.attempt < 2 THEN flow_again('0') ELSE f END $$)]);
SELECT flow_start('r-rounds') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT step, result FROM kept WHERE run_id = :run ORDER BY step, result;
SELECT flow_definition('r-rounds')->'steps'->1->>'on_result' IS NOT NULL AS stored;
DROP TABLE kept;
