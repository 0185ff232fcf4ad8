# Steps that take the server, or their worker, down: few crashes, then the step
# fails, or its definition is held back; all others go on.
use strict;
use warnings;
use FlowTest;
use List::Util qw(max);
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = flow_node('poison', restart_after_crash => 'on', 'flow.crash_delay' => 1);

flow_owner($node, 'shop');
flow_audit($node);

# A function of the server's, told that a number is a pointer: it reads at zero
$node->safe_psql('postgres', q{
	CREATE FUNCTION segv(bigint) RETURNS cstring LANGUAGE internal VOLATILE AS 'textout';
	CREATE FUNCTION crash() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM segv(0) IS NULL; END $$;
});

sub crashes
{
	my @crashes = slurp_file($node->logfile) =~ /was terminated by signal 11/g;

	return scalar @crashes;
}

# A process of its own that connects all the time, and notes when it could
my $connected = $node->basedir . '/connected';

sub start_client
{
	my $test = $$;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	$SIG{TERM} = sub { POSIX::_exit(0) };
	open my $times, '>', $connected or POSIX::_exit(1);
	$times->autoflush;
	while (getppid() == $test)
	{
		printf $times "%.3f\n", time if defined ask($node, 'SELECT 1');
		linger(50);
	}
	POSIX::_exit(0);
}

# The longest time in which it could not
sub stop_client
{
	my ($pid) = @_;
	my @times;

	kill 'TERM', $pid;
	waitpid $pid, 0;
	@times = (split(/\n/, slurp_file($connected)), time);
	return max(0, map { $times[$_] - $times[ $_ - 1 ] } 1 .. $#times);
}

sub define
{
	my ($name, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',', @steps) . '])',
		extra_params => [ '-U', 'shop' ]);
}

# Starts runs of several workflows at once, as [name, count, input] each, and returns
# the id of the one that is started once.  The server may crash before psql has
# the answer.
my $batch = 0;

sub start
{
	my @wanted = @_;
	my @calls;

	$batch++;
	push @calls, sprintf(q{PERFORM flow_start('%s', '%s', %s) FROM generate_series(1, %d)},
		$_->[0], $_->[2] // '{}', $_->[1] == 1 ? "'batch $batch'" : 'NULL', $_->[1])
	  foreach @wanted;
	ask($node, 'DO $$ BEGIN ' . join('; ', @calls) . '; END $$', extra_params => [ '-U', 'shop' ]);
	return undef if !grep { $_->[1] == 1 } @wanted;
	wait_through($node, "EXISTS (SELECT FROM flow.run WHERE key = 'batch $batch')");
	return eventually("SELECT max(id) FROM flow.run WHERE key = 'batch $batch'");
}

# A value, asked for again when the server crashes meanwhile
sub eventually
{
	my ($sql) = @_;
	my $answer;

	while (!defined $answer && wait_through($node, 'true'))
	{
		$answer = ask($node, $sql);
	}
	return $answer;
}

define('good', audited('a'), audited('b', q{after => '{a}'}));
define('poison', audited('before'), audited('bad', q{after => '{before}', retries => 5}, 'SELECT crash()'), audited('never', q{after => '{bad}'}));

# One poison step in the middle of much other work
my $client = start_client();
my $run = start([ 'good', 300 ], [ 'poison', 1 ], [ 'good', 300 ]);
wait_through($node, "(SELECT status = 'failed' FROM flow.run WHERE id = $run)", 'a step that takes the server down fails');
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'all others end');
cmp_ok(crashes(), '<=', 3, '... after three crashes at most');
is(value($node, "SELECT error->>'sqlstate', error->>'step' FROM flow.run WHERE id = $run"), 'WF005|bad', 'the run says what it was');
is(value($node, "SELECT attempt, crashes, status FROM flow.step WHERE run_id = $run AND name = 'bad'"), '1|2|failed', 'crashes are no attempts');
is(value($node, "SELECT sqlstate, detail ~ '2 times', hint ~ 'flow_retry' FROM flow.attempt WHERE run_id = $run"), 'WF005|t|t', '... and the attempt is recorded');
is(value($node, q{SELECT status, count(*) FROM flow.run WHERE workflow = 'good' GROUP BY 1}), 'completed|600', 'the others complete');
is(value($node, q{SELECT count(*) FROM flow_internal.crash c JOIN flow.run r ON r.id = c.run_id WHERE charged AND r.workflow = 'good'}), '0', '... and none of them is charged');
is_consistent($node);
like(slurp_file($node->logfile), qr/WARNING:  a process went down while it ran step 2 of run $run/, 'the log names it');

# After a retry by hand it has the same chances again
my $before = crashes();
ask($node, "SELECT flow_retry($run)", extra_params => [ '-U', 'shop' ]);
wait_through($node, "(SELECT status = 'failed' FROM flow.run WHERE id = $run)", 'a retry by hand tries it again');
cmp_ok(crashes() - $before, q{>}, 0, "... really");
cmp_ok(crashes() - $before, q{<=}, 2, "... as carefully");

# Of a step that is bad with some inputs only, only those fail
define('some', audited('s', undef, q{SELECT CASE WHEN input ? 'bad' THEN crash() END}));
$run = start([ 'some', 20 ], [ 'some', 1, '{"bad": true}' ], [ 'some', 20 ]);
wait_through($node, "(SELECT status = 'failed' FROM flow.run WHERE id = $run)", 'a run with a bad input fails');
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'the others of the same step end');
is(value($node, q{SELECT status, count(*) FROM flow.run WHERE workflow = 'some' GROUP BY 1 ORDER BY 1}), "completed|40\nfailed|1", '... and complete');

