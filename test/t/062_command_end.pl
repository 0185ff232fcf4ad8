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
				PERFORM pg_sleep(600);
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
$run = start('stubborn', q{$$ CALL stubborn() $$, timeout => '100 ms', retries => 1, retry_delay => '1 ms'});
is(ended($run, 'a command that catches its time limit ends'), 'failed 2 WF004 WF004,WF004', '... as one that has met it');
is(marks($run), '2|2', '... after the attempts it has');

$node->stop;
done_testing();
