# Runs that are steps of other runs, while processes are killed and runs are
# paused, resumed and cancelled: one child for each step, and nobody waits for ever.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('subflow', 'flow.workers' => 3, restart_after_crash => 'on');
my @shop = (extra_params => [ '-U', 'shop' ]);

flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', 'SELECT flow_define($$leaf$$, ARRAY[' . join(',', audited('x'), audited('y', q{after => '{x}', batch => false})) . '])', @shop);
$node->safe_psql('postgres', 'SELECT flow_define($$middle$$, ARRAY[' . join(',',
	audited('b'), q{flow_subflow('one', 'leaf', after => '{b}', timeout => '1 h')}, q{flow_subflow('two', 'leaf', on_result => 'SELECT two AS of_two')}, audited('e', q{after => '{one,two}'})) . '])', @shop);
$node->safe_psql('postgres', 'SELECT flow_define($$top$$, ARRAY[' . join(',',
	audited('a'), q{flow_subflow('sub', 'middle', after => '{a}')}, audited('z', q{after => '{sub}'})) . '])', @shop);

my $children = q{(SELECT count(*) FROM flow.step s JOIN flow.run p ON p.id = s.run_id
	WHERE s.kind = 'subflow' AND s.status = 'completed'
	AND (SELECT count(*) FROM flow.run c WHERE c.parent_run = p.id AND c.parent_step = s.name AND c.status = 'completed') <> 1)};

foreach my $round (1 .. 3)
{
	$node->safe_psql('postgres', q{SELECT flow_start('top') FROM generate_series(1, 60)}, @shop);
	wait_for($node, q{EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL)
		OR NOT EXISTS (SELECT FROM flow_internal.task)});
	my $pid = ask($node, q{SELECT max(pid) FROM flow.activity WHERE type = 'worker'});
	kill_through($node, $pid);
}
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'all runs end through crashes');
is(value($node, q{SELECT string_agg(workflow || ' ' || status || ' ' || n, ', ' ORDER BY workflow) FROM
	(SELECT workflow, status, count(*) AS n FROM flow.run GROUP BY workflow, status) r}),
	'leaf completed 360, middle completed 180, top completed 180', '... each with its children, once');
is(value($node, "SELECT $children"), '0', '... one for each step');
is_consistent($node);

# Pause, resume and cancel of parents and children, from everywhere
$node->safe_psql('postgres', q{SELECT flow_start('top') FROM generate_series(1, 100)}, @shop);
foreach (1 .. 4)
{
	steer($node, 'flow_pause', q{SELECT id FROM flow.run WHERE status = 'running' AND id % 3 = 0});
	steer($node, 'flow_resume', q{SELECT id FROM flow.run WHERE status = 'paused' AND id % 2 = 0});
	steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE status IN ('running', 'paused') AND id % 17 = 0});
}
# a run may be paused by what was done to its parent a moment before
wait_for($node, q{(SELECT count(*) FILTER (WHERE try_flow_resume(id)) FROM (
		SELECT c.id FROM flow.run c LEFT JOIN flow.run p ON p.id = c.parent_run
		WHERE c.status = 'paused' AND (p.id IS NULL OR p.status = 'running') OFFSET 0) r) = 0
	AND NOT EXISTS (SELECT FROM flow_internal.task)}, 'all runs end, however they are steered');
is(value($node, q{SELECT count(*) FROM flow.run c JOIN flow.run p ON p.id = c.parent_run WHERE p.status = 'cancelled' AND c.finished_at IS NULL}), '0',
	'no child outlives a parent that was cancelled');
is(value($node, "SELECT $children"), '0', 'one child for each step');
is_consistent($node);
$node->stop;
done_testing();
