# Settings of roles and databases that could bend the engine: work is done, and
# done right, whatever they are, and steps see them as a login would.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('settings',
	shared_preload_libraries => "'flow,auto_explain'",
	'flow.workers' => 4,
	max_worker_processes => 24,
	'auto_explain.log_min_duration' => 0,
	'auto_explain.log_nested_statements' => 'on',
	log_min_messages => 'debug1',
	log_line_prefix => "'[%p] %u '");

flow_audit($node);

# Better matches than the server's own, for who looks in schema lures first
$node->safe_psql('postgres', q{
	CREATE SCHEMA lures;
	GRANT USAGE ON SCHEMA lures TO PUBLIC;
	CREATE FUNCTION lures.lure() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'lured'; END $$;
	CREATE FUNCTION lures.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT NULL::timestamptz FROM lures.lure() $$;
	CREATE FUNCTION lures.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT NULL::timestamptz FROM lures.lure() $$;
	CREATE FUNCTION lures.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE sql AS $$ SELECT NULL::bigint FROM lures.lure() $$;
	CREATE FUNCTION lures.unnest(int[]) RETURNS SETOF int LANGUAGE sql AS $$ SELECT NULL::int FROM lures.lure() $$;
	CREATE FUNCTION lures.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS $$ SELECT NULL::text FROM lures.lure() $$;
	CREATE FUNCTION lures.nextval(regclass) RETURNS bigint LANGUAGE sql AS $$ SELECT NULL::bigint FROM lures.lure() $$;
	CREATE DOMAIN lures.text AS pg_catalog.text CHECK (lures.lure());
	CREATE DOMAIN lures.jsonb AS pg_catalog.jsonb CHECK (lures.lure());
	CREATE DOMAIN lures.oid AS pg_catalog.oid CHECK (lures.lure())});
foreach my $type ('bigint', 'int', 'pg_catalog.oid', 'pg_catalog.text', 'timestamptz')
{
	(my $name = $type) =~ s/\W/_/g;
	$node->safe_psql('postgres', "CREATE FUNCTION lures.cmp_$name($type, $type) RETURNS boolean LANGUAGE sql AS 'SELECT lures.lure()'");
	$node->safe_psql('postgres', "CREATE OPERATOR lures.$_ (LEFTARG = $type, RIGHTARG = $type, FUNCTION = lures.cmp_$name)")
	  foreach '=', '<', '>', '<=', '>=', '<>';
}

# Each of these is a role's
my @cases = (
	[ default_transaction_read_only => 'on' ],
	[ default_transaction_isolation => q{'repeatable read'} ],
	[ default_transaction_isolation => 'serializable' ],
	[ default_transaction_isolation => 'serializable', default_transaction_read_only => 'on', default_transaction_deferrable => 'on' ],
	[ statement_timeout => q{'30 s'} ],
	[ lock_timeout => q{'30 s'} ],
	[ idle_in_transaction_session_timeout => '1' ],
	[ search_path => 'lures, pg_catalog, public' ],
	[ session_preload_libraries => q{'auto_explain'}, 'auto_explain.log_min_duration' => '0' ],
	[ local_preload_libraries => q{'$libdir/plugins/none'} ],
	[ session_replication_role => 'replica' ],
	[ row_security => 'off' ],
	[ map { ("enable_$_" => 'off') } qw(seqscan indexscan indexonlyscan bitmapscan tidscan nestloop sort material hashagg memoize) ],
	[ jit => 'on', jit_above_cost => '0', jit_inline_above_cost => '0', jit_optimize_above_cost => '0' ],
	[ plan_cache_mode => 'force_custom_plan' ],
	[ plan_cache_mode => 'force_generic_plan' ],
	[ synchronous_commit => 'off' ],
	[ DateStyle => q{'SQL, DMY'}, IntervalStyle => 'sql_standard', TimeZone => q{'Pacific/Chatham'} ],
	[ IntervalStyle => 'postgres_verbose' ],
	[ bytea_output => 'escape', extra_float_digits => '-15' ],
	[ client_min_messages => 'debug5', log_statement => q{'all'}, log_min_messages => 'debug1' ],
	[ client_min_messages => 'error', log_min_messages => 'panic' ],
	[ xmloption => 'document' ],
	[ default_table_access_method => 'nowhere' ],
	[ default_tablespace => 'nowhere', temp_tablespaces => 'nowhere' ],
	[ check_function_bodies => 'off', transform_null_equals => 'on' ],
	[ standard_conforming_strings => 'off', escape_string_warning => 'on', backslash_quote => 'off' ],
	[ array_nulls => 'off', quote_all_identifiers => 'on' ],
	[ lc_messages => q{'C'}, lc_numeric => q{'C.UTF-8'}, lc_monetary => q{'C.UTF-8'} ],
	[ work_mem => q{'64kB'}, temp_buffers => q{'800kB'}, maintenance_work_mem => q{'1MB'} ],
	[ force_parallel_mode => 'on' ],
	[ force_parallel_mode => 'regress', parallel_setup_cost => '0', parallel_tuple_cost => '0', min_parallel_table_scan_size => '0' ],
	[ deadlock_timeout => q{'1 min'} ],
	[ role => 'other' ]);

