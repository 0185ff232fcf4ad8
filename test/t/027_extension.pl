# The extension dropped and created again: while steps run, in transactions that
# roll back, under load; and the schema of its functions renamed.
use strict;
use warnings;
use FlowTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = 20;
my $node = flow_node('extension', 'flow.workers' => 3);
my ($code, $out, $err);

$node->safe_psql('postgres', q{
	CREATE TABLE ran (round int, run bigint);
	CREATE TABLE refused (state text, message text);
	CREATE ROLE nobody LOGIN});

# Defines what a round needs: a step that tells the round it was defined in, and
# one that does not end
sub definitions
{
	my ($round, $schema) = @_;
	my $in = $schema ? "SET search_path = $schema, public;" : '';

	return $in . sprintf(q{
		SELECT flow_define('short', ARRAY[flow_step('s', $$ INSERT INTO public.ran VALUES (%d, flow_run_id()) $$)]);
		SELECT flow_define('long', ARRAY[flow_step('s', $$ SELECT pg_sleep(600) $$, batch => false)]);}, $round);
}

sub busy
{
	return q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow worker' AND wait_event = 'PgSleep')};
}

sub processes
{
	return q{(SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^flow (worker|scheduler)')};
}

sub worker_pids
{
	return value($node, q{SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM flow.activity WHERE type = 'worker'});
}

# Makes a worker busy with a step that does not end
sub make_busy
{
	my ($what) = @_;

	$node->safe_psql('postgres', q{SELECT flow_start('long')});
	return wait_for($node, busy(), $what);
}

# Runs SQL that waited for the step if nobody made it stop
sub quickly
{
	my ($sql, $what) = @_;

	($code, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 1, timeout => 60);
	is($code, 0, $what) or diag($err);
	return;
}

# ---- a step is running
$node->safe_psql('postgres', definitions(0));
make_busy('a step is running');
my $worker = value($node, q{SELECT pid FROM flow.activity WHERE run_id = 1});
($code, $out, $err) = $node->psql('postgres', 'DROP EXTENSION flow CASCADE', extra_params => [ '-U', 'nobody' ]);
like($err, qr/must be owner of extension flow/, 'dropping the extension needs the right to');
($code, $out, $err) = $node->psql('postgres', 'DROP OWNED BY postgres CASCADE', extra_params => [ '-U', 'nobody' ]);
like($err, qr/permission denied/, '... and so does dropping what its owner owns');
is(value($node, q{SELECT pid FROM flow.activity WHERE run_id = 1}), $worker, '... and who has not disturbs no step');

quickly('BEGIN; DROP EXTENSION flow CASCADE; ROLLBACK', 'the extension can be dropped while a step runs, and rolled back');
wait_for($node, busy(), '... then the step runs again');
quickly(q{BEGIN; SAVEPOINT a; DROP EXTENSION flow CASCADE; ROLLBACK TO a; SELECT flow_start('short'); COMMIT}, '... to a savepoint');
wait_for($node, busy(), '... then the step runs again');
quickly(q{DO $$ BEGIN DROP EXTENSION flow CASCADE; RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$; SELECT flow_start('short')}, '... in a block');
wait_for($node, q{(SELECT count(*) FROM ran) = 2}, '... and so does what was started');
wait_for($node, busy());
$node->safe_psql('postgres', 'CREATE VIEW of_ours AS SELECT status FROM flow.run');
($code, $out, $err) = $node->psql('postgres', 'DROP EXTENSION flow', timeout => 60);
like($err, qr/other objects depend on it/, 'a drop that fails');
wait_for($node, busy(), '... lets the step run again');
is(value($node, 'SELECT count(*) FROM flow.attempt'), '0', '... and charges it nothing');
quickly('DROP EXTENSION flow CASCADE', 'the extension is dropped while a step runs');
wait_for($node, processes() . ' = 0', '... and its processes leave');

# ---- by whatever drops it
foreach my $case (
	[ 'CREATE SCHEMA tools; CREATE EXTENSION flow SCHEMA tools;', 'DROP SCHEMA tools CASCADE', 'with its schema' ],
	[ 'CREATE ROLE keeper SUPERUSER; SET ROLE keeper; CREATE EXTENSION flow; RESET ROLE;', 'DROP OWNED BY keeper CASCADE', 'with what its owner owns' ])
{
	my ($create, $drop, $what) = @$case;
	my $schema = $create =~ /SCHEMA tools/ ? 'tools' : 'public';

	$node->safe_psql('postgres', $create . definitions(0, $schema) . q{SELECT flow_start('long')});
	wait_for($node, busy(), 'a step is running');
	quickly($drop, "the extension is dropped $what");
	wait_for($node, processes() . ' = 0', '... and its processes leave');
}

# ---- the schema of its functions gets another name, which the workers have to learn
$node->safe_psql('postgres', 'TRUNCATE ran; CREATE SCHEMA tools; CREATE EXTENSION flow SCHEMA tools;' . definitions(1, 'tools'));
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe('SET client_min_messages = warning');
my $await = 'SELECT status FROM %1$s.flow_await((SELECT max(id) FROM flow.run), \'60 s\')';
$session->query_safe(q{SELECT tools.flow_start('short')});
is($session->query_safe(sprintf $await, 'tools'), 'completed', 'a step that calls a function of the extension');
$worker = worker_pids();
$node->safe_psql('postgres', 'ALTER SCHEMA tools RENAME TO gear');
$session->query_safe(q{SELECT gear.flow_start('short') FROM generate_series(1, 20)});
wait_for_end($node, '... and runs started after its schema was renamed');
is(value($node, q{SELECT count(*) FROM flow.run WHERE status = 'completed'}), '21', '... find it there');
like(worker_pids(), qr/\b$worker\b/, '... in the worker that knew the old name');
$session->query_safe(q{SELECT gear.flow_drain(gear.flow_start('short'))});
$node->safe_psql('postgres', 'ALTER SCHEMA gear RENAME TO tools');
is($session->query_safe(q{SELECT tools.flow_drain(tools.flow_start('short'))}), '1', '... and so does a client');
quickly('DROP SCHEMA tools CASCADE', 'the extension is dropped');

# ---- one session through many installations; their definitions have the same numbers
$session->query_safe('CREATE EXTENSION flow');
foreach my $round (1 .. 3)
{
	$session->query_safe('BEGIN; DROP EXTENSION flow CASCADE; CREATE EXTENSION flow;' . definitions(100 + $round) . 'COMMIT');
	$session->query_safe(q{SELECT flow_start('short')});
	is($session->query_safe(sprintf $await, 'public'), 'completed', 'a run of an installation that replaced another');
	$session->query_safe(q{SELECT flow_drain(flow_start('short'))});
	is(value($node, 'SELECT count(*) FROM ran WHERE round = ' . (100 + $round)), '2', '... is of its own definition');
}

# ---- two at once
my $other = $node->background_psql('postgres', on_error_stop => 0);
make_busy('a step is running');
$session->query_safe('BEGIN; DROP EXTENSION flow CASCADE');
$other->query_until(qr/begun/, "\\echo begun\nDROP EXTENSION flow CASCADE;\n\\echo ended\n");
wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'DROP EXTENSION%' AND wait_event_type = 'Lock')}, 'a second session waits to drop it');
$session->query_safe('CREATE EXTENSION flow; COMMIT');
$other->query_until(qr/ended/, '');
$session->query_safe('DROP EXTENSION IF EXISTS flow CASCADE; CREATE EXTENSION flow;' . definitions(200) . q{SELECT flow_start('short')});
is($session->query_safe(sprintf $await, 'public'), 'completed', 'it works whichever was the last');
$other->quit;

