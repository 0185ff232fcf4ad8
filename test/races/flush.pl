# The flush or the commit of a batch fails: nobody is to blame, so the batch is
# halved until the steps go through, and no attempt is charged.  A step that
# cannot be committed even alone is.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('flush', 'flow.workers' => 1, 'flow.batch_time' => 1000);

$node->safe_psql('postgres', 'SELECT flow_define(\'short\', ARRAY[' . audited('s') . ']);
	SELECT flow_define(\'lone\', ARRAY[' . audited('s', q{batch => false, retries => 2, retry_delay => '10 ms'}) . '])');

# Makes known that the step is short, so that it shares batches
$node->safe_psql('postgres', q{SELECT flow_start('short') FROM generate_series(1, 50)});
wait_for_end($node);

# Starts so many runs in one batch of the worker, whose point fails so often
sub fail_batch
{
	my ($point, $n, %options) = @_;
	my $last = value($node, 'SELECT max(id) FROM flow.run');

	arm($node, $point, 'error', process => 'worker', %options);
	$node->safe_psql('postgres', "SELECT flow_start('short') FROM generate_series(1, $n)");
	wait_for($node, "test.passed('$point') > $options{times}", "$point fails $options{times} times") if defined $options{times};
	return "SELECT id FROM flow.run WHERE id > $last";
}

sub all_done
{
	my ($runs, $n) = @_;

	wait_for_end($node);
	is(value($node, "SELECT status, count(*) FROM flow.run WHERE id IN ($runs) GROUP BY status"), "completed|$n", '... all complete');
	is(value($node, "SELECT count(*), count(DISTINCT run_id) FROM audit WHERE run_id IN ($runs)"), "$n|$n", '... each effect once');
	is(value($node, "SELECT count(*) FROM flow.attempt WHERE run_id IN ($runs)"), 0, '... no attempt is charged');
	disarm($node);
	return;
}

foreach my $point ('claim-begin', 'claim-end', 'flush-begin', 'flush-locked', 'flush-written', 'commit')
{
	my $runs = fail_batch($point, 40, times => 1);

	cmp_ok(value($node, "SELECT count(DISTINCT xmin::text) FROM audit WHERE run_id IN ($runs)"), '<', 40, '... steps share commits')
	  if wait_for_end($node);
	all_done($runs, 40);
}

# The first half fails, too, and its first half
my $runs = fail_batch('commit', 40, times => 3);
all_done($runs, 40);

# Every other commit fails, so that single steps are reached
$runs = fail_batch('commit', 10, times => 5, every => 2, argument => '40001');
all_done($runs, 10);

# A step fails while others of its batch are fine
arm($node, 'execute-end', 'error', argument => '22000', skip => 5);
$node->safe_psql('postgres', 'CREATE TABLE mark AS SELECT max(id) AS id FROM flow.run');
$runs = 'SELECT id FROM flow.run WHERE id > (SELECT id FROM mark)';
$node->safe_psql('postgres', q{SELECT flow_start('short') FROM generate_series(1, 20)});
all_done($runs, 20);

# A lone step whose commit fails: an error that passes by itself is tried again
# at once, another is a failed attempt with its delay
sub fail_lone
{
	my (%options) = @_;

	arm($node, 'commit', 'error', process => 'worker', %options);
	return value($node, q{SELECT flow_start('lone')});
}

my $run = fail_lone(times => 3, argument => '40001');
ends_as($node, $run, 'completed', 'a serialization failure at commit is tried again');
is(value($node, "SELECT count(*) FROM flow.attempt WHERE run_id = $run"), 0, '... and not charged');

$run = fail_lone(argument => '53200');
ends_as($node, $run, 'completed', 'another error at commit is retried');
is(value($node, "SELECT string_agg(sqlstate || ' ' || (next_at IS NOT NULL)::text, ', ') FROM flow.attempt WHERE run_id = $run"), '53200 true', '... and charged once');
is(effects($node, $run), 's', '... its effect is there once');

# Each attempt fails: tried alone when it is taken, then recorded, three times
foreach my $attempt (1 .. 3)
{
	arm($node, 'record-begin', 'wait');
	arm($node, 'commit', 'error', process => 'worker', times => undef, argument => '53100');
	$run = value($node, q{SELECT flow_start('lone')}) if $attempt == 1;
	wait_at($node, 'record-begin');
	disarm($node, 'commit');
	if ($attempt < 3)
	{
		# Nothing commits before the next attempt but this record
		arm($node, 'take-popped', 'wait', process => 'worker');
		release($node, 'record-begin');
		wait_at($node, 'take-popped');
		is(value($node, "SELECT count(*) FROM flow.attempt WHERE run_id = $run"), $attempt, "attempt $attempt is recorded");
		arm($node, 'record-begin', 'wait');
		arm($node, 'commit', 'error', process => 'worker', times => undef, argument => '53100');
		disarm($node, 'take-popped');
	}
}
disarm($node);
ends_as($node, $run, 'failed', 'a step that can never be committed fails');
is(value($node, "SELECT error->>'sqlstate' FROM flow.step WHERE run_id = $run"), '53100', '... with the error of its commit');
is(effects($node, $run), '', '... without an effect');

# Not even the record goes through: the step is put aside, and tried again by
# itself when it can be
my $log = -s $node->logfile;
$run = fail_lone(times => undef, argument => '53100');
ok($node->wait_for_log('steps of flow could not be recorded', $log), 'a failure that cannot be recorded is in the log');
my $passed = value($node, q{SELECT test.passed('commit')});
wait_for($node, "test.passed('commit') > $passed", '... the step is tried again');
is(run_state($node, $run), 'running', '... nothing is lost');
disarm($node);
ends_as($node, $run, 'completed', '... until it goes through');
is(effects($node, $run), 's', '... once');

wait_for_end($node);
is_consistent($node);
$node->stop;
done_testing();