$node->safe_psql('postgres', 'CREATE ROLE other; CREATE TABLE numbers AS SELECT generate_series(1, 5000) AS n; GRANT SELECT ON numbers TO PUBLIC');

# A join, a step that fails once, data of the run, a plan that can be parallel
my $workflow = q{
	SELECT flow_define('%s', ARRAY[
		flow_step('a', $$ INSERT INTO public.audit (run_id, step) VALUES (flow.run_id, 'a');
			SELECT json_build_object('user', session_user || ' ' || current_user,
				'shown', json_object_agg(n, current_setting(n))) FROM json_array_elements_text((flow.input->'names')::json) n $$),
		flow_step('b', $$ INSERT INTO public.audit (run_id, step) VALUES (flow.run_id, 'b');
			SELECT flow_set('k', '"kept"'), sum(n) AS v FROM public.numbers WHERE n * 2 > (flow.input->>'least')::float8 $$, after => '{a}'),
		flow_step('c', $$ INSERT INTO public.audit (run_id, step) VALUES (flow.run_id, 'c');
			SELECT 7 / (flow.attempt - 1) AS v $$, after => '{a}', retries => 2, retry_delay => '10 ms', no_retry_on => '{}'),
		flow_step('d', $$ INSERT INTO public.audit (run_id, step) VALUES (flow.run_id, 'd');
			SELECT flow_get('k') AS k, (b->>'v')::int + (c->>'v')::int AS sum, length(flow_idempotency_key()) AS key,
				current_setting('transaction_isolation') || ', ' || current_setting('transaction_read_only') AS mode $$, after => '{b,c}')])
};
my $output = q{{"k": "kept", "key": 64, "sum": 12502507, "mode": "read committed, off"}};

# What a worker sets itself, or the workflow
my %own = map { $_ => 1 } 'role', 'search_path', 'deadlock_timeout', 'local_preload_libraries', 'session_preload_libraries';
my $no = 0;
my %names;

# Those that keep a client from its work do nothing to a worker
sub is_for_clients
{
	my %settings = @_;

	return $settings{local_preload_libraries} || $settings{idle_in_transaction_session_timeout};
}

foreach my $case (@cases)
{
	my %settings = @$case;
	my $role = 'owner_' . ++$no;

	# of the role, or of the role in the database, in turns
	my $where = $no % 2 ? '' : 'IN DATABASE postgres';

	flow_owner($node, $role);
	$node->safe_psql('postgres', "GRANT other TO $role") if $settings{role};
	$node->safe_psql('postgres', join(';', map { "ALTER ROLE $role $where SET $_ = $settings{$_}" } sort keys %settings));
	$names{$role} = join(', ', map { "$_ = $settings{$_}" } sort keys %settings);

	# under these settings, as far as they let a client define something
	$node->safe_psql('postgres', "SET ROLE $role; BEGIN READ WRITE ISOLATION LEVEL READ COMMITTED; "
		  . sprintf($workflow, $role) . '; COMMIT', extra_params => [ '-U', is_for_clients(%settings) ? 'postgres' : $role ]);
}

# Started by another, and by the owner under these settings
foreach my $i (1 .. $no)
{
	my %settings = @{ $cases[ $i - 1 ] };
	my $input = '{"least": 1, "names": [' . join(', ', map { "\"$_\"" } grep { !$own{$_} } sort keys %settings) . ']}';

	$node->safe_psql('postgres', qq{SELECT flow_start('owner_$i', '$input') FROM generate_series(1, 2)});
	$node->safe_psql('postgres', qq{SET ROLE owner_$i; BEGIN READ WRITE; SELECT flow_start('owner_$i', '$input'); COMMIT},
		extra_params => [ '-U', is_for_clients(%settings) ? 'postgres' : "owner_$i" ]);
}
wait_for_end($node, 'all runs end');
is_consistent($node, 'effects and states agree, whatever the settings');

