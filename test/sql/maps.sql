-- Steps that run once for each item of a list
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;

CREATE SCHEMA maps;
SET search_path = maps, public;
CREATE TABLE log (no bigint GENERATED ALWAYS AS IDENTITY, step text, text text);
CREATE FUNCTION note(step text, text text DEFAULT NULL) RETURNS void LANGUAGE sql
AS $$ INSERT INTO log (step, text) VALUES (step, text) $$;
CREATE FUNCTION fail(message text) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION '%', message USING ERRCODE = 'P0001'; END $$;
CREATE FUNCTION logged() RETURNS text LANGUAGE sql
AS $$ WITH gone AS (DELETE FROM log RETURNING *)
	SELECT string_agg(concat_ws('=', step, text), ' ' ORDER BY no) FROM gone $$;
CREATE FUNCTION failure(command text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE 'SELECT ' || command;
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat(SQLSTATE, ': ', SQLERRM, '. ', detail, ' ', hint), 'run \d+', 'run -', 'g');
END $$;
CREATE VIEW last_run AS
	SELECT r.* FROM flow.run r ORDER BY id DESC LIMIT 1;
CREATE VIEW steps AS
	SELECT string_agg(concat(name, ' ', status, ' ' || items, ' ' || items_done, ' ' || items_failed), ', ' ORDER BY step_no) AS steps
	FROM flow.step WHERE run_id = (SELECT id FROM last_run);
CREATE VIEW items AS
	SELECT string_agg(concat(step, item_no, ' ', item, ' ', status, ' ', attempt, ' ' || output::text, ' ' || (error->>'message')), ', ' ORDER BY step, item_no) AS items
	FROM flow.item WHERE run_id = (SELECT id FROM last_run);

-- A query: a row is an item, an object always; the output is in their order
SELECT flow_define('map_query', ARRAY[
	flow_step('a', $$ SELECT 10 AS base $$),
	flow_step('m', $$ SELECT (item->>'n')::int + (a->>'base')::int AS sum, flow.item_no $$, after => '{a}',
		for_each => $$ SELECT n FROM generate_series(1, (input->>'n')::int) n ORDER BY n DESC $$),
	flow_step('b', $$ SELECT jsonb_array_length(m) AS n, m->0->>'sum' AS first $$, after => '{m}')]);
SELECT flow_start('map_query', '{"n": 3}') > 0;
SELECT flow_drain();
SELECT * FROM steps;
SELECT * FROM items;
SELECT status, output, steps, steps_done FROM last_run;
SELECT output FROM flow.step WHERE run_id = (SELECT id FROM last_run) AND name = 'm';

-- One item, none, and more than are ready at a time
SELECT flow_start('map_query', jsonb_build_object('n', n)) > 0 FROM unnest('{0,1,1500}'::int[]) n;
SELECT flow_drain() > 1500 AS all;
SELECT input->>'n' AS n, status, output FROM flow.run WHERE workflow = 'map_query' ORDER BY id;
SELECT count(*), count(*) FILTER (WHERE status = 'completed'), sum((output->>'sum')::int) = sum(10 + (item->>'n')::int) FROM flow.item WHERE run_id = (SELECT id FROM last_run);
SELECT count(*) FROM flow_internal.task;

-- An expression: the elements of an array; a single jsonb column of a query is still a column
SELECT flow_define('map_expression', ARRAY[
	flow_step('m', $$ SELECT to_jsonb(concat(flow_item(), flow_item_no(), flow_step_name(), input->>'x')) $$, for_each => $$ input->'list' $$),
	flow_step('q', $$ SELECT item $$, for_each => $$ WITH x AS (SELECT jsonb_build_object('k', 1) AS v) TABLE x $$),
	flow_step('v', $$ SELECT item $$, for_each => $$ VALUES (1, 'a'), (2, 'b') $$),
	flow_step('none', $$ SELECT 1 $$, for_each => $$ (SELECT '[1, 2]'::jsonb) $$, result => 'none')]);
