# Compensation by real workers: while a sibling runs, through crashes, and in
# many runs at once.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('undo', restart_after_crash => 'on', 'flow.workers' => 3);

$node->safe_psql('postgres', q{
	CREATE TABLE log (no bigint GENERATED ALWAYS AS IDENTITY, run_id bigint, step text);
	CREATE TABLE gate (name text PRIMARY KEY);
	CREATE FUNCTION note(step text) RETURNS void LANGUAGE sql AS
		$$ INSERT INTO log (run_id, step) VALUES (flow_run_id(), step) $$;
	CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'P0001'; END $$;
});

sub logged
{
	return value($node, "SELECT string_agg(step, ' ' ORDER BY no) FROM log WHERE run_id = $_[0]");
}

sub states
{
	return value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $_[0]");
}

sub running
{
	my ($run, $step) = @_;

	return "EXISTS (SELECT FROM flow.activity WHERE run_id = $run AND step = '$step' AND type = 'worker')";
}

# A step that runs while its run fails completes, and is undone
$node->safe_psql('postgres', q{SELECT flow_define('sibling', ARRAY[
	flow_step('a', $$ SELECT note('a') $$, undo => $$ SELECT note('-a') $$),
	flow_step('slow', $$ DO $do$ BEGIN WHILE NOT EXISTS (SELECT FROM gate WHERE name = 'slow') LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$; SELECT note('slow') $$, after => '{a}', batch => false, undo => $$ SELECT note('-slow') $$),
	flow_step('bad', $$ DO $do$ BEGIN WHILE NOT EXISTS (SELECT FROM gate WHERE name = 'bad') LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$; SELECT fail() $$, after => '{a}', batch => false)])});
my $run = value($node, q{SELECT flow_start('sibling')});
wait_for($node, running($run, 'slow') . ' AND ' . running($run, 'bad'), 'both run');
$node->safe_psql('postgres', q{INSERT INTO gate VALUES ('bad')});
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run AND name = 'bad') = 'failed'", 'one fails');
is(value($node, "SELECT status, compensation FROM flow.run WHERE id = $run"), 'running|none', 'nothing is undone while the other runs');
$node->safe_psql('postgres', q{INSERT INTO gate VALUES ('slow')});
is(value($node, "SELECT status, compensation FROM flow_await($run, '100 s')"), 'failed|complete', 'the run has ended');
is(logged($run), 'a slow -slow -a', 'what ran on is undone first');

# The server crashes in the middle of it: the rest is undone, nothing twice
$node->safe_psql('postgres', q{SELECT flow_define('crash', ARRAY[
	flow_step('a', $$ SELECT note('a') $$, undo => $$ SELECT note('-a') $$),
	flow_step('b', $$ SELECT note('b') $$, after => '{a}', undo => $$ SELECT note('-b'); DO $do$ BEGIN WHILE NOT EXISTS (SELECT FROM gate WHERE name = 'b') LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$ $$),
	flow_step('c', $$ SELECT note('c') $$, after => '{b}', undo => $$ SELECT note('-c') $$),
	flow_step('d', $$ SELECT fail() $$, after => '{c}')])});
$run = value($node, q{SELECT flow_start('crash')});
wait_for($node, running($run, 'b:undo'), 'the second compensation runs');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'compensating', 'the run is compensating');
my $pid = value($node, "SELECT pid FROM flow.activity WHERE run_id = $run AND type = 'worker'");
ok(kill(0, $pid), 'its worker is killed');
ok(kill_through($node, $pid), 'the server is back');
wait_for($node, running($run, 'b:undo'), 'the compensation runs again');
$node->safe_psql('postgres', q{INSERT INTO gate VALUES ('b')});
is(value($node, "SELECT status, compensation FROM flow_await($run, '100 s')"), 'failed|complete', 'the run has ended');
is(logged($run), 'a b c -c -b -a', 'each is undone once, in order');
is(states($run), 'a compensated, b compensated, c compensated, d failed', 'and shown so');

# Many at once, some of them cancelled: what has an effect has been undone once
$node->safe_psql('postgres', q{SELECT flow_define('many', ARRAY[
	flow_step('a', $$ SELECT note('a') $$, undo => $$ SELECT note('-a') $$),
	flow_step('b', $$ SELECT note('b'), pg_sleep(0.002) $$, after => '{a}', undo => $$ SELECT note('-b') $$),
	flow_step('c', $$ SELECT note('c') $$, after => '{a}', batch => false, undo => $$ SELECT note('-c') $$),
	flow_step('d', $$ SELECT note('d'), CASE WHEN flow.run_id % 3 = 0 THEN fail() END $$, after => '{b,c}', undo => $$ SELECT note('-d') $$)]);
	SELECT flow_start('many') FROM generate_series(1, 300)});
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'many' AND finished_at IS NOT NULL) >= 5});
cmp_ok(steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE workflow = 'many' AND status = 'running' AND id % 2 = 0}),
	'>', 0, 'some were cancelled under load');
$pid = value($node, q{SELECT pid FROM flow.activity WHERE type = 'worker' ORDER BY run_id NULLS LAST LIMIT 1});
kill_through($node, $pid);
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT count(*) FROM log a JOIN flow.run r ON r.id = a.run_id
	WHERE r.workflow = 'many' AND r.status IN ('failed', 'cancelled') AND a.step !~ '^-'
	AND (SELECT count(*) FROM log b WHERE b.run_id = a.run_id AND b.step = '-' || a.step) <> 1}), '0',
	'no effect of a run that ended badly has escaped');
is(value($node, q{SELECT count(*) FROM log b JOIN flow.run r ON r.id = b.run_id
	WHERE r.workflow = 'many' AND b.step ~ '^-'
	AND (r.status = 'completed' OR NOT EXISTS (SELECT FROM log a WHERE a.run_id = b.run_id AND '-' || a.step = b.step))}), '0',
	'... and nothing else was undone');
is(value($node, q{SELECT count(*) FROM log a, log b WHERE a.run_id = b.run_id AND a.step = '-a' AND b.step ~ '^-[bc]$' AND b.no > a.no}), '0',
	'... in reverse order');
is(value($node, q{SELECT count(*) FROM flow.run r WHERE workflow = 'many' AND compensation <>
	CASE WHEN EXISTS (SELECT FROM log a WHERE a.run_id = r.id AND a.step ~ '^-') THEN 'complete' ELSE 'none' END}), '0',
	'... as the runs say');
is(value($node, 'SELECT count(*) FROM flow_internal.task'), '0', 'no task is left behind');

$node->stop;
done_testing();