foreach my $i (1 .. $no)
{
	my $role = "owner_$i";
	my %settings = @{ $cases[ $i - 1 ] };
	my @shown = grep { !$own{$_} } sort keys %settings;
	my $wanted = "completed|3|$output|$role $role";
	my $got = value($node, qq{SELECT r.status, count(*), r.output, a.output->>'user' FROM flow.run r JOIN flow.step a ON a.run_id = r.id AND a.name = 'a'
		WHERE r.workflow = '$role' GROUP BY r.status, r.output, a.output->>'user'});

	is($got, $wanted, "right results with $names{$role}");
	is(value($node, qq{SELECT string_agg(DISTINCT s.attempt || ' ' || s.status, ',') FROM flow.step s JOIN flow.run r ON r.id = s.run_id
		WHERE r.workflow = '$role' AND s.name = 'c'}), '2 completed', '... the step that fails once was tried twice');
	is(value($node, qq{SELECT string_agg(e.status, ',' ORDER BY e.status DESC) FROM flow.event e WHERE e.workflow = '$role'}), 'started,started,started,completed,completed,completed', '... and the ends were announced');
	next if !@shown;
	is(value($node, qq{SELECT DISTINCT s.output->'shown'->>n FROM flow.step s JOIN flow.run r ON r.id = s.run_id, unnest(ARRAY['}
			  . join("','", @shown) . qq{']) n WHERE r.workflow = '$role' AND s.name = 'a' ORDER BY 1}),
		value($node, q{SELECT DISTINCT current_setting(n) FROM pg_catalog.unnest(ARRAY['} . join("','", @shown) . q{']) n ORDER BY 1},
			extra_params => [ '-U', $role ]), '... which the steps saw as a login does');
}

# All at once, of the database
$node->safe_psql('postgres', 'CREATE DATABASE hostile');
$node->safe_psql('hostile', q{
	CREATE EXTENSION flow;
	CREATE ROLE someone LOGIN;
	GRANT USAGE, CREATE ON SCHEMA flow TO someone;
	GRANT other TO someone;
	CREATE TABLE audit (run_id bigint, step text, who text DEFAULT session_user || ' ' || current_user);
	CREATE TABLE numbers AS SELECT generate_series(1, 5000) AS n;
	GRANT SELECT, INSERT ON audit, numbers TO PUBLIC});
$node->safe_psql('hostile', 'SET ROLE someone; ' . sprintf($workflow, 'all'));
my %all = map { @$_ } grep { !is_for_clients(@$_) } @cases;
$node->safe_psql('postgres', "ALTER DATABASE hostile SET $_ = $all{$_}") foreach sort keys %all;
my $run = $node->safe_psql('hostile', q{SET ROLE NONE; BEGIN READ WRITE; SELECT flow_start('all', '{"names": [], "least": 1}'); COMMIT});
is($node->safe_psql('hostile', qq{SET ROLE NONE; BEGIN ISOLATION LEVEL READ COMMITTED; SELECT status, output FROM flow_await($run, '60 s'); COMMIT}),
	"completed|$output", 'right results with all of them, of the database');
is($node->safe_psql('hostile', q{SELECT string_agg(DISTINCT who, ','), count(*) FROM public.audit}), 'someone someone|4', '... as the owner, who is not made another by them');

# The engine's own statements are planned as ever, whoever's worker runs them
my %role_of = map { split / / } split /\n/,
  $node->safe_psql('postgres', q{SELECT DISTINCT pid || ' ' || role FROM audit});
my $log = slurp_file($node->logfile);
my ($planned, %bad, %parallel) = (0);
while ($log =~ /^\[(\d+)\]  LOG:  duration: [\d.]+ ms  plan:\n((?:\t[^\n]*\n)+)/mg)
{
	my ($pid, $plan) = ($1, $2);

	next if !$role_of{$pid} || $plan !~ /Query Text:[^\n]*flow_internal\./;
	$planned++;
	$bad{ $role_of{$pid} } = $plan if $plan =~ /Seq Scan on|Hash Join|Merge Join|Gather|ANY \('\{/;
}
cmp_ok($planned, '>', 10 * $no, 'the plans of the statements of workers are in the log');
is($bad{$_}, undef, "plans with $names{$_}") foreach sort keys %bad;
is(scalar keys %bad, 0, 'they read by index, alone, by plans that are kept, whatever the settings');
$parallel{$1} = 1 while $log =~ /registering background worker "parallel worker for PID (\d+)"/g;
ok((grep { $parallel{$_} } keys %role_of), 'steps had parallel workers of their own');

$node->stop;
done_testing();