SELECT flow_execute('map_expression', '{"list": [1, "two", null, {"three": 3}, [4]], "x": "!"}');
SELECT failure($$ flow_execute('map_expression', '{"list": {}}') $$), failure($$ flow_execute('map_expression') $$);
-- ... what they are is known once: the condition and the items see no item
SELECT flow_define('map_condition', ARRAY[
	flow_step('m', $$ SELECT note('m', item->>0) $$, condition => $$ input->>'run' = 'yes' $$, for_each => $$ '[[1], [2]]'::jsonb $$),
	flow_step('after', $$ SELECT note('after', m::text) $$, after => '{m}', needs => 'always')]);
SELECT flow_execute('map_condition', '{"run": "no"}'), logged();
SELECT flow_execute('map_condition', '{"run": "yes"}'), logged();
SELECT * FROM steps;

-- What is wrong is said
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('m', 'SELECT 1', for_each => $q$ SELECT 1; SELECT 2 $q$)]) $$);
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('m', 'SELECT 1', for_each => 'SELEC 1')]) $$);
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('m', 'SELECT 1', for_each => '1, 2')]) $$);
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('m', 'SELECT 1', max_parallel => 2)]) $$);
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('m', 'SELECT 1', for_each => 'input', max_parallel => 0)]) $$);
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('m', 'SELECT 1', for_each => 'input', on_item_error => 'ignore')]) $$);
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('a', 'SELECT 1'), flow_step('m', 'SELECT 1', for_each => 'input', undo_of => 'a')]) $$);
SELECT failure($$ flow_define('map_bad', ARRAY[flow_step('m', 'SELECT 1', for_each => 'input', hook => '{failed}')]) $$);
SELECT severity, code, step, message, hint FROM flow_check_document(jsonb_build_object('name', 'map_bad', 'steps', jsonb_build_array(
	flow_step('a', 'SELECT item'), flow_step('b', 'SELECT b', for_each => '1'), flow_step('c', 'SELECT itm', for_each => 'item'))));

-- Items are tried again by themselves; the first that fails for good fails the step
SELECT flow_define('map_fail', ARRAY[
	flow_step('m', $$ SELECT note('m', item_no::text || '.' || flow.attempt), CASE WHEN item->>0 = 'bad' THEN fail('no ' || item_no) WHEN item->>0 = 'once' AND flow.attempt = 1 THEN fail('once') END $$,
		for_each => 'input', retries => 1, max_parallel => 1),
	flow_step('next', $$ SELECT note('next') $$, after => '{m}')]);
SELECT flow_start('map_fail', '[["good"], ["once"], ["bad"], ["never"]]') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT logged();
SELECT * FROM steps;
SELECT * FROM items;
SELECT status, error->>'step' AS step, error->>'message' AS message, error->>'detail' AS detail, error->>'sqlstate' AS sqlstate FROM last_run;
SELECT step, item_no, attempt, message, next_at IS NULL AS last FROM flow.attempt WHERE run_id = :run ORDER BY item_no, attempt;
-- ... and is retried where it stopped: what has completed stays
CREATE OR REPLACE FUNCTION fail(message text) RETURNS void LANGUAGE sql AS $$ SELECT $$;
SELECT flow_retry(:run);
SELECT flow_drain(:run);
SELECT logged();
SELECT * FROM steps;
SELECT status FROM last_run;
CREATE OR REPLACE FUNCTION fail(message text) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION '%', message USING ERRCODE = 'P0001'; END $$;

-- A failure may be handled, as that of any step
SELECT flow_define('map_handled', ARRAY[
	flow_step('m', $$ SELECT fail('no') $$, for_each => $$ '[1, 2]'::jsonb $$),
	flow_step('sorry', $$ SELECT flow_error('m')->>'message' AS why $$, after => '{m:failed}')]);
SELECT flow_execute('map_handled');
SELECT * FROM steps;

-- Collected: the step completes, and says which
SELECT flow_define('map_collect', ARRAY[
	flow_step('m', $$ SELECT note('m', item_no::text), CASE WHEN item::text::int % 2 = 0 THEN fail('even') END, item $$, for_each => 'input', on_item_error => 'collect'),
	flow_step('sum', $$ SELECT jsonb_agg(to_jsonb(i) ORDER BY i.item_no) FROM flow_items('m') i $$, after => '{m}'),
	flow_step('last', $$ SELECT CASE WHEN m->1 = 'null' THEN fail('there is a gap') END $$, after => '{sum}')]);
