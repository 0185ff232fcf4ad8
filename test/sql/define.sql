-- Defining: constructors, versions, documents, rights.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS flow;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set SHOW_CONTEXT never

BEGIN;
CREATE ROLE regress_flow_shop LOGIN;
CREATE ROLE regress_flow_clerk LOGIN IN ROLE regress_flow_shop;
CREATE ROLE regress_flow_guest LOGIN;
GRANT USAGE, CREATE ON SCHEMA flow TO regress_flow_shop;
GRANT USAGE ON SCHEMA flow TO regress_flow_guest;
CREATE SCHEMA regress_shop AUTHORIZATION regress_flow_shop;
SET ROLE regress_flow_shop;
SET search_path = regress_shop, public;
CREATE TABLE orders (id bigint, amount numeric);

-- Constructors leave out what is the default, and write intervals one way
SELECT flow_step('a', 'SELECT 1');
SELECT flow_step('a', 'SELECT 1', after => '{}', retries => 0, retry_delay => '1 s', backoff => 2, max_delay => '60 min', result => 'row', batch => true, options => '{}');
SET IntervalStyle = 'sql_standard';
SELECT flow_step('a', 'SELECT 1', after => '{x,y}', retries => 3, retry_delay => '1 min 30 s', backoff => 1.5, jitter => 0.1, retry_on => '{40,P0001}', timeout => '1 day 2 hours', priority => -5, result => 'rows', batch => false, description => 'first');
RESET IntervalStyle;
SELECT flow_step('a', 'SELECT 1', options => '{"retries": 2, "new": [1, {"x": null}]}');
SELECT flow_step('a', 'SELECT 1', retries => 1, options => '{"retries": 2}');
SELECT flow_step('a', 'SELECT 1', options => '[]');
SELECT flow_step(NULL, NULL, retries => NULL, options => NULL);
SELECT flow_command('v', 'VACUUM orders'), flow_delay('d', '5 min'), flow_wait('w');
SELECT flow_approval('ok', 'boss'), flow_choice('c', '''x'''), flow_subflow('s', 'other', 'input');
SELECT flow_task('t', 'mail', after => '{a}'), flow_http('h', 'srv', '/x', 'POST', body => 'input', expect => '[200,202]');

-- Versions
SELECT flow_define('order', ARRAY[
	flow_step('validate', $$ SELECT id, amount FROM orders WHERE id = (input->>'order_id')::bigint $$),
	flow_step('pay', $$ UPDATE orders SET amount = (validate->>'amount')::numeric WHERE id = (flow.validate->>'id')::bigint $$, after => '{validate}', retries => 3)
]);
SELECT flow_define('order', ARRAY[
	flow_step('validate', $$ SELECT id, amount FROM orders WHERE id = (input->>'order_id')::bigint $$),
	flow_step('pay', $$ UPDATE orders SET amount = (validate->>'amount')::numeric WHERE id = (flow.validate->>'id')::bigint $$, after => '{validate}', retries => 3, jitter => 0)
]) AS same;
SELECT flow_define('order', ARRAY[flow_step('validate', 'SELECT 1')], 'Orders', notify => 'none') AS second;
SELECT flow_define('order', ARRAY[flow_step('validate', 'SELECT 1')]) AS second_in_place;
SELECT flow_define('order', ARRAY[flow_step('validate', 'SELECT 1')], search_path => 'regress_shop') AS third;
SELECT flow_define('empty', '{}') AS no_steps;

