-- What has run goes: payloads with flow_delete_data, whole runs with flow_prune.
CREATE ROLE regress_flow_ret_owner LOGIN;
CREATE ROLE regress_flow_ret_member IN ROLE regress_flow_ret_owner;
CREATE ROLE regress_flow_ret_operator;
CREATE ROLE regress_flow_ret_starter;
CREATE ROLE regress_flow_ret_other LOGIN;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_ret_owner, regress_flow_ret_other;
GRANT USAGE ON SCHEMA flow TO regress_flow_ret_operator, regress_flow_ret_starter;

SET SESSION AUTHORIZATION regress_flow_ret_owner;
SELECT flow_define('ret', ARRAY[
	flow_step('a', $$ SELECT input->'card' AS card, flow_set('card', input->'card') $$),
	flow_step('b', $$ DO $d$ BEGIN
		IF flow_input()->>'fail' = 'yes' THEN
			RAISE EXCEPTION 'secret message' USING DETAIL = 'secret detail', HINT = 'secret hint', ERRCODE = 'P0007';
		END IF; END $d$ $$, after => '{a}')]);
SELECT flow_grant('ret', 'regress_flow_ret_starter');
RESET SESSION AUTHORIZATION;
INSERT INTO flow_internal.workflow_grant
SELECT w.id, r, r::text, 'operate' FROM flow_internal.workflow w, CAST('regress_flow_ret_operator' AS regrole) r WHERE w.name = 'ret';

-- All there is of a run, as text
CREATE FUNCTION ret_secrets(run bigint) RETURNS TABLE (place text, secrets bigint) LANGUAGE sql AS $$
	SELECT v.place, count(*) FILTER (WHERE v.line ~ 'secret') FROM (
		SELECT 'run', r::text FROM flow_internal.run r WHERE r.id = run
		UNION ALL SELECT 'outcome', o::text FROM flow_internal.outcome o WHERE o.run_id = run
		UNION ALL SELECT 'attempt', a::text FROM flow_internal.attempt a WHERE a.run_id = run
		UNION ALL SELECT 'data', d::text FROM flow_internal.data d WHERE d.run_id = run
		UNION ALL SELECT 'event', e::text FROM flow_internal.event e WHERE e.run_id = run) v(place, line)
	GROUP BY v.place ORDER BY v.place
$$;
CREATE FUNCTION ret_error(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text; detail text; hint text;
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, '')), '\mrun \d+', 'run N', 'gi');
END $$;

-- ---- flow_delete_data
SET SESSION AUTHORIZATION regress_flow_ret_owner;
SELECT flow_start('ret', '{"card": "secret 1"}', key => 'secret good') AS good \gset
SELECT flow_start('ret', '{"card": "secret 2", "fail": "yes"}', key => 'secret bad') AS bad \gset
SELECT flow_start('ret', '{"card": "secret 3"}') AS cancelled \gset
SELECT flow_start('ret', '{"card": "secret 4"}', key => 'live') AS live \gset
SELECT flow_pause(:live, 'secret pause');
SELECT flow_define('ret-hand', ARRAY[flow_step('a', $$ SELECT flow_emit('e', '"secret event"') $$), flow_step('b', 'SELECT 1')]);
SELECT flow_start('ret-hand') AS hand \gset
SELECT flow_finish(:hand, 'b', '"secret output"', reason => 'secret hand');
SELECT flow_drain(:hand);
SELECT flow_drain(:good), flow_drain(:bad), flow_cancel(:cancelled, 'secret reason');
RESET SESSION AUTHORIZATION;
SELECT * FROM ret_secrets(:bad);
SELECT * FROM ret_secrets(:hand);

