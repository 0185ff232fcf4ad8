# A cancel at every moment of a step: before and after it is claimed, listed,
# executed, flushed.  What was cancelled has no effect, and what was not, is not
# charged for it.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('cancel');
my ($run, $client);

$node->safe_psql('postgres', 'SELECT flow_define(\'two\', ARRAY['
	. join(',', audited('a', q{batch => false}), audited('b', q{after => '{a}', batch => false})) . ']);
	SELECT flow_define(\'one\', ARRAY[' . audited('s', q{batch => false}) . ']);
	SELECT flow_define(\'gated\', ARRAY[' . gated('s', 1, q{batch => false}) . '])');

sub start
{
	return value($node, "SELECT flow_start('$_[0]')");
}

sub cancel
{
	return value($node, "SELECT flow_cancel($_[0])");
}

# The cancelled run has left no effect, and no attempt was charged
sub is_undone
{
	my ($run, $what) = @_;

	ends_as($node, $run, 'cancelled', "$what: the run is cancelled");
	wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)");
	is(effects($node, $run), '', '... without an effect');
	is(step_states($node, $run), 'a cancelled, b cancelled', '... all its steps, too');
	is(value($node, "SELECT count(*) FROM flow.attempt WHERE run_id = $run"), 0, '... and no attempt is charged');
	return;
}

# The worker stands, the whole cancel happens, the worker goes on
foreach my $point ('take-popped', 'claim-begin', 'claim-end', 'execute-publish', 'execute-begin', 'execute-end', 'flush-begin')
{
	arm($node, $point, 'wait', process => 'worker');
	$run = start('two');
	wait_at($node, $point);
	is(cancel($run), 't', "cancelled at $point");
	disarm($node, $point);
	is_undone($run, "cancel at $point");
}

# The other half of the same: the cancel is committed, but no worker knows of it
# when the step is listed; and it is known before, but the step was claimed
arm($node, 'cancel-note', 'wait');
arm($node, 'claim-end', 'wait');
$run = start('gated');
wait_at($node, 'claim-end');
my $gate = hold($node, 1);
$client = client($node, "SELECT flow_cancel($run)");
wait_at($node, 'cancel-note');
release($node, 'claim-end');
wait_for($node, running($run, 's'), 'a step is listed between the commit of a cancel and its note');
release($node, 'cancel-note');
is(answer($client), 't', 'the cancel returns');
wait_for($node, 'NOT ' . running($run, 's'), '... and has interrupted it');
is(effects($node, $run), '', '... before it had an effect');
disarm($node);

# Known before the step is listed, so that no signal is sent: the worker sees it
# by itself and does not begin, or it would stand before the gate for ever
foreach my $point ('take-popped', 'claim-end')
{
	arm($node, $point, 'wait', process => 'worker');
	$run = start('gated');
	wait_at($node, $point);
	is(cancel($run), 't', "a long step is cancelled at $point");
	disarm($node, $point);
	wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)", '... and is not begun');
	is(effects($node, $run), '', '... without an effect');
}

# Between the lock of the flush and its commit: the cancel waits
foreach my $point ('flush-locked', 'flush-written', 'commit')
{
	arm($node, $point, 'wait', process => 'worker');
	$run = start('one');
	wait_at($node, $point);
	$client = client($node, "SELECT flow_cancel($run)");
	is_blocked($node, 'SELECT flow_cancel', "cancel at $point waits");
	disarm($node, $point);
	is(answer($client), 'ERROR:  WF001', '... and finds the run completed');
	is(run_state($node, $run), 'completed', '... which stays so');
	is(effects($node, $run), 's', '... with its effect');
}

# ... of a step that is not the last: what comes after it is cancelled
arm($node, 'flush-locked', 'wait');
$run = start('two');
wait_at($node, 'flush-locked');
$client = client($node, "SELECT flow_cancel($run)");
is_blocked($node, 'SELECT flow_cancel');
arm($node, 'claim-begin', 'wait');
disarm($node, 'flush-locked');
is(answer($client), 't', 'a cancel that waited for a flush cancels the rest');
disarm($node);
ends_as($node, $run, 'cancelled');
wait_for_end($node);
is(step_states($node, $run), 'a completed, b cancelled', '... what had ended stays');
is(effects($node, $run), 'a', '... with its effect');

