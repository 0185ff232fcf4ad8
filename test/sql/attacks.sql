-- Attacks in a client's session: what an unprivileged role can make somebody
-- else's session do, by a workflow that is drained, checked, started or
-- defined there.  Attacks on workers are tests of a server with workers.
CREATE ROLE regress_flow_mallory LOGIN;
CREATE ROLE regress_flow_victim LOGIN;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_mallory, regress_flow_victim;
CREATE SCHEMA lair AUTHORIZATION regress_flow_mallory;
CREATE SCHEMA home AUTHORIZATION regress_flow_victim;
GRANT USAGE ON SCHEMA lair, home TO PUBLIC;

-- Only a superuser can write it: the loot.  What was tried is noted in "tried",
-- so that an attack that has not happened is not taken for one that failed.
CREATE TABLE loot (via text, by_role text DEFAULT current_user);
CREATE TABLE tried (via text, by_role text DEFAULT current_user, in_session_of text DEFAULT session_user, superuser text DEFAULT current_setting('is_superuser'));
GRANT INSERT ON tried TO PUBLIC;
SET ROLE regress_flow_mallory;
CREATE FUNCTION lair.steal(via text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.tried (via) VALUES (via);
	INSERT INTO public.loot (via) VALUES (via);
	RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
	INSERT INTO public.tried (via) VALUES (via);
	RETURN true;
END $$;
CREATE TABLE lair.bait (via text);
CREATE FUNCTION lair.snap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM lair.steal(NEW.via);
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON lair.bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lair.snap();
GRANT INSERT ON lair.bait TO PUBLIC;
CREATE FUNCTION lair.lure(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO lair.bait VALUES ('deferred by a literal');
	RETURN true;
END $$;
CREATE FUNCTION lair.shadow(text) RETURNS boolean LANGUAGE sql AS $$ SELECT lair.steal('type in pg_temp') $$;
CREATE FUNCTION lair.plant(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (lair.shadow(VALUE))';
	RETURN true;
END $$;
CREATE DOMAIN lair.lured AS text CHECK (lair.lure(VALUE));
CREATE TYPE lair.pair AS (a lair.lured, b int);
CREATE DOMAIN lair.planted AS text CHECK (lair.plant(VALUE));
CREATE TYPE lair.pot AS (a lair.planted, b int);
RESET ROLE;

-- Each of them finds its mark in a session that lets it
BEGIN;
SELECT lair.steal('at once');
INSERT INTO lair.bait VALUES ('deferred');
SELECT '(x,1)'::lair.pot IS NULL AS planted;
SELECT 'x'::text IS NULL AS sprung;
SAVEPOINT fails;
SELECT '(x,1)'::lair.pair IS NULL;
ROLLBACK TO fails;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT via, by_role FROM loot ORDER BY via;
SET LOCAL ROLE regress_flow_mallory;
SELECT lair.steal('as myself');
RESET ROLE;
SELECT * FROM tried WHERE by_role = 'regress_flow_mallory';
SELECT count(*) FROM loot WHERE via = 'as myself';
ROLLBACK;

-- Looking at a workflow: literals are evaluated while its SQL is analysed, and
-- what they try is a warning in words of the server
SET client_min_messages = error;
SET ROLE regress_flow_mallory;
SELECT flow_define('lair-checked', ARRAY[flow_step('a', $$ SELECT '(x,1)'::lair.pair $$), flow_step('b', $$ SELECT '(x,1)'::lair.pot $$)]);
RESET ROLE;
SELECT count(*) >= 0 AS checked FROM flow_check();
SELECT count(*) >= 0 AS checked FROM flow_check('lair-checked');
SELECT flow_define(jsonb_set(flow_definition('lair-checked'), '{description}', '"reviewed"'));
SELECT 'x'::text AS not_sprung;
SELECT flow_definition('lair-checked')->'description' AS described;
SET ROLE regress_flow_mallory;
SELECT count(*) >= 0 AS checked FROM flow_check_document(flow_definition('lair-checked'));
SELECT flow_define(jsonb_set(flow_definition('lair-checked'), '{steps,0,name}', '"c"'));
RESET ROLE;
SELECT 'x'::text AS not_sprung;
SELECT count(*) FROM lair.bait;
SELECT * FROM loot;
RESET client_min_messages;

-- Draining somebody's workflow after SET ROLE or SET SESSION AUTHORIZATION
SET ROLE regress_flow_mallory;
SELECT flow_define('lair-drained', ARRAY[
	flow_step('reset_role', $$ RESET ROLE; SELECT lair.steal('RESET ROLE') $$),
	flow_step('role_none', $$ SET ROLE NONE; SELECT lair.steal('SET ROLE NONE') $$),
	flow_step('reset_all', $$ RESET ALL; SELECT lair.steal('RESET ALL') $$),
	flow_step('set_config', $$ SELECT set_config('role', 'none', true), lair.steal('set_config') $$),
	flow_step('session', $$ RESET SESSION AUTHORIZATION; SELECT lair.steal('RESET SESSION AUTHORIZATION') $$),
	flow_step('session_default', $$ SET SESSION AUTHORIZATION DEFAULT; SELECT lair.steal('SET SESSION AUTHORIZATION') $$),
	flow_step('block', $$ DO $d$ BEGIN BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END; PERFORM lair.steal('in a block'); END $d$ $$),
	flow_step('deferred', $$ INSERT INTO lair.bait VALUES ('deferred') $$),
	flow_step('deferred_again', $$ SET CONSTRAINTS ALL DEFERRED; INSERT INTO lair.bait VALUES ('deferred again') $$),
	flow_step('hold', $$ DECLARE lair CURSOR WITH HOLD FOR SELECT lair.steal('WITH HOLD') $$),
	flow_step('plan', $$ PREPARE lair AS SELECT lair.steal('PREPARE') $$),
	flow_step('plant', $$ SELECT lair.plant('x') $$),
	flow_step('temporary', $$ CREATE TYPE pg_temp.lair_row AS (n int); CREATE FUNCTION pg_temp.lair_function() RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE TEMP TABLE lair_table (n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, r pg_temp.lair_row); CREATE TEMP VIEW lair_view AS SELECT * FROM lair_table $$)]);
SELECT count(flow_define('lair-' || (step->>'name'), ARRAY[step])) FROM jsonb_array_elements(flow_definition('lair-drained')->'steps') step;
RESET ROLE;
CREATE FUNCTION start_all() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(flow_start(workflow)) FROM flow.workflow_step WHERE workflow LIKE 'lair-%' AND workflow NOT IN ('lair-checked', 'lair-drained')
$$;
CREATE VIEW outcome AS SELECT workflow, status, sqlstate, error->>'message' AS message FROM flow.step
	WHERE workflow LIKE 'lair-%' AND workflow <> 'lair-checked' ORDER BY workflow COLLATE "C";
BEGIN;
SET LOCAL ROLE regress_flow_mallory;
SELECT start_all();
SELECT flow_drain();
RESET ROLE;
SELECT 'x'::text AS not_sprung;
SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema();
SELECT proname FROM pg_proc WHERE pronamespace = pg_my_temp_schema();
SELECT typname FROM pg_type WHERE typnamespace = pg_my_temp_schema();
SELECT name FROM pg_prepared_statements UNION ALL SELECT name FROM pg_cursors;
COMMIT;
SELECT * FROM outcome;
SELECT DISTINCT * FROM tried ORDER BY via;
SELECT * FROM loot;
TRUNCATE tried;
DELETE FROM lair.bait;

-- The same in a session whose authorization was changed
SELECT flow_drop(w.name, force => true) FROM flow.workflow w WHERE w.name = 'lair-drained' AND w.latest;
BEGIN;
SET LOCAL SESSION AUTHORIZATION regress_flow_mallory;
SELECT start_all();
SELECT flow_drain();
RESET SESSION AUTHORIZATION;
COMMIT;
SELECT status, sqlstate, count(*) FROM outcome GROUP BY 1, 2 ORDER BY 1, 2;
SELECT DISTINCT superuser, by_role FROM tried;
SELECT * FROM loot;
TRUNCATE tried;
DELETE FROM lair.bait;

-- A SECURITY DEFINER function of the victim drains the victim's workflow for
-- whoever calls it: temporary objects of the caller must not stand in for its own
SET ROLE regress_flow_victim;
SET search_path = home;
CREATE TABLE home.parcel (n int);
CREATE FUNCTION home.send() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT public.flow_drain() $$;
SELECT public.flow_define('send', ARRAY[public.flow_step('a', $$ INSERT INTO parcel VALUES (1) $$)]);
SELECT public.flow_start('send') > 0 AS started;
RESET search_path;
SET SESSION AUTHORIZATION regress_flow_mallory;
CREATE TEMP TABLE parcel (n int);
CREATE FUNCTION lair.parcel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('temp table'); RETURN NEW; END $$;
CREATE TRIGGER parcel BEFORE INSERT ON parcel FOR EACH ROW EXECUTE FUNCTION lair.parcel();
GRANT ALL ON parcel TO PUBLIC;
GRANT USAGE ON SCHEMA lair TO PUBLIC;
SELECT home.send();
SELECT count(*) FROM parcel;
DROP TABLE parcel;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM home.parcel;
SELECT * FROM tried;

-- Whose is what is started, defined or cancelled: the role in effect, not the
-- one of the session
CREATE VIEW owners AS SELECT workflow, owner, started_by FROM flow.run WHERE workflow LIKE 'who-%' ORDER BY id;
GRANT SELECT ON owners TO PUBLIC;
CREATE FUNCTION who_define(name text) RETURNS int LANGUAGE sql AS $$ SELECT flow_define('who-' || name, ARRAY[flow_step('s', 'SELECT current_user AS who')]) $$;
CREATE FUNCTION who_start(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT flow_start('who-' || name, start_at => now() + interval '1 day') $$;
CREATE FUNCTION home.who_define(name text) RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.who_define(name) $$;
CREATE FUNCTION home.who_start(name text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.who_start(name) $$;
CREATE FUNCTION home.who_cancel(run bigint) RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.flow_cancel(run) $$;
ALTER FUNCTION home.who_define OWNER TO regress_flow_victim;
ALTER FUNCTION home.who_start OWNER TO regress_flow_victim;
ALTER FUNCTION home.who_cancel OWNER TO regress_flow_victim;
CREATE FUNCTION who_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM who_start(TG_ARGV[0]); RETURN NEW; END $$;
CREATE TABLE who_table (n int);
GRANT INSERT ON who_table TO PUBLIC;
SET SESSION AUTHORIZATION regress_flow_mallory;
SELECT who_define('mine'), who_start('mine') > 0 AS started;
SELECT home.who_define('theirs'), home.who_start('theirs') > 0 AS started;
SELECT who_start('theirs');
DO $$ BEGIN PERFORM who_define('block'); PERFORM who_start('block'); END $$;
RESET SESSION AUTHORIZATION;
CREATE TRIGGER who BEFORE INSERT ON who_table FOR EACH ROW EXECUTE FUNCTION who_trigger('mine');
SET ROLE regress_flow_mallory;
SELECT who_define('role') AS by_role;
INSERT INTO who_table VALUES (1);
RESET ROLE;
SELECT name, owner FROM flow.workflow WHERE name LIKE 'who-%' ORDER BY name;
SELECT * FROM owners;
-- ... cancelled as well
SET SESSION AUTHORIZATION regress_flow_mallory;
SELECT flow_cancel(r.id) FROM flow_internal.run r;
SELECT id AS theirs FROM flow.run WHERE workflow = 'who-theirs';
RESET SESSION AUTHORIZATION;
SELECT id AS theirs FROM flow.run WHERE workflow = 'who-theirs' \gset
SELECT id AS mine FROM flow.run WHERE workflow = 'who-block' \gset
SET SESSION AUTHORIZATION regress_flow_mallory;
SELECT flow_cancel(:mine) AS mine;
SELECT home.who_cancel(:theirs) AS by_their_function;
\set VERBOSITY sqlstate
SELECT flow_cancel(:theirs);
SELECT id AS own FROM flow.run WHERE workflow = 'who-mine' ORDER BY id LIMIT 1 \gset
SELECT home.who_cancel(:own);
\set VERBOSITY default
RESET SESSION AUTHORIZATION;

-- What runs in a security-restricted operation, with the rights of a table's
-- owner in the session of somebody else, starts nothing
SET SESSION AUTHORIZATION regress_flow_mallory;
SELECT flow_define('lair-late', ARRAY[flow_step('s', 'SELECT 1')]);
CREATE FUNCTION lair.try(statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	INSERT INTO public.tried (via) VALUES (statement || ': done');
EXCEPTION WHEN OTHERS THEN
	INSERT INTO public.tried (via) VALUES (statement || ': ' || SQLSTATE);
END $$;
CREATE FUNCTION lair.late(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM lair.try(s) FROM unnest(ARRAY['SELECT public.flow_start(''lair-late'')',
		'SELECT public.flow_define(''lair-later'', ARRAY[public.flow_step(''s'', ''SELECT 1'')])',
		'SELECT public.flow_cancel(987654321)', 'SELECT public.flow_drop(''lair-late'')', 'SELECT public.flow_disable(''lair-late'')',
		'SELECT public.flow_grant(''lair-late'', ''public'')', 'SELECT public.flow_drain()',
		'SELECT public.flow_schedule(''lair'', ''* * * * *'', ''lair-late'')', 'SELECT public.flow_unschedule(''lair'')',
		'SELECT public.flow_fire(''lair'')']) s;
	RETURN n;
END $$;
CREATE TABLE lair.leaf (n int);
INSERT INTO lair.leaf VALUES (1), (1), (2), (3);
CREATE INDEX leaf_late ON lair.leaf (lair.late(n));
CREATE MATERIALIZED VIEW lair.view AS SELECT lair.late(1) WITH NO DATA;
RESET SESSION AUTHORIZATION;
CREATE VIEW late AS SELECT DISTINCT via, by_role FROM tried WHERE via LIKE 'SELECT public.flow%' ORDER BY via;
SELECT * FROM late;
TRUNCATE tried;
REINDEX TABLE lair.leaf;
SELECT count(*), count(*) FILTER (WHERE via LIKE '%42501') AS refused, min(by_role) AS as_role FROM late;
TRUNCATE tried;
REFRESH MATERIALIZED VIEW lair.view;
SELECT count(*), count(*) FILTER (WHERE via LIKE '%42501') AS refused, min(by_role) AS as_role FROM late;
TRUNCATE tried;
ANALYZE lair.leaf;
SELECT count(*), count(*) FILTER (WHERE via LIKE '%42501') AS refused, min(by_role) AS as_role FROM late;
SELECT count(*) FROM flow.run WHERE workflow LIKE 'lair-late%';
-- ... outside of one it would
TRUNCATE tried;
SET SESSION AUTHORIZATION regress_flow_mallory;
SELECT lair.late(1);
RESET SESSION AUTHORIZATION;
SELECT via FROM late WHERE via NOT LIKE '%schedule%';

-- A workflow that was changed between review and start: the version is pinned,
-- and what runs, runs as its author
SET ROLE regress_flow_mallory;
SELECT flow_define('lair-trojan', ARRAY[flow_step('s', $$ SELECT 'harmless' AS what, current_user AS who $$)]) AS version;
RESET ROLE;
SELECT version AS reviewed FROM flow.workflow WHERE name = 'lair-trojan' AND latest \gset
SET ROLE regress_flow_mallory;
SELECT flow_define('lair-trojan', ARRAY[flow_step('s', $$ SELECT lair.steal('trojan'), current_user AS who $$)]) AS version;
RESET ROLE;
SELECT flow_start('lair-trojan', version => :reviewed) AS pinned \gset
SELECT flow_start('lair-trojan') AS unpinned \gset
TRUNCATE tried;
BEGIN;
SET LOCAL ROLE regress_flow_mallory;
SELECT flow_drain(:pinned), flow_drain(:unpinned);
COMMIT;
SELECT started_by = current_user AS by_superuser, owner, status, output FROM flow.run WHERE id IN (:pinned, :unpinned) ORDER BY id;
SELECT DISTINCT via, by_role, superuser FROM tried;
SELECT * FROM loot;

SELECT count(flow_drop(name, force => true)) > 0 AS dropped FROM flow.workflow WHERE latest AND owner IN ('regress_flow_mallory', 'regress_flow_victim');
SET client_min_messages = warning;
DROP SCHEMA lair, home CASCADE;
DROP VIEW late, owners, outcome;
DROP TABLE loot, tried, who_table;
DROP FUNCTION start_all, who_define, who_start, who_trigger;
REVOKE ALL ON SCHEMA flow FROM regress_flow_mallory, regress_flow_victim;
DROP ROLE regress_flow_mallory, regress_flow_victim;
