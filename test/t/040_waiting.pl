# Steps that wait, with workers: nobody wakes too early, nobody sleeps on, and
# no crash loses what was sent.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('waiting', 'flow.workers' => 3, restart_after_crash => 'on');

flow_owner($node, 'shop');
flow_audit($node);
my @shop = (extra_params => [ '-U', 'shop' ]);
$node->safe_psql('postgres', q{SELECT flow_define('order', ARRAY[}
	  . join(',', audited('a'), q{flow_wait('paid', after => '{a}')}, audited('b', q{after => '{paid}'}),
		q{flow_approval('ok', after => '{b}')}, audited('c', q{after => '{ok}'})) . q{])}, @shop);
$node->safe_psql('postgres', q{SELECT flow_define('nap', ARRAY[}
	  . join(',', q{flow_delay('d', '1500 ms')}, audited('z', q{after => '{d}'})) . q{])}, @shop);
$node->safe_psql('postgres', q{SELECT flow_define('limited', ARRAY[flow_wait('s', timeout => '300 ms')])}, @shop);

# A delay is never early; it costs no process
my $nap = value($node, q{SELECT flow_start('nap')}, @shop);
is(value($node, "SELECT status FROM flow_await($nap, '60 s')"), 'completed', 'a delay ends');
is(value($node, "SELECT duration >= interval '1500 ms' FROM flow.step WHERE run_id = $nap AND name = 'd'"), 't', '... not before its time');
my $limited = value($node, q{SELECT flow_start('limited')}, @shop);
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($limited, '60 s')"), 'failed|WF004', 'a wait ends at its limit');
is(value($node, "SELECT duration >= interval '300 ms' FROM flow.step WHERE run_id = $limited"), 't', '... not before');

# Signals before the step, before the run, and to a step that waits
$node->safe_psql('postgres', q{SELECT flow_signal_key('order', 'k' || i, 'paid', to_jsonb(i)) FROM generate_series(1, 20) i}, @shop);
$node->safe_psql('postgres', q{SELECT flow_start('order', key => 'k' || i) FROM generate_series(1, 40) i}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE name = 'ok' AND status = 'waiting') = 20}, 'signals that came before the run are taken');
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE name = 'paid' AND status = 'waiting') = 20}, 'runs without a signal wait');
is(value($node, q{SELECT count(*) FROM flow.activity WHERE run_id IS NOT NULL}), '0', 'no process is busy with them');
is(value($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'flow%' AND xact_start IS NOT NULL}), '0', '... none has a transaction');

# Over a crash everything is still there: who waits, and what was sent
my $due = value($node, q{SELECT flow_start('nap')}, @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $due AND name = 'd') = 'sleeping'");
$node->safe_psql('postgres', q{SELECT flow_signal(id, 'paid', '1') FROM flow.run WHERE key IN ('k21', 'k22', 'k23', 'k24', 'k25')}, @shop);
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', q{SELECT flow_signal_key('order', 'k' || i, 'paid', to_jsonb(i)) FROM generate_series(26, 40) i}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE name = 'ok' AND status = 'waiting') = 40}, 'no signal is lost');
is(value($node, "SELECT status FROM flow_await($due, '60 s')"), 'completed', 'a delay that fell due meanwhile ends');
my $worker = value($node, q{SELECT pid FROM flow.activity WHERE type = 'worker' LIMIT 1});
$node->safe_psql('postgres', q{SELECT flow_approve(id, 'ok') FROM flow.run WHERE workflow = 'order'}, @shop);
ok(kill(0, $worker), 'worker killed');
ok(kill_through($node, $worker), 'the server is back');
wait_for_end($node, 'all runs ended after a worker was killed');
is(value($node, q{SELECT status, count(*) FROM flow.run WHERE workflow = 'order' GROUP BY status}), 'completed|40', 'no decision is lost');
is(value($node, q{SELECT count(*), count(DISTINCT taken_by_run) FROM flow.signal WHERE taken_at IS NOT NULL}), '40|40', 'each signal was taken once');

# Signals race with the steps that begin to wait, and with time limits
$node->safe_psql('postgres', q{SELECT flow_define('race', ARRAY[}
	  . join(',', audited('a'), q{flow_wait('s', after => '{a}')}, audited('b', q{after => '{s}'})) . q{])}, @shop);
$node->safe_psql('postgres', join('', map { "SELECT flow_signal(flow_start('race', key => 'r$_'), 'x'); SELECT flow_signal_key('race', 'r$_', 's');\n" } 1 .. 200), @shop);
wait_for_end($node, 'no signal is missed by a step that begins to wait');
$node->safe_psql('postgres', join('', map { "SELECT flow_start('limited', key => 'l$_');\n" } 1 .. 50), @shop);
$node->safe_psql('postgres', join('', map { "SELECT flow_signal_key('limited', 'l$_', 's');\n" } 1 .. 50), @shop);
wait_for_end($node, 'a signal or the limit ends each');
is(value($node, q{SELECT count(*) FROM flow.run r WHERE workflow = 'limited' AND key IS NOT NULL
	AND (status = 'completed') <> EXISTS (SELECT FROM flow.signal s WHERE s.taken_by_run = r.id)}), '0', 'and what ended it is what is recorded');
