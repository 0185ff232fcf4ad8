# A message comes for a step that waits while somebody holds the step's row: it is
# kept until the row is free, and what shares the batch with it is done again
# at nobody's cost.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

# One worker, so that what comes while it stands still is one batch
my $node = race_node('waiting', 'flow.workers' => 1);
my $holder = $node->background_psql('postgres', on_error_die => 1);

# A step of each kind that waits for a message; one in the batch that may fail once
# and for all, and counts how often it is tried
$node->safe_psql('postgres', 'CREATE SEQUENCE tries;
	SELECT flow_define(\'fragile\', ARRAY[' . audited('f', undef, q{SELECT nextval('tries')}) . ']);
	SELECT flow_define(\'signal\', ARRAY[flow_wait(\'w\'), ' . audited('z', q{after => '{w}'}) . ']);
	SELECT flow_define(\'decision\', ARRAY[flow_approval(\'w\'), ' . audited('z', q{after => '{w}'}) . ']);
	SELECT flow_define(\'below\', ARRAY[' . audited('b') . ']);
	SELECT flow_define(\'child\', ARRAY[flow_subflow(\'w\', \'below\'), ' . audited('z', q{after => '{w}'}) . '])');

# Until they are known to be short they share no batch
foreach my $workflow (qw(fragile below))
{
	foreach (1 .. 3)
	{
		my $run = value($node, "SELECT flow_start('$workflow')");

		ends_as($node, $run, 'completed');
	}
}

# The condition that the fragile step has been tried so often
sub tried
{
	my ($n) = @_;

	return "(SELECT last_value >= $n FROM tries)";
}

sub is_kept
{
	my ($message, $send, $times) = @_;
	my ($run, $tries);

	if ($message eq 'child')
	{
		# the worker stands before the end of the child
		arm($node, 'flush-begin', 'wait', process => 'worker', skip => 1);
		$run = value($node, q{SELECT flow_start('child')});
		wait_at($node, 'flush-begin');
	}
	else
	{
		$run = value($node, "SELECT flow_start('$message')");
		wait_for($node, "(SELECT status = 'waiting' FROM flow.step WHERE run_id = $run AND name = 'w')");
		arm($node, 'flush-begin', 'wait', process => 'worker');
		value($node, q{SELECT flow_start('fragile')});
		wait_at($node, 'flush-begin');
	}
	$tries = value($node, 'SELECT last_value FROM tries');
	is($holder->query_safe("BEGIN; SELECT status FROM flow_internal.task WHERE run_id = $run AND step_no = 1 FOR UPDATE"), 'waiting', "$message: somebody holds the step that waits");
	my $other = value($node, q{SELECT flow_start('fragile')} . ($send ? " FROM (SELECT $send OFFSET 0) s" : ''));
	disarm($node);
	wait_for($node, tried($tries + $times), "... the batch is tried $times times");
	is(value($node, "SELECT status FROM flow.step WHERE run_id = $run AND name = 'w'"), 'waiting', '... the step waits');
	is(effects($node, $other), '', '... nothing of the batch is there yet');
	$holder->query_safe('COMMIT');
	ends_as($node, $run, 'completed', '... when the row is free the step gets its message');
	ends_as($node, $other, 'completed', '... and the other step of the batch has not failed');
	is(effects($node, $run) . ' ' . effects($node, $other), 'z f', '... each effect is there once');
	is(value($node, "SELECT count(*) FROM flow.attempt WHERE run_id IN ($run, $other)"), 0, '... no attempt has failed');
	is(value($node, "SELECT count(*) FROM flow.step WHERE run_id IN ($run, $other) AND (attempt <> 1 OR crashes <> 0)"), 0, '... and nobody is charged');
	return;
}

# Twice: the batch is done again at once; eight times: it has been put aside for a moment
foreach my $times (2, 8)
{
	is_kept('signal', q{flow_signal(max(id), 'w') FROM flow.run WHERE workflow = 'signal'}, $times);
	is_kept('decision', q{flow_approve(max(id), 'w') FROM flow.run WHERE workflow = 'decision'}, $times);
	is_kept('child', undef, $times);
}

# What waits is taken away when its run fails, or its step because of another item
$node->safe_psql('postgres', q{SELECT flow_define('asks', ARRAY[flow_approval('ok')]);
	SELECT flow_define('fails', ARRAY[flow_approval('w'), flow_subflow('s', 'asks')]);
	SELECT flow_define('items', ARRAY[flow_subflow('w', 'asks', for_each => 'SELECT n FROM generate_series(1, 2) n')])});
foreach my $case ([ 'fails', 'step_no = 1', 'parent_step = 2' ], [ 'items', 'item_no = 2', 'parent_item = 1' ])
{
	my ($workflow, $held, $rejected) = @$case;
	my $run = value($node, "SELECT flow_start('$workflow')");

	wait_for($node, "(SELECT count(*) FROM flow_internal.task WHERE run_id = $run AND status = 'waiting') = 2"
		. " AND NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id > $run AND status <> 'waiting')");
	is($holder->query_safe("BEGIN; SELECT status FROM flow_internal.task WHERE run_id = $run AND $held FOR UPDATE"), 'waiting', "$workflow: somebody holds what waits");
	my $child = value($node, "SELECT id FROM flow_internal.run WHERE parent_run = $run AND $rejected");
	value($node, "SELECT flow_reject($child, 'ok')");
	ends_as($node, $child, 'failed', '... and something else fails');
	ends_as($node, value($node, q{SELECT flow_start('below')}), 'completed', '... which has been looked at');
	$holder->query_safe('COMMIT');
	ends_as($node, $run, 'failed', '... when the row is free it is taken away');
}

$holder->quit;
wait_for_end($node);
is_consistent($node);
$node->stop;
done_testing();
