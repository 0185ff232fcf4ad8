-- What the views show, and to whom.  The rows are made by hand, so that every
-- state is there at once; all of it is rolled back.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE ROLE regress_flow_owner LOGIN;
CREATE ROLE regress_flow_member LOGIN IN ROLE regress_flow_owner;
CREATE ROLE regress_flow_asleep;
CREATE ROLE regress_flow_reader LOGIN;
CREATE ROLE regress_flow_operator LOGIN;
CREATE ROLE regress_flow_starter LOGIN;
CREATE ROLE regress_flow_nobody LOGIN;
CREATE ROLE regress_flow_outsider LOGIN;
GRANT USAGE ON SCHEMA flow TO regress_flow_owner, regress_flow_member,
	regress_flow_reader, regress_flow_operator, regress_flow_starter,
	regress_flow_nobody;
INSERT INTO flow_internal.workflow
	(id, home, name, owner, owner_name, definition_id, version, description, created_at, dropped_at)
VALUES
	(9001, flow_internal.home(), 'order', 'regress_flow_owner'::regrole, 'regress_flow_owner', 9002, 2, 'sells', '2026-01-01', NULL),
	(9002, flow_internal.home(), 'asleep', 'regress_flow_asleep'::regrole, 'regress_flow_asleep', 9003, 1, NULL, '2026-01-01', NULL),
	(9003, flow_internal.home(), 'gone', 'regress_flow_owner'::regrole, 'regress_flow_owner', 9004, 1, NULL, '2026-01-01', '2026-01-02');
INSERT INTO flow_internal.definition
	(id, workflow_id, version, search_path, document, created_at, created_by)
SELECT v.id, v.workflow, v.version, 'public', v.document, '2026-01-01', 'x'
FROM (VALUES
	(9001, 9001, 1, '{"steps": [{"name": "check", "kind": "sql", "sql": "SELECT 1"}]}'::jsonb),
	(9002, 9001, 2, '{"steps": [
		{"name": "check", "kind": "sql", "sql": "SELECT 1"},
		{"name": "pay", "kind": "sql", "sql": "SELECT 2", "after": ["check"], "retries": 3},
		{"name": "ship", "kind": "sql", "sql": "SELECT 3", "after": ["check", "pay"]}]}'),
	(9003, 9002, 1, '{"steps": [{"name": "only", "kind": "sql", "sql": "SELECT 1"}]}'),
	(9004, 9003, 1, '{"steps": []}')) AS v(id, workflow, version, document);
INSERT INTO flow_internal.workflow_grant
VALUES
	(9001, 'regress_flow_reader'::regrole, 'regress_flow_reader', 'read'),
	(9001, 'regress_flow_operator'::regrole, 'regress_flow_operator', 'operate'),
	(9001, 'regress_flow_starter'::regrole, 'regress_flow_starter', 'start');
INSERT INTO flow_internal.run
	(id, home, workflow_id, definition_id, owner, owner_name, status, notify, key,
	 input, output, error, started_by, started_by_name, created_at, started_at, finished_at)
SELECT v.id, flow_internal.home(), v.workflow, v.definition, 0, v.owner, v.status, 'run', v.key,
	'{"card": "4711"}', v.output, v.error, v.starter::regrole, v.starter,
	'2026-01-01 10:00', v.started, v.finished
FROM (VALUES
	(9001, 9001, 9002, 'regress_flow_owner', 'completed', 'a', 'regress_flow_owner',
	 '{"sent": true}'::jsonb, NULL::jsonb, '2026-01-01 10:00'::timestamptz, '2026-01-01 10:01'::timestamptz),
	(9002, 9001, 9002, 'regress_flow_owner', 'failed', 'b', 'regress_flow_owner', NULL,
	 '{"step": "pay", "sqlstate": "P0001", "message": "card 4711 declined", "attempt": 2}',
	 '2026-01-01 10:00', '2026-01-01 10:01'),
	(9003, 9001, 9002, 'regress_flow_owner', 'running', 'c', 'regress_flow_starter', NULL, NULL,
	 '2026-01-01 10:00', NULL),
	(9004, 9001, 9002, 'regress_flow_owner', 'pending', 'd', 'regress_flow_owner', NULL, NULL, NULL, NULL),
	(9005, 9001, 9001, 'regress_flow_owner', 'paused', 'e', 'regress_flow_owner', NULL, NULL,
	 '2026-01-01 10:00', NULL),
	(9006, 9001, 9002, 'regress_flow_owner', 'running', 'f', 'regress_flow_owner', NULL, NULL,
	 '2026-01-01 10:00', NULL),
	(9007, 9002, 9003, 'regress_flow_asleep', 'running', 'g', 'regress_flow_starter', NULL, NULL,
	 '2026-01-01 10:00', NULL)
) AS v(id, workflow, definition, owner, status, key, starter, output, error, started, finished);
UPDATE flow_internal.run SET owner = owner_name::regrole WHERE id BETWEEN 9001 AND 9007;
INSERT INTO flow_internal.outcome
	(run_id, step_no, status, attempt, started_at, finished_at, worker, output, error, reason)