-- Who may
SET ROLE regress_flow_ret_other;
SELECT ret_error('flow_delete_data(' || :bad || ')');
RESET ROLE;
SET ROLE regress_flow_ret_starter;
SELECT ret_error('flow_delete_data(' || :bad || ')');
SELECT flow_start('ret', '{"card": "secret 5"}') AS started \gset
RESET ROLE;
SET SESSION AUTHORIZATION regress_flow_ret_owner;
SELECT flow_drain(:started);
RESET SESSION AUTHORIZATION;
SET ROLE regress_flow_ret_starter;
SELECT ret_error('flow_delete_data(' || :started || ')');
RESET ROLE;
SET ROLE regress_flow_ret_operator;
SELECT flow_delete_data(:started);
RESET ROLE;
SET ROLE regress_flow_ret_member;
SELECT flow_delete_data(:bad);
RESET ROLE;
CREATE ROLE regress_flow_ret_nobody;
SET ROLE regress_flow_ret_nobody;
SELECT ret_error('flow_delete_data(' || :good || ')');
SELECT ret_error('flow_prune(''1 day'')');
RESET ROLE;

-- What is left
SELECT * FROM ret_secrets(:bad);
SET ROLE regress_flow_ret_owner;
SELECT key, status, input, output, error, errors, data_deleted_at > finished_at AS erased FROM flow.run WHERE id = :bad;
SELECT name, status, attempt, output, error, sqlstate FROM flow.step WHERE run_id = :bad ORDER BY step_no;
SELECT step, attempt, sqlstate, message, detail, hint, context FROM flow.attempt WHERE run_id = :bad;
SELECT count(*) FROM flow.data WHERE run_id = :bad;

-- Once for the payloads, once for the key
SELECT flow_delete_data(:bad) AS again;
SELECT flow_delete_data(:bad, key => true), flow_delete_data(:bad, key => true) AS again, flow_delete_data(:bad);
SELECT key = encode(sha256('secret bad'), 'hex') AS is_hash FROM flow.run WHERE id = :bad;
SELECT status, key = encode(sha256('secret bad'), 'hex') AS is_hash FROM flow.event WHERE run_id = :bad ORDER BY id;
SELECT flow_delete_data(:cancelled, key => true), flow_delete_data(:cancelled, key => true) AS again;
SELECT status, status_reason, key FROM flow.run WHERE id = :cancelled;
SELECT status, detail FROM flow.event WHERE run_id = :cancelled ORDER BY id;
SELECT name, status, reason FROM flow.step WHERE run_id = :cancelled ORDER BY step_no;
SELECT flow_delete_data(:good, true), flow_delete_data(:hand);
RESET ROLE;
SELECT v.run, s.* FROM unnest(ARRAY[:good, :bad, :cancelled, :started, :hand]) v(run), ret_secrets(v.run) s WHERE s.secrets > 0;

-- The key is known by its hash to whoever has it
SET ROLE regress_flow_ret_owner;
SELECT flow_find('ret', 'secret good') = :good AS found, flow_find('ret', 'secret goo') AS not_found;
SELECT flow_start('ret', key => 'secret good', once => true) = :good AS still_once;

-- What is refused
SELECT ret_error('flow_delete_data(' || :live || ')');
SELECT ret_error('flow_delete_data(' || :bad || ' + 1000000)');
SELECT ret_error('flow_delete_data(NULL)');
SELECT ret_error('flow_retry(' || :bad || ')');
SELECT ret_error('flow_rerun(' || :bad || ', ''a'')');
BEGIN READ ONLY;
SELECT flow_delete_data(:good);
ROLLBACK;
BEGIN READ ONLY;
SELECT flow_prune('1 day');
ROLLBACK;
RESET ROLE;
SELECT secrets FROM ret_secrets(:live) WHERE place = 'run';

-- Rolled back, nothing has happened
SET SESSION AUTHORIZATION regress_flow_ret_owner;
SELECT flow_resume(:live);
SELECT flow_drain(:live);
BEGIN;
SELECT flow_delete_data(:live, true);
ROLLBACK;
SELECT key, input, data_deleted_at FROM flow.run WHERE id = :live;

-- Inside a step: of another run, and of the step's own, which has not finished
SELECT flow_define('ret-step', ARRAY[
	flow_step('other', $$ SELECT flow_delete_data((input->>'run')::bigint) AS erased, flow_prune('1 day', 'ret') AS pruned $$),
	flow_step('own', $$ SELECT flow_delete_data(flow.run_id) $$)]);