# Ten runs of one that always is
$before = crashes();
define('worse', audited('bad', undef, 'SELECT crash()'));
start([ 'worse', 10 ], [ 'good', 100 ]);
wait_through($node, q{(SELECT count(*) > 0 FROM flow.stuck WHERE reason = 'quarantined')}, 'a step that always takes the server down is quarantined');
wait_through($node, q{(SELECT bool_and(status = 'completed') FROM flow.run WHERE workflow = 'good')}, '... while all others go on');
wait_through($node, q{NOT EXISTS (SELECT FROM flow_internal.task WHERE status = 'ready')}, '... and every run of it is held or over');
cmp_ok(crashes() - $before, '<=', 6, '... after six crashes at most');
note('report: ten runs of a step that always crashes: ', crashes() - $before, ' crashes');
is(value($node, q{SELECT DISTINCT s.status FROM flow.step s JOIN flow.run r ON r.id = s.run_id WHERE r.workflow = 'worse' AND r.status = 'running'}), 'held', 'its steps are held');
is(value($node, q{SELECT count(*) FROM audit WHERE step = 'bad'}), '0', 'nothing of it was committed');

# A crash loop would keep them out until the end of the test
my $longest = stop_client($client);
cmp_ok($longest, '<', 20, 'clients could connect all the time, but for moments');
note(sprintf 'report: the longest of them: %.1f s', $longest);

# A step that follows another is held, too, and not run because that has just completed
define('late', audited('a'), audited('bad', q{after => '{a}'}, 'SELECT crash()'));
start([ 'late', 4 ]);
wait_through($node, q{(SELECT count(*) > 0 FROM flow.stuck WHERE reason = 'quarantined' AND workflow = 'late')}, 'a second step is quarantined');
wait_through($node, q{NOT EXISTS (SELECT FROM flow_internal.task WHERE status = 'ready')}, '... and every run of it is held or over');
$before = crashes();
my $late = start([ 'late', 1 ]);
wait_through($node, "(SELECT status = 'held' FROM flow.step WHERE run_id = $late AND name = 'bad')", 'in a new run it is held');
is(crashes(), $before, '... without a crash');

# Once the cause is mended they are let go
my $held = value($node, q{SELECT count(*) FROM flow_internal.task WHERE status = 'held'});
$node->safe_psql('postgres', q{CREATE OR REPLACE FUNCTION crash() RETURNS void LANGUAGE sql AS ''});
is(value($node, 'SELECT flow_release_all()'), $held, 'flow_release_all says how many runs it has released');
wait_for_end($node, '... and they end');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow IN ('worse', 'late') AND status = 'completed'}), $held, '... well');
is_consistent($node);

# A step under suspicion that meets nothing but conflicts fails like any other
$node->safe_psql('postgres', 'CREATE TABLE mark (name text); GRANT SELECT ON mark TO PUBLIC');
define('conflict', audited('a', undef, q{SELECT pg_sleep(60) WHERE NOT EXISTS (SELECT FROM mark WHERE name = 'conflict');
	DO 'BEGIN RAISE serialization_failure; END'}));
$run = start([ 'conflict', 1 ]);
wait_for($node, "EXISTS (SELECT FROM flow.activity WHERE run_id = $run)");
$node->safe_psql('postgres', "INSERT INTO mark VALUES ('conflict'); SELECT pg_terminate_backend(pid) FROM flow.activity WHERE run_id = $run");
wait_for($node, "(SELECT status = 'failed' FROM flow.run WHERE id = $run)", 'a step under suspicion that always conflicts fails');
is(value($node, "SELECT error->>'sqlstate' FROM flow.run WHERE id = $run"), '40001', '... with its own error');
is(value($node, "SELECT crashes FROM flow.step WHERE run_id = $run"), '1', '... after one death of its worker');

# A step that ends its own worker takes nobody along
$before = crashes();
define('suicide', audited('x', 'retries => 3', 'SELECT pg_terminate_backend(pg_backend_pid())'));
$run = start([ 'suicide', 1 ], [ 'good', 50 ]);
wait_for($node, "(SELECT status = 'failed' FROM flow.run WHERE id = $run)", 'a step that ends its own worker fails');
is(value($node, "SELECT error->>'sqlstate' FROM flow.run WHERE id = $run"), 'WF005', '... for that reason');
is(crashes(), $before, '... without a crash');
wait_for($node, q{(SELECT bool_and(status = 'completed') FROM flow.run WHERE workflow = 'good')}, 'others go on');

# A worker that an operator ends is charged once, and its step done again
define('slow', audited('a', undef, q{SELECT pg_sleep(60) WHERE NOT EXISTS (SELECT FROM mark WHERE name = input->>'until')}));
$run = start([ 'slow', 1, '{"until": "ended"}' ]);
wait_for($node, "EXISTS (SELECT FROM flow.activity WHERE run_id = $run)");
$node->safe_psql('postgres', "INSERT INTO mark VALUES ('ended'); SELECT pg_terminate_backend(pid) FROM flow.activity WHERE run_id = $run");
wait_for($node, "(SELECT status = 'completed' FROM flow.run WHERE id = $run)", 'a step whose worker was ended from outside is done again');
is(value($node, "SELECT crashes, attempt FROM flow.step WHERE run_id = $run"), '1|1', '... and charged');

# An orderly stop in the middle of a step charges nobody
$run = start([ 'slow', 1, '{"until": "stopped"}' ]);
wait_for($node, "EXISTS (SELECT FROM flow.activity WHERE run_id = $run)");
$node->safe_psql('postgres', "INSERT INTO mark VALUES ('stopped')");
$node->restart;
is(value($node, "SELECT crashes FROM flow.step WHERE run_id = $run"), '0', 'an orderly stop charges nobody');
is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', '... and the step is done again');

$node->stop;
done_testing();
