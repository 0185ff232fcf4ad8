# A server that does not preload flow: no workers, but flow_drain runs things.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('no_preload');
my ($code, $out, $err);

$node->init;
$node->start;
($code, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION flow');
is($code, 0, 'the extension can be created') or diag($err);
flow_audit($node);
$node->safe_psql('postgres', 'SELECT flow_define(\'two\', ARRAY[' . audited('a') . ',' . audited('b', q{after => '{a}'}) . '])');

($code, $out, $err) = $node->psql('postgres', q{SELECT flow_start('two'); SELECT flow_start('two'); SELECT flow_start('two')});
is($code, 0, 'runs can be started');
is(scalar(() = $err =~ /WARNING:/g), 1, 'a session is warned once');
like($err, qr/flow_drain\(\).*\n(?:.*\n)*HINT:.*shared_preload_libraries/, '... with what to do');

is(value($node, q{SELECT count(*) FROM flow.run WHERE status = 'running'}), '3', 'they are running, and nobody runs them');
like(value($node, q{SELECT count(*) FROM flow.activity}), qr/^[01]$/, 'there is no process');
is(value($node, 'SELECT flow_drain()'), '6', 'flow_drain runs their steps');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), 'completed|3', '... to the end');
is_consistent($node);

# One run among others, in a transaction that is rolled back
is(value($node, q{
	BEGIN;
	SELECT flow_start('two') \gset
	SELECT flow_start('two') AS other \gset
	SELECT flow_drain(:flow_start);
	SELECT status FROM flow.run WHERE id IN (:flow_start, :other) ORDER BY id;
	ROLLBACK}), "2\ncompleted\nrunning", 'flow_drain runs an uncommitted run, and only that');
is(value($node, 'SELECT count(*) FROM audit'), '6', '... which leaves nothing when rolled back');

# Control works without shared memory, too
my $run = value($node, q{SELECT flow_start('two')});
is(value($node, "SELECT flow_pause($run), flow_pause($run), flow_drain($run)"), 't|f|0', 'a paused run is not drained');
is(value($node, "SELECT flow_cancel($run), flow_cancel($run)"), 't|f', 'a run can be cancelled');
is_consistent($node, 'effects and states agree after control');

$node->stop;
done_testing();