SELECT flow_start('ret-step', jsonb_build_object('run', :live)) AS step \gset
SELECT flow_drain(:step);
SELECT name, status, output, sqlstate FROM flow.step WHERE run_id = :step ORDER BY step_no;
SELECT input, data_deleted_at IS NOT NULL AS erased FROM flow.run WHERE id = :live;
RESET SESSION AUTHORIZATION;

-- ---- flow_prune
SET SESSION AUTHORIZATION regress_flow_ret_other;
SELECT flow_define('ret-other', ARRAY[flow_step('a', 'SELECT 1')]);
SELECT flow_start('ret-other') AS other \gset
SELECT flow_drain(:other);
RESET SESSION AUTHORIZATION;

-- Nothing ended so long ago; old means ended, not started
SET ROLE regress_flow_ret_owner;
SELECT flow_prune('1 day');
RESET ROLE;
UPDATE flow_internal.run SET created_at = created_at - interval '10 days' WHERE id IN (:good, :bad, :cancelled);
UPDATE flow_internal.run SET finished_at = finished_at - interval '9 days' WHERE id IN (:good, :bad);
SET ROLE regress_flow_ret_owner;
SELECT flow_prune('9 days 12 hours') AS none, flow_prune('1 day', 'ret-step') AS another_workflow;
BEGIN;
SELECT flow_prune('8 days') AS two;
SELECT count(*) FROM flow.run WHERE id IN (:good, :bad);
ROLLBACK;
SELECT flow_prune('8 days', 'ret') AS two, flow_prune('8 days') AS none_left;
RESET ROLE;
SELECT s.* FROM unnest(ARRAY[:good, :bad]) v(run), ret_secrets(v.run) s;
SELECT count(*) AS others FROM flow.run WHERE id IN (:cancelled, :live, :started, :step, :other);
SELECT ret_error('flow_status(' || :good || ')');

-- Unfinished ones stay, however old; so does what somebody else owns
SET SESSION AUTHORIZATION regress_flow_ret_owner;
SELECT flow_start('ret', '{"card": "x"}', key => 'asleep', start_at => now() + interval '1 year') AS asleep \gset
SELECT flow_prune('0') AS rest;
SELECT string_agg(key, ',') FROM flow.run;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM flow.run WHERE id = :other;
-- None of what belongs to a run is left over
SELECT 'outcome' FROM flow_internal.outcome o WHERE NOT EXISTS (SELECT FROM flow_internal.run r WHERE r.id = o.run_id)
UNION ALL SELECT 'attempt' FROM flow_internal.attempt o WHERE NOT EXISTS (SELECT FROM flow_internal.run r WHERE r.id = o.run_id)
UNION ALL SELECT 'data' FROM flow_internal.data o WHERE NOT EXISTS (SELECT FROM flow_internal.run r WHERE r.id = o.run_id)
UNION ALL SELECT 'event' FROM flow_internal.event o WHERE NOT EXISTS (SELECT FROM flow_internal.run r WHERE r.id = o.run_id);

-- Who may
SET ROLE regress_flow_ret_starter;
SELECT ret_error('flow_prune(''0'', ''ret'')');
SELECT ret_error('flow_prune(''0'', ''ret-other'')');
SELECT flow_prune('0') AS nothing_of_mine;
RESET ROLE;
SET SESSION AUTHORIZATION regress_flow_ret_owner;
SELECT flow_start('ret') AS more \gset
SELECT flow_drain(:more);
RESET SESSION AUTHORIZATION;
SET ROLE regress_flow_ret_operator;
SELECT flow_prune('0', 'ret');
RESET ROLE;
SELECT count(*) FROM flow.run WHERE id = :other;

-- Of a dropped workflow too
SET SESSION AUTHORIZATION regress_flow_ret_owner;
SELECT flow_start('ret-step', '{"run": 0}') AS step \gset
SELECT flow_drain(:step);
SELECT flow_drop('ret-step');
SELECT flow_prune('0', 'ret-step');
SELECT flow_start('ret') AS more \gset
SELECT flow_drain(:more);

