# What others do in the same server: objects that lie in wait for CREATE
# EXTENSION, and runs of the same number in another database.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('neighbours');

# Better matches than the server's own functions and operators, in the schema
# that the extension is installed into
$node->safe_psql('postgres', 'CREATE DATABASE victim');
my @lures = (
	'format(text, timestamptz) RETURNS text',
	'format(text, bigint) RETURNS text',
	'has_database_privilege(oid, name, text) RETURNS boolean',
	'round(numeric, int) RETURNS numeric',
	'jsonb_agg_one(text) RETURNS jsonb',
	'coalesce_one(bigint, int) RETURNS bigint',
	'pg_has_role(oid, text) RETURNS boolean',
	'clock_timestamp() RETURNS timestamptz',
	'jsonb_build_object(text, bigint, text, text, text, timestamptz, text, jsonb, text, jsonb, text, jsonb, text, jsonb, text, jsonb) RETURNS jsonb',
	'jsonb_build_object(text, bigint, text, text, text, timestamptz, text, jsonb, text, jsonb, text, jsonb, text, jsonb, text, jsonb, text, jsonb) RETURNS jsonb',
	'oid_is_int(oid, int) RETURNS boolean');
$node->safe_psql('victim', "CREATE FUNCTION public.$_ LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'lured'; END \$\$")
  foreach @lures;
$node->safe_psql('victim', 'CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = int, FUNCTION = public.oid_is_int)');
$node->safe_psql('victim', 'CREATE EXTENSION flow');
is(value($node, q{
	SELECT count(*) FROM pg_depend d
	JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
	WHERE p.pronamespace = 'public'::regnamespace AND p.proname NOT LIKE 'flow%'
	AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_attrdef'::regclass)}, database => 'victim'),
	'0', 'no view or function of the extension uses what somebody has put there');
is(value($node, q{
	SELECT count(*) FROM pg_depend d
	WHERE d.refclassid = 'pg_operator'::regclass AND d.classid = 'pg_rewrite'::regclass
	AND d.refobjid IN (SELECT oid FROM pg_operator WHERE oprnamespace = 'public'::regnamespace)}, database => 'victim'),
	'0', '... nor an operator');
$node->safe_psql('victim', q{
	SELECT flow_define('w', ARRAY[flow_step('a', 'SELECT 1 AS one')]);
	SELECT flow_start('w')});
is(value($node, q{SELECT flow_status(1)->>'status' IS NOT NULL}, database => 'victim'), 't', 'the functions work there');
is(value($node, q{SELECT count(*) >= 0 FROM flow.stuck, flow.queue, flow.step}, database => 'victim'), 't', '... and the views');

# A cancel means the run of its own database
$node->safe_psql('postgres', q{
	CREATE SEQUENCE tries;
	SELECT flow_define('slow', ARRAY[flow_step('a', $$ SELECT nextval('tries'), pg_sleep(1.5) $$)]);
	SELECT flow_start('slow')});
wait_for($node, q{EXISTS (SELECT FROM flow.activity WHERE run_id = 1)}, 'run 1 works here');
$node->safe_psql('victim', q{SELECT flow_start('w', start_at => now() + interval '1 hour')});
foreach (1 .. 5)
{
	$node->safe_psql('victim', q{
		SELECT flow_define('x', ARRAY[flow_step('a', $$ SELECT pg_sleep(60) $$)]);
		UPDATE flow_internal.run SET status = 'running', finished_at = NULL WHERE id = 1;
		SELECT flow_cancel(1)});
}
is(value($node, q{SELECT status FROM flow_await(1)}), 'completed', 'run 1 completes');
is(value($node, 'SELECT last_value FROM tries'), '1', '... at its first try, whatever happened to run 1 elsewhere');

$node->stop;
done_testing();
