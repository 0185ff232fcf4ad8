-- A step leaves nothing of its session behind, and in a caller's session takes
-- nothing away that was the caller's.
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.t (n int);

-- The caller's own things
CREATE TEMP TABLE session_mine (n int);
PREPARE session_mine AS SELECT 'mine' AS whose;
SELECT pg_advisory_lock(42);
SET work_mem = '7MB';
LISTEN session_mine;
BEGIN;
DECLARE session_mine CURSOR WITH HOLD FOR SELECT 'mine' AS whose;
COMMIT;

SELECT flow_define('session-dirty', ARRAY[
	flow_step('temp', $$ CREATE TEMP TABLE session_left (n int); INSERT INTO session_left VALUES (1) $$),
	flow_step('guc', $$ SET work_mem = '13MB'; SET search_path = elsewhere; SELECT set_config('session.custom', 'left', false) $$, after => '{temp}'),
	flow_step('guc_seen', $$ SELECT current_setting('work_mem') AS work_mem, current_setting('session.custom', true) AS custom, to_regclass('t') IS NULL AS path_restored $$, after => '{guc}'),
	flow_step('plan', $$ PREPARE session_left AS SELECT 1 $$, after => '{guc_seen}'),
	flow_step('cursor', $$ DECLARE session_left CURSOR WITH HOLD FOR SELECT 1 $$, after => '{plan}'),
	flow_step('seed', $$ SELECT setseed(0.5) $$, after => '{cursor}')]);
SELECT flow_start('session-dirty') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, output, error->>'message' AS error FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- What is left of it
SELECT to_regclass('session_left') AS temp_table;
SELECT current_setting('work_mem') AS work_mem, current_setting('search_path') AS search_path, current_setting('session.custom', true) AS custom;
SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objid;
SELECT name FROM pg_prepared_statements WHERE name LIKE 'session%' ORDER BY name;
SELECT name FROM pg_cursors WHERE name LIKE 'session%' ORDER BY name;
SELECT channel FROM pg_listening_channels() AS channel ORDER BY channel;

-- The caller's own are still there
SELECT count(*) FROM session_mine;
EXECUTE session_mine;
FETCH session_mine;
SELECT pg_advisory_unlock(42);

-- What the caller has by that name is no step's to take, or to drop
SELECT flow_define('session-taken', ARRAY[
	flow_step('plan', $$ PREPARE session_mine AS SELECT 'theirs' AS whose $$)]);
SELECT flow_start('session-taken') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, sqlstate, error->>'message' AS error FROM flow.step WHERE run_id = :run;
EXECUTE session_mine;
SELECT flow_define('session-taken', ARRAY[
	flow_step('cursor', $$ DECLARE session_mine CURSOR WITH HOLD FOR SELECT 'theirs' AS whose $$)]);
SELECT flow_start('session-taken') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, sqlstate, error->>'message' AS error FROM flow.step WHERE run_id = :run;
SELECT name, statement LIKE '%''mine''%' AS mine FROM pg_cursors WHERE name LIKE 'session%';
-- A step that fails leaves nothing behind either
SELECT flow_define('session-taken', ARRAY[
	flow_step('s', $$ PREPARE session_left AS SELECT 1; DECLARE session_left CURSOR WITH HOLD FOR SELECT 1; SELECT 1 / 0 $$)]);
SELECT flow_start('session-taken') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, sqlstate FROM flow.step WHERE run_id = :run;
SELECT name FROM pg_prepared_statements WHERE name LIKE 'session%' UNION ALL SELECT name FROM pg_cursors WHERE name LIKE 'session%';

-- What a step asks for in a block that is rolled back it has not asked for
CREATE FUNCTION session_blocks() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	inside jsonb;
BEGIN
	PERFORM flow_set('overwritten', '"older"');
	PERFORM flow_set('removed', '"older"');
	BEGIN
		PERFORM flow_set('overwritten', '"newer"');
		PERFORM flow_set('removed', NULL);
		PERFORM flow_set('new', '1');
		BEGIN
			PERFORM flow_set('nested', '1');
			PERFORM flow_cancel(flow_run_id(), 'nested');
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
		inside := jsonb_build_object('overwritten', flow_get('overwritten'), 'removed', flow_get('removed'), 'nested', flow_get('nested'));
		PERFORM 1 / 0;
	EXCEPTION WHEN division_by_zero THEN
		NULL;
	END;
	BEGIN
		PERFORM flow_set('inner', '2');
	EXCEPTION WHEN division_by_zero THEN
		NULL;
	END;
	RETURN inside || jsonb_build_object('then', flow_get('overwritten'));
END $$;
SELECT flow_define('session-blocks', ARRAY[
	flow_step('a', $$ SELECT session_blocks() $$),
	flow_step('b', $$ SELECT flow_get('overwritten') AS overwritten, flow_get('inner') AS inner $$, after => '{a}')]);
SELECT flow_start('session-blocks') AS run \gset
SELECT flow_drain(:run);
SELECT status, status_reason FROM flow.run WHERE id = :run;
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT key, value FROM flow.data WHERE run_id = :run ORDER BY key;
-- ... outside of such a block, or in one that ends well, it has
SELECT flow_define('session-blocks', ARRAY[
	flow_step('a', $$ DO $do$
		BEGIN
			BEGIN
				PERFORM flow_pause(flow_run_id(), 'not meant');
				PERFORM 1 / 0;
			EXCEPTION WHEN division_by_zero THEN
				NULL;
			END;
			BEGIN
				PERFORM flow_cancel(flow_run_id(), 'meant');
			EXCEPTION WHEN division_by_zero THEN
				NULL;
			END;
		END $do$ $$),
	flow_step('b', 'SELECT 1', after => '{a}')]);
SELECT flow_start('session-blocks') AS run \gset
SELECT flow_drain(:run);
SELECT status, status_reason FROM flow.run WHERE id = :run;
SELECT name, status FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- One step's session does not reach the next, whatever it tries
SELECT flow_define('session-role', ARRAY[
	flow_step('role', $$ SET ROLE pg_monitor; SELECT current_user AS who $$),
	flow_step('after', $$ SELECT current_user = session_user AS restored $$, after => '{role}'),
	flow_step('local', $$ SET LOCAL statement_timeout = '1h'; SET CONSTRAINTS ALL DEFERRED $$, after => '{after}'),
	flow_step('seen', $$ SELECT current_setting('statement_timeout') AS statement_timeout $$, after => '{local}')]);
SELECT flow_start('session-role') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, output, error->>'message' AS error FROM flow.step WHERE run_id = :run ORDER BY step_no;
SELECT current_user = session_user AS same;

-- The search_path of the definition holds, not the caller's
SET search_path = elsewhere, public;
SELECT flow_define('session-path', ARRAY[flow_step('s', $$ INSERT INTO t VALUES (1) RETURNING n $$)]);
RESET search_path;
SELECT flow_start('session-path') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;
SHOW search_path;
SELECT flow_define('session-path', ARRAY[flow_step('s', $$ SELECT current_schemas(false)::text AS path $$)], search_path => 'elsewhere');
SELECT flow_start('session-path') AS run \gset
SELECT flow_drain(:run);
SELECT output FROM flow.run WHERE id = :run;

UNLISTEN *;
DEALLOCATE ALL;
CLOSE ALL;
RESET ALL;
DROP TABLE session_mine;
DROP FUNCTION session_blocks;
DROP TABLE elsewhere.t;
DROP SCHEMA elsewhere;
