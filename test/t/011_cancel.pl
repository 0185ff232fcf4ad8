# Cancel, pause, fail and retry against running steps.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('cancel', 'flow.workers' => 3);
my ($code, $out, $err);

flow_audit($node);
$node->safe_psql('postgres', q{CREATE TABLE gate (open boolean); INSERT INTO gate VALUES (false);
	SELECT flow_define('work', ARRAY[} . join(',',
		audited('before'),
		audited('long', q{after => '{before}'}, q{INSERT INTO audit (run_id, step) VALUES (flow.run_id, 'early'); SELECT pg_sleep(600)}),
		audited('after', q{after => '{long}'})) . '])');

sub running
{
	my ($run, $step) = @_;

	return "EXISTS (SELECT FROM flow.activity WHERE run_id = $run AND step = '$step' AND type = 'worker')";
}

# A cancelled step is interrupted, and has had no effect
my $run = value($node, q{SELECT flow_start('work')});
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'before') = 'completed'", 'the first step has completed');
wait_for($node, running($run, 'long'), 'the step is running');
is(value($node, "SELECT flow_cancel($run, 'no more')"), 't', 'cancelled');
is(value($node, "SELECT flow_cancel($run)"), 'f', 'once');
wait_for($node, 'NOT ' . running($run, 'long'), 'the step is interrupted');
is(value($node, "SELECT string_agg(step, ' ' ORDER BY no) FROM audit WHERE run_id = $run"), 'before', 'its effects are absent');
is(value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run"),
	'before completed, long cancelled, after cancelled', 'its step and those after it are cancelled');
is(value($node, "SELECT status, status_reason FROM flow.run WHERE id = $run"), 'cancelled|no more', 'the run is cancelled, and why');

# Cancelled in bulk under load, nothing of them commits afterwards
$node->safe_psql('postgres', q{
	SELECT flow_define('many', ARRAY[} . join(',',
		audited('a'),
		audited('b', q{after => '{a}'}, 'SELECT pg_sleep(0.005)'),
		audited('c', q{after => '{b}', batch => false}),
		audited('d', q{after => '{c}'})) . ']);
	SELECT flow_start(\'many\') FROM generate_series(1, 200)');
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'many' AND status = 'completed') >= 5});
cmp_ok(steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE workflow = 'many' AND status = 'running' AND id % 2 = 0}),
	'>', 0, 'some were cancelled under load');
$node->safe_psql('postgres', q{CREATE TABLE seen AS SELECT id FROM flow.run WHERE workflow = 'many' AND status = 'cancelled'});
my $effects = value($node, 'SELECT count(*) FROM audit WHERE run_id IN (SELECT id FROM seen)');
wait_for_end($node, 'the others ended');
is(value($node, 'SELECT count(*) FROM audit WHERE run_id IN (SELECT id FROM seen)'), $effects, 'no effect of a cancelled run came after the cancel');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'many' AND (status = 'cancelled') <> (id IN (SELECT id FROM seen))}), '0', 'exactly those are cancelled');
is_consistent($node);

# A cancel that a step swallows still counts
$node->safe_psql('postgres', q{
	SELECT flow_define('stubborn', ARRAY[flow_step('s', $$
		DO $do$ BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END $do$;
		INSERT INTO audit (run_id, step) VALUES (flow.run_id, 's') $$)])});
$run = value($node, q{SELECT flow_start('stubborn')});
wait_for($node, running($run, 's'), 'the stubborn step is running');
$node->safe_psql('postgres', "SELECT flow_cancel($run)");
wait_for($node, 'NOT ' . running($run, 's'), 'it is interrupted');
is(value($node, "SELECT count(*) FROM audit WHERE run_id = $run"), '0', '... and its effect is absent');

