# A step that has met its time limit, between the rollback of its attempt and
# the transaction that records it: another worker claims it then.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('limit');

# One that stops, and one that comes to its end all the same
my $limit = q{timeout => '300 ms'};
my %limited = (
	stops => audited('s', $limit, 'SELECT pg_sleep(600)'),
	ends => audited('s', $limit, 'DO $do$ BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END $do$'));

foreach my $case (sort keys %limited)
{
	$node->safe_psql('postgres', "SELECT flow_define('$case', ARRAY[$limited{$case}])");
	fresh($node);
	arm($node, 'record-begin', 'wait', process => 'worker');
	my $run = value($node, "SELECT flow_start('$case')");
	wait_at($node, 'record-begin', 1, "$case: a step is about to be recorded as failed");
	arm($node, 'execute-begin', 'count', process => 'worker');
	is(value($node, "SELECT flow_pause($run) AND flow_resume($run)"), 't', 'it is pushed once more');
	ends_as($node, $run, 'failed', '... and another worker records it');
	is(value($node, q{SELECT test.passed('execute-begin')}), 0, '... without running it again');
	disarm($node);
	is(value($node, "SELECT error->>'sqlstate' FROM flow.run WHERE id = $run"), 'WF004', '... as what it was');
	is(value($node, "SELECT string_agg(attempt || ' ' || sqlstate, ', ') FROM flow.attempt WHERE run_id = $run"), '1 WF004', '... in one attempt');
	is(effects($node, $run), '', '... of which nothing was kept');
}
is_consistent($node);

$node->stop;
done_testing();
