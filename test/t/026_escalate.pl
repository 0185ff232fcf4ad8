# Steps that do not stop when they are told to: by flow_cancel, by their time
# limit, by an operator; and processes that are cancelled or terminated by hand.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('escalate', 'flow.workers' => 6);
my ($code, $out, $err);

# Catches every cancel and goes on, unless the run is named in the table
sub stubborn
{
	my ($name, $options) = @_;

	return audited($name, $options, q{
		DO $do$ BEGIN
			WHILE NOT EXISTS (SELECT FROM tame WHERE run = flow_run_id()) LOOP
				BEGIN
					PERFORM pg_sleep(600);
				EXCEPTION WHEN query_canceled OR others THEN NULL;
				END;
			END LOOP;
		END $do$});
}

sub running
{
	my ($run, $type) = @_;

	$type //= 'worker';
	return "EXISTS (SELECT FROM flow.activity WHERE run_id = $run AND type = '$type')";
}

sub worker_of
{
	my ($run) = @_;

	wait_for($node, running($run));
	return value($node, "SELECT pid FROM flow.activity WHERE run_id = $run");
}

sub process
{
	my ($type) = @_;

	wait_for($node, "EXISTS (SELECT FROM flow.activity WHERE type = '$type')");
	return value($node, "SELECT min(pid) FROM flow.activity WHERE type = '$type'");
}

sub steps_of
{
	my ($run) = @_;

	return value($node, "SELECT string_agg(name || ' ' || status || ' ' || attempt, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run");
}

sub attempts_of
{
	my ($run) = @_;

	return value($node, "SELECT coalesce(string_agg(step || ' ' || attempt || ' ' || sqlstate, ', ' ORDER BY attempt), 'none') FROM flow.attempt WHERE run_id = $run");
}

flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE tame (run bigint);
	CREATE TABLE held (i int);
	SELECT flow_define('one', ARRAY[} . audited('s') . q{]);
	SELECT flow_define('nap', ARRAY[} . audited('s', 'batch => false', 'SELECT pg_sleep(600)') . q{]);
	SELECT flow_define('limited_nap', ARRAY[} . audited('s', q{timeout => '2 s'}, 'SELECT pg_sleep(600)') . q{]);
	SELECT flow_define('stubborn', ARRAY[} . join(',', stubborn('s', 'batch => false'), audited('after', q{after => '{s}'})) . q{]);
	SELECT flow_define('stubborn_limited', ARRAY[} . stubborn('s', q{timeout => '200 ms', retries => 1, retry_delay => '1 ms'}) . '])');

# ---- a process that does not look for interrupts at all
my $frozen = value($node, q{SELECT flow_start('nap')});
my $frozen_limited = value($node, q{SELECT flow_start('limited_nap')});
my @stopped = (worker_of($frozen), worker_of($frozen_limited));
kill 'STOP', @stopped;
$node->safe_psql('postgres', "SELECT flow_cancel($frozen)");

# ---- steps that catch their cancels: by flow_cancel, also when retried at once, and by a time limit
my $cancelled = value($node, q{SELECT flow_start('stubborn')});
my $retried = value($node, q{SELECT flow_start('stubborn')});
my @ended = (worker_of($cancelled), worker_of($retried));
my $limited = value($node, q{SELECT flow_start('stubborn_limited')});
$node->safe_psql('postgres', "SELECT flow_cancel($cancelled), flow_cancel($retried)");
$node->safe_psql('postgres', "INSERT INTO tame VALUES ($retried); SELECT flow_retry($retried)");
is(value($node, "SELECT status FROM flow.run WHERE id = $cancelled"), 'cancelled', 'the run is cancelled at once');
my $run = value($node, q{SELECT flow_start('one')});
is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', 'others go on while the steps do not stop');

