-- Who may do what, asked of everything that the extension has: its tables,
-- views, functions and settings, by roles of every kind.
CREATE ROLE regress_flow_acc_owner LOGIN;
CREATE ROLE regress_flow_acc_member LOGIN IN ROLE regress_flow_acc_owner;
CREATE ROLE regress_flow_acc_starter LOGIN;
CREATE ROLE regress_flow_acc_starter2 LOGIN;
CREATE ROLE regress_flow_acc_reader LOGIN;
CREATE ROLE regress_flow_acc_operator LOGIN;
CREATE ROLE regress_flow_acc_approver LOGIN;
CREATE ROLE regress_flow_acc_worker LOGIN;
CREATE ROLE regress_flow_acc_stranger LOGIN;
CREATE ROLE regress_flow_acc_nobody LOGIN;
CREATE ROLE regress_flow_acc_bypass LOGIN BYPASSRLS CREATEROLE CREATEDB REPLICATION;
CREATE ROLE regress_flow_acc_writer LOGIN IN ROLE pg_write_all_data;
CREATE ROLE regress_flow_acc_all LOGIN IN ROLE pg_read_all_data;
CREATE ROLE regress_flow_acc_super LOGIN SUPERUSER;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_acc_owner, regress_flow_acc_starter, regress_flow_acc_starter2,
	regress_flow_acc_reader, regress_flow_acc_operator, regress_flow_acc_approver, regress_flow_acc_worker, regress_flow_acc_stranger, regress_flow_acc_bypass, regress_flow_acc_writer,
	regress_flow_acc_all;
GRANT CREATE ON SCHEMA public TO PUBLIC;

-- What becomes of a statement, which is undone in any case
CREATE FUNCTION acc_try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION
	WHEN SQLSTATE 'ZZ000' THEN
		RETURN 'done';
	WHEN OTHERS THEN
		RETURN SQLSTATE;
END $$;

-- Every statement on every relation: what is not refused for lack of privilege
CREATE FUNCTION acc_trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE acc_statement (no int GENERATED ALWAYS AS IDENTITY, statement text, kinds "char"[]);
INSERT INTO acc_statement (statement, kinds) VALUES
	('SELECT FROM %s', '{r,v}'),
	('SELECT FROM %s FOR KEY SHARE', '{r,v}'),
	('LOCK TABLE %s IN ROW EXCLUSIVE MODE', '{r,v}'),
	('INSERT INTO %s DEFAULT VALUES', '{r,v}'),
	('COPY %s FROM PROGRAM ''true''', '{r,v}'),
	('UPDATE %s SET %s = DEFAULT', '{r,v}'),
	('DELETE FROM %s', '{r,v}'),
	('TRUNCATE %s', '{r}'),
	('CREATE TRIGGER acc AFTER INSERT ON %s EXECUTE FUNCTION acc_trap()', '{r}'),
	('CREATE RULE acc AS ON INSERT TO %s DO ALSO NOTHING', '{r,v}'),
	('CREATE POLICY acc ON %s', '{r}'),
	('CREATE INDEX ON %s ((1))', '{r}'),
	('CREATE TABLE acc_child () INHERITS (%s)', '{r}'),
	('CREATE TABLE acc_key (n int REFERENCES %s (%s))', '{r}'),
	('CREATE STATISTICS acc_statistics ON (1), (2) FROM %s', '{r}'),
	('ALTER TABLE %s DISABLE TRIGGER ALL', '{r}'),
	('ALTER TABLE %s ADD acc int', '{r}'),
	('DROP TABLE %s', '{r}'),
	('DROP VIEW %s', '{v}'),
	('SELECT last_value FROM %s', '{S}'),
	('SELECT nextval(''%s'')', '{S}'),
	('SELECT setval(''%s'', 1)', '{S}');
