# In a database without the extension a scheduler looks once, and leaves.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('launcher', log_min_messages => 'debug1', 'flow.worker_idle_timeout' => 1);

$node->safe_psql('postgres', 'CREATE DATABASE plain');
my $plain = value($node, q{SELECT oid FROM pg_database WHERE datname = 'plain'});
my $registered = qr/DEBUG:  registering background worker "flow scheduler for database $plain"/;

# How often a scheduler has been registered there since the last call
my $offset = -s $node->logfile;
sub registrations
{
	my $log = slurp_file($node->logfile, $offset);

	$offset += length $log;
	return scalar(() = $log =~ /$registered/g);
}

# Something that takes so long that a loop would show
sub run_later
{
	my ($what) = @_;
	my $run = value($node, q{SELECT flow_start('one', start_at => now() + interval '3 s')});

	is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', $what);
	return;
}

$node->safe_psql('postgres', q{SELECT flow_define('one', ARRAY[flow_step('s', 'SELECT 1')])});

# The launcher looks at every database when it starts ...
$offset = -s $node->logfile;
$node->restart;
run_later('a run in another database');
is(registrations(), 1, 'a scheduler has looked once after the start');

# ... and when the configuration is loaded
$offset = -s $node->logfile;
$node->reload;
$node->wait_for_log($registered, $offset);
run_later('a run after a reload');
is(registrations(), 1, 'a scheduler has looked once after a reload');

# Told of the extension, it stays; and when that has gone, it leaves for good
$node->safe_psql('plain', 'CREATE EXTENSION flow');
$node->safe_psql('plain', q{SELECT flow_define('here', ARRAY[flow_step('s', 'SELECT 1')])});
my $run = $node->safe_psql('plain', q{SELECT flow_start('here')});
is($node->safe_psql('plain', "SELECT status FROM flow_await($run, '30 s')"), 'completed', 'runs are done once the extension is there');
cmp_ok(registrations(), '>=', 1, 'by a scheduler that was started for it');
$node->safe_psql('plain', 'DROP EXTENSION flow CASCADE');
ok($node->poll_query_until('postgres', qq{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'plain' AND backend_type LIKE 'flow%')}), 'its processes leave');
registrations();
run_later('a run after it has gone');
cmp_ok(registrations(), '<=', 1, 'at most one scheduler has looked since');
is(value($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'plain'}), '0', 'nobody is there');

$node->stop;
done_testing();
