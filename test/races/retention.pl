# Runs that are about to be pruned, and somebody who wants them still.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('retention');

sub count_runs { my ($where) = @_; return value($node, "SELECT count(*) FROM flow.run WHERE $where"); }

# ---- a retry between the reading and the locking
$node->safe_psql('postgres', q{
	CREATE TABLE go (yes int);
	SELECT flow_define('flop', ARRAY[} . audited('s', undef, 'SELECT 1 / (SELECT count(*) FROM go)') . q{])});
my @runs = map { value($node, q{SELECT flow_start('flop')}) } 1 .. 3;
ends_as($node, $_, 'failed') foreach @runs;
$node->safe_psql('postgres', 'INSERT INTO go VALUES (1)');
arm($node, 'retention-read', 'wait', process => 'client');
my $pruner = client($node, q{SELECT flow_prune('0', 'flop')});
wait_at($node, 'retention-read', 1, 'runs are about to be pruned');
$node->safe_psql('postgres', "SELECT flow_retry($runs[1])");
ends_as($node, $runs[1], 'completed', 'one of them is retried and ends once more');
$node->safe_psql('postgres', "SELECT flow_pause(flow_start('flop'))");
release($node, 'retention-read');
is(answer($pruner), '2', 'the others go');
is(value($node, "SELECT string_agg(id::text, ',') FROM flow.run WHERE status = 'completed'"), $runs[1], '... and it stays, since it ended later');
is(effects($node, $runs[1]), 's', '... with what it did');
$node->safe_psql('postgres', q{SELECT flow_resume(id) FROM flow.run WHERE status = 'paused'});
wait_for_end($node);

# ---- one that was cancelled, while its step does not know
$node->safe_psql('postgres', q{SELECT flow_define('gated', ARRAY[} . gated('s', 1) . '])');
my $holder = hold($node, 1);
my $run = value($node, q{SELECT flow_start('gated')});
wait_for($node, running($run, 's'), 'a step runs');
arm($node, 'cancel-signal', 'wait', process => 'client');
my $canceller = client($node, "SELECT flow_cancel($run)");
wait_at($node, 'cancel-signal', 1, 'its run is cancelled, and its worker not told');
is(value($node, q{SELECT flow_prune('0', 'gated')}), '0', 'the run is passed over');
is(answer(client($node, "SELECT flow_delete_data($run)")), 'ERROR:  55000', '... and its data is not deleted');
release($node, 'cancel-signal');
answer($canceller);
wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)", 'the worker lets go');
is(value($node, q{SELECT flow_prune('0', 'gated')}), '1', '... and the run goes');
let_go($holder, 1);
$holder->quit;

# ---- the scheduler dies in the middle
$node->safe_psql('postgres', q{SELECT flow_define('short', ARRAY[} . audited('s') . q{], keep => '1 h')});
$node->safe_psql('postgres', q{SELECT flow_start('short') FROM generate_series(1, 500)});
wait_for_end($node);
my $log = -s $node->logfile;
arm($node, 'retention-read', 'kill', process => 'scheduler', skip => 1);
$node->psql('postgres', q{SELECT flow_define('short', ARRAY[} . audited('s') . q{], keep => '1 s')});
ok($node->wait_for_log('was terminated by signal 9', $log), 'the scheduler is killed while it prunes');
wait_through($node, q{NOT EXISTS (SELECT FROM flow.run WHERE workflow = 'short')}, 'another one goes on');
is(value($node, q{SELECT count(*) FROM flow_internal.outcome o WHERE NOT EXISTS (SELECT FROM flow_internal.run r WHERE r.id = o.run_id)}), '0', '... and leaves nothing over');
is(count_runs(q{workflow = 'flop'}), '2', '... but what is kept for ever');

$node->stop;
done_testing();
