# Starters of one key, and what may be under way when a run starts: its scheduler
# leaves, the extension or the database is dropped.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('start');
my ($first, $second, $run);

$node->safe_psql('postgres', 'SELECT flow_define(\'one\', ARRAY[' . audited('s', q{batch => false}) . '])');

sub runs_of
{
	return value($node, "SELECT count(*) FROM flow.run WHERE key = '$_[0]'");
}

# A database whose scheduler leaves while the rest of this goes on; nothing else happens in it
$node->safe_psql('postgres', 'CREATE DATABASE quiet');
$node->safe_psql('quiet', q{CREATE EXTENSION flow; SELECT flow_define('one', ARRAY[flow_step('s', 'SELECT 1')])});
my $quiet = value($node, q{SELECT oid FROM pg_database WHERE datname = 'quiet'});
arm($node, 'scheduler-leave', 'wait', database => $quiet, keep => 1);

# Two starters of one key; the second waits for what becomes of the first
my $key = 0;
foreach my $fate ('commit', 'error', 'fatal')
{
	$key++;
	arm($node, 'start-insert', 'wait');
	$first = client($node, "SELECT flow_start('one', key => '$key')");
	wait_at($node, 'start-insert');
	$second = client($node, "SELECT  flow_start('one', key => '$key')");
	is_blocked($node, 'SELECT  flow_start', 'the second starter of a key waits');
	if ($fate eq 'commit')
	{
		disarm($node);
	}
	else
	{
		my $how = $fate eq 'error' ? 'pg_cancel_backend' : 'pg_terminate_backend';

		$node->safe_psql('postgres', "SELECT $how((test.waiters('start-insert'))[1])");
	}
	my ($a, $b) = (answer($first), answer($second));
	like($b, qr/^\d+$/, "$fate of the first: the second is given a run");
	is($a, $b, '... the same one') if $fate eq 'commit';
	is(runs_of($key), 1, '... there is one run');
	ends_as($node, $b, 'completed');
	disarm($node);
}

# Both come to the key at the same time; with every on_conflict one run is
# started, and the other starter is told as it has asked for
my %answers = (return => qr/^(\d+) \1$/, skip => qr/^\d+ ?$/, error => qr/^\d+ ERROR:  WF003$/, cancel => qr/^\d+ \d+$/);
foreach my $conflict (sort keys %answers)
{
	$key++;
	arm($node, 'execute-begin', 'wait', process => 'worker', times => undef);
	arm($node, 'start-key', 'wait', times => 2);
	my @clients = map { client($node, "SELECT flow_start('one', key => '$key', on_conflict => '$conflict')") } 1 .. 2;
	wait_at($node, 'start-key', 2);
	disarm($node, 'start-key');
	like(join(' ', sort { $b =~ /^\d/ <=> $a =~ /^\d/ || $a cmp $b } map { answer($_) } @clients), $answers{$conflict}, "two at once, on_conflict $conflict");
	is(value($node, "SELECT count(*) FROM flow.run WHERE key = '$key' AND status = 'running'"), 1, '... one run is in progress');
	disarm($node);
	wait_for_end($node);
}

# Started when the run that has the key is just ending
foreach my $point ('flush-locked', 'flush-written', 'commit')
{
	$key++;
	arm($node, $point, 'wait', process => 'worker');
	my $earlier = value($node, "SELECT flow_start('one', key => '$key')");
	wait_at($node, $point);
	my $later = client($node, "SELECT  flow_start('one', key => '$key')");
	disarm($node) if $point eq 'flush-locked' ? 1 : is_blocked($node, 'SELECT  flow_start', "a start waits while the run of its key ends at $point");
	my $given = answer($later);
	like($given, qr/^\d+$/, '... a run is given');
	ends_as($node, $given, 'completed', '... it completes');
	is(runs_of($key), $given == $earlier ? 1 : 2, '... it is a new one, or the same');
}

wait_for_end($node);
is_consistent($node);

# DROP EXTENSION while a worker stands between claim and commit, and a new one
# at once: the worker is ended, and what it had not committed has not been done;
# what is committed it can tell everybody first
$node->safe_psql('postgres', 'CREATE DATABASE other');
my $other = value($node, q{SELECT oid FROM pg_database WHERE datname = 'other'});
$node->safe_psql('other', 'CREATE TABLE done (n int)');