is(value($node, q{SELECT count(*) FROM flow_internal.task}), '0', 'nothing is left behind');

# The deadline of a run, also over a restart and a pause
$node->safe_psql('postgres', q{SELECT flow_define('late', ARRAY[flow_wait('s')], timeout => '1 s'), flow_define('soon', ARRAY[flow_wait('s')], timeout => '1 h')}, @shop);
my $late = value($node, q{SELECT flow_start('late')}, @shop);
my $paused = value($node, q{SELECT flow_start('late')}, @shop);
$node->safe_psql('postgres', "SELECT flow_pause($paused)");
my $soon = value($node, q{SELECT flow_start('soon')}, @shop);
$node->stop('immediate');
$node->start;
is(value($node, "SELECT status, error->>'sqlstate', duration >= interval '1 s' FROM flow_await($late, '60 s')"), 'failed|WF004|t', 'a run fails at its deadline');
wait_for($node, "(SELECT due_at IS NULL FROM flow_internal.task WHERE run_id = $paused AND item_no = 3)");
is(value($node, "SELECT status FROM flow.run WHERE id = $paused"), 'paused', '... not while it is paused');
$node->safe_psql('postgres', "SELECT flow_resume($paused)");
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($paused, '60 s')"), 'failed|WF004', '... but when it goes on');
$node->safe_psql('postgres', "SELECT flow_signal($soon, 's')");
is(value($node, "SELECT status FROM flow_await($soon, '60 s')"), 'completed', 'one that ends in time completes');
wait_for_end($node, 'deadlines leave nothing behind');

# The time of a step over all its attempts, also over a restart and a pause
$node->safe_psql('postgres', q{SELECT flow_define('child', ARRAY[flow_wait('s')]), flow_define('totals', ARRAY[
	flow_step('retry', 'SELECT 1/0', retries => 1, retry_delay => '1 h', no_retry_on => '{}', total_timeout => '1 s', on_error => 'continue'),
	flow_step('round', 'SELECT flow_again(''1 h'')', total_timeout => '1 s', on_error => 'continue'),
	flow_step('running', $$ SELECT pg_sleep(1000) $$, batch => false, total_timeout => '1 s', on_error => 'continue'),
	flow_wait('wait', timeout => '1 h', total_timeout => '1 s', on_error => 'continue'),
	flow_delay('delay', '1 h', total_timeout => '1 s', on_error => 'continue'),
	flow_subflow('child', 'child', timeout => '1 s', on_error => 'continue')])}, @shop);
my $totals = value($node, q{SELECT flow_start('totals')}, @shop);
my $stopped = value($node, q{SELECT flow_start('totals')}, @shop);
my $waits = q{(SELECT count(*) FROM flow.step WHERE run_id IN (%s) AND status IN ('sleeping', 'waiting', 'failed')) = %s};
wait_for($node, sprintf($waits, "$totals, $stopped", 12));
ask($node, "SELECT flow_pause($stopped)");	# unless it has ended already
$node->stop('immediate');
$node->start;
is(value($node, "SELECT status FROM flow_await($totals, '60 s')"), 'completed', 'steps end when their time is over');
is(value($node, "SELECT string_agg(DISTINCT status || ' ' || sqlstate, ',') FROM flow.step WHERE run_id = $totals"), 'failed WF004', '... all of them');
is(value($node, "SELECT count(*) FROM flow.step WHERE run_id = $totals AND finished_at < (SELECT created_at FROM flow.run WHERE id = $totals) + interval '1 s'"), '0', '... and none earlier');
wait_for($node, "(SELECT status FROM flow.run WHERE parent_run = $totals) = 'cancelled'", '... and a run that one waits for is cancelled');
$node->safe_psql('postgres', "SELECT flow_resume($stopped) FROM flow.run WHERE id = $stopped AND status = 'paused'");
is(value($node, "SELECT status FROM flow_await($stopped, '60 s')"), 'completed', '... nor is it lost by a pause');

# A step that runs again keeps what each round did
$node->safe_psql('postgres', q{CREATE TABLE laps (run_id bigint); SELECT flow_define('laps', ARRAY[
	flow_step('a', 'SELECT 1'),
	flow_step('s', 'INSERT INTO laps VALUES (flow.run_id); SELECT CASE WHEN flow.attempt < 5 THEN flow_again(interval ''10 ms'') END', after => '{a}'),
	flow_step('t', 'INSERT INTO laps VALUES (flow.run_id) RETURNING 1 AS one', after => '{a}',
		again => 'CASE WHEN flow.attempt < 3 THEN interval ''20 ms'' END')])}, @shop);
$node->safe_psql('postgres', q{SELECT flow_start('laps') FROM generate_series(1, 50)}, @shop);
wait_for_end($node, 'steps that run again come to an end');
is(value($node, q{SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM laps GROUP BY run_id) l}), '50|8|8', '... each round once');
is(value($node, q{SELECT DISTINCT name, status, attempt, rounds FROM flow.step WHERE workflow = 'laps' AND name <> 'a' ORDER BY 1}), "s|completed|5|4\nt|completed|3|2", '... and is counted');

$node->stop;
done_testing();
