# Control calls of three clients at random, while workers run the steps:
# every run completes, and each of its steps has had its effect once.
use strict;
use warnings;
use FlowTest;
use IPC::Run;
use List::Util qw(sum);
use PostgreSQL::Test::Utils;
use Test::More;

my $runs = 300;
my $clients = 3;
my $calls = 250;				# of each client
my $seed = $ENV{FLOW_TEST_SEED} // 4711;
my @verbs = qw(pause resume cancel retry cancel retry pause resume);

srand($seed);
note("seed $seed");

my $node = flow_node('control_storm', 'flow.workers' => 4, log_min_messages => 'log');

flow_audit($node);
$node->safe_psql('postgres', 'SELECT flow_define(\'storm\', ARRAY[' . join(',',
	audited('a'),
	audited('b', q{after => '{a}'}, 'SELECT pg_sleep(0.002)'),
	audited('c', q{after => '{a}'}, 'SELECT pg_sleep(0.004)'),
	audited('d', q{after => '{b,c}'}),
	audited('e', q{after => '{d}'})) . '])');

# They start in the course of two seconds, so that the calls meet runs in all
# states; each has a key, which a cancel gives back and a retry takes again
my ($first, $last) = split /\|/, value($node, qq{
	SELECT min(run), max(run) FROM (
		SELECT flow_start('storm', key => 'k' || i, start_at => clock_timestamp() + (i * 53 % $runs) * interval '2 s' / $runs) AS run
		FROM generate_series(1, $runs) i) s});

my @sessions;

foreach my $client (1 .. $clients)
{
	my ($out, $err) = ('', '');
	my $script = join '', map {
		sprintf "SELECT flow_%s(%d);\n", $verbs[ int(rand(@verbs)) ], $first + int(rand($last - $first + 1))
	} 1 .. $calls;
	my $session = { out => \$out, err => \$err };

	$script = "\\set VERBOSITY sqlstate\n$script";
	$session->{harness} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$script, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	push @sessions, $session;
}
$_->{harness}->finish foreach @sessions;

my %answers;

foreach my $session (@sessions)
{
	$answers{$_}++ foreach split /\n/, ${ $session->{out} };
	$answers{$_}++ foreach ${ $session->{err} } =~ /ERROR:  (\w+)/g;
}
note(join ', ', map { "$_: $answers{$_}" } sort keys %answers);
is(sum(values %answers), $clients * $calls, 'every call was answered');
is(join(' ', grep { !/^(t|f|WF001)$/ } sort keys %answers), '', '... with true, false or that it cannot be now');
cmp_ok($answers{t} // 0, '>', $calls / 5, 'many had an effect');

# Let all of them go on
steer($node, 'flow_resume', q{SELECT id FROM flow.run WHERE status = 'paused'});
steer($node, 'flow_retry', q{SELECT id FROM flow.run WHERE status = 'cancelled'});
wait_for($node, 'NOT EXISTS (SELECT FROM flow.run WHERE finished_at IS NULL)', 'all runs ended');

is(value($node, 'SELECT status, count(*) FROM flow.run GROUP BY status'), "completed|$runs", 'all runs completed');
is(value($node, 'SELECT count(*) FROM audit'), 5 * $runs, 'every step has had its effect');
is(value($node, 'SELECT count(*) FROM (SELECT FROM audit GROUP BY run_id, step HAVING count(*) > 1) d'), '0', '... once');
is(value($node, q{
	SELECT count(*) FROM flow_internal.run r
	WHERE (SELECT count(*) FILTER (WHERE status = 'completed') * 10 + count(*) FROM flow_internal.outcome o WHERE o.run_id = r.id) <> 55}),
	'0', 'every step has its outcome');
wait_for($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'no task is left');
is(value($node, 'SELECT count(*) FROM flow.run WHERE started_at IS NULL'), '0', 'all have a start');
is(value($node, 'SELECT count(*) FROM flow_internal.run_key'), '0', 'no key is taken');
is_consistent($node);

$node->stop;
done_testing();
