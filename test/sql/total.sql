-- Time limits over all attempts, delays and rounds of a step.
CREATE FUNCTION pg_temp.try(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE FUNCTION pg_temp.steps(run bigint) RETURNS TABLE (name text, status text, attempt int, sqlstate text, message text, detail text)
	LANGUAGE sql AS 'SELECT name, status, attempt, sqlstate, error->>''message'', error->>''detail'' FROM flow.step WHERE run_id = run ORDER BY step_no';

-- Refused
SELECT pg_temp.try($$ SELECT flow_define('t-bad', ARRAY[flow_step('a', 'SELECT 1', total_timeout => '0')]) $$);
SELECT pg_temp.try($$ SELECT flow_define('t-bad', ARRAY[flow_step('a', 'SELECT 1', total_timeout => '-1 s')]) $$);

-- A retry that would come too late: the step fails when its time is over
SELECT flow_define('t-retry', ARRAY[
	flow_step('a', 'SELECT 1/(flow.attempt - flow.attempt)', retries => 5, retry_delay => '1 h', max_delay => '2 h', no_retry_on => '{}', total_timeout => '90 min'),
	flow_step('late', 'SELECT 1', after => '{a:timeout}')]);
SELECT flow_definition('t-retry')->'steps'->0->>'total_timeout' AS stored;
SELECT flow_start('t-retry') AS run \gset
SELECT flow_drain(:run);
SELECT status, due_at - (SELECT ready.due_at - interval '90 min' FROM flow_internal.total ready WHERE run_id = :run) < interval '61 min' AS within FROM flow.step WHERE run_id = :run AND name = 'a';
-- one hour, then what is left
SELECT flow_drain(:run, max_steps => 1, skip_time => true);
SELECT status, due_at = (SELECT total.due_at FROM flow_internal.total WHERE run_id = :run) AS bounded FROM flow.step WHERE run_id = :run AND name = 'a';
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT handled FROM flow.step WHERE run_id = :run AND name = 'a';
SELECT attempt, sqlstate FROM flow.attempt WHERE run_id = :run ORDER BY attempt;
SELECT status FROM flow.run WHERE id = :run;

-- Rounds
SELECT flow_define('t-round', ARRAY[
	flow_step('a', 'SELECT flow.attempt AS n', again => $$ interval '3 h' $$, total_timeout => '150 min', on_error => 'continue'),
	flow_step('b', 'SELECT flow_again(interval ''10 min'')', total_timeout => '5 min', on_error => 'continue')]);
SELECT flow_start('t-round') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT name, rounds FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- Steps that wait
SELECT flow_define('t-wait', ARRAY[
	flow_wait('w', total_timeout => '1 h', on_error => 'continue'),
	flow_wait('two', timeout => '1 h', total_timeout => '2 h', on_error => 'continue'),
	flow_approval('ok', timeout => '2 h', total_timeout => '1 h', on_error => 'continue'),
	flow_delay('long', '2 h', total_timeout => '1 h', on_error => 'continue'),
	flow_delay('short', '1 h', total_timeout => '2 h', on_error => 'continue'),
	flow_wait('in time', total_timeout => '1 h'),
	flow_step('after', 'SELECT 1', after => '{w:timeout}')]);
SELECT flow_start('t-wait') AS run \gset
SELECT flow_drain(:run), flow_signal(:run, 'in time');
SELECT name, status, due_at - clock_timestamp() < interval '1 h' AS bounded FROM flow.step WHERE run_id = :run AND status IN ('waiting', 'sleeping') ORDER BY step_no;
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
-- a round of a wait has what is left
SELECT flow_define('t-waits', ARRAY[flow_wait('w', total_timeout => '1 h', again => $$ CASE WHEN w->>'more' = 'yes' THEN interval '0' END $$)]);
SELECT flow_start('t-waits') AS run \gset
SELECT flow_drain(:run);
SELECT due_at AS due FROM flow.step WHERE run_id = :run \gset
SELECT flow_signal(:run, 'w', '{"more": "yes"}'), flow_drain(:run), flow_drain(:run);
SELECT status, due_at = :'due' AS same, rounds FROM flow.step WHERE run_id = :run;
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);

