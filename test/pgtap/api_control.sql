-- API.md 2, steering runs and what is left of them: each row of the contract with what
-- it does and what it refuses.
\ir api.psql
SELECT no_plan();
SELECT flow_define('api-wait', ARRAY[flow_step('a', does('a')), flow_wait('w', after => '{a}'), flow_step('z', does('z'), after => '{w}')]) AS v \gset
-- Fails until it is mended
SELECT flow_define('api-bad', ARRAY[flow_step('a', does('a') || ' RETURNING 1 AS n'), flow_step('b', $$ SELECT 1 / CASE WHEN flow_get('x') IS NULL AND NOT EXISTS (SELECT FROM effect WHERE what = 'mended') THEN 0 ELSE 1 END AS n $$, after => '{a}'),
	flow_step('c', does('c'), after => '{b}'), flow_step('f', does('f'), after => '{a}', needs => 'always')]) AS v \gset
CREATE FUNCTION started(name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE run_no bigint := flow_start(name);
BEGIN
	PERFORM flow_drain(run_no);
	RETURN run_no;
END $$;
CREATE FUNCTION drained(run_no bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM flow_drain(run_no);
	RETURN states(run_no);
END $$;

-- flow_pause, flow_resume
SELECT flow_start('api-wait') AS run \gset
SELECT is(flow_pause(:run, 'lunch'), true, 'flow_pause: pauses');
SELECT is((SELECT status || ' ' || status_reason FROM flow.run WHERE id = :run), 'paused lunch', 'flow_pause: at once, with its reason');
SELECT is(drained(:run), 'paused: a ready, w pending, z pending', 'flow_pause: nothing new starts');
SELECT is(flow_pause(:run), false, 'flow_pause: false if it already was');
SELECT is(flow_resume(:run), true, 'flow_resume: resumes');
SELECT is(flow_resume(:run), false, 'flow_resume: false if it already was');
SELECT is(drained(:run), 'running: a completed, w waiting, z pending', 'flow_resume: it goes on');
SELECT flow_cancel(:run) AS c \gset
SELECT is(answer(format('SELECT flow_pause(%s)', :run)) || answer(format('SELECT flow_resume(%s)', :run)), 'WF001WF001', 'flow_pause, flow_resume: of a run that has ended');
SELECT is(answer('SELECT flow_pause(-1)') || answer('SELECT flow_resume(-1)'), '4270442704', 'flow_pause, flow_resume: an unknown run');

-- flow_cancel
SELECT started('api-wait') AS run \gset
SELECT is(flow_cancel(:run, 'enough'), true, 'flow_cancel: cancels');
SELECT is(states(:run), 'cancelled: a completed, w cancelled, z cancelled', 'flow_cancel: what has not ended');
SELECT is((SELECT status_reason FROM flow.run WHERE id = :run), 'enough', 'flow_cancel: with its reason');
SELECT is(flow_cancel(:run), false, 'flow_cancel: false if it already was');
SELECT started('api-bad') AS run \gset
SELECT is(answer(format('SELECT flow_cancel(%s)', :run)), 'WF001', 'flow_cancel: of a run that has ended otherwise');
SELECT is(answer('SELECT flow_cancel(-1)'), '42704', 'flow_cancel: an unknown run');

-- flow_retry
SELECT is(states(:run), 'failed: a completed, b failed, c skipped, f completed', 'flow_retry: (before)');
INSERT INTO effect (what) VALUES ('mended');
SELECT is(flow_retry(:run), true, 'flow_retry: retries');
SELECT is(flow_retry(:run), false, 'flow_retry: false if it runs already');
SELECT is(answer(format('SELECT flow_retry(%s, ''nowhere'')', :run)), '42704', 'flow_retry: an unknown step of one that runs');
SELECT is(drained(:run) || ' ' || effects(:run), 'completed: a completed, b completed, c completed, f completed a f c f', 'flow_retry: from its failed steps, completed ones kept, always steps again');
SELECT is(answer(format('SELECT flow_retry(%s)', :run)), 'WF001', 'flow_retry: of a completed run');
DELETE FROM effect WHERE what = 'mended';
SELECT started('api-bad') AS run \gset
INSERT INTO effect (what) VALUES ('mended');
SELECT is(answer(format('SELECT flow_retry(%s, ''nowhere'')', :run)), '42704', 'flow_retry: an unknown step');
SELECT is(flow_retry(:run, 'b'), true, 'flow_retry: a step');
SELECT is(answer('SELECT flow_retry(-1)'), '42704', 'flow_retry: an unknown run');
SELECT started('api-wait') AS run \gset
SELECT flow_cancel(:run), flow_retry(:run) \g /dev/null
SELECT is(drained(:run), 'running: a completed, w waiting, z pending', 'flow_retry: a cancelled run goes on');
SELECT ran(ARRAY[flow_step('a', does('a'), undo => does('-a')), flow_step('b', 'SELECT 1 / 0', after => '{a}')]) AS run \gset
SELECT is(answer(format('SELECT flow_retry(%s)', :run)), 'WF001', 'flow_retry: not of a run that was compensated');
DELETE FROM effect WHERE what = 'mended';

-- flow_rerun
SELECT flow_start('api-bad', key => 'again', slot => '2024-02-01 03:00+00') AS run \gset
SELECT flow_drain(:run) AS d \gset
INSERT INTO effect (what) VALUES ('mended');
SELECT flow_rerun(:run, 'b') AS second \gset
SELECT is(drained(:second) || ' ' || effects(:second), 'completed: a completed, b completed, c completed, f completed c f', 'flow_rerun: a new run that reuses what is not downstream');
SELECT is((SELECT key || ' ' || (slot = '2024-02-01 03:00+00') FROM flow.run WHERE id = :second), 'again true', 'flow_rerun: with the same key and slot');
SELECT flow_rerun(:run) AS second \gset
SELECT is(drained(:second) || ' ' || effects(:second), 'completed: a completed, b completed, c completed, f completed a c f', 'flow_rerun: all of it without a step');
SELECT flow_rerun(:run, input => '{"n": 1}') AS second \gset
SELECT is((SELECT input FROM flow.run WHERE id = :second), '{"n": 1}', 'flow_rerun: with another input');
SELECT is(answer(format('SELECT flow_rerun(%s, ''nowhere'')', :run)), '42704', 'flow_rerun: an unknown step');
SELECT is(answer('SELECT flow_rerun(-1)'), '42704', 'flow_rerun: an unknown run');

-- flow_skip, flow_finish
SELECT started('api-wait') AS run \gset
SELECT is(flow_skip(:run, 'w', reason => 'why not'), true, 'flow_skip: a step that waits');
SELECT is(drained(:run), 'completed: a completed, w skipped, z skipped', 'flow_skip: ... and what is behind it');
SELECT is((SELECT reason FROM flow.step WHERE run_id = :run AND name = 'w'), 'why not', 'flow_skip: with its reason');
SELECT is(answer(format('SELECT flow_skip(%s, ''w'')', :run)), 'false', 'flow_skip: false if it already was');
SELECT is(answer(format('SELECT flow_skip(%s, ''a'')', :run)), 'WF001', 'flow_skip: of a step that has ended otherwise');
SELECT is(answer(format('SELECT flow_skip(%s, ''nowhere'')', :run)), '42704', 'flow_skip: an unknown step');
SELECT flow_start('api-wait') AS run \gset
SELECT is(flow_finish(:run, 'w', '{"mock": true}', reason => 'a test'), true, 'flow_finish: also a step that is not ready yet');
SELECT is(drained(:run), 'completed: a completed, w completed, z completed', 'flow_finish: the run goes on behind it');
SELECT is(out_of(:run, 'w'), '{"mock": true}', 'flow_finish: with that output');
SELECT is(answer(format('SELECT flow_finish(%s, ''w'')', :run)), 'false', 'flow_finish: false if it already was');
SELECT is(answer(format('SELECT flow_finish(%s, ''nowhere'')', :run)), '42704', 'flow_finish: an unknown step');
SELECT is(answer('SELECT flow_finish(-1, ''w'')') || answer('SELECT flow_skip(-1, ''w'')'), '4270442704', 'flow_skip, flow_finish: an unknown run');

-- flow_approve, flow_reject
SELECT flow_define('api-ask', ARRAY[flow_step('a', 'SELECT 1'), flow_approval('ok', after => '{a}')]), flow_start('api-ask') AS run \gset
SELECT is(answer(format('SELECT flow_approve(%s, ''ok'')', :run)), 'WF001', 'flow_approve: before the approval waits');
SELECT flow_drain(:run) AS d \gset
SELECT is(flow_approve(:run, 'ok', 'yes'), true, 'flow_approve: decides');
SELECT is(flow_approve(:run, 'ok', 'yes'), false, 'flow_approve: a repeated decision is false');
SELECT is(answer(format('SELECT flow_reject(%s, ''ok'')', :run)), 'WF001', 'flow_reject: another one comes too late');
SELECT is(drained(:run), 'completed: a completed, ok completed', 'flow_approve: it completes');
SELECT is(answer(format('SELECT flow_approve(%s, ''a'')', :run)), '42809', 'flow_approve: a step of another kind');
SELECT is(answer(format('SELECT flow_approve(%s, ''nowhere'')', :run)), '42704', 'flow_approve: an unknown step');
SELECT is(answer('SELECT flow_approve(-1, ''ok'')') || answer('SELECT flow_reject(-1, ''ok'')'), '4270442704', 'flow_approve, flow_reject: an unknown run');
SELECT started('api-ask') AS run \gset
SELECT is(flow_reject(:run, 'ok', 'no', 'Bob'), true, 'flow_reject: decides');
SELECT is(drained(:run), 'failed: a completed, ok failed', 'flow_reject: it fails');
SELECT is(flow_reject(:run, 'ok', 'no', 'Bob'), false, 'flow_reject: a repeated decision is false');

-- flow_delete_data
SELECT flow_start('api-wait', '{"secret": 1}', key => 'who') AS run \gset
SELECT is(answer(format('SELECT flow_delete_data(%s)', :run)), 'WF001', 'flow_delete_data: not of a run that has not finished');
SELECT flow_drain(:run), flow_signal(:run, 'w', '"secret"'), flow_drain(:run) \g /dev/null
SELECT is(flow_delete_data(:run), true, 'flow_delete_data: of one that has');
SELECT is((SELECT count(*) FROM flow.run r, flow.step s WHERE r.id = :run AND s.run_id = r.id AND concat(r, s) LIKE '%secret%'), 0::bigint, 'flow_delete_data: input, outputs and signals are gone');
SELECT is(states(:run), 'completed: a completed, w completed, z completed', 'flow_delete_data: the skeleton stays');
SELECT is((SELECT key FROM flow.run WHERE id = :run), 'who', 'flow_delete_data: and the key');
SELECT flow_delete_data(:run, key => true) AS d \gset
SELECT isnt((SELECT key FROM flow.run WHERE id = :run), 'who', 'flow_delete_data: unless it is asked for');
SELECT is(flow_delete_data(:run, key => true), false, 'flow_delete_data: false if it already was');
SELECT is(answer('SELECT flow_delete_data(-1)'), '42704', 'flow_delete_data: an unknown run');

-- flow_prune
SELECT is(flow_prune('1 hour', 'api-wait'), 0::bigint, 'flow_prune: runs that ended lately stay');
SELECT is(flow_prune('0', 'api-wait') > 0, true, 'flow_prune: older ones go');
SELECT is((SELECT count(*) FROM flow.run WHERE id = :run), 0::bigint, 'flow_prune: ... with all that belongs to them');
SELECT is((SELECT count(*) > 0 FROM flow.run WHERE workflow = 'api-ask'), true, 'flow_prune: of that workflow only');
SELECT is(answer('SELECT flow_prune(''0'', ''api-nowhere'')'), '42704', 'flow_prune: an unknown workflow');
SELECT is(answer('SELECT flow_prune(NULL)') || answer('SELECT flow_prune(''-1 day'')'), '2200422023', 'flow_prune: no time, or a negative one');

-- flow_release_all
SELECT is(flow_release_all(), 0::bigint, 'flow_release_all: nothing is held');
CREATE ROLE api_nobody;
SET LOCAL ROLE api_nobody;
SELECT answer('SELECT flow_release_all()') AS said \gset
RESET ROLE;
SELECT is(:'said'::text, '42501', 'flow_release_all: not by who has no right on schema flow');
GRANT USAGE ON SCHEMA flow TO api_nobody;

-- Rights of those who steer
SELECT flow_start('api-wait') AS run \gset
SELECT flow_grant('api-wait', 'api_nobody', 'read') \g /dev/null
SET LOCAL ROLE api_nobody;
SELECT string_agg(said, ' ') AS said FROM (SELECT answer(format(call, :run)) AS said
	FROM unnest(ARRAY['SELECT flow_pause(%s)', 'SELECT flow_resume(%s)', 'SELECT flow_cancel(%s)', 'SELECT flow_retry(%s)',
		'SELECT flow_skip(%s, ''a'')', 'SELECT flow_finish(%s, ''a'')', 'SELECT flow_signal(%s, ''w'')', 'SELECT flow_delete_data(%s)', 'SELECT flow_rerun(%s)']) call) s \gset
RESET ROLE;
SELECT is(:'said'::text, '42501 42501 42501 42501 42501 42501 42501 42501 42501', 'rights: who may only read steers nothing');
SELECT flow_start('api-wait') AS done, flow_grant('api-wait', 'api_nobody', 'operate') AS g \gset
SET LOCAL ROLE api_nobody;
SELECT string_agg(said, ' ') AS said FROM (SELECT answer(format(call, :run)) AS said
	FROM unnest(ARRAY['SELECT flow_pause(%s)', 'SELECT flow_resume(%s)', 'SELECT flow_skip(%s, ''a'')', 'SELECT flow_cancel(%s)', 'SELECT flow_delete_data(%s)']) call) s \gset
RESET ROLE;
SELECT flow_cancel(:done) AS c \gset
SELECT flow_revoke('api-wait', 'api_nobody'), flow_grant('api-wait', 'api_nobody', 'read') \g /dev/null
SET LOCAL ROLE api_nobody;
SELECT answer(format('SELECT flow_rerun(%s)', :done)) AS rerun \gset
RESET ROLE;
SELECT is(:'rerun'::text, '42501', 'rights: nor does it start a run anew');
SELECT is(:'said'::text, 'true true true true true', 'rights: with operate a role does');

SELECT * FROM finish();
ROLLBACK;
