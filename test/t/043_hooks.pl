# Hooks by real workers: durable through crashes, also those of a run that is
# paused or over.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('hooks', restart_after_crash => 'on', 'flow.workers' => 3);

$node->safe_psql('postgres', q{
	CREATE TABLE log (no bigint GENERATED ALWAYS AS IDENTITY, run_id bigint, hook text, event text);
	CREATE TABLE gate (name text PRIMARY KEY);
	CREATE FUNCTION hooked() RETURNS void LANGUAGE sql AS
		$$ INSERT INTO log (run_id, hook, event) VALUES (flow_run_id(), flow_step_name(), flow_hook_event()->>'event') $$;
});

sub logged
{
	return value($node, "SELECT string_agg(concat(hook, '=', event), ' ' ORDER BY hook, no) FROM log WHERE run_id = $_[0]");
}

sub running
{
	my ($run, $step) = @_;

	return "EXISTS (SELECT FROM flow.activity WHERE run_id = $run AND step = '$step' AND type = 'worker')";
}

# Kills the worker that runs that step, and waits until the step runs again
sub kill_worker
{
	my ($run, $step) = @_;
	my $pid = value($node, "SELECT pid FROM flow.activity WHERE run_id = $run AND step = '$step' AND type = 'worker'");

	ok(kill(0, $pid), "the worker of $step is killed");
	ok(kill_through($node, $pid), '... and the server is back');
	wait_for($node, running($run, $step), '... and the step runs again');
	return;
}

# The hook of a run that has ended, and of one that is paused, survive a crash
$node->safe_psql('postgres', q{SELECT flow_define('hooks', ARRAY[
	flow_step('a', 'SELECT 1 AS x'),
	flow_step('ended', $$ SELECT hooked(); DO $do$ BEGIN WHILE NOT EXISTS (SELECT FROM gate WHERE name = 'ended') LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$ $$, hook => '{finished}'),
	flow_step('paused', $$ SELECT hooked(); DO $do$ BEGIN WHILE NOT EXISTS (SELECT FROM gate WHERE name = 'paused') LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$ $$, hook => '{paused}')])});
my $run = value($node, q{SELECT flow_start('hooks')});
wait_for($node, running($run, 'ended'), 'the hook runs');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'completed', 'its run is over');
kill_worker($run, 'ended');
$node->safe_psql('postgres', q{INSERT INTO gate VALUES ('ended')});
wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)", 'the hook has ended');
is(logged($run), 'ended=completed', '... once');
is(value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run"),
	'a completed, ended completed, paused skipped', '... and is shown');

$run = value($node, q{SELECT flow_start('hooks', start_at => '2200-01-01')});
is(value($node, "SELECT flow_pause($run)"), 't', 'a run is paused');
wait_for($node, running($run, 'paused'), 'the hook runs');
kill_worker($run, 'paused');
$node->safe_psql('postgres', q{INSERT INTO gate VALUES ('paused')});
wait_for($node, "(SELECT count(*) FROM log WHERE run_id = $run) = 1", 'the hook has ended');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'paused', 'its run is still paused');
is(value($node, "SELECT flow_cancel($run)"), 't', 'and is cancelled');
wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)", 'its hook has ended');
is(logged($run), 'ended=cancelled paused=paused', 'each event has had its hook');

# A hook of a run that is over, and that takes the server down, ends like any step
$node->safe_psql('postgres', q{SELECT flow_define('poison', ARRAY[
	flow_step('a', 'SELECT 1 AS x'),
	flow_step('bad', $$ SELECT pg_sleep(600) $$, hook => '{completed}')])});
$run = value($node, q{SELECT flow_start('poison')});
wait_for($node, running($run, 'bad'), 'the hook runs');
kill_worker($run, 'bad');
kill(9, value($node, "SELECT pid FROM flow.activity WHERE run_id = $run AND type = 'worker'"));
$node->poll_query_until('postgres', "SELECT status = 'failed' FROM flow.step WHERE run_id = $run AND name = 'bad'");
is(value($node, "SELECT sqlstate, crashes FROM flow.step WHERE run_id = $run AND name = 'bad'"), 'WF005|2', 'a hook that crashes the server fails');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'completed', '... which changes nothing about its run');

# Many runs: each end has its hook, exactly once
$node->safe_psql('postgres', q{SELECT flow_define('many', ARRAY[
	flow_step('a', 'SELECT 1 AS x', undo => $$ SELECT pg_sleep(0.001) $$),
	flow_step('b', 'SELECT 1 / ((flow.run_id % 3)::int) AS y', after => '{a}', batch => false),
	flow_step('ok', 'SELECT hooked()', hook => '{completed}'),
	flow_step('bad', 'SELECT hooked()', hook => '{failed}'),
	flow_step('gone', 'SELECT hooked()', hook => '{cancelled}'),
	flow_step('end', 'SELECT hooked()', hook => '{finished}', batch => false),
	flow_step('each', 'SELECT hooked()', hook => '{step}')]);
	SELECT flow_start('many') FROM generate_series(1, 300)});
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'many' AND finished_at IS NOT NULL) >= 5});
steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE workflow = 'many' AND status = 'running' AND id % 4 = 0});
wait_for_end($node, 'all runs ended');
wait_for($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'all hooks ended');
is(value($node, q{SELECT count(*) FROM flow.run r WHERE workflow = 'many'
	AND ARRAY(SELECT concat(hook, event) FROM log WHERE run_id = r.id AND hook <> 'each' ORDER BY 1)
	IS DISTINCT FROM ARRAY['end' || status, CASE status WHEN 'completed' THEN 'ok' WHEN 'failed' THEN 'bad' ELSE 'gone' END || status]
	AND ARRAY(SELECT concat(hook, event) FROM log WHERE run_id = r.id AND hook <> 'each' ORDER BY 1)
	IS DISTINCT FROM ARRAY[CASE status WHEN 'completed' THEN 'ok' WHEN 'failed' THEN 'bad' ELSE 'gone' END || status, 'end' || status]}), '0',
	'every end has had its hooks, once');
is(value($node, q{SELECT count(*) FROM flow.run r WHERE workflow = 'many'
	AND (SELECT count(*) FROM log WHERE run_id = r.id AND hook = 'each')
	<> (SELECT count(*) FROM flow.step s WHERE s.run_id = r.id AND s.name IN ('a', 'b')
		AND s.status IN ('completed', 'failed', 'compensated', 'compensation_failed'))}), '0',
	'... and every step that has run');
is(value($node, q{SELECT count(*) FROM flow.attempt WHERE step NOT IN ('b', 'bad')}), '0', 'no other hook has failed');

$node->stop;
done_testing();