-- A subflow, by either limit; the run that it has started is cancelled
SELECT flow_define('t-child', ARRAY[flow_wait('go')]);
SELECT flow_define('t-parent', ARRAY[
	flow_subflow('total', 't-child', total_timeout => '1 microsecond', on_error => 'continue'),
	flow_subflow('one', 't-child', timeout => '1 microsecond', on_error => 'continue'),
	flow_subflow('enough', 't-child', timeout => '1 h', total_timeout => '2 h'),
	flow_subflow('free', 't-child')]);
SELECT flow_start('t-parent') AS run \gset
SELECT flow_drain(:run), flow_drain(:run) AS again;
SELECT * FROM pg_temp.steps(:run);
SELECT parent_step, status, status_reason FROM flow.run WHERE parent_run = :run ORDER BY id;
SELECT flow_signal(id, 'go', to_jsonb(parent_step)) FROM flow.run WHERE parent_run = :run AND status = 'running' ORDER BY id;
SELECT flow_drain(:run, skip_time => true);
SELECT name, status, attempt, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT status FROM flow.run WHERE id = :run;
SELECT flow_define('t-quick', ARRAY[flow_step('a', 'SELECT 1 AS a')]), flow_define('t-whole', ARRAY[flow_subflow('s', 't-quick', timeout => '1 h', total_timeout => '1 h')]);
SELECT flow_execute('t-whole');

-- A retry by hand has the whole time again; so has a step that paused its run
SELECT flow_define('t-again', ARRAY[flow_step('a', 'SELECT 1/0', retries => 1, retry_delay => '2 h', max_delay => '2 h', no_retry_on => '{}', total_timeout => '1 h')]);
SELECT flow_start('t-again') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT flow_retry(:run), flow_drain(:run);
SELECT status, attempt, due_at - clock_timestamp() BETWEEN interval '59 min' AND interval '1 h' AS whole FROM flow.step WHERE run_id = :run;
SELECT flow_define('t-pause', ARRAY[flow_step('a', 'SELECT 1/0', retries => 1, retry_delay => '2 h', max_delay => '2 h', no_retry_on => '{}', total_timeout => '1 h', on_error => 'pause')]);
SELECT flow_start('t-pause') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT status, status_reason FROM flow.run WHERE id = :run;
SELECT flow_resume(:run), flow_drain(:run);
SELECT status, attempt, due_at - clock_timestamp() BETWEEN interval '59 min' AND interval '1 h' AS whole FROM flow.step WHERE run_id = :run;

-- An attempt that is running when it is over
SELECT flow_define('t-run', ARRAY[flow_step('a', $$ SELECT pg_sleep(1000) $$, retries => 3, timeout => '1 h', total_timeout => '20 ms')]);
SELECT flow_start('t-run') AS run \gset
SELECT flow_drain(:run);
SELECT * FROM pg_temp.steps(:run);

-- With for_each, of each item
SELECT flow_define('t-items', ARRAY[
	flow_step('a', $$ SELECT 1/(item::int - 1) AS a $$, for_each => $$ jsonb '[1, 2]' $$, retries => 1, retry_delay => '2 h', max_delay => '2 h', no_retry_on => '{}', total_timeout => '1 h', on_item_error => 'collect'),
	flow_subflow('s', 't-quick', for_each => $$ jsonb '[1, 2]' $$, timeout => '1 h', total_timeout => '1 h'),
	flow_subflow('w', 't-child', for_each => $$ jsonb '[1, 2]' $$, timeout => '1 microsecond', on_item_error => 'collect')]);
SELECT flow_start('t-items') AS run \gset
SELECT flow_drain(:run, skip_time => true);
SELECT * FROM pg_temp.steps(:run);
SELECT step, item_no, status, attempt, error->>'sqlstate' AS sqlstate FROM flow.item WHERE run_id = :run ORDER BY step, item_no;
SELECT parent_step, status FROM flow.run WHERE parent_run = :run ORDER BY id;