# A signal that arrives when the worker is a step further
workers($node, 1);
arm($node, 'cancel-signal', 'wait');
arm($node, 'execute-begin', 'wait');
$run = start('two');
wait_at($node, 'execute-begin');
$client = client($node, "SELECT flow_cancel($run)");
wait_at($node, 'cancel-signal');
release($node, 'execute-begin');
wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)", 'the cancelled step is given up without the signal');
my $innocent = start('gated');
wait_for($node, running($innocent, 's'), 'the worker runs another');
arm($node, 'execute-begin', 'count');
release($node, 'cancel-signal');
is(answer($client), 't', 'the signal is sent');
wait_for($node, q{test.passed('execute-begin') > 0}, '... the innocent step is done again');
let_go($gate, 1);
ends_as($node, $innocent, 'completed', '... and completes');
is(value($node, 'SELECT count(*) FROM flow.attempt'), 0, '... nothing is charged');
is(effects($node, $innocent), 's', '... once');
is(effects($node, $run), '', 'the cancelled one has no effect');
disarm($node);

# Cancelled and retried before the first incarnation is flushed
foreach my $point ('execute-end', 'flush-begin')
{
	arm($node, 'execute-begin', 'count');
	arm($node, $point, 'wait');
	arm($node, 'cancel-signal', 'wait', times => $point eq 'execute-end' ? 1 : 0);
	$run = start('two');
	wait_at($node, $point);
	$client = client($node, "SELECT flow_cancel($run)");
	wait_for($node, "(SELECT status FROM flow.run WHERE id = $run) = 'cancelled'", "cancelled at $point");
	is(value($node, "SELECT flow_retry($run)"), 't', '... and retried');
	release($node, $point);
	ends_as($node, $run, 'completed', '... it completes');
	is(value($node, q{SELECT test.passed('execute-begin')}), 3, '... what had run when it was cancelled is done again');
	disarm($node);
	is(answer($client), 't', '... the cancel returns');
	is(effects($node, $run), 'a b', '... each effect once');
	is(value($node, "SELECT count(*) FROM flow.attempt WHERE run_id = $run"), 0, '... no attempt is charged');
}

# A worker that has seen the run cancelled, and flushes after the retry
fresh($node);
arm($node, 'take-popped', 'wait');
$run = start('two');
wait_at($node, 'take-popped');
$client = client($node, [ 'BEGIN', "SELECT flow_cancel($run)", 'SELECT pg_advisory_xact_lock(2)', 'COMMIT' ]);
is(answer($client), 't', 'cancelled while the entry is in a worker');
arm($node, 'flush-begin', 'wait');
is(value($node, "SELECT flow_retry($run)"), 't', '... retried');
release($node, 'take-popped');
wait_at($node, 'flush-begin');
is(cancel($run), 't', '... cancelled again, after the step ran');
is(value($node, "SELECT flow_retry($run)"), 't', '... retried again');
disarm($node);
ends_as($node, $run, 'completed', '... it completes');
is(effects($node, $run), 'a b', '... each effect once');

# The same run number in another database is somebody else's
workers($node, 2);
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION flow;
	SELECT flow_define('gated', ARRAY[flow_step('s', 'SELECT pg_advisory_xact_lock(1)', batch => false)])});
$run = start('two');
$node->safe_psql('other', "SELECT setval('flow_internal.run_id_seq', $run, true)");
my $elsewhere = hold($node, 1);
my $other_gate = $node->background_psql('other', on_error_die => 1);
$other_gate->query_safe('SELECT pg_advisory_lock(1)');
ends_as($node, $run, 'completed');
$run = start('gated');
is(value($node, q{SELECT flow_start('gated')}, database => 'other'), $run, 'two runs have the same number');
wait_for($node, running($run, 's'), 'one runs here');
ok($node->poll_query_until('other', 'SELECT ' . running($run, 's')), '... one there');
arm($node, 'execute-begin', 'count');
is(cancel($run), 't', 'the one here is cancelled');
wait_for($node, 'NOT ' . running($run, 's'), '... and interrupted');
is(value($node, "SELECT count(*) FROM flow.activity WHERE run_id = $run AND step = 's'", database => 'other'), 1, '... the one there runs on');
$other_gate->query_safe('SELECT pg_advisory_unlock(1)');
is(value($node, "SELECT status FROM flow_await($run, '40 s')", database => 'other'), 'completed', '... and completes');
is(value($node, q{SELECT test.passed('execute-begin')}), 0, '... without being done again');
$elsewhere->quit;
$other_gate->quit;

disarm($node);
wait_for_end($node);
is_consistent($node);
$gate->quit;
$node->stop;
done_testing();
