# Several workers meet at joins: the step after the join runs once, after both.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('join', 'flow.workers' => 4);

flow_owner($node, 'shop');
flow_audit($node);

# Steps that never share a transaction end on different workers at the same
# time; those that may, mix with them.
my %options = (alone => 'batch => false, ', shared => '');
foreach my $name (sort keys %options)
{
	my $alone = $options{$name};

	$node->safe_psql('postgres',
		"SELECT flow_define('$name', ARRAY["
		  . join(',',
			audited('a'),
			(map { audited("b$_", qq{${alone}after => '{a}'}) } 1 .. 4),
			audited('c', q{after => '{b1,b2}'}),
			audited('d', q{after => '{b3,b4}'}),
			audited('e', q{after => '{c,d}'})) . '])',
		extra_params => [ '-U', 'shop' ]);
}
$node->safe_psql('postgres', q{SELECT flow_start(CASE i % 2 WHEN 0 THEN 'alone' ELSE 'shared' END) FROM generate_series(1, 300) i},
	extra_params => [ '-U', 'shop' ]);
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), 'completed|300', 'all runs completed');
cmp_ok(value($node, 'SELECT count(DISTINCT pid) FROM audit'), '>', 1, 'several workers took part');
is_consistent($node, 'each step ran exactly once and in order');

# Pausing and resuming while they run changes nothing about that
$node->safe_psql('postgres', q{SELECT flow_start('alone') FROM generate_series(1, 100)}, extra_params => [ '-U', 'shop' ]);
foreach (1 .. 5)
{
	steer($node, 'flow_pause', q{SELECT id FROM flow.run WHERE status = 'running' AND id % 2 = 0});
	steer($node, 'flow_resume', q{SELECT id FROM flow.run WHERE status = 'paused'});
}
wait_for_end($node, 'paused and resumed runs ended');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), 'completed|400', '... completed');
is_consistent($node, '... each step exactly once and in order');

$node->stop;
done_testing();
