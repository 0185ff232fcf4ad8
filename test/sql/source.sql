-- A definition as the SQL that makes it: what is written, and that running it
-- stores nothing new.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on

BEGIN;
CREATE ROLE regress_flow_src LOGIN;
CREATE ROLE regress_flow_src_guest LOGIN;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_src;
GRANT USAGE ON SCHEMA flow TO regress_flow_src_guest;
CREATE SCHEMA regress_src AUTHORIZATION regress_flow_src;
SET ROLE regress_flow_src;
SET search_path = regress_src, public;

-- How it looks
SELECT flow_define('order-processing', ARRAY[
	flow_step('validate', $$ SELECT (input->>'order_id')::bigint AS id $$),
	flow_step('pay', $$
		SELECT $x$it's$x$ AS a,
			'b' AS b
	$$, after => '{validate}', retries => 3, retry_delay => '1 min 30 s', backoff => 1.5, retry_on => '{40,P0001}', priority => -5, batch => false),
	flow_step('report', 'SELECT 1', after => '{validate,pay}', result => 'rows', isolation => 'serializable', timeout => '1 day 2 hours 0.5 s', description => E'it''s a \\ thing')
], 'Orders', notify => 'none');
SELECT flow_source('order-processing');
SELECT flow_define('empty', '{}');
SELECT flow_source('empty');
-- Versions; that of an older one stores it as the newest
SELECT flow_define('empty', ARRAY[flow_step('a', 'SELECT 1')], 'now with a step');
SELECT flow_source('empty', 1);
SELECT flow_source('empty', 2);
SELECT flow_source('empty', 3);
SELECT flow_source('nothing');
SELECT flow_source(NULL);
SELECT flow_source('empty', NULL) = flow_source('empty', 2) AS newest;
-- Where the functions are not in the path they are qualified
SET search_path = regress_src;
SELECT public.flow_source('empty');
SET search_path = regress_src, public;
-- What one may not see does not exist
SET ROLE regress_flow_src_guest;
SELECT flow_source('empty');
SET ROLE regress_flow_src;
SELECT flow_grant('empty', 'regress_flow_src_guest');
SET ROLE regress_flow_src_guest;
SELECT flow_source('empty', 1);
SET ROLE regress_flow_src;

-- Round trips: each is defined, and what its source does is compared
CREATE TABLE sample (no int GENERATED ALWAYS AS IDENTITY, name text, steps jsonb[], description text, notify text DEFAULT 'run', path text);
INSERT INTO sample (name, steps) SELECT 'sql ' || n, ARRAY[flow_step('a', sql)] FROM (VALUES
	('SELECT 1'), (' SELECT 1 '), (E'\nSELECT 1\n\n'), ('SELECT $$x$$'), ('SELECT $sql$x$sql$, $$y$$'), ('SELECT 1 AS a$'), ('SELECT $$x$$ AS a$sql'),
	('SELECT $sql$x$sql$, $sql2$y$sql2$, $$z$$ AS a$'), ('SELECT ''it''''s'''), (E'SELECT E''\\n\\\\'''), ('SELECT ''\'''), (E'SELECT\t1\r\n AS x'), ('SELECT ''ünïcödé ∑ 漢字 😀'''),
	('SELECT 1 -- $$'), ('SELECT 1 /* $sql$ $$ */'), ('SELECT '':x :''''y'''' :"z"'''), ('DO $d$ BEGIN NULL; END $d$'), ('SELECT 1; SELECT 2;'), ('SELECT ''$''::text')) v(sql)
	CROSS JOIN LATERAL (SELECT md5(sql) AS n) m;
INSERT INTO sample (name, steps) SELECT name, ARRAY[flow_step(name, 'SELECT 1'), flow_step('last', 'SELECT 2', after => ARRAY[name])] FROM (VALUES
	('order'), ('Select'), ('it''s'), ('a"b'), ('a\b'), ('$$'), ('$sql$'), ('a b'), ('a,b'), ('{a}'), ('ünï 漢字'), ('null'), ('NULL'), (' a '), ('--'), ('a=>b'), ('%s %I')) v(name);
INSERT INTO sample (name, steps, description, notify, path) VALUES
	('args 1', '{}', '', 'none', ''), ('args 2', '{}', E'line\nbreak '' \\ $$', 'run', '"$user", public'), ('args 3', '{}', NULL, 'none', '"we""ird", "a b", pg_temp');