SELECT flow_start('map_collect', '[1, 2, 3]') AS run \gset
SELECT flow_drain();
SELECT * FROM steps;
SELECT output FROM flow.step WHERE run_id = :run AND name IN ('m', 'sum') ORDER BY step_no;
SELECT logged();
-- ... flow_retry with the step tries those that it collected, too
SELECT failure(format('flow_retry(%s, %L, 1)', :run, 'm')), failure(format('flow_retry(%s, %L, 4)', :run, 'm')), failure(format('flow_retry(%s, %L, 1)', :run, 'last')),
	failure(format('flow_retry(%s, NULL, 1)', :run)), failure(format('flow_retry(%s, %L, 0)', :run, 'm')), failure(format('flow_retry(%s, %L)', :run, 'sum'));
CREATE OR REPLACE FUNCTION fail(message text) RETURNS void LANGUAGE sql AS $$ SELECT $$;
SELECT flow_retry(:run, 'm', 2);
SELECT flow_drain();
SELECT * FROM steps;
SELECT logged();
SELECT output FROM flow.step WHERE run_id = :run AND name = 'm';
CREATE OR REPLACE FUNCTION fail(message text) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION '%', message USING ERRCODE = 'P0001'; END $$;

-- Error modes of the step
SELECT flow_define('map_modes', ARRAY[
	flow_step('c', $$ SELECT fail('c') $$, for_each => $$ '[1, 2]'::jsonb $$, on_error => 'continue'),
	flow_step('c2', $$ SELECT c IS NULL AS null $$, after => '{c}'),
	flow_step('s', $$ SELECT fail('s') $$, for_each => $$ '[1, 2]'::jsonb $$, on_error => 'skip'),
	flow_step('s2', $$ SELECT 1 $$, after => '{s}'),
	flow_step('i', $$ SELECT fail('i') $$, for_each => $$ '[1, 2]'::jsonb $$, on_error => 'isolate'),
	flow_step('i2', $$ SELECT 1 $$, after => '{i}')]);
SELECT flow_start('map_modes') > 0;
SELECT flow_drain();
SELECT * FROM steps;
SELECT status, error->>'step' AS step FROM last_run;
SELECT flow_define('map_pause', ARRAY[
	flow_step('p', $$ SELECT note('p', item_no::text), CASE WHEN item_no = 2 AND flow.attempt = 1 THEN fail('p') END $$, for_each => $$ '[1, 2, 3]'::jsonb $$, on_error => 'pause', max_parallel => 1)]);
SELECT flow_start('map_pause') AS run \gset
SELECT flow_drain();
SELECT status, status_reason FROM last_run;
SELECT * FROM items;
SELECT flow_resume(:run);
SELECT flow_drain();
SELECT status FROM last_run;
SELECT logged();

-- Events of the items, in their order; joins look at the step alone
SELECT flow_define('map_events', ARRAY[
	flow_step('m', $$ SELECT CASE WHEN item->>'big' = 'true' THEN flow_emit('big', item) END $$, for_each => 'input', emits => '{big}'),
	flow_step('big', $$ SELECT flow_event('m', 'big') $$, after => '{m:big}'),
	flow_step('any', $$ SELECT 1 $$, after => '{m,big}', needs => 'any')]);
SELECT flow_execute('map_events', '[{"n": 1, "big": true}, {"n": 2}, {"n": 3, "big": true}]');
SELECT flow_execute('map_events', '[{"n": 2}]');
SELECT * FROM steps;

-- Undone one by one, the last first; what has not completed is not
SELECT flow_define('map_undo', ARRAY[
	flow_step('m', $$ SELECT note('m', item_no::text), CASE WHEN item_no = 4 THEN fail('four') END, item_no * 10 AS x $$, for_each => $$ '["a", "b", "c", "d", "e"]'::jsonb $$, max_parallel => 1,
		undo => $$ SELECT note('-m', concat(item_no, item, m->>'x', flow_item_no())), CASE WHEN item_no = 2 THEN fail('cannot') END $$),
	flow_step('after', 'SELECT 1', after => '{m}')]);