VALUES
	(9001, 1, 'completed', 1, '2026-01-01 10:00:00', '2026-01-01 10:00:01', 1, '{"ok": 1}', NULL, NULL),
	(9001, 2, 'completed', 2, '2026-01-01 10:00:02', '2026-01-01 10:00:02.5', 1, '{"id": 7}', NULL, NULL),
	(9001, 3, 'completed', 1, '2026-01-01 10:00:03', '2026-01-01 10:00:04', 1, '{"sent": true}', NULL, NULL),
	(9002, 1, 'completed', 1, '2026-01-01 10:00:00', '2026-01-01 10:00:01', 1, '{"ok": 1}', NULL, NULL),
	(9002, 2, 'failed', 2, '2026-01-01 10:00:01', '2026-01-01 10:00:02', 1, NULL,
	 '{"sqlstate": "P0001", "message": "card 4711 declined", "attempt": 2}', NULL),
	(9002, 3, 'skipped', 0, NULL, '2026-01-01 10:00:02', NULL, NULL, NULL, 'dependency failed'),
	(9003, 1, 'completed', 1, '2026-01-01 10:00:00', '2026-01-01 10:00:01', 1, '{"ok": 1}', NULL, NULL);
INSERT INTO flow_internal.task
	(run_id, step_no, home, owner, workflow_id, definition_id, status, attempt, ready_at, due_at)
SELECT v.run, v.step, flow_internal.home(), v.owner::regrole, v.workflow, v.definition, v.status, v.attempt, '2026-01-01 10:00', v.due
FROM (VALUES
	(9003, 2, 'regress_flow_owner', 9001, 9002, 'sleeping', 1, '2099-01-01 12:00'::timestamptz),
	(9004, 0, 'regress_flow_owner', 9001, 9002, 'pending', 0, '2099-01-01 13:00'),
	(9005, 1, 'regress_flow_owner', 9001, 9001, 'ready', 0, NULL),
	(9006, 1, 'regress_flow_owner', 9001, 9002, 'ready', 0, NULL),
	(9007, 1, 'regress_flow_asleep', 9002, 9003, 'ready', 0, NULL)
) AS v(run, step, owner, workflow, definition, status, attempt, due);
INSERT INTO flow_internal.attempt
	(run_id, step_no, attempt, started_at, finished_at, sqlstate, message, detail, next_at)
VALUES
	(9002, 2, 1, '2026-01-01 10:00:01', '2026-01-01 10:00:02', 'P0001', 'card 4711 declined', 'by the bank', '2026-01-01 10:00:03'),
	(9003, 2, 1, '2026-01-01 10:00:01', '2026-01-01 10:00:02', '40001', 'try again', NULL, '2099-01-01 12:00');
INSERT INTO flow_internal.data VALUES (9001, 'total', '42'), (9003, 'total', '43');
INSERT INTO flow_internal.event
	(id, home, run_id, workflow_id, key, status, at, by_role, detail)
VALUES
	(900000000000000001, flow_internal.home(), 9001, 9001, 'a', 'started', '2026-01-01 10:00', 'regress_flow_owner', NULL),
	(900000000000000002, flow_internal.home(), 9001, 9001, 'a', 'completed', '2026-01-01 10:01', NULL, '{"card": "4711"}'),
	(900000000000000003, flow_internal.home(), 9003, 9001, 'c', 'started', '2026-01-01 10:00', 'regress_flow_starter', '{"n": 1}');

-- The owner, by membership
SET ROLE regress_flow_member;
SELECT id, name, version, latest, owner, enabled, description, runs_unfinished
FROM flow.workflow ORDER BY name, version;
SELECT * FROM flow.workflow_step ORDER BY version, step_no;
SELECT id, workflow, version, key, status, input, output, owner, started_by, steps, steps_done
FROM flow.run ORDER BY id;
SELECT id, error, errors FROM flow.run WHERE error IS NOT NULL;
SELECT id, waiting_for FROM flow.run WHERE waiting_for IS NOT NULL ORDER BY id;
SELECT id, duration FROM flow.run WHERE finished_at IS NOT NULL ORDER BY id;
SELECT id, duration > interval '1 s' AS goes_on FROM flow.run WHERE id IN (9003, 9004) ORDER BY id;
SELECT run_id, step_no, name, status, attempt, duration, output, sqlstate, reason
FROM flow.step WHERE run_id < 9007 AND finished_at IS NOT NULL ORDER BY run_id, step_no;
SELECT run_id, step_no, name, status, attempt, due_at, duration, output
FROM flow.step WHERE finished_at IS NULL ORDER BY run_id, step_no;
SELECT error FROM flow.step WHERE run_id = 9002 AND name = 'pay';
SELECT run_id, step, item_no, attempt, sqlstate, message, detail, next_at FROM flow.attempt ORDER BY run_id;
SELECT * FROM flow.data ORDER BY run_id;
SELECT * FROM flow_events(900000000000000000);
SELECT id, status FROM flow_events(900000000000000000, 1);
SELECT id, status FROM flow_events(900000000000000001, 1);
SELECT workflow, pending, ready, sleeping, waiting, oldest_ready, lag > interval '1 s' AS lags FROM flow.queue;
SELECT run_id, workflow, step, reason, hint FROM flow.stuck ORDER BY run_id;
SELECT jsonb_pretty(flow_status(9002));
SELECT flow_status(9003)->'currentSteps' AS current, flow_status(9003)->'context' AS context;
SELECT flow_status(9007);
SELECT flow_status(NULL) IS NULL AS nothing;

