# Who waits for whom: a step behind somebody's lock holds up nobody else, no
# transaction waits for a run that waits for it, and runs without a place, or
# without their owner, say so and are not lost.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

# Three places for background workers: the server's own, our launcher, our scheduler
my $node = flow_node('patience', max_worker_processes => 3);

flow_audit($node);
$node->safe_psql('postgres', q{SELECT flow_define('one', ARRAY[} . audited('a') . q{]); SELECT flow_start('one')});
wait_for($node, q{(SELECT hint ~ 'max_worker_processes' FROM flow.stuck WHERE reason = 'no worker slot')}, 'a run without a place for a worker says so');
like(slurp_file($node->logfile), qr/WARNING:  no background worker slot is free.*?HINT:  Raise max_worker_processes/s, '... and so does the log');
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
wait_for($node, q{(SELECT hint ~ 'max_worker_processes' FROM flow.stuck WHERE reason = 'no worker slot')}, '... also when there is none for its scheduler');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
wait_for_end($node, 'it runs when there is one');

# A batch of short steps of which one meets a lock
$node->safe_psql('postgres', q{
	CREATE TABLE ledger (run_id bigint);
	CREATE FUNCTION note(run bigint, wanted boolean) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF wanted THEN INSERT INTO ledger VALUES (run); END IF;
	END $$;
	SELECT flow_define('short', ARRAY[} . audited('s', undef, q{SELECT note(flow.run_id, input ? 'ledger')}) . '])');
$node->safe_psql('postgres', q{SELECT flow_start('short') FROM generate_series(1, 50)});
wait_for_end($node, 'the step is known to be short');

my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE ledger');
my $blocked = value($node, q{SELECT max(r) FILTER (WHERE i = 40) FROM (
	SELECT i, flow_start('short', CASE i WHEN 40 THEN '{"ledger": true}' ELSE '{}' END::jsonb) AS r
	FROM generate_series(1, 80) i) started});
wait_for($node, "(SELECT count(*) FROM flow.run WHERE status = 'completed' AND workflow = 'short') = 129", 'all others complete while it is held');
is(value($node, "SELECT status FROM flow.run WHERE id = $blocked"), 'running', '... and the one behind it waits');
$holder->query_safe('COMMIT');
$holder->quit;
is(value($node, "SELECT status FROM flow_await($blocked, '60 s')"), 'completed', '... until it is let go');
is_consistent($node);

# What would wait for itself is refused
my $run = value($node, q{SELECT flow_start('one', start_at => now() + interval '1 hour')});
my %refused = (
	'started here' => [ q{SELECT flow_start('one')}, 'has started a run' ],
	'has written' => [ q{INSERT INTO ledger VALUES (0)}, 'has written' ],
	'one snapshot' => [ q{SET TRANSACTION ISOLATION LEVEL REPEATABLE READ}, 'one snapshot' ],
	'holds a lock' => [ q{LOCK TABLE ledger IN SHARE MODE}, 'a lock' ]);
foreach my $case (sort keys %refused)
{
	my ($before, $detail) = @{ $refused{$case} };
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nBEGIN; $before; SELECT status FROM flow_await($run)");

	like($err, qr/55000: cannot wait for run $run in this transaction.*DETAIL:  [^\n]*$detail.*HINT: /s, "$case: no waiting");
}
is(value($node, "SELECT status FROM flow_await($run, '10 ms')"), 'pending', 'a time limit gives the row as it is');

# The owner of a run that is to come is dropped
flow_owner($node, 'leaver');
$run = value($node, q{SELECT flow_define('left', ARRAY[flow_step('a', 'SELECT 1 AS one')]) * 0
	+ flow_start('left', start_at => now() + interval '1 s')}, extra_params => [ '-U', 'leaver' ]);
$node->safe_psql('postgres', 'DROP OWNED BY leaver; DROP ROLE leaver');
wait_for($node, "(SELECT reason = 'owner gone' FROM flow.stuck WHERE run_id = $run)", 'a run whose owner has gone says so');
is(value($node, "SELECT count(*) FROM flow_internal.outcome WHERE run_id = $run"), '0', '... and nobody ran it');

$node->stop;
done_testing();
