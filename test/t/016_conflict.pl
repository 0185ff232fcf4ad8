# Steps that get into each other's way, and cancels that come too late: none
# of it reaches the user.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('conflict', 'flow.workers' => 4);
my $runs = 400;

flow_audit($node);

# Deadlocks over hot rows: each step updates two of five rows, in any order
$node->safe_psql('postgres', q{
	CREATE TABLE hot (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
	INSERT INTO hot SELECT generate_series(0, 4);
	SELECT flow_define('hot', ARRAY[} . audited('s', q{retries => 0},
		q{UPDATE hot SET n = n + 1 WHERE id = (input->>'a')::int; UPDATE hot SET n = n + 1 WHERE id = (input->>'b')::int}) . '])');
$node->safe_psql('postgres', qq{
	SELECT flow_start('hot', jsonb_build_object('a', i % 5, 'b', (i + 1 + i / 5 % 4) % 5))
	FROM generate_series(1, $runs) i});
wait_for_end($node, 'all runs ended');
is(value($node, 'SELECT status, count(*) FROM flow.run GROUP BY status'), "completed|$runs", 'all runs completed without retries');
is(value($node, 'SELECT sum(n) FROM hot'), 2 * $runs, 'each update was done once');
is(value($node, 'SELECT count(*) FROM flow.attempt'), '0', 'no attempt has failed');
is_consistent($node);

# A cancel that reaches an idle worker was meant for a step that is over
my $workers = q{FROM flow.activity WHERE type = 'worker'};

wait_for($node, "NOT EXISTS (SELECT $workers AND run_id IS NOT NULL)", 'the workers are idle');
my $before = value($node, "SELECT array_agg(pid) $workers");

isnt($before, '', 'there are some');
is(value($node, "SELECT bool_and(pg_cancel_backend(pid)) $workers"), 't', 'they are cancelled');
$node->safe_psql('postgres', q{SELECT flow_start('hot', '{"a": 1, "b": 2}')});
wait_for_end($node, 'a run ended');
is(value($node, q{SELECT status FROM flow.run ORDER BY id DESC LIMIT 1}), 'completed', '... well');
is(value($node, "SELECT array_agg(pid) @> '$before' $workers"), 't', 'the workers are still there');
is_consistent($node, 'effects and states agree after a cancel');

$node->stop;
done_testing();