wait_for($node, 'NOT ' . running($cancelled), 'the worker of a cancelled step that catches its cancels is ended');
like(slurp_file($node->logfile), qr/LOG:  ending flow worker $ended[0], since a step of run $cancelled goes on/, '... and the log says so');
is(value($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $ended[0]"), '0', '... the process is gone');
is(steps_of($cancelled), 's cancelled 0, after cancelled 0', '... the run stays cancelled');
is(attempts_of($cancelled), 'none', '... and the step is not charged');
is(value($node, "SELECT count(*) FROM audit WHERE run_id = $cancelled"), '0', '... and nothing of it was kept');

is(value($node, "SELECT status FROM flow_await($retried, '60 s')"), 'completed', 'a run that was cancelled and retried meanwhile completes');
is(value($node, "SELECT string_agg(step, ' ' ORDER BY no) FROM audit WHERE run_id = $retried"), 's after', '... by one execution');
ok(value($node, "SELECT NOT (pid = $ended[1]) FROM audit WHERE run_id = $retried AND step = 's'"), '... in another worker');
is(value($node, "SELECT crashes FROM flow.step WHERE run_id = $retried AND name = 's'"), '0', '... and its first worker was not ended by the step');

is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($limited, '60 s')"), 'failed|WF004', 'a step that catches its time limit fails by it');
is(attempts_of($limited), 's 1 WF004, s 2 WF004', '... after the attempts it has');
ok(value($node, "SELECT bool_and(finished_at - started_at > interval '5 s') FROM flow.attempt WHERE run_id = $limited"), '... which took from their start to the end of their worker');
is(value($node, "SELECT count(*) FROM audit WHERE run_id = $limited"), '0', '... and nothing of it was kept');

# ---- the frozen ones are on display, and stop when they look again
foreach my $frozen ([ $frozen, 'a cancelled step' ], [ $frozen_limited, 'a step whose time is over' ])
{
	my ($run, $what) = @$frozen;

	wait_for($node, "(SELECT reason = 'does not react to its cancel' AND step = 's' AND hint ~ 'SIGKILL' FROM flow.stuck WHERE run_id = $run)", "$what that does not look for interrupts is stuck");
}
kill 'CONT', @stopped;
wait_for($node, 'NOT ' . running($frozen), '... and ends when it looks');
is(steps_of($frozen), 's cancelled 0', '... cancelled');
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($frozen_limited, '60 s')"), 'failed|WF004', '... or failed by its time limit');
is(value($node, 'SELECT count(*) FROM flow.stuck'), '0', 'nothing is stuck any more');

# ---- in a batch: others are not held up for ever by a step that catches the interrupts
$node->safe_psql('postgres', q{
	SELECT flow_define('short', ARRAY[} . audited('s', undef, q{
		DO $do$ BEGIN
			WHILE flow_input() ? 'loiter' LOOP
				BEGIN
					PERFORM pg_sleep(600);
				EXCEPTION WHEN query_canceled THEN NULL;
				END;
			END LOOP;
		END $do$}) . q{]);
	SELECT flow_start('short') FROM generate_series(1, 50)});
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'short' AND status = 'completed') = 50}, 'a step is known to be short');
my $loiterer = value($node, q{SELECT max(r) FILTER (WHERE i = 10) FROM (
	SELECT i, flow_start('short', CASE i WHEN 10 THEN '{"loiter": true}' ELSE '{}' END::jsonb) AS r
	FROM generate_series(1, 40) i) started});
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'short' AND status = 'completed') = 89}, 'those that share its batch complete');
wait_for($node, running($loiterer), '... and it runs alone');
is(attempts_of($loiterer), 'none', '... uncharged');
$node->safe_psql('postgres', "SELECT flow_cancel($loiterer)");
wait_for($node, 'NOT ' . running($loiterer), '... until it is cancelled');

# ---- a time limit counts whatever the step waits for, or sets
flow_owner($node, 'hasty');
$node->safe_psql('postgres', q{ALTER ROLE hasty SET statement_timeout = '300 ms'});
my $limit = q{timeout => '300 ms'};
my %limited = (
	'a lock wait' => audited('s', $limit, q{SELECT count(*) FROM held}),
	'a sleep' => audited('s', $limit, q{SELECT pg_sleep(600)}),
	'a setting' => audited('s', $limit, q{SET statement_timeout = 0; SELECT pg_sleep(600)}),
	'a local setting' => audited('s', $limit, q{SET LOCAL statement_timeout = 0; SELECT set_config('statement_timeout', '0', false), pg_sleep(600)}),
	'a loop' => audited('s', $limit, q{DO $do$ BEGIN LOOP NULL; END LOOP; END $do$}),
	'statements' => audited('s', $limit, q{SELECT pg_sleep(0.2); SELECT pg_sleep(0.2); SELECT pg_sleep(600)}));
my %runs;
$node->safe_psql('postgres', sprintf q{SELECT flow_define('%s', ARRAY[%s])}, $_, $limited{$_})
  foreach sort keys %limited;
my $holder = $node->background_psql('postgres', on_error_die => 1);
$holder->query_safe('BEGIN; LOCK TABLE held');
$runs{$_} = value($node, "SELECT flow_start('$_')") foreach sort keys %limited;
$node->safe_psql('postgres', q{SELECT flow_define('of the role', ARRAY[flow_step('s', $$ SET statement_timeout = 0; SELECT pg_sleep(600) $$)])},
	extra_params => [ '-U', 'hasty' ]);
