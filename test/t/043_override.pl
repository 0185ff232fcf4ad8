# Steps that are ended by hand while workers run the same runs: each step ends
# once, either by its worker or by hand.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('override', 'flow.workers' => 3);
my @shop = (extra_params => [ '-U', 'shop' ]);

flow_owner($node, 'shop');
flow_audit($node);
foreach my $name (qw(shared alone))
{
	my $batch = $name eq 'alone' ? ', batch => false' : '';

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY["
		  . join(',', audited('a'), (map { audited($_->[1], "after => '{$_->[0]}'$batch") } [qw(a b)], [qw(b c)], [qw(c d)], [qw(b e)]),
			audited('f', q{after => '{d,e}'})) . '])', @shop);
}
$node->safe_psql('postgres', q{
	CREATE FUNCTION try_end(run bigint, step text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		RETURN flow_finish(run, step, '"by hand"');
	EXCEPTION WHEN SQLSTATE 'WF001' OR object_in_use THEN
		RETURN false;
	END $$}, @shop);
foreach my $round (1 .. 10)
{
	$node->safe_psql('postgres', q{SELECT flow_start(CASE i % 2 WHEN 0 THEN 'alone' ELSE 'shared' END) FROM generate_series(1, 55) i;
		SELECT flow_finish(flow_start('shared'), 'c', '"by hand"') FROM generate_series(1, 5)}, @shop);
	foreach my $step (qw(c e f))
	{
		$node->safe_psql('postgres', "SELECT try_end(id, '$step') FROM flow.run WHERE status = 'running' AND id % 3 > 0 ORDER BY id DESC", @shop);
	}
}
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), 'completed|600', '... completed');
is(value($node, q{SELECT count(*) FROM flow.step s
	WHERE (SELECT count(*) FROM audit a WHERE a.run_id = s.run_id AND a.step = s.name)
		<> CASE WHEN s.status = 'completed' AND s.reason IS NULL THEN 1 ELSE 0 END}), '0',
	'what was ended by hand has no effect, every other step has one');
cmp_ok(value($node, q{SELECT count(*) FROM flow.step WHERE reason = 'finished by hand'}), '>=', 50, 'many were ended by hand');
cmp_ok(value($node, q{SELECT count(*) FROM flow.step WHERE name IN ('c', 'e', 'f') AND reason IS NULL}), '>=', 50, 'and many were not');
is(value($node, 'SELECT count(*) FROM flow_internal.task'), '0', 'nothing is left behind');
$node->stop;
done_testing();
