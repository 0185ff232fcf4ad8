# Steps at REPEATABLE READ and SERIALIZABLE: exactly once, no join lost, true
# conflicts retried and no others met, whatever comes between the commit of
# the step and the one that settles it.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('isolation', 'flow.workers' => 8, restart_after_crash => 'on');
my $rr = q{isolation => 'repeatable read'};
my $ser = q{isolation => 'serializable'};

flow_audit($node);
$node->safe_psql('postgres', 'CREATE SEQUENCE executions');

sub executions
{
	return value($node, q{SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM executions});
}

sub start
{
	my ($workflow, $input) = @_;

	return value($node, sprintf q{SELECT flow_start('%s', '%s')}, $workflow, $input // '{}');
}

sub steps
{
	my ($run) = @_;

	return value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run");
}

sub define
{
	my ($name, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',', @steps) . '])');
	return;
}

# Waits until so many backends wait for an advisory lock
sub wait_at_gate
{
	my ($n, $what) = @_;

	return wait_for($node, "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) = $n", $what);
}

# Kills a worker, and waits until the server is up again
sub kill_worker
{
	my ($pid, $what) = @_;

	ok(kill(0, $pid), $what);
	ok(kill_through($node, $pid), 'the server is back');
	return;
}

# Joins: each pair of levels, and three branches; steps that follow, too
my %levels = (rc => '', ra => 'batch => false', rr => $rr, ser => $ser);
my $workflows = 0;
foreach my $left (sort keys %levels)
{
	foreach my $right (sort keys %levels)
	{
		define("${left}_$right",
			audited('start'),
			audited('left', join(', ', q{after => '{start}'}, $levels{$left} || ())),
			audited('right', join(', ', q{after => '{start}'}, $levels{$right} || ())),
			audited('third', qq{after => '{start}', $rr}),
			audited('two', q{after => '{left,right}'}),
			audited('three', qq{after => '{left,right,third}', $levels{$left}} =~ s/, $//r),
			audited('last', qq{after => '{two,three}', $ser}));
		$workflows++;
	}
}
$node->safe_psql('postgres', q{SELECT flow_start(name) FROM flow.workflow, generate_series(1, 15)});
wait_for_end($node, 'all runs ended');
is(value($node, 'SELECT status, count(*) FROM flow.run GROUP BY status'), 'completed|' . 15 * $workflows, 'no join is lost');
cmp_ok(value($node, 'SELECT count(DISTINCT pid) FROM audit'), '>', 1, 'several workers took part');
is(value($node, 'SELECT count(*) FROM flow.attempt'), '0', 'no attempt has failed');
is_consistent($node, 'each step ran exactly once and in order');

# What a step at such a level sees and may ask, whatever its role prefers
$node->safe_psql('postgres', q{
	CREATE ROLE shop LOGIN;
	ALTER ROLE shop SET default_transaction_isolation = 'serializable';
	ALTER ROLE shop SET default_transaction_read_only = on;
	GRANT USAGE, CREATE ON SCHEMA flow TO shop;
	CREATE FUNCTION note() RETURNS void LANGUAGE sql AS 'INSERT INTO audit (run_id, step) VALUES (flow_run_id(), flow_step_name())'});
$node->safe_psql('postgres', qq{
	BEGIN READ WRITE;
	SELECT flow_define('asks', ARRAY[
		flow_step('a', \$\$ SELECT note(); SELECT flow_set('k', '[1]'), flow_set('gone', '1') \$\$, result => 'none', $ser),
		flow_step('b', \$\$ SELECT note(); SELECT flow_set('k', jsonb_build_object('was', flow_get('k'))), flow_set('gone', NULL), flow_set('null', 'null') \$\$, result => 'none', after => '{a}', $rr),
		flow_step('c', \$\$ SELECT note(); SELECT current_setting('transaction_isolation') AS level, input, flow.attempt, flow_get('k') AS k, flow_get('gone') AS gone, flow_get('null') AS "null" \$\$, after => '{b}', $ser),
		flow_step('d', \$\$ SELECT note(); SELECT current_setting('transaction_isolation') AS level, c->'level' AS c, flow_output('c')->'attempt' AS attempt \$\$, after => '{c}', $rr),
		flow_step('e', \$\$ SELECT note(); SELECT current_setting('transaction_isolation') AS level, c->'level' AS c, d->'level' AS d \$\$, after => '{d}')]);
	SELECT flow_start('asks', '{"i": 1}');
	COMMIT}, extra_params => [ '-U', 'shop' ]);
wait_for_end($node, 'a chain of all levels ended');
is(value($node, q{SELECT output - 'input' FROM flow.step WHERE name = 'c'}),
	'{"k": {"was": [1]}, "gone": null, "null": null, "level": "serializable", "attempt": 1}', 'data pass from step to step');
is(value($node, q{SELECT output FROM flow.step WHERE name = 'd'}), '{"c": "serializable", "level": "repeatable read", "attempt": 1}', 'outputs, too');
is(value($node, q{SELECT output FROM flow.run WHERE workflow = 'asks'}),
	'{"c": "serializable", "d": "repeatable read", "level": "read committed"}', 'the level is the step\'s, not the role\'s');
is(value($node, q{SELECT string_agg(key || ' ' || value::text, ', ' ORDER BY key) FROM flow.data}), 'k {"was": [1]}, null null', 'data are kept');

# One snapshot for all the statements of the step
my $gate = $node->background_psql('postgres', on_error_die => 1);
$node->safe_psql('postgres', 'CREATE TABLE seen (x int)');
foreach my $level ('read committed', 'repeatable read', 'serializable')
{
	$node->safe_psql('postgres', qq{
		TRUNCATE seen;
		SELECT flow_define('snapshot', ARRAY[flow_step('s', \$\$
			SELECT note(), flow_set('first', to_jsonb((SELECT count(*) FROM seen)));
			SELECT pg_advisory_xact_lock(1);
			SELECT flow_get('first') AS first, count(*) AS second FROM seen \$\$, isolation => '$level')])});
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = start('snapshot');
	wait_at_gate(1);
	$node->safe_psql('postgres', 'INSERT INTO seen VALUES (1)');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	is(value($node, "SELECT output FROM flow_await($run, '60 s')"),
		sprintf('{"first": 0, "second": %d}', $level eq 'read committed' ? 1 : 0), "$level: what a commit in between changes");
}

# Write skew: two steps each take from one of two accounts if the sum allows
$node->safe_psql('postgres', 'CREATE TABLE account (id text PRIMARY KEY, n int)');
foreach my $level ('repeatable read', 'serializable')
{
	my $take = q{UPDATE account SET n = n - 1 WHERE id = flow_step_name() AND (SELECT sum(n) FROM account) >= 1;
		SELECT pg_advisory_xact_lock_shared(1); SELECT nextval('executions')};

	$node->safe_psql('postgres', q{TRUNCATE account; INSERT INTO account VALUES ('a', 1), ('b', 0); ALTER SEQUENCE executions RESTART});
	define('skew', map { audited($_, "isolation => '$level'", $take) } ('a', 'b'));
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = start('skew');
	wait_at_gate(2, "$level: both have taken");
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', '... and completed');
	is(value($node, 'SELECT sum(n) FROM account'), $level eq 'serializable' ? '0' : '-1', '... leaving a sum');
	is(executions(), $level eq 'serializable' ? '3' : '2', '... after so many executions');
}
is(value($node, 'SELECT count(*) FROM flow.attempt'), '0', 'a conflict is no failed attempt');

# Unrelated runs do not conflict through the tables of flow
$node->safe_psql('postgres', q{
	ALTER SEQUENCE executions RESTART;
	CREATE TABLE mine (id int PRIMARY KEY, n int NOT NULL DEFAULT 0) WITH (fillfactor = 10);
	INSERT INTO mine SELECT generate_series(1, 2000);
	ANALYZE mine});
define('disjoint',
	audited('a', $ser, q{SELECT nextval('executions'), flow_set('k', '1'); UPDATE mine SET n = n + 1 WHERE id = (input->>'id')::int}),
	audited('b', qq{after => '{a}', $ser}, q{SELECT nextval('executions'), flow_get('k'), flow_set('k', '2'), a; UPDATE mine SET n = n + 1 WHERE id = (input->>'id')::int}),
	audited('c', qq{after => '{a}', $ser}, q{SELECT nextval('executions'), flow_get('k'), flow_set('l', NULL); UPDATE mine SET n = n + 1 WHERE id = 1000 + (input->>'id')::int}),
	audited('d', qq{after => '{b,c}', $ser}, q{SELECT nextval('executions'), flow_get('k'), b, c}));
$node->safe_psql('postgres', q{SELECT flow_start('disjoint', jsonb_build_object('id', i)) FROM generate_series(1, 200) i});
wait_for_end($node, '200 serializable runs ended');
is(value($node, 'SELECT sum(n) FROM mine'), '600', 'each update was done once');
cmp_ok(executions(), '<=', 840, 'hardly a step was executed again');
$node->safe_psql('postgres', 'ALTER SEQUENCE executions RESTART');
define('child', audited('s'));
define('quiet',
	audited('a', $ser, q{SELECT nextval('executions'), flow_set('k', '1'), flow_start('child')}),
	audited('b', qq{after => '{a}', $ser}, q{SELECT nextval('executions'), flow_get('k'), a, flow_start('child', '{}', key => 'k' || flow.run_id)}));
$node->safe_psql('postgres', q{SELECT flow_start('quiet') FROM generate_series(1, 200)});
wait_for_end($node, 'those that touch nothing else ended');
is(executions(), '400', '... and not one step was executed again');
is_consistent($node, 'effects and states agree after conflicts');

# Failures, limits and cancels
define('fails',
	audited('s', "retries => 1, retry_delay => '1 ms', retry_on => '{22}', $ser", q{SELECT 1 / (input->>'x')::int}));
my $run = start('fails', '{"x": 0}');
is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'failed', 'a step that fails');
is(value($node, "SELECT string_agg(attempt || ' ' || sqlstate, ', ' ORDER BY attempt) FROM flow.attempt WHERE run_id = $run"), '1 22012, 2 22012', '... and its retry are on record');
define('late', audited('s', $ser, q{DECLARE c CURSOR WITH HOLD FOR SELECT 1 / x FROM (VALUES (0)) AS v (x)}));
$run = start('late');
is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'failed', 'a step whose commit fails');
is(value($node, "SELECT string_agg(attempt || ' ' || sqlstate, ', ') FROM flow.attempt WHERE run_id = $run"), '1 22012', '... is charged with it');
define('slow', audited('s', "timeout => '50 ms', $rr", q{SELECT pg_sleep(600)}));
$run = start('slow');
is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'failed', 'a step that is too slow');
is(value($node, "SELECT sqlstate FROM flow.attempt WHERE run_id = $run"), 'WF004', '... failed by its limit');

