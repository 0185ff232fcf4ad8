-- Commands without workers: what may be one, and who leaves it alone.
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.problems(step jsonb) RETURNS TABLE (problem text) LANGUAGE sql AS $$
	SELECT concat_ws('|', code, message, hint) FROM flow_check_document(jsonb_build_object('name', 'c-bad', 'steps', jsonb_build_array(step)))
$$;
SELECT * FROM pg_temp.problems(flow_command('c', 'VACUUM; VACUUM'));
SELECT * FROM pg_temp.problems(flow_command('c', ' -- nothing '));
SELECT * FROM pg_temp.problems(flow_command('c', 'COMMIT'));
SELECT * FROM pg_temp.problems(flow_command('c', 'COPY t TO STDOUT'));
SELECT * FROM pg_temp.problems(flow_command('c', 'VACUUM VACUUM'));
SELECT * FROM pg_temp.problems(flow_command('c', 'VACUUM t', build => true));
SELECT * FROM pg_temp.problems(flow_command('c', 'VACUUM t', options => '{"result": "rows"}'));
SELECT * FROM pg_temp.problems(flow_step('c', 'SELECT 1', options => '{"build": true}'));
SELECT * FROM pg_temp.problems(flow_command('c', $$ nothing->>'t' $$, build => true));
SELECT * FROM pg_temp.problems(flow_command('c', $$ length(input->>'t') $$, build => true));
SELECT * FROM pg_temp.problems(flow_command('c', 'CALL p(input)'));

SELECT flow_define('c-main', ARRAY[
	flow_step('a', 'SELECT 1 AS a'),
	flow_command('v', $$ format('VACUUM %I', input->>'t') $$, build => true, after => '{a}', retries => 2, timeout => '1 h'),
	flow_command('s', 'VACUUM t', after => '{a}', condition => 'false'),
	flow_step('z', 'SELECT v, s FROM (SELECT 1) one', after => '{v,s}', needs => 'some')]);
SELECT flow_source('c-main');
SELECT flow_define('c-main', ARRAY(SELECT jsonb_array_elements(flow_definition('c-main')->'steps'))) AS same;

-- flow_drain leaves them for flow_finish
SELECT flow_start('c-main', '{"t": "t"}') AS run \gset
SELECT flow_drain(:run), flow_drain(:run) AS nothing;
SELECT name, status, attempt FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_finish(:run, 'v', '{"mock": true}'), flow_skip(:run, 's');
SELECT flow_drain(:run);
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT flow_start('c-main') AS run \gset
SELECT flow_drain(:run), flow_cancel(:run);
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- Not in somebody's transaction
SELECT flow_execute('c-main');
SELECT count(*) AS left FROM flow_internal.task;

-- Who waits for it in a transaction could wait for ever
SELECT flow_define('c-parent', ARRAY[flow_subflow('s', 'c-middle')]);
SELECT flow_define('c-middle', ARRAY[flow_subflow('s', 'c-parent'), flow_subflow('t', 'c-main')]);
SELECT flow_define('c-plain', ARRAY[flow_subflow('s', 'c-plain'), flow_subflow('t', 'c-nowhere')]);
SELECT flow_start('c-main') AS main, flow_start('c-parent') AS parent, flow_start('c-plain') AS plain \gset
CREATE FUNCTION pg_temp.await(run bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE h text;
BEGIN
	RETURN (SELECT status FROM flow_await(run, '0'));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ': ' || regexp_replace(SQLERRM, '\d+', 'N') || ' ' || h;
END $$;
SELECT pg_temp.await(:main) AS main, pg_temp.await(:parent) AS parent;
SELECT pg_temp.await(:plain) AS plain;
SELECT flow_cancel(id) FROM flow.run WHERE id IN (:main, :parent, :plain) ORDER BY id;
SELECT pg_temp.await(:main) AS over;
