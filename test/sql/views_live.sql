-- Looking at real runs: what the views show, to whom, and that nobody writes
-- to them.  (views.sql has rows in every state, made by hand.)
SELECT table_name, string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns
WHERE table_schema = 'flow' GROUP BY table_name ORDER BY table_name;

-- Everything in the extension says what it is
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'flow'::regnamespace AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'flow'::regnamespace AND c.relkind = 'v' AND col_description(c.oid, a.attnum) IS NULL;
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'flow'
WHERE obj_description(p.oid, 'pg_proc') IS NULL;

-- Views are barriers and belong to the owner of the tables
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'flow'::regnamespace AND c.relkind = 'v'
AND NOT coalesce('security_barrier=true' = ANY (c.reloptions), false);

-- Settings have descriptions, units and sane contexts
SELECT name, unit, context, short_desc IS NOT NULL AS described FROM pg_settings WHERE name LIKE 'flow.%' ORDER BY name;

-- Two owners and one who may start
CREATE ROLE views_ann LOGIN;
CREATE ROLE views_bob LOGIN;
CREATE ROLE views_eve LOGIN;
GRANT USAGE ON SCHEMA flow TO views_ann, views_bob, views_eve;
GRANT CREATE ON SCHEMA flow TO views_ann, views_bob;
SET ROLE views_ann;
SELECT flow_define('views-ann', ARRAY[
	flow_step('a', $$ SELECT input->'secret' AS told $$, description => 'tells'),
	flow_step('b', $$ SELECT flow_set('shared', '"secret"') IS NULL AS done $$, after => '{a}', priority => 3)],
	description => 'of ann');
SELECT flow_grant('views-ann', 'views_eve');
SELECT flow_start('views-ann', '{"secret": "ann"}') AS run_ann \gset
SELECT flow_drain(:run_ann);
SET ROLE views_bob;
SELECT flow_define('views-bob', ARRAY[flow_step('x', $$ SELECT 1 / 0 $$)]);
SELECT flow_start('views-bob', '{"secret": "bob"}') AS run_bob \gset
SELECT flow_drain(:run_bob);
SET ROLE views_eve;
SELECT flow_start('views-ann', '{"secret": "eve"}') AS run_eve \gset
SET ROLE views_ann;
SELECT flow_drain(:run_eve);

-- Each sees its own
SELECT name, version, latest, owner, enabled, description, runs_unfinished FROM flow.workflow;
SELECT workflow, version, step_no, name, kind, sql, after, options FROM flow.workflow_step ORDER BY step_no;
SELECT workflow, status, input, output, owner, started_by FROM flow.run ORDER BY id;
SELECT workflow, name, status, output FROM flow.step ORDER BY run_id, step_no;
SELECT key, value FROM flow.data ORDER BY run_id;
SELECT workflow, status, by_role FROM flow.event ORDER BY id;
SELECT workflow, pending, ready, sleeping, waiting, oldest_ready, lag FROM flow.queue;
SET ROLE views_bob;
SELECT workflow, status, input, error->>'message' AS error FROM flow.run;
SELECT step, attempt, sqlstate, message FROM flow.attempt;
SET ROLE views_eve;
SELECT workflow, status, input, output, owner, started_by FROM flow.run ORDER BY id;
SELECT count(*) FROM flow.attempt;

-- One document
SET ROLE views_ann;
SELECT jsonb_pretty((flow_status(:run_ann) - '{executionId,startTime}'::text[]) #- '{stepResults,a,duration}' #- '{stepResults,b,duration}');
SELECT flow_status(:run_ann)->'executionId' = to_jsonb(:run_ann) AS id;
\set VERBOSITY sqlstate
SELECT flow_status(:run_bob);
\set VERBOSITY default

-- Nobody writes
INSERT INTO flow.run (id) VALUES (1);
UPDATE flow.step SET status = 'completed';
DELETE FROM flow.event;
SELECT * FROM flow_internal.run;
TABLE flow_internal.task;

-- A function in a query cannot see the rows of others
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
SELECT count(*) FROM flow.run WHERE pg_temp.leak(workflow);

-- Without USAGE on the schema there is nothing
RESET ROLE;
REVOKE USAGE ON SCHEMA flow FROM views_eve;
SET ROLE views_eve;
SELECT * FROM flow.run;
SELECT flow_start('views-ann');
RESET ROLE;

-- Every function of the extension that the public may call checks for itself;
-- what is inside may not be called
SELECT p.oid::regprocedure AS callable
FROM pg_proc p WHERE p.pronamespace = 'flow_internal'::regnamespace
AND has_schema_privilege('views_bob', 'flow_internal', 'USAGE');

DROP OWNED BY views_ann, views_bob, views_eve;
SELECT flow_drop('views-ann'), flow_drop('views-bob');
DROP ROLE views_ann, views_bob, views_eve;
