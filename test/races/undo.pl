# A run comes to a bad end while steps of it are about to be recorded: what has
# had an effect is undone, what has none is not, and nothing is undone twice.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('undo');
my $holder = hold($node, 1, 2);

# A step with its compensation; one behind a gate that is not held until the commit
sub undoable
{
	my ($name, $options, $gate) = @_;
	my $wait = $gate ? "SELECT pg_advisory_lock($gate); SELECT pg_advisory_unlock($gate);" : '';

	return "flow_step('$name', \$\$ $wait INSERT INTO audit (run_id, step) VALUES (flow.run_id, '$name') \$\$,"
	  . " undo => \$\$ INSERT INTO audit (run_id, step) VALUES (flow.run_id, '-$name') \$\$, batch => false, $options)";
}

$node->safe_psql('postgres', 'SELECT flow_define(\'sibling\', ARRAY[' . join(',',
		undoable('a', q{after => '{}'}),
		undoable('slow', q{after => '{a}'}, 1),
		q{flow_step('bad', $$ SELECT pg_advisory_lock(2); SELECT pg_advisory_unlock(2); SELECT 1 / 0 $$, after => '{a}', batch => false)}) . ']);
	SELECT flow_define(\'fork\', ARRAY[' . join(',',
		undoable('a', q{after => '{}'}),
		undoable('b', q{after => '{a}'}),
		undoable('c', q{after => '{a}'}),
		q{flow_step('d', 'SELECT 1 / 0', after => '{b,c}')}) . '])');

# The gates of the sibling's steps are there again
sub shut
{
	my (@gates) = @_;

	$holder->query_safe("SELECT pg_advisory_lock($_)") foreach @gates;
	return;
}

# A sibling that is about to be recorded when its run fails
my $run = value($node, q{SELECT flow_start('sibling')});
wait_for($node, running($run, 'slow') . ' AND ' . running($run, 'bad'));
arm($node, 'flush-begin', 'wait');
let_go($holder, 1);
wait_at($node, 'flush-begin');
let_go($holder, 2);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'bad') = 'failed'", 'the run fails meanwhile');
is(run_state($node, $run), 'running', '... and is not compensated yet');
is(effects($node, $run), 'a', '... nothing is undone yet');
disarm($node);
ends_as($node, $run, 'failed');
is(effects($node, $run), 'a slow -slow -a', 'what was recorded late is undone too');
is(step_states($node, $run), 'a compensated, slow compensated, bad failed', '... and shown so');
shut(1, 2);

# The same when the run is cancelled: then it has no effect at all
$run = value($node, q{SELECT flow_start('sibling')});
wait_for($node, running($run, 'slow') . ' AND ' . running($run, 'bad'));
arm($node, 'flush-begin', 'wait');
let_go($holder, 1);
wait_at($node, 'flush-begin');
is(value($node, "SELECT flow_cancel($run)"), 't', 'cancelled while a step is about to be recorded');
is(run_state($node, $run), 'compensating', '... and compensating');
disarm($node);
ends_as($node, $run, 'cancelled');
is(effects($node, $run), 'a -a', '... only what had been recorded is undone');
is(step_states($node, $run), 'a compensated, slow cancelled, bad cancelled', '... and shown so');
let_go($holder, 2);

# Two compensations that are recorded at the same moment, in both orders
foreach my $order ([ 1, 2 ], [ 2, 1 ])
{
	arm($node, 'record-begin', 'wait');
	$run = value($node, q{SELECT flow_start('fork')});
	wait_at($node, 'record-begin');
	arm($node, 'execute-end', 'wait', times => 2);
	disarm($node, 'record-begin');
	wait_at($node, 'execute-end', 2, 'both compensations have run');
	is(run_state($node, $run), 'compensating');
	my @pids = map { waiter($node, 'execute-end', $_) } 1, 2;

	is(release($node, 'execute-end', $pids[ $order->[0] - 1 ]), 1);
	wait_for($node, "(SELECT count(*) FROM audit WHERE run_id = $run AND step IN ('-b', '-c')) = 1", 'one is recorded');
	is(value($node, "SELECT count(*) FROM flow_internal.task WHERE run_id = $run"), 1, '... the next one waits');
	is(release($node, 'execute-end', $pids[ $order->[1] - 1 ]), 1);
	disarm($node);
	ends_as($node, $run, 'failed');
	like(effects($node, $run), qr/^a (b c|c b) (-b -c|-c -b) -a$/, 'each is undone once');
}

# Nothing stops a compensation, wherever it is
foreach my $point ('execute-publish', 'execute-begin', 'execute-end')
{
	arm($node, 'record-begin', 'wait');
	$run = value($node, q{SELECT flow_start('fork')});
	wait_at($node, 'record-begin');
	arm($node, $point, 'wait');
	disarm($node, 'record-begin');
	wait_at($node, $point);
	is(run_state($node, $run), 'compensating', "compensating at $point");
	is(answer(client($node, "SELECT flow_$_($run)")), 'ERROR:  WF001', "... no $_") foreach ('cancel', 'pause', 'retry');
	disarm($node);
	ends_as($node, $run, 'failed');
	like(effects($node, $run), qr/^a (b c|c b) (-b -c|-c -b) -a$/, '... and each is undone once');
}

is(value($node, 'SELECT count(*) FROM flow_internal.task'), 0, 'no task is left behind');
$node->stop;
done_testing();
