# Workers that finish the last branches of a join at the same moment, in every
# order: the step behind it is made ready by one of them, once.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('join');
my $holder = hold($node, 1, 2, 3);

# A join of n branches, each behind a gate of its own, so that a test says in
# which order they come to a point; a gate is not held until the commit
$node->safe_psql('postgres', q{
	SELECT flow_define('join' || n, ARRAY(
		SELECT flow_step('b' || i, format($$ SELECT pg_advisory_lock(%1$s); SELECT pg_advisory_unlock(%1$s);
			INSERT INTO audit (run_id, step) VALUES (flow.run_id, 'b%1$s') $$, i), batch => false)
		FROM generate_series(1, n) i)
		|| flow_step('c', $$ INSERT INTO audit (run_id, step) VALUES (flow.run_id, 'c') $$,
			after => ARRAY(SELECT 'b' || i FROM generate_series(1, n) i)))
	FROM generate_series(2, 3) n});

# Starts a run; its branches come to the point one after the other.  Returns
# the run and who stands there, in the order of the branches
sub bring
{
	my ($n, $point) = @_;

	arm($node, $point, 'wait', times => $n);
	my $run = value($node, "SELECT flow_start('join$n')");
	foreach my $branch (1 .. $n)
	{
		wait_for($node, running($run, "b$branch"));
		let_go($holder, $branch);
		wait_at($node, $point, $branch, "branch $branch of $n at $point");
		$holder->query_safe("SELECT pg_advisory_lock($branch)");
	}
	return ($run, map { waiter($node, $point, $_) } 1 .. $n);
}

sub is_joined
{
	my ($run, $n, $what) = @_;

	ends_as($node, $run, 'completed', "$what: the run completes");
	is(value($node, "SELECT count(*) FROM audit WHERE run_id = $run AND step = 'c'"), 1, '... the step behind the join ran once');
	is(value($node, "SELECT count(*) FROM flow_internal.outcome WHERE run_id = $run"), $n + 1, '... every step has its outcome');
	disarm($node);
	return;
}

# One after the other, each order; the next goes when the one before is done
foreach my $order ([ 1, 2 ], [ 2, 1 ], [ 1, 2, 3 ], [ 3, 2, 1 ], [ 2, 3, 1 ])
{
	my $n = @$order;
	my ($run, @pids) = bring($n, 'flush-begin');

	foreach my $branch (@$order)
	{
		is(release($node, 'flush-begin', $pids[ $branch - 1 ]), 1);
		wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'b$branch') = 'completed'");
	}
	is_joined($run, $n, "order @$order");
}

# All at once
foreach my $n (2, 3)
{
	foreach my $point ('execute-end', 'flush-begin')
	{
		my ($run) = bring($n, $point);

		is(release($node, $point), $n, "$n released together at $point");
		is_joined($run, $n, "$n at once after $point");
	}
}

# One holds the run's lock, before and after it has written, when the other
# comes; the other steps aside, and does its step again
foreach my $point ('flush-locked', 'flush-written')
{
	my ($run, @pids) = bring(2, 'flush-begin');

	arm($node, $point, 'wait', process => 'worker');
	release($node, 'flush-begin', $pids[0]);
	wait_at($node, $point);
	let_go($holder, 2);
	release($node, 'flush-begin', $pids[1]);
	steps_aside($node, $pids[1], 'the second steps aside');
	is(release($node, $point), 1);
	is_joined($run, 2, "the first stood at $point");
	$holder->query_safe('SELECT pg_advisory_lock(2)');
}

# A join that needs any of its branches, while what is behind it waits at its gate:
# neither worker may begin it on its own account
$node->safe_psql('postgres', q{
	SELECT flow_define('any', ARRAY(
		SELECT flow_step('b' || i, format($$ SELECT pg_advisory_lock(%1$s); SELECT pg_advisory_unlock(%1$s);
			INSERT INTO audit (run_id, step) VALUES (flow.run_id, 'b%1$s') $$, i))
		FROM generate_series(1, 2) i)
		|| flow_step('c', $$ INSERT INTO audit (run_id, step) VALUES (flow.run_id, 'c'); SELECT pg_advisory_lock(3); SELECT pg_advisory_unlock(3) $$,
			after => '{b1,b2}', needs => 'any'))});
foreach my $order ([ 1, 2 ], [ 2, 1 ])
{
	my ($first, $second) = @$order;
	my $run = value($node, q{SELECT flow_start('any')});

	wait_for($node, running($run, 'b1') . ' AND ' . running($run, 'b2'));
	let_go($holder, $first);
	wait_for($node, running($run, 'c'), "any: branch $first leads to the step behind both");
	let_go($holder, $second);
	wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'b$second') = 'completed'", '... the other ends while that runs');
	let_go($holder, 3);
	ends_as($node, $run, 'completed');
	is(value($node, "SELECT count(*) FROM audit WHERE run_id = $run AND step = 'c'"), 1, '... which ran once');
	is(value($node, "SELECT count(*) FROM flow_internal.outcome WHERE run_id = $run"), 3, '... every step has its outcome');
	$holder->query_safe("SELECT pg_advisory_lock($_)") foreach 1 .. 3;
}

wait_for_end($node);
is_consistent($node);
$holder->quit;
$node->stop;
done_testing();