-- Documents round-trip, under any search_path
SELECT flow_definition('order');
SELECT jsonb_pretty(flow_definition('order', 1));
SET search_path = public;
SELECT flow_define(flow_definition('order')) AS third;
SELECT flow_define(flow_definition('order', 1)) AS fourth;
SELECT flow_define(flow_definition('order', 1)) AS fourth;
SET search_path = regress_shop, public;
SELECT flow_define('{"name": "doc", "description": "d", "steps": [{"name": "a", "sql": "SELECT 1", "timeout": "90 s", "retries": 3.0}, {"name": "b", "sql": "SELECT a", "after": ["a"], "priority": null}]}');
SELECT flow_definition('doc');
SELECT flow_define('doc', ARRAY[flow_step('a', 'SELECT 1', timeout => '1 min 30 s', retries => 3), flow_step('b', 'SELECT a', after => '{a}')], 'd') AS same;
SELECT flow_definition('order', 9);
SELECT flow_definition('nothing');

-- What does not resolve is a warning; what follows DDL is not looked at
SELECT flow_define('warn', ARRAY[
	flow_step('a', 'SELECT 1; SELECT * FROM nowhere'),
	flow_step('b', 'CREATE TABLE later (x int); INSERT INTO later SELECT 1', after => '{a}'),
	flow_step('c', 'SELECT 1 AS x INTO other; SELECT x FROM other', after => '{b}'),
	flow_step('d', $$ SELECT 'x'::int $$)]);
SELECT step, severity, code, message FROM flow_check('warn');
SELECT step, severity, code, message FROM flow_check_document(flow_definition('warn'));

-- Names: what is upstream, and only that; ambiguity has two ways out
SELECT flow_define('names', ARRAY[
	flow_step('first', 'SELECT flow.run_id, flow.run_key, flow.attempt, flow.slot, input'),
	flow_step('second', 'SELECT first, flow.first FROM orders', after => '{first}'),
	flow_step('third', 'SELECT first FROM orders WHERE EXISTS (SELECT 1 WHERE amount > (second->>0)::numeric)', after => '{second}'),
	flow_step('amount', 'SELECT 1'),
	flow_step('orders', 'SELECT 1'),
	flow_step('charge-it', 'SELECT 1'),
	flow_step('order', 'SELECT 1'),
	flow_step('ok', 'SELECT orders.amount, flow.amount, flow."charge-it", "charge-it", flow.order FROM orders', after => '{amount,charge-it,order}'),
	flow_step('ambiguous', 'SELECT amount FROM orders', after => '{amount}'),
	flow_step('row', 'SELECT orders FROM orders', after => '{orders}'),
	flow_step('alias', 'SELECT flow.amount FROM orders AS flow', after => '{amount}'),
	flow_step('alias2', 'SELECT flow.id FROM orders AS flow', after => '{amount}'),
	flow_step('alias3', 'SELECT flow.nothing FROM orders AS flow'),
	flow_step('apart', 'SELECT first'),
	flow_step('itself', 'SELECT flow.itself'),
	flow_step('spelled', 'SELECT flow.inputt'),
	flow_step('bare', 'SELECT run_id'),
	flow_step('later', 'SELECT item'),
	flow_step('member', 'SELECT input.order_id'),
	flow_step('member2', 'SELECT second.id, 1', after => '{second}'),
	flow_step('number', 'SELECT $1')]);

-- The path in effect belongs to the definition
SET search_path = public;
SELECT flow_define('path', ARRAY[flow_step('a', 'SELECT 1 FROM orders')]);
SELECT flow_define('path', ARRAY[flow_step('a', 'SELECT 1 FROM orders')], search_path => 'regress_shop');
SELECT count(*) FROM flow_check('path');
SELECT flow_define('path', '{}', search_path => 'a,,b');

-- From PL/pgSQL, a syntax error still points into the step
DO $$ BEGIN PERFORM flow_define('plpgsql', ARRAY[flow_step('a', 'SELECT 1 FORM x')]); END $$;

-- Enable and disable
SELECT flow_enable('order'), flow_disable('order'), flow_disable('order'), flow_enable('order');
SELECT flow_disable('nothing');