SELECT flow_start('map_undo') > 0;
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT * FROM items;
SELECT status, compensation FROM last_run;
SELECT flow_define('map_undo_all', ARRAY[
	flow_step('m', $$ SELECT note('m', item_no::text) $$, for_each => $$ '["a", "b"]'::jsonb $$, undo => $$ SELECT note('-m', item->>0) $$),
	flow_step('n', $$ SELECT note('n', item_no::text), item_no AS no $$, for_each => $$ '["a", "b"]'::jsonb $$),
	flow_step('un', $$ SELECT note('-n', n::text) $$, undo_of => 'n'),
	flow_step('f', $$ SELECT fail('f') $$, after => '{m,n}')]);
SELECT flow_start('map_undo_all') > 0;
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation FROM last_run;
-- ... also when the run is cancelled in the middle
SELECT flow_start('map_undo_all') AS run \gset
SELECT flow_drain(:run, max_steps => 3);
SELECT flow_cancel(:run);
SELECT flow_drain();
SELECT logged();
SELECT * FROM steps;
SELECT status, compensation FROM last_run;

-- Every kind: signals and decisions for each, runs of their own
SELECT flow_define('map_child', ARRAY[flow_step('c', $$ SELECT note('child', input->>'n'), CASE WHEN input->>'n' = '13' THEN fail('unlucky') END, input->'n' AS n $$)]);
SELECT flow_define('map_kinds', ARRAY[
	flow_subflow('runs', 'map_child', $$ jsonb_build_object('n', item) $$, for_each => $$ input->'runs' $$),
	flow_delay('sleep', '1 h', for_each => $$ '[1, 2]'::jsonb $$),
	flow_wait('wait', 'go', for_each => $$ '[1, 2, 3]'::jsonb $$),
	flow_approval('ok', for_each => $$ '["x", "y"]'::jsonb $$),
	flow_choice('way', $$ item->>0 $$, for_each => $$ '[["left"], ["right"]]'::jsonb $$),
	flow_step('left', 'SELECT 1', after => '{way:left}'), flow_step('up', 'SELECT 1', after => '{way:up}')]);
SELECT flow_start('map_kinds', '{"runs": [11, 12]}') AS run \gset
SELECT flow_drain();
SELECT regexp_replace(waiting_for, 'at [^,]*', 'at -') FROM flow.run WHERE id = :run;
SELECT string_agg(concat(step, item_no, ' ', status), ', ' ORDER BY step, item_no) FROM flow.item WHERE run_id = :run;
SELECT flow_signal(:run, 'go', '"one"'), flow_signal(:run, 'go', '"two"'), flow_signal(:run, 'go', '"three"');
SELECT failure(format('flow_approve(%s, %L)', :run, 'ok')), failure(format('flow_approve(%s, %L, item_no => 3)', :run, 'ok')), failure(format('flow_approve(%s, %L, item_no => 1)', :run, 'left'));
SELECT flow_approve(:run, 'ok', 'fine', item_no => 2), flow_drain(:run), flow_approve(:run, 'ok', item_no => 2), flow_approve(:run, 'ok', item_no => 1);
SELECT flow_drain(:run, skip_time => true) > 0;
SELECT status, output - 'ok' - 'sleep' AS output FROM flow.run WHERE id = :run;
SELECT output->0->'approved', output->1->'comment' FROM flow.step WHERE run_id = :run AND name = 'ok';
SELECT logged();
SELECT string_agg(concat(name, ' ', status), ', ' ORDER BY step_no) FROM flow.step WHERE run_id = :run;
SELECT parent_step, count(*) FROM flow.run WHERE parent_run = :run GROUP BY 1;
SELECT flow_start('map_kinds', '{"runs": [12, 13]}') AS run \gset
SELECT flow_drain(:run) > 0;
SELECT status, error->>'step' AS step, regexp_replace(error->>'detail', 'Run \d+', 'Run -') AS detail FROM flow.run WHERE id = :run;
-- ... what they wait for ends with them
SELECT string_agg(concat(step, item_no, ' ', status), ', ' ORDER BY step, item_no) FROM flow.item WHERE run_id = :run;
SELECT count(*) FROM flow_internal.task;
SELECT logged();

-- By hand: an item that has not ended, or has not had its turn
SELECT flow_define('map_hand', ARRAY[
	flow_step('a', $$ SELECT 1 $$),
	flow_step('m', $$ SELECT note('m', item_no::text), item $$, after => '{a}', for_each => $$ '[1, 2, 3]'::jsonb $$),
	flow_step('z', $$ SELECT m $$, after => '{m}')]);
