# What happens to an entry of the queue between the push and the claim: it
# is there twice, its step is locked by a transaction that aborts, its worker is
# about to end.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('queue');
my ($run, $client);

$node->safe_psql('postgres', 'SELECT flow_define(\'two\', ARRAY['
	. join(',', audited('a', q{batch => false}), audited('b', q{after => '{a}', batch => false})) . ']);
	SELECT flow_define(\'short\', ARRAY[' . audited('s') . '])');

sub start
{
	return value($node, "SELECT flow_start('$_[0]')");
}

sub completed_once
{
	my ($run, $steps, $what) = @_;

	disarm($node);
	ends_as($node, $run, 'completed', "$what: the run completes");
	is(effects($node, $run), $steps, '... each effect once');
	return;
}

# An entry twice in one batch: pushed again by pause and resume while its worker
# is busy.  Short steps, so that a batch takes both
workers($node, 1);
$run = start('short');
ends_as($node, $run, 'completed', 'the step is known to be short');
wait_for_end($node);
arm($node, 'take-popped', 'wait');
my $busy = start('two');
wait_at($node, 'take-popped');
$run = start('short');
foreach (1 .. 3)
{
	is(value($node, "SELECT flow_pause($run) AND flow_resume($run)"), 't', 'pushed once more');
}
arm($node, 'execute-begin', 'count');
disarm($node, 'take-popped');
ends_as($node, $run, 'completed');
ends_as($node, $busy, 'completed');
is(value($node, q{SELECT test.passed('execute-begin')}), 3, 'a step that is queued four times is executed once');
completed_once($run, 's', 'several entries');

# ... in two workers: one has it in its hands, the other executes it
workers($node, 3);
foreach my $point ('claim-end', 'flush-begin', 'flush-locked', 'push-begin')
{
	fresh($node);
	arm($node, 'take-popped', 'wait', process => 'worker');
	$run = start('two');
	wait_at($node, 'take-popped');
	arm($node, $point, 'wait', process => 'worker');
	is(value($node, "SELECT flow_pause($run) AND flow_resume($run)"), 't', 'pushed once more');
	wait_at($node, $point, 1, "another worker has it at $point");
	arm($node, 'claim-end', 'count') if $point ne 'claim-end';
	is(release($node, 'take-popped'), 1, 'the first one claims it now');
	wait_for($node, q{test.passed('claim-end') > } . ($point eq 'claim-end' ? 1 : 0), '... and does not get it');
	completed_once($run, 'a b', "in two workers, at $point");
}

# Claimed while a client holds the run and its tasks in a transaction that is
# then rolled back
foreach my $held ("flow_cancel(%d)", "flow_pause(%d)")
{
	fresh($node);
	arm($node, 'take-popped', 'wait', process => 'worker');
	$run = start('two');
	wait_at($node, 'take-popped');
	my $holder = $node->background_psql('postgres', on_error_die => 1);
	$holder->query_safe('BEGIN');
	$holder->query_safe('SELECT ' . sprintf $held, $run);
	arm($node, 'claim-end', 'count', process => 'worker');
	release($node, 'take-popped');
	wait_for($node, q{test.passed('claim-end') > 0}, 'claimed while a client holds it');
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	completed_once($run, 'a b', 'after a rollback of ' . sprintf $held, $run);
}

# ... and the worker that has put it aside is ended before that
fresh($node);
arm($node, 'take-popped', 'wait', process => 'worker');
$run = start('two');
wait_at($node, 'take-popped');
my $holder = $node->background_psql('postgres', on_error_die => 1);
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT flow_cancel($run)");
my $pid = waiter($node, 'take-popped');
arm($node, 'claim-end', 'count', process => 'worker');
release($node, 'take-popped');
wait_for($node, q{test.passed('claim-end') > 0});
is(value($node, "SELECT pg_terminate_backend($pid)"), 't', 'a worker that has put a step aside is ended');
$holder->query_safe('ROLLBACK');
completed_once($run, 'a b', 'put aside by a worker that ended');

# A worker that stands just before its end: idle for too long, but its lane gets
# an entry now; there is no place for another worker
workers($node, 1);
$run = start('two');
ends_as($node, $run, 'completed');
arm($node, 'worker-retire', 'wait', times => 2);
$node->safe_psql('postgres', 'ALTER SYSTEM SET flow.worker_idle_timeout = 1');
$node->reload;
wait_at($node, 'worker-retire', 1, 'an idle worker retires');
$run = start('two');
is(value($node, q{SELECT test.waiting('worker-retire')}), 1, 'a run starts meanwhile');
release($node, 'worker-retire');
ends_as($node, $run, 'completed', '... and completes');

# ... the same, and it dies in a FATAL error instead
wait_at($node, 'worker-retire', 1, 'the next worker retires');
$run = start('two');
is(value($node, q{SELECT pg_terminate_backend((test.waiters('worker-retire'))[1])}), 't', '... and is ended');
completed_once($run, 'a b', 'a worker that dies as it retires');

wait_for_end($node);
is_consistent($node);
$holder->quit;
$node->stop;
done_testing();
