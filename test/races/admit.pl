# The scheduler stands with its count of places made, while they change: what is
# given back then is not unheard, and what it gives is not given twice.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('admit');

$node->safe_psql('postgres', q{SELECT flow_define('one', ARRAY[} . gated('s', 71, 'batch => false') . q{], max_runs => 1)});
$node->safe_psql('postgres', q{SELECT flow_limit('place', 1); SELECT flow_define('step', ARRAY[} . gated('s', 72, q{limits => '{place}', batch => false}) . q{])});

# A run, or a step, ends after the places were counted and before that is committed
foreach my $case ([ 'one', 71, 'admit-done' ], [ 'step', 72, 'places-done' ])
{
	my ($workflow, $gate, $point) = @$case;

	fresh($node);
	my $holder = hold($node, $gate);
	my $first = value($node, "SELECT flow_start('$workflow')");
	wait_for($node, running($first, 's'));

	# a look at nothing, after which nothing is awaited
	arm($node, 'places-done', 'count', process => 'scheduler', times => undef);
	$node->safe_psql('postgres', q{SELECT flow_limit('nothing', 1)});
	wait_for($node, q{test.passed('places-done') > 0});
	disarm($node);
	arm($node, $point, 'wait', process => 'scheduler');
	my $second = value($node, "SELECT flow_start('$workflow')");
	wait_at($node, $point, 1, "$workflow: the scheduler has counted");
	let_go($holder, $gate);
	ends_as($node, $first, 'completed', 'the place is given back');
	disarm($node);
	ends_as($node, $second, 'completed', '... and that is heard');
	$holder->quit;
}

# What has just got a place, which is not committed yet, is cancelled
arm($node, 'admit-done', 'wait', process => 'scheduler');
my $cancelled = value($node, q{SELECT flow_start('one')});
wait_at($node, 'admit-done', 1, 'a run has a place, and nobody knows');
is(value($node, "SELECT flow_cancel($cancelled)"), 't', '... and is cancelled');
my $next = value($node, q{SELECT flow_start('one')});
disarm($node);
ends_as($node, $next, 'completed', '... which gives the place to the next');
is(value($node, "SELECT status FROM flow.run WHERE id = $cancelled"), 'cancelled', '... and the run does not begin');

# The scheduler dies with places given and not committed
foreach my $case ([ 'one', 'admit-done' ], [ 'step', 'places-done' ])
{
	my ($workflow, $point) = @$case;

	arm($node, $point, 'kill', process => 'scheduler');
	ask($node, "SELECT flow_start('$workflow', key => 'killed')");
	wait_through($node, "(SELECT status FROM flow.run WHERE workflow = '$workflow' AND key = 'killed') = 'completed'",
		"$workflow: a place that was not committed is given again");
}
is_consistent($node);
$node->stop;
done_testing();