-- What is refused
SELECT ret_error(call) FROM unnest(ARRAY[
	'flow_prune(NULL)', 'flow_prune(''-1 day'')', 'flow_prune(''1 mon -31 days'')', 'flow_prune(''1100 years'')',
	'flow_prune(''1 day'', ''ret-none'')']) call;
SELECT flow_prune('999 years'), flow_prune('1 mon -30 days', 'ret') AS zero;

-- Many, in chunks
SELECT count(flow_start('ret', jsonb_build_object('card', i))) FROM generate_series(1, 450) i;
SELECT flow_drain();
SELECT flow_delete_data(id) FROM flow.run WHERE status = 'completed' ORDER BY id LIMIT 1;
SELECT flow_prune('0');
SELECT string_agg(key, ',') FROM flow.run;

-- ---- keep and keep_data: no part of the version
SELECT flow_define('ret-keep', ARRAY[flow_step('a', 'SELECT 1')], keep => '1 year 2 mons', keep_data => '36 hours');
SELECT version, keep, keep_data FROM flow.workflow WHERE name = 'ret-keep';
SELECT flow_definition('ret-keep') - 'search_path';
SELECT flow_define(flow_definition('ret-keep'));
SELECT flow_define('ret-keep', ARRAY[flow_step('a', 'SELECT 1')], keep => '1 year 2 mons', options => '{"keep_data": "2 days"}');
SELECT version, keep, keep_data FROM flow.workflow WHERE name = 'ret-keep';
SELECT flow_define('ret-keep', ARRAY[flow_step('a', 'SELECT 1')]);
SELECT version, keep, keep_data FROM flow.workflow WHERE name = 'ret-keep';
SELECT ret_error(format('flow_define(''ret-keep'', ARRAY[flow_step(''a'', ''SELECT 2'')], %s)', argument))
FROM unnest('{keep => ''0'',keep => ''-1 day'',keep_data => ''1100 years'',keep_data => ''1 mon -30 days''}'::text[]) argument;
SELECT version, keep, keep_data FROM flow.workflow WHERE name = 'ret-keep';
RESET SESSION AUTHORIZATION;

SELECT flow_drop(name, force => true) FROM unnest('{ret,ret-hand,ret-keep,ret-other}'::text[]) name;
SELECT flow_prune('0') > 0 AS superusers_prune_all;
DELETE FROM flow_internal.workflow_grant WHERE role_name ~ '^regress_flow_ret';
DROP FUNCTION ret_secrets, ret_error;
DROP OWNED BY regress_flow_ret_owner, regress_flow_ret_other, regress_flow_ret_operator, regress_flow_ret_starter;
DROP ROLE regress_flow_ret_nobody, regress_flow_ret_starter, regress_flow_ret_operator, regress_flow_ret_member, regress_flow_ret_owner, regress_flow_ret_other;

-- Signals and decisions go with the run that took them
SELECT flow_define('ret-waits', ARRAY[flow_wait('w'), flow_approval('a')]);
SELECT flow_start('ret-waits', key => 'ret-k') AS run \gset
SELECT flow_signal(:run, 'w', '{"secret": 1}', 'once'), flow_signal_key('ret-waits', 'ret-k', 'other', '2') \g /dev/null
SELECT flow_drain(:run) > 0 AS drained, flow_approve(:run, 'a', 'secret') AS approved;
SELECT flow_drain(:run) > 0 AS drained;
SELECT flow_delete_data(:run, key => true);
SELECT name, payload, key, taken_at IS NOT NULL AS taken FROM flow_internal.signal WHERE workflow_id = (SELECT workflow_id FROM flow_internal.run WHERE id = :run) ORDER BY id;
SELECT comment, approver, approved FROM flow_internal.decision WHERE run_id = :run;
SELECT flow_prune('0', 'ret-waits');
SELECT (SELECT count(*) FROM flow_internal.signal WHERE run_id = :run OR taken_by_run = :run) AS signals,
	(SELECT count(*) FROM flow_internal.decision WHERE run_id = :run) AS decisions, (SELECT count(*) FROM flow_internal.waiting WHERE run_id = :run) AS waits;
