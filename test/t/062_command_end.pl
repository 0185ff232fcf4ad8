# What ends a command: conflicts, a time limit that it catches, and a session
# that cannot be cleared at once after it.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('command_end', 'flow.workers' => 2);
my @shop = (extra_params => [ '-U', 'shop' ]);
flow_owner($node, 'shop');
$node->safe_psql('postgres', q{
	CREATE TABLE marks (run_id bigint, attempt int);
	GRANT ALL ON marks TO shop;
	CREATE PROCEDURE conflict(times int, state text) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO marks VALUES (flow_run_id(), flow_attempt());
		COMMIT;
		IF (SELECT count(*) FROM marks WHERE run_id = flow_run_id()) <= times THEN
			RAISE EXCEPTION 'conflict' USING ERRCODE = state;
		END IF;
	END $$;
	CREATE PROCEDURE stubborn() LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO marks VALUES (flow_run_id(), flow_attempt());
		COMMIT;
		LOOP
			BEGIN
				PERFORM pg_advisory_lock(2);
			EXCEPTION WHEN query_canceled THEN NULL;
			END;
		END LOOP;
	END $$;
	CREATE PROCEDURE litter() LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO marks VALUES (flow_run_id(), flow_attempt());
		SET search_path = pg_temp, pg_catalog;
		CREATE TEMP TABLE scratch (n int);
		COMMIT;
		PERFORM pg_advisory_lock(1);
	END $$});

# Starts the workflow of one command, by its options
sub start
{
	my ($name, $command) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[flow_command('c', $command)])", @shop);
	return value($node, "SELECT flow_start('$name')", @shop);
}

# How the command ended, and each attempt that failed
sub ended
{
	my ($run, $what) = @_;

	wait_for($node, "(SELECT finished_at IS NOT NULL FROM flow.run WHERE id = $run)", $what);
	return value($node, qq{SELECT concat_ws(' ', status, s.attempt, error->>'sqlstate',
		(SELECT string_agg(sqlstate, ',' ORDER BY a.attempt) FROM flow.attempt a WHERE a.run_id = $run)) FROM flow.step s WHERE run_id = $run});
}

sub marks
{
	my ($run) = @_;

	return value($node, "SELECT count(*), max(attempt) FROM marks WHERE run_id = $run");
}

# ---- conflicts are nobody's fault, so many times
my $run = start('deadlock', q{$$ CALL conflict(2, '40P01') $$});
is(ended($run, 'a command that meets a deadlock ends'), 'completed 1', '... and needs no retries');
is(marks($run), '3|1', '... though it ran more than once');
$run = start('serialization', q{$$ CALL conflict(1000, '40001') $$, retries => 1, retry_delay => '1 ms'});
is(ended($run, 'a command that meets conflicts for ever ends'), 'failed 2 40001 40001,40001', '... as an attempt that failed');
is(marks($run), '42|2', '... after a while');

# ---- a time limit counts although the command catches it
my $holder = $node->background_psql('postgres', on_error_die => 1);
$holder->query_safe('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
$run = start('stubborn', q{$$ CALL stubborn() $$, timeout => '100 ms', retries => 1, retry_delay => '1 ms'});
is(ended($run, 'a command that catches its time limit ends'), 'failed 2 WF004 WF004,WF004', '... as one that has met it');
is(marks($run), '2|2', '... after the attempts it has');

# ---- what a session is left with, and who holds it, does not undo that it has run
$run = start('litter', q{$$ CALL litter() $$});
wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow worker' AND wait_event = 'advisory')});
my $table = value($node, q{SELECT oid::regclass FROM pg_class WHERE relname = 'scratch'});
my $pid = value($node, q{SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'});
$holder->query_safe("BEGIN; LOCK TABLE $table IN ACCESS SHARE MODE; SELECT pg_advisory_unlock(1)");
wait_for($node, qq{(SELECT wait_event = 'relation' FROM pg_stat_activity WHERE pid = $pid)}, 'a session waits until it is cleared');
is(value($node, "SELECT status, finished_at IS NOT NULL FROM flow_internal.task WHERE run_id = $run"), 'ready|t', '... and has stored the end of its command before');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$holder->query_safe('COMMIT');	# a session that ends waits for its tables, too
$holder->quit;
wait_for($node, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)", 'a session that cannot be cleared ends');
is(ended($run, 'the command has run'), 'completed 1', '... well');
is(marks($run), '1|1', '... and once');

$node->stop;
done_testing();