# A pause lets the running step finish, and nothing after it start
$node->safe_psql('postgres', q{
	SELECT flow_define('gated', ARRAY[} . join(',',
		audited('first', '', q{SELECT pg_advisory_xact_lock(1)}),
		audited('second', q{after => '{first}'})) . '])');
my $holder = $node->background_psql('postgres', on_error_die => 1);
$holder->query_safe('SELECT pg_advisory_lock(1)');
$run = value($node, q{SELECT flow_start('gated')});
wait_for($node, running($run, 'first'), 'the gated step is running');
is(value($node, "SELECT flow_pause($run, 'wait')"), 't', 'paused');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'first') = 'completed'", 'the running step finishes');
wait_for($node, 'NOT ' . running($run, 'second'));
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'paused', 'the run stays paused');
is(value($node, "SELECT flow_resume($run)"), 't', 'resumed');
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', '... it completes');

# A sibling fails while a step runs: that one finishes and is recorded
$node->safe_psql('postgres', q{
	SELECT flow_define('siblings', ARRAY[} . join(',',
		audited('held', q{batch => false}, q{SELECT pg_advisory_xact_lock(1)}),
		q{flow_step('bad', $$ SELECT pg_advisory_xact_lock(2); SELECT 1 / 0 $$, batch => false)},
		audited('last', q{after => '{held}'})) . '])');
$holder->query_safe('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
$run = value($node, q{SELECT flow_start('siblings')});
wait_for($node, running($run, 'held'), 'a sibling is running');
$holder->query_safe('SELECT pg_advisory_unlock(2)');
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'bad') = 'failed'", 'the other failed meanwhile');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'failed', 'the run failed');
is(value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run"),
	'held completed, bad failed, last cancelled', 'the running sibling was recorded');
is_consistent($node, 'effects and states agree after control');

# Two siblings that fail at the same time: one alone is not retried
$node->safe_psql('postgres', q{
	SELECT flow_define('both', ARRAY[} . join(',',
		audited('held', q{batch => false}, q{SELECT pg_advisory_xact_lock(1); SELECT 1 / (SELECT count(*) FROM gate WHERE open)}),
		audited('bad', q{batch => false}, q{SELECT pg_advisory_xact_lock(2); SELECT 1 / (SELECT count(*) FROM gate WHERE open)}),
		audited('last', q{after => '{held,bad}'})) . '])');
$holder->query_safe('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
$run = value($node, q{SELECT flow_start('both')});
wait_for($node, running($run, 'held'), 'a step is running');
$holder->query_safe('SELECT pg_advisory_unlock(2)');
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'bad') = 'failed'", 'another failed meanwhile');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'failed', 'the run failed when both had');
($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT flow_retry($run, 'held')");
like($err, qr/WF001: .*"held".*\n.*Another step has failed too/, 'one of them is not retried alone');
($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT flow_retry($run, 'bad')");
like($err, qr/WF001: .*"bad"/, '... nor the other');
is(value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run"),
	'held failed, bad failed, last skipped', 'both failures are recorded');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'failed', '... the run has not changed');
$node->safe_psql('postgres', 'UPDATE gate SET open = true');
is(value($node, "SELECT flow_retry($run)"), 't', 'the run is retried');
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', '... and completes');

# Retry goes on from the failed step
$node->safe_psql('postgres', q{
	CREATE TABLE broken (yes boolean); INSERT INTO broken VALUES (true);
	SELECT flow_define('mended', ARRAY[} . join(',',
		audited('one'),
		audited('two', q{after => '{one}'}, q{SELECT 1 / CASE WHEN yes THEN 0 ELSE 1 END FROM broken}),
		audited('three', q{after => '{two}'})) . '])');
$run = value($node, q{SELECT flow_start('mended')});
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'failed', 'it failed');
$node->safe_psql('postgres', 'UPDATE broken SET yes = false');
is(value($node, "SELECT flow_retry($run)"), 't', 'retried');
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', '... completed');
is(value($node, "SELECT string_agg(step, ' ' ORDER BY no) FROM audit WHERE run_id = $run"), 'one two three', 'what had completed was kept');
is(value($node, "SELECT string_agg(step || ' ' || sqlstate, ', ') FROM flow.attempt WHERE run_id = $run"), 'two 22012', 'the failed attempt is on record');
is_consistent($node, 'effects and states agree after a retry');

$holder->quit;
$node->stop;
done_testing();