# ---- under load
$node->safe_psql('postgres', 'DROP EXTENSION flow CASCADE; TRUNCATE ran');
my $script = $node->basedir . '/start.sql';
append_to_file($script, q{
DO $$ BEGIN
	PERFORM flow_start('short');
EXCEPTION WHEN others THEN
	INSERT INTO refused VALUES (SQLSTATE, SQLERRM);
END $$;
});
my $offset = -s $node->logfile;
my ($load_out, $load_err) = ('', '');
my $load = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 2, '-T', 600, '-R', 200, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', \$load_out, '2>', \$load_err);
my ($late, $failed, $incomplete) = (0, 0, 0);
foreach my $round (1 .. $rounds)
{
	my $setup = 'CREATE EXTENSION flow;' . definitions($round);
	my $drop = 'DROP EXTENSION IF EXISTS flow CASCADE;';

	($code, $out, $err) = $node->psql('postgres',
		$round % 3 == 0 ? "BEGIN; $drop ROLLBACK; $drop $setup" :
		$round % 3 == 1 ? "$drop $setup" : "BEGIN; $drop $setup COMMIT;",
		on_error_stop => 1, timeout => 60);
	$failed++ if $code != 0;
	diag("round $round: $err") if $code != 0;
	my $seen = value($node, "SELECT count(*) FROM ran WHERE round < $round");
	my ($long, $short) = split /\|/, value($node, q{SELECT flow_start('long'), flow_start('short')});
	wait_for($node, busy());
	$incomplete++ if value($node, "SELECT status FROM flow_await($short, '60 s')") ne 'completed';
	$late++ if value($node, "SELECT count(*) FROM ran WHERE round < $round") != $seen;
}
is($failed, 0, "$rounds rounds of dropping and creating under load went through");
is($incomplete, 0, '... in each of them a run completed');
is($late, 0, '... and nothing of an installation ran after it');
$load->signal('TERM');
$load->finish;
is(value($node, q{SELECT string_agg(DISTINCT state || ' ' || message, '; ') FROM refused WHERE state LIKE 'XX%'}), '', 'clients met no internal error');
cmp_ok(value($node, q{SELECT count(*) FROM ran}), '>', $rounds, '... and their runs were run');

quickly('DROP EXTENSION flow CASCADE', 'the extension is dropped');
wait_for($node, processes() . ' = 0', 'no process is left over');
my $log = slurp_file($node->logfile, $offset);
unlike($log, qr/PANIC|TRAP|was terminated by signal/, 'nobody crashed');
cmp_ok(scalar(() = $log =~ /FATAL:  terminating background worker/g), '<=', 3 * ($rounds * 4 / 3), 'the log has a line per worker that was busy');
is(join("\n", $log =~ /((?:WARNING|ERROR): .*flow.*)/g), '', '... and no complaint');

$session->quit;
$node->stop;
done_testing();
