# A worker that ends before it has done anything: its role may not log in any more
# by the time it connects, or it dies as soon as it has connected.  The run is
# not lost, nobody starts processes in a tight loop, and others go on.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use RaceTest;
use Test::More;

my $node = race_node('staff', log_min_messages => 'warning', 'flow.worker_idle_timeout' => 600);
my @shop = (extra_params => [ '-U', 'shop' ]);

flow_owner($node, $_) foreach 'shop', 'other';
$node->safe_psql('postgres', 'SELECT flow_define($$own$$, ARRAY[' . audited('s') . '])', @shop);
$node->safe_psql('postgres', 'SELECT flow_define($$beside$$, ARRAY[' . audited('s') . '])', extra_params => [ '-U', 'other' ]);
$node->safe_psql('postgres', q{REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO shop, other});

# How often the server has refused a worker since that place in the log
sub refusals
{
	my ($offset) = @_;

	return scalar(() = slurp_file($node->logfile, $offset) =~ /FATAL:  (role .* is not permitted to log in|permission denied for database|role .* does not exist)/g);
}

sub is_alone
{
	my $beside = value($node, q{SELECT flow_start('beside')});

	ends_as($node, $beside, 'completed', '... while another role has its workers');
	return;
}

# The scheduler has looked whether the role may connect; then that changes, and
# only the new process finds out, in an error that nobody sees
foreach my $case ([ 'ALTER ROLE shop NOLOGIN', 'ALTER ROLE shop LOGIN', 'owner cannot log in' ],
	[ 'REVOKE CONNECT ON DATABASE postgres FROM shop', 'GRANT CONNECT ON DATABASE postgres TO shop', 'owner may not connect' ])
{
	my ($bar, $mend, $reason) = @$case;
	my $offset = -s $node->logfile;

	wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND owner = 'shop' AND pg_terminate_backend(pid))});
	arm($node, 'staff-start', 'wait');
	my $run = value($node, q{SELECT flow_start('own')});
	wait_at($node, 'staff-start', 1, 'a worker is about to be registered');
	$node->safe_psql('postgres', $bar);
	disarm($node, 'staff-start');
	wait_for($node, "(SELECT reason = '$reason' FROM flow.stuck WHERE run_id = $run)", "$bar: the run is stuck, $reason");
	is_alone();
	$node->wait_for_log(qr/WARNING:  workflows of role "shop" do not run/, $offset);
	is(refusals($offset), 1, '... and one process was started in vain');
	is(run_state($node, $run), 'running', '... the run is not lost');
	$node->safe_psql('postgres', $mend);
	ends_as($node, $run, 'completed', "$mend: it goes on");
	is(effects($node, $run), 's', '... once');
}

# The role is dropped in that moment
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND owner = 'shop' AND pg_terminate_backend(pid))});
my $offset = -s $node->logfile;
arm($node, 'staff-start', 'wait');
my $left = value($node, q{SELECT flow_start('own')});
wait_at($node, 'staff-start', 1, 'a worker is about to be registered');
$node->safe_psql('postgres', 'DROP OWNED BY shop; DROP ROLE shop');
disarm($node, 'staff-start');
wait_for($node, "(SELECT reason = 'owner gone' FROM flow.stuck WHERE run_id = $left)", 'DROP ROLE: the run is stuck, owner gone');
is_alone();
cmp_ok(refusals($offset), '<=', 1, '... and at most one process was started in vain');
is(value($node, "SELECT flow_cancel($left)"), 't', '... it can be cancelled');

# Each worker dies as soon as it is there: served ever more rarely, and its runs
# are done when workers live again.  Each start is noted by the test point
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND pg_terminate_backend(pid))});
arm($node, 'worker-start', 'fatal', times => undef);
my @runs = split /\n/, value($node, q{SELECT flow_start('beside') FROM generate_series(1, 5)});
my $since = value($node, 'SELECT clock_timestamp()');
wait_for($node, "test.passed('worker-start') > 3", 'workers die at their start');
wait_for($node, "clock_timestamp() > '$since'::timestamptz + interval '3 s'");
my $starts = value($node, q{SELECT test.passed('worker-start')});
note("starts in three seconds: $starts");
cmp_ok($starts, '<=', 20, '... and are replaced ever more rarely');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'beside' AND status = 'running'}), 5, '... nothing is lost');
disarm($node, 'worker-start');
ends_as($node, $_, 'completed', 'workers live again: a run completes') foreach @runs;
is(value($node, 'SELECT count(*) FROM flow.attempt') . '|' . value($node, 'SELECT max(crashes) FROM flow.step'), '0|0', '... and nobody is charged');
is_consistent($node);

$node->stop;
done_testing();