define('gated',
	audited('s', $ser, q{SELECT pg_advisory_xact_lock(1)}),
	audited('t', qq{after => '{s}'}));
$gate->query_safe('SELECT pg_advisory_lock(1)');
$run = start('gated');
wait_at_gate(1, 'a step is running');
is(value($node, "SELECT flow_cancel($run)"), 't', 'its run is cancelled');
wait_for_end($node, '... it is interrupted');
is(steps($run), 's cancelled, t cancelled', '... its steps are cancelled');

# Cancelled by a client that has not yet committed when the step is done
$run = start('gated');
wait_at_gate(1);
my $client = $node->background_psql('postgres', on_error_die => 1);
$client->query_safe("BEGIN; SELECT flow_cancel($run)");
$gate->query_safe('SELECT pg_advisory_unlock(1)');
wait_at_gate(0);
$client->query_safe('COMMIT');
wait_for_end($node, 'a run cancelled at the last moment ended');
is(steps($run), 's cancelled, t cancelled', '... without an end of its own');
is_consistent($node, 'effects and states agree after failures and cancels');
$client->quit;

# A pause lets the running step end, and be settled
$gate->query_safe('SELECT pg_advisory_lock(1)');
$run = start('gated');
wait_at_gate(1);
$node->safe_psql('postgres', "SELECT flow_pause($run)");
$gate->query_safe('SELECT pg_advisory_unlock(1)');
wait_for($node, "EXISTS (SELECT FROM flow_internal.outcome WHERE run_id = $run)", 'a step ends in a paused run');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'paused', '... which stays so');
$node->safe_psql('postgres', "SELECT flow_resume($run)");
is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', '... and goes on when it is resumed');

