-- A workflow is given to another role: who may, and what becomes of its runs.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on

CREATE ROLE regress_flow_own_a LOGIN;
CREATE ROLE regress_flow_own_b LOGIN;
CREATE ROLE regress_flow_own_both LOGIN IN ROLE regress_flow_own_a, regress_flow_own_b;
CREATE ROLE regress_flow_own_web LOGIN;
CREATE ROLE regress_flow_own_nologin;
CREATE ROLE regress_flow_own_poor LOGIN ROLE regress_flow_own_both;
CREATE ROLE regress_flow_own_super LOGIN SUPERUSER;
GRANT regress_flow_own_nologin TO regress_flow_own_both;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_own_a, regress_flow_own_b, regress_flow_own_nologin;
GRANT USAGE ON SCHEMA flow TO regress_flow_own_web;
CREATE TABLE own_log (run bigint, step text, ran_as name);
GRANT INSERT ON own_log TO PUBLIC;

SET ROLE regress_flow_own_a;
SELECT flow_define('own', ARRAY[
	flow_step('first', $$ INSERT INTO own_log VALUES (flow.run_id, 'first', current_user) $$),
	flow_step('second', $$ INSERT INTO own_log VALUES (flow.run_id, 'second', current_user) $$, after => '{first}')]);
SELECT flow_define('own-key', ARRAY[flow_step('s', 'SELECT 1')]);
SELECT flow_grant('own', 'regress_flow_own_web');

-- Refused, and nothing is changed
SELECT flow_set_owner('own', 'regress_flow_own_b');
\echo :SQLSTATE
SELECT flow_set_owner(NULL, 'regress_flow_own_b');
SELECT flow_set_owner('own', NULL);
SELECT flow_set_owner('own', 'nobody_of_that_name');
SELECT flow_set_owner('own', 'public');
SELECT flow_set_owner('nothing', 'regress_flow_own_a');
SET ROLE regress_flow_own_b;
SELECT flow_set_owner('own', 'regress_flow_own_b');
SET ROLE regress_flow_own_web;
SELECT flow_set_owner('own', 'regress_flow_own_web');
SET ROLE regress_flow_own_both;
SELECT flow_set_owner('own', 'regress_flow_own_poor');
SELECT flow_set_owner('own', 'regress_flow_own_nologin');
\echo :SQLSTATE
SELECT flow_set_owner('own', 'regress_flow_own_super');
BEGIN READ ONLY;
SELECT flow_set_owner('own', 'regress_flow_own_b');
ROLLBACK;
RESET ROLE;
SELECT name, owner FROM flow.workflow WHERE name = 'own';

-- To whom it belongs already
SET ROLE regress_flow_own_a;
SELECT flow_set_owner('own', 'regress_flow_own_a');

-- A run that has begun, one that waits, one that is over; then it is given away
SET ROLE regress_flow_own_web;
SELECT flow_start('own', key => 'web') AS begun \gset
SET ROLE regress_flow_own_a;
SELECT flow_start('own', key => 'late', start_at => '2100-01-01') AS waiting \gset
SELECT flow_start('own-key', '{"secret": 1}', key => 'over') AS over \gset
RESET ROLE;
SET SESSION AUTHORIZATION regress_flow_own_a;
SELECT flow_drain(:begun, max_steps => 1), flow_drain(:over);
RESET SESSION AUTHORIZATION;
SET ROLE regress_flow_own_both;
SELECT flow_set_owner('own', 'regress_flow_own_b'), flow_set_owner('own-key', 'regress_flow_own_b');
RESET ROLE;
SELECT name, owner FROM flow.workflow WHERE name LIKE 'own%' ORDER BY name;
SELECT key, status, owner FROM flow.run WHERE id IN (:begun, :waiting, :over) ORDER BY id;

-- New runs are the new owner's, the others go on as the old one
SET ROLE regress_flow_own_web;
SELECT flow_start('own', key => 'new') AS new \gset
SELECT flow_start('own', key => 'web') = :begun AS same_key_same_run;
RESET ROLE;
SET SESSION AUTHORIZATION regress_flow_own_b;
SELECT flow_drain(:new);
\set VERBOSITY sqlstate
SELECT flow_drain(:begun);
\set VERBOSITY default
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_flow_own_a;
SELECT flow_drain(:begun);
RESET SESSION AUTHORIZATION;
SELECT r.key, l.step, l.ran_as, r.status FROM own_log l JOIN flow.run r ON r.id = l.run ORDER BY l.run, l.step;

