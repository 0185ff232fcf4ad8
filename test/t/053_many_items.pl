# Steps with very many items, or large ones: what they come to, how many of them
# are live at once, and what that costs.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('many_items');
my @shop = (extra_params => [ '-U', 'shop' ]);

flow_owner($node, 'shop');

sub define
{
	my ($name, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',', @steps) . '])', @shop);
}

# Outputs that are small as they are stored, and too large for one array
foreach my $mode (qw(fail collect))
{
	define("large_$mode", qq{flow_step('m', \$\$ SELECT to_jsonb(repeat('x', 1000000)) \$\$, for_each => 'SELECT n FROM generate_series(1, 270) n', on_item_error => '$mode')});
	my $run = value($node, "SELECT flow_start('large_$mode')", @shop);
	wait_for_end($node, "outputs that do not fit into an array: on_item_error => '$mode'");
	is(value($node, "SELECT status || ' ' || (error->>'sqlstate') || ' ' || (error->>'message') FROM flow.run WHERE id = $run"),
		'failed 54000 the outputs of the items of step "m" are too large for an array', '... the step fails');
	is(value($node, "SELECT count(*) FROM flow.item WHERE run_id = $run AND status = 'completed'"), '270', '... and no item does');
}

# Those that wait make room for no other, but leave some
define('waits', q{flow_approval('a', for_each => 'SELECT n FROM generate_series(1, 900) n')});
my $run = value($node, q{SELECT flow_start('waits')}, @shop);
wait_for($node, "(SELECT count(*) FROM flow.item WHERE run_id = $run AND status = 'waiting') = 900", 'nine hundred items wait at once');
$node->stop;
done_testing();