-- Grants, and who may do what
SELECT flow_grant('order', 'regress_flow_guest');
SELECT flow_grant('order', 'regress_flow_guest');
SELECT flow_grant('order', 'nobody_of_that_name');
SELECT flow_grant('order', 'public', 'operate');
SELECT flow_revoke('order', 'public', 'operate');
SELECT flow_revoke('order', 'public', 'all');
SELECT flow_grant('order', 'public', 'strat');
SELECT flow_grant('nothing', 'public');
SET ROLE regress_flow_guest;
SELECT flow_definition('order')->'name' AS granted;
SELECT flow_definition('doc');
SELECT DISTINCT workflow FROM flow_check() ORDER BY 1;
SELECT * FROM flow_check('doc');
SELECT flow_define('mine', '{}');
SELECT flow_disable('order');
SELECT flow_grant('order', 'public');
SELECT flow_drop('order');
RESET ROLE;
GRANT CREATE ON SCHEMA flow TO regress_flow_guest;
SET ROLE regress_flow_guest;
SELECT flow_define('order', '{}');
SELECT flow_define('mine', '{}');
SELECT flow_check('nothing');
SET ROLE regress_flow_clerk;
SELECT flow_disable('order'), flow_enable('order');
SELECT flow_define('order', '{}') AS by_member;
SELECT flow_revoke('order', 'regress_flow_guest'), flow_revoke('order', 'public', 'start');
SET ROLE regress_flow_guest;
SELECT flow_definition('order');
RESET ROLE;
REVOKE USAGE ON SCHEMA flow FROM regress_flow_guest;
SET ROLE regress_flow_guest;
SELECT flow_definition('mine');
SELECT flow_enable('mine');
RESET ROLE;
REVOKE CREATE ON SCHEMA flow FROM regress_flow_guest;
SET ROLE regress_flow_guest;
SELECT flow_define('mine', '{}');
SELECT count(*) FROM flow_check();
SELECT count(*) FROM flow_internal.workflow;
RESET ROLE;
SELECT name, owner_name, version FROM flow_internal.workflow WHERE name IN ('order', 'mine') ORDER BY name;

-- Drop: a version, the newest version, all; a dropped name can be used anew
SET ROLE regress_flow_shop;
SELECT flow_drop('order', 99), flow_drop('order', 1), flow_drop('order', 1);
SELECT flow_definition('order', 1);
SELECT flow_drop('order', 5);
SELECT flow_definition('order')->'steps' = flow_definition('order', 4)->'steps' AS newest_is_4;
SELECT flow_define('order', '{}') AS sixth;
SELECT flow_drop('order'), flow_drop('order'), flow_drop('nothing');
SELECT flow_definition('order');
SELECT flow_define('order', '{}') AS first_again;
RESET ROLE;
SELECT count(*), count(dropped_at) FROM flow_internal.workflow WHERE name = 'order';

-- Who cannot own a workflow, and where nobody can define one (flow.allow_superuser
-- needs a reload and is tested elsewhere)
ALTER ROLE regress_flow_shop NOLOGIN;
SET ROLE regress_flow_shop;
SELECT flow_define('nologin', '{}');
ROLLBACK;
BEGIN READ ONLY;
SELECT count(*) >= 0 AS works FROM flow_check();
SELECT flow_define('readonly', '{}');
ROLLBACK;

-- A thousand steps in a chain, and as a mesh of 40 000 edges, within the time
BEGIN;
SET LOCAL statement_timeout = '5 s';
SELECT flow_define('chain', array_agg(flow_step('s' || i,
	CASE WHEN i = 0 THEN 'SELECT 1' ELSE format('SELECT flow.s%s', i - 1) END,
	after => CASE WHEN i = 0 THEN '{}' ELSE ARRAY['s' || i - 1] END))) FROM generate_series(0, 999) i;
SELECT flow_define('mesh', array_agg(flow_step('s' || i, 'SELECT 1',
	after => (SELECT coalesce(array_agg('s' || d), '{}') FROM generate_series(greatest(i - 40, 0), i - 1) d)))) FROM generate_series(0, 999) i;
SELECT count(*) FROM flow_check('chain');
ROLLBACK;
