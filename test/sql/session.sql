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
DROP TABLE elsewhere.t;
DROP SCHEMA elsewhere;