-- The new owner sees and steers all runs; the old one those that run as it
SET ROLE regress_flow_own_b;
SELECT key, owner, input FROM flow.run WHERE workflow LIKE 'own%' ORDER BY id;
SELECT flow_pause(:waiting), flow_resume(:waiting), flow_cancel(:waiting);
SELECT flow_find('own', 'web') = :begun AS found;
SET ROLE regress_flow_own_a;
SELECT key, owner, input FROM flow.run WHERE workflow LIKE 'own%' ORDER BY id;
SELECT flow_retry(:waiting);
\set VERBOSITY sqlstate
SELECT flow_cancel(:new);
SELECT flow_status(:new);
\set VERBOSITY default
SELECT name FROM flow.workflow WHERE name LIKE 'own%';
SELECT flow_start('own');
SELECT flow_definition('own');
SELECT flow_define('own', '{}');
SELECT flow_set_owner('own', 'regress_flow_own_a');
SET ROLE regress_flow_own_b;
SELECT flow_define('own', ARRAY[flow_step('one', 'SELECT 1')]) AS second;
SELECT flow_drop('own', force => false);
SELECT flow_cancel(:waiting, 'no longer needed');
-- a retry of an old run is made as who it was started for
SET ROLE regress_flow_own_both;
SELECT flow_retry(:waiting);
RESET ROLE;
SELECT owner, status FROM flow.run WHERE id = :waiting;
SELECT DISTINCT owner::regrole FROM flow_internal.task WHERE run_id = :waiting;
SET ROLE regress_flow_own_b;
SELECT flow_cancel(:waiting);

-- A superuser gives it to anybody who can own one, also when the owner is gone
RESET ROLE;
CREATE ROLE regress_flow_own_gone LOGIN;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_own_gone;
SET ROLE regress_flow_own_gone;
SELECT flow_define('own-gone', '{}');
RESET ROLE;
REVOKE ALL ON SCHEMA flow FROM regress_flow_own_gone;
DROP ROLE regress_flow_own_gone;
SELECT flow_set_owner('own-gone', 'regress_flow_own_nologin');
SELECT flow_set_owner('own-gone', 'regress_flow_own_poor');
SELECT name, owner FROM flow.workflow WHERE name = 'own-gone';

-- Schedules go on as who made them: it is told which can no longer start it
INSERT INTO flow_internal.schedule (name, home, owner, owner_name, job_id, cron, workflow_id, input, overlap, catchup)
SELECT s.name, w.home, s.owner, s.owner::text, 0, '@daily', w.id, '{}', 'skip', 'one'
FROM flow_internal.workflow w, (VALUES ('own a', 'regress_flow_own_a'::regrole), ('own b', 'regress_flow_own_b'), ('own both', 'regress_flow_own_both'),
	('own poor', 'regress_flow_own_poor'), ('own web', 'regress_flow_own_web')) s(name, owner) WHERE w.name = 'own';
SELECT flow_grant('own', 'regress_flow_own_poor', 'operate');
SELECT flow_set_owner('own', 'regress_flow_own_a');
SELECT flow_set_owner('own', 'regress_flow_own_b');
DELETE FROM flow_internal.schedule WHERE name LIKE 'own %';

-- It is undone with its transaction
BEGIN;
SELECT flow_set_owner('own', 'regress_flow_own_a');
ROLLBACK;
SELECT DISTINCT owner FROM flow.workflow WHERE name = 'own';

-- A drop by the new owner takes the old one's runs along
SET ROLE regress_flow_own_both;
SELECT flow_retry(:waiting);
SET ROLE regress_flow_own_b;
SELECT flow_drop('own', force => true), flow_drop('own-key');
RESET ROLE;
SELECT owner, status FROM flow.run WHERE id = :waiting;
SELECT flow_drop('own-gone');
DROP TABLE own_log;
REVOKE ALL ON SCHEMA flow FROM regress_flow_own_a, regress_flow_own_b, regress_flow_own_nologin, regress_flow_own_web;
DROP ROLE regress_flow_own_both, regress_flow_own_a, regress_flow_own_b, regress_flow_own_web, regress_flow_own_nologin, regress_flow_own_poor, regress_flow_own_super;