# A cancel that a step swallows still counts
define('stubborn',
	audited('s', $ser, q{DO $do$ BEGIN PERFORM pg_advisory_xact_lock(1); EXCEPTION WHEN query_canceled THEN NULL; END $do$}));
$gate->query_safe('SELECT pg_advisory_lock(1)');
$run = start('stubborn');
wait_at_gate(1);
$node->safe_psql('postgres', "SELECT flow_cancel($run)");
wait_for_end($node, 'a stubborn step is interrupted');
is(steps($run), 's cancelled', '... and has not ended by itself');
is_consistent($node, '... nor had an effect');
$gate->query_safe('SELECT pg_advisory_unlock(1)');

# The moment between the commit of a step and the one that settles it, which
# alone writes an outcome
$node->safe_psql('postgres', 'CREATE TABLE toggle (n int); INSERT INTO toggle VALUES (0)');
define('between',
	audited('s', $ser, q{DO $do$ BEGIN LOOP EXIT WHEN pg_try_advisory_xact_lock_shared(1); PERFORM pg_sleep(0.01); END LOOP; END $do$; SELECT flow_set('k', '7')}),
	audited('beside', q{priority => 1, retries => 1, retry_delay => '1 h', retry_on => '{22012}'}, q{SELECT 1 / n FROM toggle}),
	audited('t', q{after => '{s,beside}'}));
