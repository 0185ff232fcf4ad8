# What a step leaves in the session of its worker does not reach the next
# step: temporary tables, settings, locks, prepared statements, cursors.
use strict;
use warnings;
use FlowTest;
use Test::More;

# One worker, so that the steps meet in one session
my $node = flow_node('session', 'flow.workers' => 1);

flow_owner($node, 'shop');
flow_audit($node);

my %dirt = (
	temp => q{CREATE TEMP TABLE dirt (n int); INSERT INTO dirt VALUES (1)},
	temp_view => q{CREATE TEMP VIEW dirt_view AS SELECT 1},
	temp_function => q{CREATE FUNCTION pg_temp.dirt_function() RETURNS int LANGUAGE sql AS 'SELECT 1'},
	guc => q{SET work_mem = '13MB'; SET TimeZone = 'Asia/Tokyo'; SELECT set_config('dirt.guc', 'left', false)},
	local_guc => q{SET LOCAL work_mem = '14MB'},
	search_path => q{SET search_path = pg_catalog},
	role => q{SET ROLE NONE; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY},
	lock => q{SELECT pg_advisory_lock(4711)},
	shared_lock => q{SELECT pg_advisory_lock_shared(4712)},
	plan => q{PREPARE dirt_plan AS SELECT 1},
	cursor => q{DECLARE dirt_cursor CURSOR WITH HOLD FOR SELECT 1},
	listen => q{LISTEN dirt_channel},
	sequence => q{SELECT nextval('dirt_sequence')},
	large => q{SET enable_seqscan = off; SET lock_timeout = 1},
	failing => q{CREATE TEMP TABLE dirt_failed (); SET work_mem = '15MB'; SELECT pg_advisory_lock(4713); SELECT 1 / 0});

# What is there to be seen of it
my $look = q{
	SELECT concat_ws(' ',
		(SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relname LIKE 'dirt%'),
		(SELECT string_agg(proname, ' ') FROM pg_proc WHERE proname = 'dirt_function' AND pronamespace = pg_my_temp_schema()),
		(SELECT string_agg(name, ' ') FROM pg_prepared_statements WHERE name LIKE 'dirt%'),
		(SELECT string_agg(name, ' ') FROM pg_cursors WHERE name LIKE 'dirt%'),
		(SELECT string_agg(c, ' ') FROM pg_listening_channels() c),
		(SELECT string_agg(objid::text, ' ') FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
		(SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings
			WHERE source = 'session' AND name NOT IN ('application_name', 'search_path')),
		nullif(current_setting('dirt.guc', true), ''),
		CASE WHEN current_setting('search_path') LIKE 'pg_catalog%' THEN 'search_path' END,
		CASE WHEN current_setting('transaction_read_only') = 'on' THEN 'read_only' END,
		CASE WHEN current_user <> 'shop' OR session_user <> 'shop' THEN 'role' END) AS seen, pg_backend_pid() AS pid};

$node->safe_psql('postgres', 'CREATE SEQUENCE dirt_sequence', extra_params => [ '-U', 'shop' ]);

sub step
{
	my ($name, $sql, $after) = @_;

	return "flow_step('$name', \$step\$ $sql \$step\$" . ($after ? ", after => '{$after}'" : '') . ')';
}

# A background process may not listen; a failing step leaves nothing either
my %fails = (listen => 1, failing => 1);

foreach my $kind (sort keys %dirt)
{
	$node->safe_psql('postgres',
		"SELECT flow_define('$kind', ARRAY[" . join(',',
			step('clean', $look),
			step('dirty', "$dirt{$kind}; SELECT pg_backend_pid() AS pid", 'clean'),
			step('look', $look, 'dirty')) . '])',
		extra_params => [ '-U', 'shop' ]);
	my $run = value($node, "SELECT flow_start('$kind')", extra_params => [ '-U', 'shop' ]);
	my $status = value($node, "SELECT status FROM flow_await($run, '30 s')");
	is($status, $fails{$kind} ? 'failed' : 'completed', "$kind: the run ended");

	# The next step of the same run, and the first of the next
	if (!$fails{$kind})
	{
		is(value($node, "SELECT output->>'seen' FROM flow.step WHERE run_id = $run AND name = 'look'"), '', "$kind: nothing reached the next step");
	}
	$run = value($node, "SELECT flow_start('$kind')", extra_params => [ '-U', 'shop' ]);
	value($node, "SELECT status FROM flow_await($run, '30 s')");
	is(value($node, "SELECT output->>'seen' FROM flow.step WHERE run_id = $run AND name = 'clean'"), '', "$kind: nothing reached the next run");
}
cmp_ok(value($node, q{SELECT count(DISTINCT output->>'pid') FROM flow.step WHERE name = 'look'}), '<=', 2, 'the steps met in one session');
is(value($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left');

# Deferred constraints are checked at the end of their step, and fail only it
$node->safe_psql('postgres', q{
	CREATE TABLE deferred (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
	SELECT flow_define('deferred', ARRAY[
		flow_step('swap', $$ INSERT INTO deferred VALUES (1), (1); DELETE FROM deferred; INSERT INTO deferred VALUES (2) $$),
		flow_step('clash', $$ INSERT INTO deferred VALUES (2) $$, after => '{swap}')])
}, extra_params => [ '-U', 'shop' ]);
my $run = value($node, q{SELECT flow_start('deferred')}, extra_params => [ '-U', 'shop' ]);
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($run, '30 s')"), 'failed|23505', 'a deferred constraint fails its step');
is(value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run"),
	'swap completed, clash failed', '... and only that');

# A worker that is ended by its own step: the run goes on elsewhere
$node->safe_psql('postgres', q{
	CREATE SEQUENCE deaths;
	GRANT USAGE ON deaths TO shop;
	SET ROLE shop;
	SELECT flow_define('suicide', ARRAY[
		flow_step('s', $$ SELECT pg_terminate_backend(pg_backend_pid()) FROM nextval('deaths') n WHERE n = 1; SELECT pg_sleep(0.01) $$),
		flow_step('t', $$ SELECT 1 AS done $$, after => '{s}')])});
$run = value($node, q{SELECT flow_start('suicide')}, extra_params => [ '-U', 'shop' ]);
is(value($node, "SELECT status, output FROM flow_await($run, '60 s')"), 'completed|{"done": 1}', 'a step that ended its worker is done by the next');

$node->stop;
done_testing();
