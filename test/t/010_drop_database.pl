# A database can be dropped, renamed and used as a template while flow is in it,
# idle or busy.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('drop');
my ($code, $out, $err);

sub busy_database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, q{
		CREATE EXTENSION flow;
		SELECT flow_define('long', ARRAY[flow_step('s', $$ SELECT pg_sleep(600) $$)]);
		SELECT flow_define('short', ARRAY[flow_step('s', $$ SELECT 1 $$)])});
}

sub workers
{
	my ($name) = @_;

	return "(SELECT count(*) FROM pg_stat_activity WHERE datname = '$name' AND backend_type ~ 'flow')";
}

# Idle: a scheduler and a worker are there
busy_database('idle');
my $run = value($node, q{SELECT flow_start('short')}, database => 'idle');
is(value($node, "SELECT status FROM flow_await($run, '30 s')", database => 'idle'), 'completed', 'a run ended in the database');
wait_for($node, workers('idle') . ' > 0', 'its processes are there');
($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE idle', timeout => 60);
is($code, 0, 'a database with idle workers can be dropped') or diag($err);

# Busy: a step is running
busy_database('busy');
value($node, q{SELECT flow_start('long')}, database => 'busy');
wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'busy' AND backend_type ~ 'flow' AND wait_event = 'PgSleep')}, 'a step is running');
($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE busy', timeout => 60);
is($code, 0, 'a database with a busy worker can be dropped') or diag($err);

# Renamed: work goes on under the new name
busy_database('old');
wait_for($node, workers('old') . ' > 0', 'processes of the database to be renamed are there');
($code, $out, $err) = $node->psql('postgres', 'ALTER DATABASE old RENAME TO new', timeout => 60);
is($code, 0, 'a database can be renamed') or diag($err);
$run = value($node, q{SELECT flow_start('short')}, database => 'new');
is(value($node, "SELECT status FROM flow_await($run, '30 s')", database => 'new'), 'completed', '... and runs go on in it');

# As a template, which runs nothing in the copy
($code, $out, $err) = $node->psql('postgres', 'CREATE DATABASE copy TEMPLATE new', timeout => 60);
is($code, 0, 'a database can be a template') or diag($err);
$run = value($node, q{SELECT flow_start('short')}, database => 'new');
is(value($node, "SELECT status FROM flow_await($run, '30 s')", database => 'new'), 'completed', '... and runs go on in the original');

# One that may not: refused before anybody is disturbed
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE new', extra_params => [ '-U', 'nobody' ]);
like($err, qr/must be owner/, 'dropping needs the right to');

# DROP EXTENSION and CREATE EXTENSION again
$node->safe_psql('new', 'DROP EXTENSION flow CASCADE');
$node->safe_psql('new', q{CREATE EXTENSION flow; SELECT flow_define('short', ARRAY[flow_step('s', $$ SELECT 1 $$)])});
$run = value($node, q{SELECT flow_start('short')}, database => 'new');
is(value($node, "SELECT status FROM flow_await($run, '30 s')", database => 'new'), 'completed', 'an extension that was created again works');

$node->stop;
done_testing();