$runs{'of the role'} = value($node, q{SELECT flow_start('of the role')}, extra_params => [ '-U', 'hasty' ]);
foreach my $case (sort keys %runs)
{
	is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($runs{$case}, '60 s')"), 'failed|WF004', "time limit: $case");
	is(attempts_of($runs{$case}), 's 1 WF004', '... is one failed attempt');
}
$holder->query_safe('ROLLBACK');
$holder->quit;

# ---- an operator's cancel
$run = value($node, q{SELECT flow_start('nap')});
my $worker = worker_of($run);
is(value($node, "SELECT pg_cancel_backend($worker)"), 't', 'an operator cancels a step');
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($run, '60 s')"), 'failed|57014', '... which has failed');
is(attempts_of($run), 's 1 57014', '... in one attempt');
wait_for($node, "EXISTS (SELECT FROM flow.activity WHERE pid = $worker AND run_id IS NULL)", '... and the worker stays');
my ($launcher, $scheduler) = (process('launcher'), process('scheduler'));
$node->safe_psql('postgres', "SELECT pg_cancel_backend(p) FROM unnest(ARRAY[$worker, $launcher, $scheduler]) p, generate_series(1, 5)");
$node->safe_psql('postgres', q{SELECT flow_start('one') FROM generate_series(1, 20)});
wait_for_end($node, 'cancels of processes that run no step do nothing');
is(attempts_of('(SELECT max(id) FROM flow.run)'), 'none', '... to the next step either');
is(process('launcher'), $launcher, '... the launcher stays');
is(process('scheduler'), $scheduler, '... and so does the scheduler');
is(value($node, "SELECT count(*) FROM flow.activity WHERE pid = $worker"), '1', '... and the worker');

# ---- terminated by hand: replaced, and nothing is lost
my $effects = value($node, 'SELECT count(*) FROM audit');
is(value($node, "SELECT pg_terminate_backend($worker, 60000)"), 't', 'an idle worker is terminated');
is(value($node, "SELECT pg_terminate_backend($scheduler, 60000)"), 't', 'a scheduler is terminated');
is(value($node, "SELECT pg_terminate_backend($launcher, 60000)"), 't', 'the launcher is terminated');
$node->safe_psql('postgres', q{SELECT flow_start('one') FROM generate_series(1, 20)});
wait_for_end($node, 'work goes on');
isnt(process('launcher'), $launcher, 'there is a new launcher');
isnt(process('scheduler'), $scheduler, 'there is a new scheduler');
is(value($node, 'SELECT count(*) FROM audit'), $effects + 20, 'every step ran once');
$node->safe_psql('postgres', q{
	CREATE TABLE gate (open boolean);
	SELECT flow_define('gated', ARRAY[} . audited('s', 'batch => false', q{SELECT CASE WHEN NOT EXISTS (SELECT FROM gate) THEN pg_sleep(600) END}) . '])');
$run = value($node, q{SELECT flow_start('gated')});
$worker = worker_of($run);
$node->safe_psql('postgres', 'INSERT INTO gate VALUES (true)');
is(value($node, "SELECT pg_terminate_backend($worker, 60000)"), 't', 'a busy worker is terminated');
is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', '... its step is run again by another');
is_consistent($node);

# ---- a client in flow_drain is interrupted again and again, but never ended
$node->append_conf('postgresql.conf', 'flow.workers = 0');
$node->reload;
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type = 'worker')}, 'no worker is left');
$run = value($node, q{SELECT flow_define('thrice', ARRAY[} . audited('s', undef, q{
	DO $do$ DECLARE caught int := 0; BEGIN
		WHILE caught < 3 LOOP
			BEGIN
				PERFORM pg_sleep(600);
			EXCEPTION WHEN query_canceled THEN caught := caught + 1;
			END;
		END LOOP;
	END $do$}) . q{]) * 0 + flow_start('thrice')});
my $client = $node->background_psql('postgres', on_error_stop => 0);
$client->query_until(qr/going/, "\\echo going\nSELECT flow_drain($run);\n\\echo drained\n");
wait_for($node, running($run, 'drain'), 'a client drains a run');
$node->safe_psql('postgres', "SET statement_timeout = '60 s'; SELECT flow_cancel($run)");
wait_for($node, 'NOT ' . running($run, 'drain'), 'its step is interrupted until it stops');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'cancelled', '... the run is cancelled');
like($client->query('SELECT 42'), qr/42/, '... and the client goes on');
$client->quit;

$node->stop;
done_testing();
