# Helpers of the races: a server whose library has test points, and clients
# that stand still in the middle of a statement.
package RaceTest;

use strict;
use warnings;
use Exporter qw(import);
use FlowTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  race_node fresh arm release disarm wait_at waiter
  client answer is_blocked steps_aside gated hold let_go running
  step_states run_state effects ends_as workers);

# A server with the audited table and the functions of points.sql
sub race_node
{
	my ($name, %conf) = @_;
	my $node = flow_node($name, restart_after_crash => 'on', 'flow.workers' => 3,
		log_min_messages => 'log', %conf);

	flow_audit($node);
	$node->safe_psql('postgres', slurp_file('test/races/points.sql'));
	return $node;
}

# Empties the queue and what workers have put aside, for a test in which a worker
# must not come to a point with an entry of the test before; nor with one that
# the scheduler finds in the tables as it starts
sub fresh
{
	my ($node) = @_;

	$node->restart;
	wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow scheduler' AND datname = 'postgres' AND state = 'idle')});
	return;
}

# Points that disarm() without a name is for
my %armed;

# Tells a point what to do; options as in points.sql, times => undef: always.
# With keep => 1, disarm() without a name does not concern it
sub arm
{
	my ($node, $point, $action, %options) = @_;

	$armed{$point} = 1 if !delete $options{keep};
	my @options = map {
		"$_ => " . (!defined $options{$_} ? 'NULL' : $options{$_} =~ /^\d+$/ && $_ ne 'argument' ? $options{$_} : "'$options{$_}'")
	} sort keys %options;

	$node->safe_psql('postgres', 'SELECT test.arm(' . join(', ', "'$point'", "'$action'", @options) . ')');
	return;
}

# Lets go who waits at a point, or one of them
sub release
{
	my ($node, $point, $pid) = @_;

	return value($node, "SELECT test.release('$point'" . ($pid ? ", $pid" : '') . ')');
}

# Takes back what a point was told, or all of them; who waits goes on
sub disarm
{
	my ($node, $point) = @_;

	$node->safe_psql('postgres', join ';', map { "SELECT test.disarm('$_')" } $point // sort keys %armed);
	return;
}

# Waits until so many processes wait at a point; without them the rest of a
# test makes no sense
sub wait_at
{
	my ($node, $point, $n, $what) = @_;

	$n //= 1;
	wait_for($node, "test.waiting('$point') >= $n", $what // "$n at $point") or die "nobody came to $point";
	return;
}

# The process that came to a point as the n-th (from 1) of those that wait there
sub waiter
{
	my ($node, $point, $n) = @_;

	return value($node, "SELECT (test.waiters('$point'))[" . ($n // 1) . ']');
}

# A client that runs a statement meanwhile, or several if given a list; answer()
# waits for its end and gives what it printed, and the SQLSTATE of an error
sub client
{
	my ($node, $sql, %params) = @_;
	my ($out, $err) = ('', '');
	my $client = { out => \$out, err => \$err };
	my @commands = map { ('-c', $_) } ref $sql ? @$sql : $sql;

	$client->{harness} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr($params{database} // 'postgres'), @commands ],
		'<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $client;
}

sub answer
{
	my ($client) = @_;

	$client->{harness}->finish;
	return join "\n", grep { $_ ne '' } split /\n/, ${ $client->{out} } . ${ $client->{err} };
}

# Waits until a client waits for a lock of the server's
sub is_blocked
{
	my ($node, $query, $what) = @_;

	return wait_for($node,
		"EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '$query%' AND wait_event_type = 'Lock')", $what // "$query waits");
}

# Waits until a worker has given up its transaction, since somebody holds the run
sub steps_aside
{
	my ($node, $pid, $what) = @_;

	return wait_for($node, "EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND xact_start IS NULL)", $what);
}

# A step that waits until its gate, an advisory lock, is free
sub gated
{
	my ($name, $gate, $options) = @_;

	return audited($name, $options, "SELECT pg_advisory_xact_lock($gate)");
}

# Holds gates in a session of its own
sub hold
{
	my ($node, @gates) = @_;
	my $holder = $node->background_psql('postgres', on_error_die => 1);

	$holder->query_safe("SELECT pg_advisory_lock($_)") foreach @gates;
	return $holder;
}

sub let_go
{
	my ($holder, $gate) = @_;

	$holder->query_safe("SELECT pg_advisory_unlock($gate)");
	return;
}

# The condition that a worker runs that step
sub running
{
	my ($run, $step) = @_;

	return "EXISTS (SELECT FROM flow.activity WHERE run_id = $run AND step = '$step')";
}

sub step_states
{
	my ($node, $run) = @_;

	return value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run");
}

sub run_state
{
	my ($node, $run) = @_;

	return value($node, "SELECT status FROM flow.run WHERE id = $run");
}

# The steps that have had an effect, in their order
sub effects
{
	my ($node, $run) = @_;

	return value($node, "SELECT string_agg(step, ' ' ORDER BY no) FROM audit WHERE run_id = $run");
}

# Sets the number of workers, and waits until there are no more
sub workers
{
	my ($node, $n) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET flow.workers = $n");
	$node->reload;
	wait_for($node, "current_setting('flow.workers')::int = $n AND (SELECT count(*) FROM flow.activity WHERE type = 'worker') <= $n");
	return;
}

# The run ends so, well before the sweep of each minute could help it
sub ends_as
{
	my ($node, $run, $status, $what) = @_;

	is(value($node, "SELECT status FROM flow_await($run, '40 s')"), $status, $what // "the run is $status");
	return;
}

1;
