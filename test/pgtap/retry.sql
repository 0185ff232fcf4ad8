-- The arithmetic of retries, seen from the attempts on record: delay before
-- retry k = least(max_delay, retry_delay * backoff ^ (k - 1)), times a factor
-- between 1 - jitter and 1.
\set ECHO none
\set QUIET 1
BEGIN;
SET client_min_messages = warning;
SELECT plan(12);

-- Delays in ms before each retry of a step that always fails with a state
CREATE FUNCTION retry_delays(options jsonb, sqlstate text DEFAULT 'P0001') RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE run_no bigint;
BEGIN
	PERFORM flow_define('retry-test', ARRAY[
		flow_step('s', format('DO $do$ BEGIN RAISE ''no'' USING ERRCODE = %L; END $do$', sqlstate), options => options)]);
	run_no := flow_start('retry-test');
	PERFORM flow_drain(run_no, skip_time => true);
	IF (SELECT status FROM flow.run WHERE id = run_no) <> 'failed' THEN
		RAISE 'the run has not failed';
	END IF;
	RETURN (SELECT array_agg(round(extract(epoch FROM next_at - finished_at) * 1000)::int ORDER BY attempt)
			FILTER (WHERE next_at IS NOT NULL)
			FROM flow.attempt WHERE run_id = run_no);
END $$;

SELECT is(retry_delays('{}'), NULL, 'no retries by default');
SELECT is(retry_delays('{"retries": 4}'), '{1000,2000,4000,8000}', 'defaults: 1 s, doubled');
SELECT is(retry_delays('{"retries": 4, "retry_delay": "1 s", "backoff": 2, "max_delay": "3 s"}'), '{1000,2000,3000,3000}', 'capped by max_delay');
SELECT is(retry_delays('{"retries": 3, "retry_delay": "250 ms", "backoff": 1}'), '{250,250,250}', 'a backoff of 1 is constant');
SELECT is(retry_delays('{"retries": 3, "retry_delay": "100 ms", "backoff": 1.5}'), '{100,150,225}', 'a backoff with a fraction');
SELECT is(retry_delays('{"retries": 3, "retry_delay": "0"}'), '{0,0,0}', 'no delay at all');
SELECT is((retry_delays('{"retries": 60, "retry_delay": "1 s", "backoff": 10}'))[60], 3600000, 'a delay that would overflow is the cap');
SELECT ok((SELECT bool_and(d BETWEEN 500 AND 1000) AND count(DISTINCT d) > 1
	FROM unnest(retry_delays('{"retries": 20, "retry_delay": "1 s", "backoff": 1, "jitter": 0.5}')) d),
	'jitter takes away up to its part');

-- Which errors
SELECT is(retry_delays('{"retries": 2}', '23505'), NULL, 'an error that cannot heal is not retried');
SELECT is(retry_delays('{"retries": 2, "retry_on": ["23505"]}', '23505'), '{1000,2000}', '... but when asked for');
SELECT is(retry_delays('{"retries": 2, "retry_on": ["08"]}', 'P0001'), NULL, 'retry_on: only these');
SELECT is(retry_delays('{"retries": 2, "retry_on": ["P0"], "no_retry_on": ["P0001"]}', 'P0001'), NULL, 'an error in both lists is not retried');

SELECT * FROM finish();
ROLLBACK;
