# A process that starts while the configuration is reloaded: it is registered
# before and forked after, or forked before and not yet able to handle SIGHUP.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use RaceTest;
use Test::More;

my $node = race_node('reload', log_min_messages => 'debug1', 'flow.worker_idle_timeout' => 600);

# A chain of runs that never ends, so that no process leaves for want of work
$node->safe_psql('postgres', q{
	SELECT flow_define('endless', ARRAY[} . audited('s', undef, q{SELECT flow_start('endless'), pg_sleep(0.005)}) . q{]);
	SELECT flow_start('endless')});

sub databases
{
	my ($names) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET flow.databases = '$names'");
	$node->reload;
	return;
}

sub count
{
	my ($type) = @_;

	return "(SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'flow $type')";
}

# Lets a process that is started sleep right after its fork, where the
# server does not let it handle signals yet
sub delay_start
{
	my ($seconds) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET post_auth_delay = $seconds");
	$node->reload;
	return;
}

sub ends
{
	my ($type) = @_;

	wait_for($node, count($type) . ' = 1', "there is a $type");
	is(value($node, q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type = 'flow } . "$type'"), 't', '... which is ended');
	return;
}

sub left
{
	my ($what) = @_;

	wait_for($node, count('%') . ' = 0', "$what has left a database that is not in flow.databases");
	return;
}

# Registered before, forked after
workers($node, 1);
arm($node, 'staff-start', 'wait');
ends('worker');
wait_at($node, 'staff-start', 1, 'another is about to be registered');
my $offset = -s $node->logfile;
databases('nowhere');
$node->wait_for_log(qr/received SIGHUP/, $offset);
disarm($node);
left('a worker that was registered before flow.databases was changed');

# Forked before, and deaf yet
foreach my $type ('worker', 'scheduler')
{
	databases('');
	wait_for($node, count('worker') . ' = 1', 'work goes on');
	$offset = -s $node->logfile;
	delay_start(3);
	$node->wait_for_log(qr/parameter "post_auth_delay" changed to "3"/, $offset);
	ends($type);
	$offset = $node->wait_for_log(qr/starting background worker process "flow $type/, $offset);
	append_to_file($node->data_dir . '/postgresql.auto.conf', "flow.databases = 'nowhere'\npost_auth_delay = 0\n");
	$node->reload;
	ok($node->wait_for_log(qr/background worker "flow $type" \(PID \d+\) exited with exit code 0/, $offset), "a $type that was forked before flow.databases was changed ends");
	left('everybody');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET post_auth_delay');
}
databases('');
wait_for($node, count('worker') . ' = 1', 'work goes on');
$node->safe_psql('postgres', q{SELECT flow_drop('endless', force => true)});
wait_for_end($node);
is_consistent($node);

$node->stop;
done_testing();