SELECT flow_start('map_hand') AS run \gset
SELECT flow_finish(:run, 'm', '"mock"', item_no => 2), flow_drain(), logged();
SELECT status, output FROM last_run;
SELECT flow_start('map_hand') AS run \gset
SELECT flow_drain(:run, max_steps => 2);
SELECT flow_skip(:run, 'm', item_no => 1, reason => 'not this one'), flow_skip(:run, 'm', item_no => 1), failure(format('flow_finish(%s, %L, item_no => 1)', :run, 'm')), failure(format('flow_skip(%s, %L, item_no => 4)', :run, 'm'));
SELECT flow_finish(:run, 'm', '3', item_no => 3), flow_finish(:run, 'm', '2', item_no => 2);
SELECT flow_drain(), logged();
SELECT * FROM items;
SELECT status, output FROM last_run;
SELECT reason FROM flow.item WHERE run_id = :run ORDER BY item_no;
SELECT failure(format('flow_finish(%s, %L, item_no => 2)', :run, 'm'));
SELECT flow_start('map_hand') AS run \gset
SELECT flow_drain(:run, max_steps => 2), flow_finish(:run, 'm', '"all"'), flow_drain(), logged();
SELECT * FROM steps;
SELECT output FROM last_run;

-- ... also of one that it turns out not to have: then nothing is left of that
SELECT flow_define('map_beyond', ARRAY[
	flow_step('m', $$ SELECT note('m', item_no::text) $$, for_each => $$ '[1, 2]'::jsonb $$, undo => $$ SELECT note('undo', item_no::text) $$),
	flow_step('z', $$ SELECT 1 / 0 $$, after => '{m}')]);
SELECT flow_start('map_beyond') AS beyond \gset
SELECT flow_finish(:beyond, 'm', '"mock"', item_no => 2), flow_finish(:beyond, 'm', '"mock"', item_no => 3);
SELECT flow_drain(:beyond) > 0, logged();
SELECT step_no, item_no, status FROM flow_internal.outcome WHERE run_id = :beyond AND item_no > 0 ORDER BY 1, 2;

SELECT flow_define('map_none', ARRAY[
	flow_step('m', $$ SELECT note('m', item_no::text) $$, for_each => $$ '[]'::jsonb $$, undo => $$ SELECT note('-m', item_no::text) $$),
	flow_step('z', $$ SELECT 1 / 0 $$, after => '{m}')]);
SELECT flow_start('map_none') AS none \gset
SELECT flow_finish(:none, 'm', '"mock"', item_no => 1), flow_drain(:none) > 0, logged();
SELECT count(*) FROM flow_internal.outcome WHERE run_id = :none AND item_no > 0;

-- What ran is taken over with its items
SELECT flow_rerun(:run, 'm') > 0, flow_drain(), logged();
SELECT flow_rerun((SELECT id FROM last_run), 'z') > 0, flow_drain(), logged();
SELECT * FROM steps;
SELECT * FROM items;
SELECT output FROM last_run;

-- Polling, and a key of its own for each
SELECT flow_define('map_again', ARRAY[
	flow_step('m', $$ SELECT note('m', item_no::text || flow.attempt), flow_idempotency_key() AS key $$, for_each => $$ '[1, 2]'::jsonb $$, again => $$ CASE WHEN flow.attempt < item_no THEN '0 s'::interval END $$)]);
SELECT flow_start('map_again') AS run \gset
SELECT flow_drain(:run, skip_time => true), logged();
SELECT count(DISTINCT output->>'key') FROM flow.item WHERE run_id = :run;

-- Payloads go, and all of it
SELECT flow_delete_data(:run);
SELECT item, output FROM flow.item WHERE run_id = :run;
SELECT flow_prune('0', 'map_again');
SELECT count(*) FROM flow.item WHERE run_id = :run;

-- Consistent, whatever was done
SELECT count(*) FROM flow_internal.task;
SELECT m.run_id, m.step_no FROM flow_internal.map m JOIN flow.run r ON r.id = m.run_id WHERE r.status = 'completed' AND m.live <> 0 AND m.done + m.failed = m.total;
DROP SCHEMA maps CASCADE;
