-- What flow_schedule refuses, and what a schedule shows where pg_cron is not.
-- Schedules that fire are tested with a real pg_cron elsewhere.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\set ON_ERROR_ROLLBACK on

BEGIN;
CREATE ROLE regress_flow_owner LOGIN;
CREATE ROLE regress_flow_member LOGIN IN ROLE regress_flow_owner;
CREATE ROLE regress_flow_starter LOGIN;
CREATE ROLE regress_flow_stranger LOGIN;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_owner, regress_flow_stranger, regress_flow_starter;
SET ROLE regress_flow_owner;
SELECT flow_define('report', ARRAY[flow_step('sum', 'SELECT 1')]);
SELECT flow_grant('report', 'regress_flow_starter');

SELECT flow_schedule(NULL, '0 3 * * *', 'report');
SELECT flow_schedule('nightly', NULL, 'report');
SELECT flow_schedule('nightly', '0 3 * * *', NULL);
SELECT flow_schedule('', '0 3 * * *', 'report');
SELECT flow_schedule(repeat('x', 58), '0 3 * * *', 'report');
SELECT flow_schedule(E'a\nb', '0 3 * * *', 'report');
SELECT flow_schedule('nightly', '0 3 * * *', 'report', overlap => 'allow');
SELECT flow_schedule('nightly', '0 3 * * *', 'report', overlap => 'cancel');
SELECT flow_schedule('nightly', '0 3 * * *', 'report', overlap => 'never');
SELECT flow_schedule('nightly', '0 3 * * *', 'report', catchup => 'none');
SELECT flow_schedule('nightly', '0 3 * * *', 'report', catchup => 'all');
SELECT flow_schedule('nightly', '0 3 * * *', 'report', catchup => 'two');
SELECT flow_schedule('nightly', '0 3 * * *', 'report', condition => 'true');
SELECT flow_schedule('nightly', '0 3 * * *', 'unknown');

-- Whoever may start it gets as far as the missing clock
SELECT flow_schedule('nightly', '0 3 * * *', 'report');
SET ROLE regress_flow_starter;
SELECT flow_schedule('nightly', '0 3 * * *', 'report');
SET ROLE regress_flow_stranger;
SELECT flow_schedule('nightly', '0 3 * * *', 'report');
RESET ROLE;
REVOKE CREATE ON SCHEMA flow FROM regress_flow_stranger;
SET ROLE regress_flow_stranger;
SELECT flow_schedule('nightly', '0 3 * * *', 'report');

-- A schedule whose pg_cron is gone
RESET ROLE;
INSERT INTO flow_internal.schedule
	(name, home, owner, owner_name, job_id, cron, workflow_id, input, overlap, catchup)
SELECT 'nightly', 0, w.owner, w.owner_name, 1, '0 3 * * *', w.id, '{"day": 1}', 'skip', 'one'
FROM flow_internal.workflow w WHERE w.name = 'report';
INSERT INTO flow_internal.schedule_slot (schedule, slot, decision, reason, run_id)
VALUES ('nightly', '2026-01-01 03:00Z', 'started', NULL, 9001),
	('nightly', '2026-01-02 03:00Z', 'skipped', 'run 9001 has not finished', NULL);
SET ROLE regress_flow_owner;
SELECT * FROM flow.schedule;
SET ROLE regress_flow_starter;
SELECT name, workflow, input FROM flow.schedule;
SET ROLE regress_flow_stranger;
SELECT name FROM flow.schedule;
SELECT flow_fire('nightly');
SELECT flow_fire('none');
SELECT flow_unschedule('nightly');
SET ROLE regress_flow_starter;
SELECT flow_unschedule('nightly');
SELECT flow_fire('nightly');
SET ROLE regress_flow_member;
SELECT flow_unschedule('nightly');
SET ROLE regress_flow_owner;
-- it was restored from elsewhere, so it starts nothing
SELECT flow_fire('nightly');
SELECT last_decision, last_reason, last_run FROM flow.schedule;
SELECT flow_unschedule('nightly');
SELECT flow_unschedule('nightly');
SELECT count(*) FROM flow.schedule;
RESET ROLE;
CREATE MATERIALIZED VIEW sneaky AS SELECT flow_unschedule('nightly');
ROLLBACK;

-- When it fires next
SELECT c.cron, c.zone,
	flow_internal.cron_next(c.cron, c.zone, c.after::timestamptz) AT TIME ZONE c.zone AS next
FROM (VALUES
	(1, '* * * * *', 'UTC', '2026-11-20 10:00:30Z'),
	(2, '* * * * *', 'UTC', '2026-11-20 10:00:00Z'),
	(3, '*/15 9-17 * * mon-fri', 'UTC', '2026-11-20 17:45Z'),
	(4, '0 3 * * *', 'Europe/Berlin', '2026-03-28 10:00Z'),
	(5, '30 2 * * *', 'Europe/Berlin', '2026-10-24 10:00Z'),
	(6, '0 0 29 2 *', 'UTC', '2026-03-01Z'),
	(7, '0 0 30 2 *', 'UTC', '2026-03-01Z'),
	(8, '0 0 13 * fri', 'UTC', '2026-11-20 17:45Z'),
	(9, '0 0 */2 * fri', 'UTC', '2026-11-20 17:45Z'),
	(10, '0 0 * * 7', 'UTC', '2026-11-20 17:45Z'),
	(11, '5,10-12/2 1 1 jan,JUL *', 'UTC', '2026-11-20Z'),
	(12, '@monthly', 'UTC', '2026-11-20Z'),
	(13, '30 seconds', 'UTC', '2026-11-20Z'),
	(14, '60 * * * *', 'UTC', '2026-11-20Z'),
	(15, '* * * *', 'UTC', '2026-11-20Z'),
	(16, '* * * * * *', 'UTC', '2026-11-20Z'),
	(17, '*/0 * * * *', 'UTC', '2026-11-20Z'),
	(18, '5, * * * *', 'UTC', '2026-11-20Z'),
	(19, '7-5 * * * *', 'UTC', '2026-11-20Z')) AS c(no, cron, zone, after)
ORDER BY c.no;
SELECT flow_internal.cron_next('* * * * *', 'Nowhere/Here', now()) IS NULL AS unknown_zone;