define('steers',
	audited('s', $rr, q{DO $do$ BEGIN LOOP EXIT WHEN pg_try_advisory_xact_lock_shared(1); PERFORM pg_sleep(0.01); END LOOP; END $do$; SELECT flow_cancel((input->>'run')::bigint, 'because'), flow_pause(flow.run_id)}),
	audited('t', q{after => '{s}'}));

# Starts runs whose first steps, at the gate, are then committed and cannot be
# settled; what is beside them has failed before.  Several must look at the gate
# from time to time, since of steps that wait for a lock some are set aside
sub start_unsettled
{
	my @starts = @_;

	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my @runs = map { start(@$_) } @starts;
	wait_for($node, q{(SELECT count(*) FROM flow.activity WHERE step = 's') = } . @runs);
	wait_for($node, q{NOT EXISTS (SELECT FROM flow.step WHERE name = 'beside' AND status <> 'sleeping')});
	$client = $node->background_psql('postgres', on_error_die => 1);
	$client->query_safe('BEGIN; LOCK TABLE flow_internal.outcome IN SHARE MODE');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	wait_for($node, '(SELECT count(*) FROM flow_internal.task WHERE ended) = ' . @runs);
	return @runs;
}

# The worker dies there
($run) = start_unsettled([ 'gated' ]);
is(steps($run), 's completed, t pending', 'a step is committed and not settled');
kill_worker(value($node, "SELECT worker FROM flow.step WHERE run_id = $run AND name = 's'"), 'its worker is killed');
wait_for_end($node, 'all runs ended');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'completed', 'the step is settled');
is_consistent($node, '... and was not done again');

# Nobody settles while there are no workers: what may happen to the run then
$gate = $node->background_psql('postgres', on_error_die => 1);
my $target = value($node, q{SELECT flow_start('gated', start_at => now() + interval '1 d')});
my ($cancelled, $retried, $drained, $paused, $failed, $steering) =
  start_unsettled((map { [ 'between' ] } 1 .. 5), [ 'steers', qq{{"run": $target}} ]);
$node->safe_psql('postgres', q{ALTER SYSTEM SET flow.databases = 'template1'});
$node->reload;
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND pg_terminate_backend(pid))}, 'six steps are committed and not settled, and no worker is left');
$client->query_safe('COMMIT');
$client->quit;
$gate->quit;

