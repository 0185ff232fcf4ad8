# A command runs without a transaction: between the commit that marks the step,
# its own end, and the storing of its result, others come.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('command');

$node->safe_psql('postgres', q{
	CREATE PROCEDURE act() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (run_id, step) VALUES (flow_run_id(), 'c'); COMMIT; END $$;
	SELECT flow_define('one', ARRAY[flow_command('c', 'CALL act()'), flow_step('z', 'SELECT 1', after => '{c}')])});

sub start { return value($node, q{SELECT flow_start('one')}); }
sub acts { my ($run) = @_; return value($node, "SELECT count(*) FROM audit WHERE run_id = $run"); }

# Cancelled when it is marked and does not run yet
fresh($node);
arm($node, 'command-claimed', 'wait');
my $run = start();
wait_at($node, 'command-claimed', 1, 'a command is about to run');
is(value($node, "SELECT status, attempt FROM flow.step WHERE run_id = $run AND name = 'c'"), 'running|1', 'it is marked');
is(value($node, "SELECT flow_cancel($run)"), 't', 'its run is cancelled');
disarm($node);
wait_for($node, "(SELECT status = 'cancelled' FROM flow.run WHERE id = $run)", '... and ends');
wait_for($node, 'NOT EXISTS (SELECT FROM flow_internal.task)');
is(value($node, "SELECT status FROM flow.step WHERE run_id = $run AND name = 'c'"), 'cancelled', '... with it');
is(acts($run), '0', '... and it does not run');

# Who holds the run does not make it run again
fresh($node);
arm($node, 'command-run', 'wait');
$run = start();
wait_at($node, 'command-run', 1, 'a command has run');
my $client = $node->background_psql('postgres', on_error_die => 1);
$client->query_safe("BEGIN; SELECT flow_pause($run)");
disarm($node);
wait_for($node, "(SELECT finished_at IS NOT NULL FROM flow_internal.task WHERE run_id = $run AND step_no = 1)", 'its result is stored while somebody holds its run');
$client->query_safe('ROLLBACK');
$client->quit;
wait_for($node, "(SELECT status = 'completed' FROM flow.run WHERE id = $run)", '... and settled after that');
is(acts($run), '1', '... once');

# The process dies when it has run
foreach my $point (qw(command-claimed command-run))
{
	fresh($node);
	arm($node, $point, 'kill');
	$run = start();
	wait_through($node, "(SELECT status = 'completed' FROM flow.run WHERE id = $run)", "$point: a command whose process has died is run again");
	is(value($node, "SELECT attempt FROM flow.step WHERE run_id = $run AND name = 'c'"), '2', '... as another attempt');
	is(value($node, "SELECT attempt, sqlstate FROM flow.attempt WHERE run_id = $run"), '1|WF005', '... and the first is recorded');
	is(acts($run), $point eq 'command-run' ? '2' : '1', '... at least once');
}

$node->stop;
done_testing();