CREATE FUNCTION acc_statements(schema text) RETURNS TABLE (relation text, statement text, done text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
	SELECT format('%I.%I', n.nspname, c.relname), s.statement,
		acc_try(format(s.statement, format('%I.%I', n.nspname, c.relname),
			(SELECT quote_ident(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 1)))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN acc_statement s ON c.relkind = ANY (s.kinds)
	WHERE n.nspname = schema
	ORDER BY s.no;
END $$;
-- Which of them are not refused
CREATE FUNCTION acc_open(schema text) RETURNS TABLE (statement text, results text) LANGUAGE sql AS $$
	SELECT s.statement, string_agg(DISTINCT s.done, ' ') FROM acc_statements(schema) s WHERE s.done <> '42501' GROUP BY 1 ORDER BY s.statement COLLATE "C"
$$;
GRANT SELECT ON acc_statement TO PUBLIC;

SET ROLE regress_flow_acc_nobody;
SELECT * FROM acc_open('flow_internal');
SELECT * FROM acc_open('flow');
SET ROLE regress_flow_acc_stranger;
SELECT * FROM acc_open('flow_internal');
SELECT * FROM acc_open('flow');
SET ROLE regress_flow_acc_bypass;
SELECT * FROM acc_open('flow_internal');
SELECT * FROM acc_open('flow');
-- Members of pg_read_all_data read all; those of pg_write_all_data write no row
SET ROLE regress_flow_acc_all;
SELECT * FROM acc_open('flow_internal');
SELECT * FROM acc_open('flow');
SET ROLE regress_flow_acc_writer;
SELECT * FROM acc_open('flow_internal');
SELECT * FROM acc_open('flow');
-- The same statements find their mark when a superuser makes them
SET ROLE regress_flow_acc_super;
SELECT count(*) > 200 AS many, count(*) FILTER (WHERE done = '42501') AS refused FROM acc_statements('flow_internal');
SELECT count(*) > 50 AS many, count(*) FILTER (WHERE done = '42501') AS refused FROM acc_statements('flow');
RESET ROLE;

-- Nobody has a privilege on the tables, whoever has one on the schemas; and
-- nothing hangs on the tables but the trigger that keeps others out
SELECT c.oid::regclass, a.grantee::regrole, a.privilege_type
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'flow_internal'::regnamespace AND a.grantee <> c.relowner;
SELECT a.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'flow_internal' AND a.grantee <> n.nspowner;
SELECT c.oid::regclass AS open_table FROM pg_class c
WHERE c.relnamespace = 'flow_internal'::regnamespace AND c.relkind = 'r'
AND (SELECT array_agg(t.tgname::text ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = c.oid) IS DISTINCT FROM '{refuse_write}';
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace = 'flow_internal'::regnamespace AND c.relkind = 'r'
AND (c.relhasrules OR c.relrowsecurity OR c.relhassubclass OR c.relispartition
	OR EXISTS (SELECT FROM pg_constraint k WHERE k.confrelid = c.oid OR k.conrelid = c.oid AND k.contype = 'f')
	OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL));
SELECT flow_internal.strip_privileges(true);
SET ROLE regress_flow_acc_all;
SELECT flow_internal.strip_privileges(true);
SELECT flow_internal.installed();
RESET ROLE;

-- A forged row would be executed as whoever it names
SET ROLE regress_flow_acc_writer;
INSERT INTO flow_internal.workflow_grant (workflow_id, role, role_name, privilege) VALUES (1, 0, 'public', 'start');
RESET ROLE;

-- Functions: what may run in a parallel worker writes nothing and asks nothing
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'flow' AND p.proparallel = 's' AND p.provolatile <> 'i';
SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'flow' AND p.proparallel = 'r'
AND p.proname !~ '^flow_(run_id|run_key|step_name|attempt|slot|input|output|item|item_no|hook_event|idempotency_key)$' AND p.pronamespace <> 'flow_internal'::regnamespace;
-- ... none of them runs as its owner, and none that is SQL leaves its path open
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'flow' AND (p.prosecdef OR (p.prosqlbody IS NULL AND p.proconfig IS NULL
	AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')));
-- ... and every one of them stands all arguments being null
CREATE FUNCTION acc_call_with_nulls() RETURNS TABLE (function text, done text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
	SELECT p.oid::regprocedure::text,
		acc_try(format('SELECT * FROM %s(%s) f', p.oid::regproc,
			(SELECT string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY no) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, no))))
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'flow' AND p.prorettype <> 'trigger'::regtype;
END $$;
SET ROLE regress_flow_acc_nobody;
SELECT count(*) > 40 AS many, count(*) FILTER (WHERE done LIKE 'XX%') AS internal_errors FROM acc_call_with_nulls();
SET ROLE regress_flow_acc_owner;
SELECT count(*) > 40 AS many, count(*) FILTER (WHERE done LIKE 'XX%') AS internal_errors FROM acc_call_with_nulls();
SET ROLE regress_flow_acc_super;
SELECT count(*) > 40 AS many, count(*) FILTER (WHERE done LIKE 'XX%') AS internal_errors FROM acc_call_with_nulls();
RESET ROLE;

-- Who sees what: runs with a payload that says "secret", one of them failed
SET ROLE regress_flow_acc_owner;
SELECT flow_define('acc-hidden', ARRAY[
	flow_step('good', $$ SELECT flow_set('k', '"secret"'), 'secret' AS word $$),
	flow_step('bad', $$ DO $d$ BEGIN RAISE EXCEPTION 'secret message' USING DETAIL = 'secret detail', HINT = 'secret hint'; END $d$ $$, after => '{good}')],
	description => 'told to nobody');
SELECT flow_grant('acc-hidden', 'regress_flow_acc_starter');
SELECT flow_grant('acc-hidden', 'regress_flow_acc_starter2');
SELECT flow_grant('acc-hidden', 'regress_flow_acc_reader', 'read');
SELECT flow_grant('acc-hidden', 'regress_flow_acc_operator', 'operate');
SELECT flow_grant('acc-hidden', 'regress_flow_acc_approver', 'approve');
SELECT flow_grant('acc-hidden', 'regress_flow_acc_worker', 'work');
SET ROLE regress_flow_acc_starter;
SELECT flow_start('acc-hidden', '{"card": "secret"}', key => 'known') AS run \gset
RESET ROLE;
SET SESSION AUTHORIZATION regress_flow_acc_owner;
SELECT flow_drain(:run);
RESET SESSION AUTHORIZATION;

CREATE FUNCTION acc_look() RETURNS TABLE (view text, n bigint, secrets bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR view IN SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'flow'::regnamespace AND c.relkind = 'v'
		AND c.relname NOT IN ('activity', 'queue', 'stuck') ORDER BY 1 LOOP
		EXECUTE format($q$SELECT count(*), count(*) FILTER (WHERE v::text LIKE '%%secret%%') FROM %s v$q$, view) INTO n, secrets;
		RETURN NEXT;
	END LOOP;
	view := 'flow_status';
	BEGIN
		EXECUTE format($q$SELECT 1, count(*) FILTER (WHERE flow_status(%s)::text LIKE '%%secret%%')$q$, current_setting('acc.run')) INTO n, secrets;
		RETURN NEXT;
	EXCEPTION WHEN undefined_object THEN
		NULL;
	END;
	view := 'flow_definition';
	BEGIN
		SELECT 1, count(*) FILTER (WHERE flow_definition('acc-hidden')::text LIKE '%secret%') INTO n, secrets;
		RETURN NEXT;
	EXCEPTION WHEN undefined_object THEN
		NULL;
	END;
END $$;
CREATE VIEW acc_seen AS SELECT string_agg(format('%s %s/%s', replace(view, 'flow.', ''), secrets, n), ', ' ORDER BY view) AS seen FROM acc_look() WHERE n > 0;
GRANT SELECT ON acc_seen TO PUBLIC;
SELECT set_config('acc.run', :'run', false) IS NOT NULL AS set;
-- secret rows / rows that a role sees
SET ROLE regress_flow_acc_owner;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_member;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_starter;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_starter2;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_reader;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_operator;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_approver;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_worker;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_stranger;
SELECT seen FROM acc_seen;
SET ROLE regress_flow_acc_bypass;
SELECT seen FROM acc_seen;

-- A function that talks, in a condition, is not asked about what may not be seen
RESET ROLE;
CREATE FUNCTION pg_temp.acc_leak(said text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	IF said IS NOT NULL THEN
		RAISE NOTICE 'leaked: %', said;
	END IF;
	RETURN true;
END $$;
SET ROLE regress_flow_acc_stranger;
SELECT count(*) FROM flow.run WHERE pg_temp.acc_leak(input::text);
SELECT count(*) FROM flow.workflow WHERE pg_temp.acc_leak(name);
SELECT count(*) FROM flow.attempt WHERE pg_temp.acc_leak(message);
SET ROLE regress_flow_acc_operator;
SELECT count(*) FROM flow.run WHERE pg_temp.acc_leak(input::text);
SELECT count(*) FROM flow.step WHERE pg_temp.acc_leak(output::text) AND pg_temp.acc_leak(error->>'message');
SELECT count(*) FROM flow.data WHERE pg_temp.acc_leak(value::text);
SET ROLE regress_flow_acc_owner;
SELECT count(*) FROM flow.run WHERE pg_temp.acc_leak(input::text);
-- ... nor do statistics tell
RESET ROLE;
ANALYZE flow_internal.run, flow_internal.workflow, flow_internal.outcome;
SELECT count(*) > 0 AS there_are FROM pg_stats WHERE schemaname = 'flow_internal';
SET ROLE regress_flow_acc_stranger;
SELECT count(*) FROM pg_stats WHERE schemaname = 'flow_internal';

-- What one may not see answers as what does not exist
RESET ROLE;
CREATE FUNCTION acc_answer(statement text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
	detail text;
	hint text;
BEGIN
	EXECUTE format(statement, name) INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, replace(concat_ws(' | ', SQLERRM, detail, hint), name, '?'));
END $$;
CREATE TABLE acc_call (about text, statement text);
INSERT INTO acc_call VALUES
	('workflow', 'SELECT flow_start(%L)'),
	('workflow', 'SELECT flow_start(%L, version => 7)'),
	('workflow', 'SELECT flow_find(%L, ''known'')'),
	('workflow', 'SELECT flow_definition(%L)'),
	('workflow', 'SELECT flow_definition(%L, 7)'),
	('workflow', 'SELECT count(*) FROM flow_check(%L)'),
	('workflow', 'SELECT flow_enable(%L)'),
	('workflow', 'SELECT flow_disable(%L)'),
	('workflow', 'SELECT flow_grant(%L, ''public'')'),
	('workflow', 'SELECT flow_revoke(%L, ''public'')'),
	('workflow', 'SELECT flow_drop(%L)'),
	('workflow', 'SELECT flow_drop(%L, force => true)'),
	('workflow', 'SELECT flow_drop(%L, version => 1)'),
	('workflow', 'SELECT flow_schedule(''acc'', ''* * * * *'', %L)'),
	('run', 'SELECT flow_await(%s)'),
	('run', 'SELECT flow_cancel(%s)'),
	('run', 'SELECT flow_pause(%s)'),
	('run', 'SELECT flow_resume(%s)'),
	('run', 'SELECT flow_retry(%s)'),
	('run', 'SELECT flow_retry(%s, ''bad'')'),
	('run', 'SELECT flow_status(%s)'),
	('run', 'SELECT flow_drain(%s)');
GRANT SELECT ON acc_call TO PUBLIC;
CREATE FUNCTION acc_differences(about text, there text, absent text) RETURNS TABLE (statement text, of_one_there text, of_an_absent_one text)
LANGUAGE sql AS $$
	SELECT c.statement, acc_answer(c.statement, there), acc_answer(c.statement, absent) FROM acc_call c
	WHERE c.about = acc_differences.about AND acc_answer(c.statement, there) IS DISTINCT FROM acc_answer(c.statement, absent)
	ORDER BY c.statement COLLATE "C"
$$;
SET ROLE regress_flow_acc_stranger;
SELECT * FROM acc_differences('workflow', 'acc-hidden', 'acc-absent');
SELECT * FROM acc_differences('run', :'run', '987654321');
SELECT acc_answer('SELECT flow_start(%L)', 'acc-hidden');
-- ... but a name that is taken is taken, without a word about by whom
SELECT flow_define('acc-hidden', ARRAY[flow_step('s', 'SELECT 1')]);
-- Who may start it is told more, so the comparison would find a difference
SET ROLE regress_flow_acc_starter2;
SELECT statement, CASE WHEN of_one_there ~ '^[0-9]{5} ' THEN left(of_one_there, 5) ELSE 'an answer' END AS of_one_there
FROM acc_differences('workflow', 'acc-hidden', 'acc-absent');
RESET ROLE;

-- What each privilege allows: the statements that are not refused, each undone
CREATE TABLE acc_verb (no int GENERATED ALWAYS AS IDENTITY, verb text, statement text);
INSERT INTO acc_verb (verb, statement) VALUES
	('start', $$SELECT flow_start('acc-hidden')$$),
	('find', $$SELECT 1 / (flow_find('acc-hidden', 'known') IS NOT NULL)::int$$),
	('definition', $$SELECT flow_definition('acc-hidden')$$),
	('source', $$SELECT flow_source('acc-hidden')$$),
	('status', $$SELECT flow_status(%1$s)$$),
	('await', $$SELECT * FROM flow_await(%1$s)$$),
	('input', $$SELECT 1 / count(input) FROM flow.run WHERE id = %1$s$$),
	('outputs', $$SELECT 1 / count(output) FROM flow.step WHERE run_id = %1$s$$),
	('message', $$SELECT 1 / count(message) FROM flow.attempt WHERE run_id = %1$s$$),
	('data', $$SELECT 1 / count(value) FROM flow.data WHERE run_id = %1$s$$),
	('pause', $$SELECT flow_pause(%2$s)$$),
	('resume', $$SELECT flow_resume(%2$s)$$),
	('cancel', $$SELECT flow_cancel(%2$s)$$),
	('retry', $$SELECT flow_retry(%1$s)$$),
	('displace', $$SELECT flow_start('acc-hidden', key => 'live', on_conflict => 'cancel')$$),
	('disable', $$SELECT flow_disable('acc-hidden')$$),
	('grant', $$SELECT flow_grant('acc-hidden', 'public')$$),
	('revoke', $$SELECT flow_revoke('acc-hidden', 'public')$$),
	('set_owner', $$SELECT flow_set_owner('acc-hidden', 'regress_flow_acc_owner')$$),
	('define', $$SELECT flow_define('acc-hidden', '{}')$$),
	('drop', $$SELECT 1 / flow_drop('acc-hidden', force => true)::int$$);
GRANT SELECT ON acc_verb TO PUBLIC;
CREATE FUNCTION acc_may(failed bigint, live bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(verb, ' ' ORDER BY no) FROM acc_verb WHERE acc_try(format(statement, failed, live)) = 'done'
$$;
SET ROLE regress_flow_acc_starter;
SELECT flow_start('acc-hidden', '{"card": "secret"}', key => 'live', start_at => '2100-01-01') AS live \gset
SET ROLE regress_flow_acc_owner;
SELECT acc_may(:run, :live);
SET ROLE regress_flow_acc_member;
SELECT acc_may(:run, :live) AS as_a_member;
SET ROLE regress_flow_acc_starter;
SELECT acc_may(:run, :live) AS with_start_and_the_starter;
SET ROLE regress_flow_acc_starter2;
SELECT acc_may(:run, :live) AS with_start;
SET ROLE regress_flow_acc_reader;
SELECT acc_may(:run, :live) AS with_read;
SET ROLE regress_flow_acc_operator;
SELECT acc_may(:run, :live) AS with_operate;
SET ROLE regress_flow_acc_approver;
SELECT acc_may(:run, :live) AS with_approve;
SET ROLE regress_flow_acc_worker;
SELECT acc_may(:run, :live) AS with_work;
SET ROLE regress_flow_acc_stranger;
SELECT acc_may(:run, :live) AS with_none;
-- Whoever sees a run is told why it may not steer it
SET ROLE regress_flow_acc_reader;
SELECT acc_answer('SELECT flow_cancel(%s)', :'live');
SET ROLE regress_flow_acc_starter;
SELECT acc_answer('SELECT flow_pause(%s)', :'live');
-- Each can be revoked by itself, all of them at once, and what is granted to all
-- is not taken from one
SET ROLE regress_flow_acc_owner;
SELECT flow_grant('acc-hidden', 'regress_flow_acc_stranger', p) FROM unnest('{start,read,approve,operate,work}'::text[]) p;
SELECT flow_grant('acc-hidden', 'regress_flow_acc_stranger', 'read') AS again;
SET ROLE regress_flow_acc_stranger;
SELECT acc_may(:run, :live) AS with_all;
SET ROLE regress_flow_acc_owner;
SELECT flow_revoke('acc-hidden', 'regress_flow_acc_stranger', 'operate'), flow_revoke('acc-hidden', 'regress_flow_acc_stranger', 'read');
SET ROLE regress_flow_acc_stranger;
SELECT acc_may(:run, :live) AS without_operate_and_read;
SET ROLE regress_flow_acc_owner;
SELECT flow_revoke('acc-hidden', 'regress_flow_acc_stranger');
SET ROLE regress_flow_acc_stranger;
SELECT acc_may(:run, :live) AS with_none;
SET ROLE regress_flow_acc_owner;
SELECT flow_grant('acc-hidden', 'public', 'operate');
SELECT flow_revoke('acc-hidden', 'regress_flow_acc_stranger');
SET ROLE regress_flow_acc_stranger;
SELECT acc_may(:run, :live) AS as_everybody;
SET ROLE regress_flow_acc_owner;
SELECT flow_revoke('acc-hidden', 'public', 'operate');
SELECT flow_grant('acc-hidden', 'public', 'oprate');
SELECT flow_grant('acc-hidden', 'public', 'all');
SELECT flow_revoke('acc-hidden', 'public', '');
RESET ROLE;

-- Settings are not for users
SELECT name, context FROM pg_settings WHERE name LIKE 'flow.%' AND context NOT IN ('sighup', 'postmaster', 'superuser', 'superuser-backend');
SET ROLE regress_flow_acc_stranger;
SELECT name, acc_try(format('SET %s = DEFAULT', name)) AS set, acc_try(format('SELECT set_config(%L, %L, true)', name, setting)) AS set_config,
	acc_try(format('ALTER ROLE regress_flow_acc_stranger SET %s = %L', name, setting)) AS of_role,
	acc_try(format('ALTER SYSTEM SET %s = %L', name, setting)) AS of_system
FROM pg_settings WHERE name LIKE 'flow.%' AND acc_try(format('SET %s = DEFAULT', name)) NOT IN ('55P02', '42501');
SELECT acc_try('SET flow.enabled = off'), acc_try('ALTER ROLE regress_flow_acc_stranger SET flow.enabled = off'), acc_try('SET flow.made_up = 1');
RESET ROLE;

SET client_min_messages = warning;
DROP FUNCTION acc_try, acc_statements, acc_open, acc_call_with_nulls, acc_answer, acc_differences, acc_may, acc_trap;
DROP VIEW acc_seen;
DROP FUNCTION acc_look;
DROP TABLE acc_statement, acc_call, acc_verb;
SELECT flow_drop('acc-hidden', force => true);
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA flow FROM regress_flow_acc_owner, regress_flow_acc_starter, regress_flow_acc_starter2,
	regress_flow_acc_reader, regress_flow_acc_operator, regress_flow_acc_approver, regress_flow_acc_worker, regress_flow_acc_stranger, regress_flow_acc_bypass, regress_flow_acc_writer,
	regress_flow_acc_all;
DROP ROLE regress_flow_acc_member, regress_flow_acc_owner, regress_flow_acc_starter, regress_flow_acc_starter2, regress_flow_acc_reader,
	regress_flow_acc_operator, regress_flow_acc_approver, regress_flow_acc_worker, regress_flow_acc_stranger, regress_flow_acc_nobody, regress_flow_acc_bypass, regress_flow_acc_writer,
	regress_flow_acc_all, regress_flow_acc_super;
