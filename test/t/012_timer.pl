# Timers: retries and planned starts come when they are due, never earlier;
# time limits interrupt.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('timer');

flow_audit($node);

# Fails twice; a sequence is not rolled back
$node->safe_psql('postgres', q{
	CREATE SEQUENCE tries;
	SELECT flow_define('flaky', ARRAY[} . audited('s',
		q{retries => 4, retry_delay => '200 ms', backoff => 2},
		q{SELECT 1 / CASE WHEN nextval('tries') <= 2 THEN 0 ELSE 1 END}) . q{])});
my $run = value($node, q{SELECT flow_start('flaky')});
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'failed', 'a division by zero is not retried by default');
$node->safe_psql('postgres', q{
	ALTER SEQUENCE tries RESTART;
	SELECT flow_define('flaky', ARRAY[} . audited('s',
		q{retries => 4, retry_delay => '200 ms', backoff => 2, retry_on => '{22012}'},
		q{SELECT 1 / CASE WHEN nextval('tries') <= 2 THEN 0 ELSE 1 END}) . q{])});
$run = value($node, q{SELECT flow_start('flaky')});
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', 'it is retried when asked for');
is(value($node, "SELECT attempt FROM flow.step WHERE run_id = $run"), '3', 'the third attempt completed');
is(value($node, "SELECT string_agg(attempt || ' ' || sqlstate || ' ' || (next_at - finished_at >= interval '200 ms' * attempt)::text, ', ' ORDER BY attempt)
	FROM flow.attempt WHERE run_id = $run"), '1 22012 true, 2 22012 true', 'delays grow');
is(value($node, "SELECT count(*) FROM flow.attempt a JOIN flow.attempt b USING (run_id) WHERE run_id = $run AND b.attempt = a.attempt + 1 AND b.started_at < a.next_at"),
	'0', 'no attempt came early');
is_consistent($node);

# Planned
my $due = value($node, q{SELECT now() + interval '500 ms'});
$run = value($node, "SELECT flow_start('flaky', start_at => '$due')");
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'pending', 'a planned run is pending');
is(value($node, "SELECT status, started_at - '$due' BETWEEN interval '0' AND interval '10 s' FROM flow_await($run, '30 s')"),
	'completed|t', '... and starts in time');

# A time limit
$node->safe_psql('postgres', q{
	SELECT flow_define('limited', ARRAY[} . audited('s', q{timeout => '300 ms'}, 'SELECT pg_sleep(600)') . q{])});
$run = value($node, q{SELECT flow_start('limited')});
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($run, '30 s')"), 'failed|WF004', 'a step that takes too long fails');
is(value($node, "SELECT duration BETWEEN interval '300 ms' AND interval '5 s' FROM flow.step WHERE run_id = $run"), 't', '... near its limit');
is_consistent($node, 'its effect is absent');

# A limit that is swallowed counts all the same
$node->safe_psql('postgres', q{
	SELECT flow_define('swallowed', ARRAY[flow_step('s', $$
		DO $do$ BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END $do$;
		INSERT INTO audit (run_id, step) VALUES (flow.run_id, 's') $$, timeout => '300 ms')])});
$run = value($node, q{SELECT flow_start('swallowed')});
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($run, '30 s')"), 'failed|WF004', 'a limit cannot be swallowed');
is_consistent($node, 'the effect is absent');

# The ceiling for all
$node->append_conf('postgresql.conf', q{flow.step_timeout = '200 ms'});
$node->reload;
wait_for($node, q{current_setting('flow.step_timeout') = '200ms'});
$node->safe_psql('postgres', q{SELECT flow_define('ceiling', ARRAY[} . audited('s', '', 'SELECT pg_sleep(600)') . q{])});
$run = value($node, q{SELECT flow_start('ceiling')});
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($run, '30 s')"), 'failed|WF004', 'flow.step_timeout bounds every step');

# Off stops everything, on goes on
$node->append_conf('postgresql.conf', q{flow.enabled = off});
$node->reload;
wait_for($node, q{current_setting('flow.enabled') = 'off'});
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE run_id IS NOT NULL)});
$run = value($node, q{SELECT flow_start('flaky')});
is(value($node, "SELECT status, steps_done FROM flow_await($run, '1 s')"), 'running|0', 'nothing runs while flow.enabled is off');
my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT flow_drain($run)");
like($err, qr/ERROR:  55000: .*switched off/, '... in no client either');
$node->append_conf('postgresql.conf', q{flow.enabled = on});
$node->reload;
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', 'it runs when it is on again');

$node->stop;
done_testing();