-- A superuser sees all, the asleep owner's too
RESET ROLE;
SELECT run_id, workflow, step, reason, hint FROM flow.stuck WHERE run_id = 9007;
SELECT count(*) FROM flow.activity WHERE type = 'launcher';

-- With "read": every run of it, payloads included
SET ROLE regress_flow_reader;
SELECT id, key, input, output, error FROM flow.run ORDER BY id;
SELECT name FROM flow.workflow WHERE latest;

-- With another privilege: every run, no payload
SET ROLE regress_flow_operator;
SELECT id, key, status, input, output, error, errors FROM flow.run ORDER BY id;
SELECT name, status, output, error, sqlstate FROM flow.step WHERE run_id = 9002 ORDER BY step_no;
SELECT run_id, sqlstate, message, detail FROM flow.attempt ORDER BY run_id;
SELECT * FROM flow.data ORDER BY run_id;
SELECT run_id, status, detail FROM flow.event ORDER BY id;
SELECT flow_status(9001)->'context' AS context;

-- With "start": the runs it started, payloads included
SET ROLE regress_flow_starter;
SELECT id, key, status, input FROM flow.run ORDER BY id;
SELECT name, status, output FROM flow.step ORDER BY step_no;
SELECT run_id, message FROM flow.attempt;
SELECT * FROM flow.data;
SELECT run_id, status, detail FROM flow.event ORDER BY id;
SELECT run_id, reason FROM flow.stuck;
SELECT flow_status(9001);

-- With nothing but the schema: nothing
SET ROLE regress_flow_nobody;
SELECT
	(SELECT count(*) FROM flow.workflow) + (SELECT count(*) FROM flow.workflow_step)
	+ (SELECT count(*) FROM flow.run) + (SELECT count(*) FROM flow.step)
	+ (SELECT count(*) FROM flow.attempt) + (SELECT count(*) FROM flow.data)
	+ (SELECT count(*) FROM flow.event) + (SELECT count(*) FROM flow.queue)
	+ (SELECT count(*) FROM flow.stuck) AS seen;
SELECT flow_status(9001);

-- Without even that
SET ROLE regress_flow_outsider;
SELECT count(*) FROM flow.run;
SELECT flow_status(9001);
SELECT * FROM flow_events();

-- A function with a side effect learns nothing from rows that are not its own
SET ROLE regress_flow_starter;
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
SELECT id FROM flow.run WHERE pg_temp.leak(key);

-- Nobody writes through the views or below them
SET ROLE regress_flow_owner;
INSERT INTO flow.data VALUES (9001, 'total', '1');
UPDATE flow.run SET status = 'completed';
DELETE FROM flow.event;
SELECT count(*) FROM flow_internal.run;
SELECT flow_internal.raise_unknown_run(1);
RESET ROLE;

-- Every view and column says what it is
SELECT c.relname, a.attname
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'flow'::regnamespace
AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL);
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'flow'::regnamespace AND c.relkind = 'v'
AND coalesce(c.reloptions, '{}') <> '{security_barrier=true}';

-- One run is found by its keys
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
CREATE FUNCTION pg_temp.scans(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'using (run|outcome|task|event)_pkey' THEN
			RETURN NEXT substring(line FROM 'Index.*');
		END IF;
	END LOOP;
END $$;
SELECT DISTINCT s FROM pg_temp.scans('SELECT name, status FROM flow.step WHERE run_id = 9001') s ORDER BY s;
SELECT DISTINCT s FROM pg_temp.scans('SELECT status FROM flow.run WHERE id = 9001') s ORDER BY s;
SELECT DISTINCT s FROM pg_temp.scans('SELECT status FROM flow.event WHERE id > 9001 ORDER BY id LIMIT 10') s ORDER BY s;
ROLLBACK;