INSERT INTO sample (name, steps) SELECT 'option ' || row_number() OVER (), ARRAY[step] FROM (VALUES
	(flow_step('a', 'SELECT 1', retries => 2147483647)), (flow_step('a', 'SELECT 1', retry_delay => '0')), (flow_step('a', 'SELECT 1', retry_delay => '1 mon 2 days 03:04:05.000006')),
	(flow_step('a', 'SELECT 1', backoff => 1.1)), (flow_step('a', 'SELECT 1', backoff => 1e9)), (flow_step('a', 'SELECT 1', backoff => 1.0000000000000002)), (flow_step('a', 'SELECT 1', max_delay => '999 years')),
	(flow_step('a', 'SELECT 1', jitter => 1)), (flow_step('a', 'SELECT 1', jitter => 1e-300)), (flow_step('a', 'SELECT 1', retry_on => '{}')), (flow_step('a', 'SELECT 1', retry_on => '{40001,P0}')),
	(flow_step('a', 'SELECT 1', no_retry_on => '{}')), (flow_step('a', 'SELECT 1', timeout => '1 microsecond')), (flow_step('a', 'SELECT 1', priority => -2147483648)),
	(flow_step('a', 'SELECT 1', result => 'none')), (flow_step('a', 'SELECT 1', isolation => 'repeatable read')), (flow_step('a', 'SELECT 1', batch => false)), (flow_step('a', 'SELECT 1', description => ''))) v(step);

CREATE FUNCTION pg_temp.differences() RETURNS TABLE(name text, source text) LANGUAGE plpgsql AS $$
DECLARE
	s sample;
	first int;
	again int;
	before jsonb;
BEGIN
	FOR s IN SELECT * FROM sample ORDER BY no LOOP
		first := flow_define(s.name, s.steps, s.description, notify => s.notify, search_path => s.path);
		before := flow_definition(s.name);
		source := flow_source(s.name);
		EXECUTE source INTO again;
		name := s.name;
		IF again <> first OR flow_definition(s.name) <> before OR flow_source(s.name) <> source THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
SET client_min_messages = warning;
SELECT * FROM pg_temp.differences();
-- ... under settings that change how literals read, those of the steps too
DELETE FROM sample WHERE steps[1]->>'sql' = E'SELECT \'\\\'';
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET IntervalStyle = sql_standard;
SET extra_float_digits = -15;
SET DateStyle = 'SQL, DMY';
SELECT * FROM pg_temp.differences();
RESET standard_conforming_strings;
RESET escape_string_warning;
RESET IntervalStyle;
RESET extra_float_digits;
RESET DateStyle;
RESET client_min_messages;
SELECT count(*) = (SELECT count(*) FROM sample) AS nothing_new, max(version) FROM flow.workflow w WHERE w.name IN (SELECT s.name FROM sample s);

-- Every kind and every option, whether it runs or not: the definition is put
-- into the table, and its source is run with another flow_define in the path
RESET ROLE;
CREATE FUNCTION regress_src.flow_define(name text, steps jsonb[], description text DEFAULT NULL, "timeout" interval DEFAULT NULL, max_runs int DEFAULT NULL,
	max_runs_by text DEFAULT NULL, max_parallel int DEFAULT NULL, notify text DEFAULT 'run', keep interval DEFAULT NULL, keep_data interval DEFAULT NULL,
	resume_after interval DEFAULT NULL, search_path text DEFAULT NULL) RETURNS jsonb[] LANGUAGE sql AS 'SELECT steps';
CREATE FUNCTION pg_temp.trip(step jsonb) RETURNS TABLE(same boolean, source text) LANGUAGE plpgsql AS $$
DECLARE
	steps jsonb[];
BEGIN
	UPDATE flow_internal.definition SET document = jsonb_build_object('steps', jsonb_build_array(step))
	WHERE id = (SELECT w.definition_id FROM flow_internal.workflow w WHERE w.name = 'empty' AND w.dropped_at IS NULL);
	source := flow_source('empty');
	EXECUTE source INTO steps;
	same := steps = ARRAY[step];
	source := split_part(source, E'\n', 2);
	RETURN NEXT;
END $$;
SELECT t.* FROM unnest(ARRAY[
	flow_step('a', 'SELECT 1', needs => 'any', condition => 'x $$ y', for_each => 'SELECT 1', max_parallel => 3, on_item_error => 'collect'),
	flow_step('a', 'SELECT 1', total_timeout => '2 h', on_error => 'continue', again => $$ interval '1 s' $$, undo => 'SELECT 2', emits => '{x,"y z"}', limits => '{l}', limit_key => 'input->>1'),
	flow_step('a', 'SELECT 1', hook => '{completed,failed}', undo_of => 'b'),
	flow_step('a', 'SELECT 1', after => '{validate,size:large}'),
	flow_command('a', 'VACUUM'), flow_command('a', $$ format('VACUUM %s', x) $$, build => true, retries => 1),
	flow_delay('a', '5 min'), flow_delay('a', until => $$ clock_timestamp() + interval '1 s' $$),
	flow_wait('a'), flow_wait('a', 'it''s', timeout => '1 day', on_result => 'SELECT a'),
	flow_approval('a'), flow_approval('a', 'boss', timeout => '2 days'),
	flow_choice('a', $$ CASE WHEN true THEN 'x' END $$, emits => '{x}'),
	flow_subflow('a', 'other'), flow_subflow('a', 'other', 'input'),
	flow_task('a'), flow_task('a', 'mail', 'input->1', retries => 2),
	flow_http('a', 'srv', '/x', 'POST', '{"X-A": "b"}', 'input', '[200,202]'), flow_http('a', url => 'https://example.com')
]) WITH ORDINALITY s(step, no), pg_temp.trip(step) t ORDER BY no;
ROLLBACK;