sub create_other
{
	$node->safe_psql('other', q{CREATE EXTENSION flow;
		SELECT flow_define('one', ARRAY[flow_step('s', 'INSERT INTO done VALUES (1)', batch => false)])});
	return;
}

my $log = -s $node->logfile;

create_other();
foreach my $point ('take-popped', 'claim-end', 'flush-begin', 'flush-written', 'push-begin')
{
	arm($node, $point, 'wait', process => 'worker', database => $other);
	$node->safe_psql('other', q{TRUNCATE done; SELECT flow_start('one')});
	wait_at($node, $point);
	my $drop = client($node, 'DROP EXTENSION flow CASCADE', database => 'other');
	disarm($node) if $point eq 'push-begin' && wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'DROP EXTENSION%' AND state = 'active')});
	is(answer($drop), '', "DROP EXTENSION while a worker stands at $point");
	disarm($node);
	is(value($node, 'SELECT count(*) FROM done', database => 'other'), $point eq 'push-begin' ? 1 : 0, '... the step has had its effect before, or not at all');
	create_other();
	$run = value($node, q{SELECT flow_start('one')}, database => 'other');
	is(value($node, "SELECT status FROM flow_await($run, '40 s')", database => 'other'), 'completed', '... a new installation works');
}
ok(!$node->log_contains('could not be recorded: extension', $log), 'what was queued for a dropped extension is forgotten');

# ... and rolled back: the step is done again
foreach my $point ('take-popped', 'claim-end', 'flush-written')
{
	arm($node, $point, 'wait', process => 'worker', database => $other);
	$node->safe_psql('other', 'TRUNCATE done');
	$run = value($node, q{SELECT flow_start('one')}, database => 'other');
	wait_at($node, $point);
	is(answer(client($node, [ 'BEGIN', 'DROP EXTENSION flow CASCADE', 'ROLLBACK' ], database => 'other')), '', "DROP EXTENSION is rolled back, at $point");
	disarm($node);
	is(value($node, "SELECT status FROM flow_await($run, '40 s')", database => 'other'), 'completed', '... the run completes');
	is(value($node, 'SELECT count(*) FROM done', database => 'other'), 1, '... the effect is there once');
}

# The scheduler of the quiet database has decided to leave when a run starts
wait_at($node, 'scheduler-leave', 1, 'a scheduler leaves');
$run = value($node, q{SELECT flow_start('one')}, database => 'quiet');
disarm($node, 'scheduler-leave');
is(value($node, "SELECT status FROM flow_await($run, '40 s')", database => 'quiet'), 'completed', 'a run that starts meanwhile completes');

# A database is let go: while the command waits for our processes, a request does
# not bring them back; when it is given up, they come
sub drop_at_letgo
{
	arm($node, 'letgo-wait', 'wait', process => 'client');
	$run = value($node, q{SELECT flow_start('one')}, database => 'other');
	my $drop = client($node, 'DROP DATABASE other');
	wait_at($node, 'letgo-wait', 1, 'DROP DATABASE waits for our processes');
	return $drop;
}

my $ours = "FROM pg_stat_activity WHERE datname = 'other' AND backend_type ~ '^flow'";
arm($node, 'execute-begin', 'wait', database => $other, times => undef);
my $drop = drop_at_letgo();
wait_for($node, "NOT EXISTS (SELECT $ours)", '... they have left');
disarm($node, 'execute-begin');
$run = value($node, q{SELECT flow_start('one')}, database => 'other');
is(value($node, "SELECT count(*) $ours"), 0, '... and do not come back for a run that starts');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend((test.waiters('letgo-wait'))[1])});
is(answer($drop), 'ERROR:  57014', '... the command is cancelled');
disarm($node);
is(value($node, "SELECT status FROM flow_await($run, '40 s')", database => 'other'), 'completed', '... and the run completes');
arm($node, 'execute-begin', 'wait', database => $other, times => undef);
$drop = drop_at_letgo();
disarm($node);
is(answer($drop), '', 'another DROP DATABASE is done');

$node->stop;
done_testing();