is(steps($drained), 's completed, beside sleeping, t pending', 'they are shown as completed');
is(value($node, "SELECT steps_done, status FROM flow.run WHERE id = $drained"), '1|running', '... and are counted');
is(value($node, q{SELECT ready FROM flow.queue WHERE workflow = 'between'}), '0', 'nothing is ready');

$node->safe_psql('postgres', "SELECT flow_cancel($_)") foreach ($cancelled, $retried);
is(steps($cancelled), 's completed, beside cancelled, t cancelled', 'a cancel keeps what was committed before it');
is(value($node, "SELECT flow_retry($retried)"), 't', 'a cancelled run is retried');
is(value($node, "SELECT flow_pause($paused)"), 't', 'another is paused');

is(value($node, "SELECT flow_drain($failed, max_steps => 1, skip_time => true)"), '1', 'a step beside one of them fails');
is(steps($failed), 's completed, beside failed, t pending', '... and leaves that one alone');
is(value($node, "SELECT status FROM flow.run WHERE id = $failed"), 'running', '... which the run waits for');
is(value($node, "SELECT flow_drain($failed)"), '0', 'settling it is no attempt');
is(steps($failed), 's completed, beside failed, t skipped', '... then the run has failed');

$node->safe_psql('postgres', 'UPDATE toggle SET n = 1');
is(value($node, "SELECT flow_drain($drained, max_steps => 1, skip_time => true)"), '1', 'a step beside one of them completes');
is(steps($drained), 's completed, beside completed, t pending', '... and does not decide the join');
is(value($node, "SELECT flow_drain($drained)"), '1', 'settling does');
is(value($node, "SELECT status FROM flow.run WHERE id = $drained"), 'completed', '... and the run goes on to its end');
is(value($node, "SELECT status FROM flow.run WHERE id = $target"), 'pending', 'what a step has asked for is not done before it is settled');

$node->safe_psql('postgres', q{ALTER SYSTEM RESET flow.databases});
$node->reload;
is(value($node, "SELECT status FROM flow_await($target, '60 s')"), 'cancelled', '... and is not lost');
is(value($node, "SELECT status_reason FROM flow.run WHERE id = $target"), 'because', '... nor why');
wait_for($node, "(SELECT status FROM flow.run WHERE id = $steering) = 'paused'", '... nor what it has asked for its own run');
$node->safe_psql('postgres', "SELECT flow_resume($_)") foreach ($paused, $steering);
$node->safe_psql('postgres', "SELECT flow_drain($paused, skip_time => true)");
wait_for_end($node, 'all ended');
is(value($node, "SELECT string_agg(status, ' ' ORDER BY id) FROM flow.run WHERE id IN ($cancelled, $retried, $drained, $paused, $failed, $steering)"),
	'cancelled completed completed completed failed completed', '... as they should');
is(steps($cancelled), 's completed, beside cancelled, t cancelled', '... the cancelled one as it was');
is(value($node, "SELECT count(*) FROM flow.data WHERE run_id IN ($cancelled, $failed, $drained)"), '3', '... with their data');
is_consistent($node, 'effects and states agree');

# Killed at any moment
define('storm',
	audited('a', $ser),
	audited('b', qq{after => '{a}', $rr}),
	audited('c', q{after => '{a}', batch => false}, 'SELECT pg_sleep(0.02)'),
	audited('d', qq{after => '{b,c}', $ser}),
	audited('e', q{after => '{d}'}));
foreach my $round (1 .. 3)
{
	$node->safe_psql('postgres', q{SELECT flow_start('storm') FROM generate_series(1, 200)});
	my $done = value($node, 'SELECT count(*) FROM audit');
	wait_for($node, "(SELECT count(*) FROM audit) > $done + 20 AND EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL)");
	kill_worker(value($node, q{SELECT pid FROM flow.activity WHERE type = 'worker' ORDER BY run_id NULLS LAST LIMIT 1}), "a worker is killed, round $round");
}
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT status, count(*) FROM flow.run WHERE workflow = 'storm' GROUP BY status}), 'completed|600', 'nothing is lost');
is_consistent($node, 'nothing was done twice');

$node->stop;
done_testing();
