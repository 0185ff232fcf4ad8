# Timers by the thousand: those that did not fit into the ring, or lie past the
# horizon, are found in the table; none is lost, none comes early, what somebody
# has locked holds up nobody, and what has fired is not read again.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('timers', max_prepared_transactions => 2);

flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE plan (run_id bigint PRIMARY KEY, due timestamptz);
	SELECT flow_define('planned', ARRAY[} . audited('a') . q{]);
	SELECT flow_define('flaky', ARRAY[} . audited('a', q{retries => 1, retry_delay => '500 ms', jitter => 0, no_retry_on => '{}'}, 'SELECT 1 / (flow.attempt - 1)') . '])');

sub scheduler
{
	my $pid = '';

	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow scheduler')});
	return value($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'flow scheduler'});
}

# Runs that are to start at times given by an expression in i
sub plan_runs
{
	my ($n, $due) = @_;

	return qq{
		INSERT INTO plan SELECT flow_start('planned', start_at => due), due
		FROM (SELECT $due AS due FROM generate_series(1, $n) i) d};
}

sub check_plans
{
	my ($n, $what) = @_;

	is(value($node, q{SELECT count(*), count(*) FILTER (WHERE r.status = 'completed') FROM plan JOIN flow.run r ON id = run_id}), "$n|$n", "$what: all have run");
	is(value($node, q{
		SELECT count(*) FROM plan p JOIN flow.run r ON r.id = p.run_id JOIN audit a USING (run_id)
		WHERE r.started_at < p.due OR a.at < p.due}), '0', '... none early');
	is(value($node, q{SELECT count(*) FROM plan JOIN audit USING (run_id)}), $n, '... each once');
	return;
}

# The scheduler stands still while more is committed than the ring holds: in
# one transaction, in many, and as retries of steps that fail meanwhile
$node->safe_psql('postgres', q{SELECT count(flow_start('flaky')) FROM generate_series(1, 1500)});
my $pid = scheduler();
kill 'STOP', $pid;
$node->safe_psql('postgres', plan_runs(5000, q{now() + interval '2 s'}));
$node->safe_psql('postgres', join(";\n", map { plan_runs(2, qq{clock_timestamp() + interval '10 ms' * ($_ * 31 % 200)}) } 1 .. 300));
$node->safe_psql('postgres', plan_runs(10, q{clock_timestamp() - interval '1 day'}));
$node->safe_psql('postgres', q{SELECT count(flow_start('flaky')) FROM generate_series(1, 200)});
$node->poll_query_until('postgres', q{SELECT clock_timestamp() > max(due) FROM plan});
kill 'CONT', $pid;
wait_for_end($node, 'everything ends when the scheduler goes on');
check_plans(5000 + 600 + 10, 'what was planned while the scheduler stood still');
is(value($node, q{SELECT status, count(*) FROM flow.run WHERE workflow = 'flaky' GROUP BY 1}), 'completed|1700', 'every failed step was retried');
is(value($node, q{
	SELECT count(*) FROM flow.attempt f JOIN flow.step s USING (run_id)
	WHERE s.started_at < f.next_at}), '0', '... no retry came early');

# More than is read at once; from here on, nothing that dies may be removed
$node->safe_psql('postgres', q{BEGIN; CREATE TABLE holder (); PREPARE TRANSACTION 'holder'; TRUNCATE plan});
my $reads = q{SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'task_due'};
my $before = value($node, $reads);
my $due = value($node, q{SELECT clock_timestamp() + interval '6 s'});
$node->safe_psql('postgres', plan_runs(14000, qq{'$due'::timestamptz + interval '0.1 ms' * (CASE WHEN i <= 5000 THEN 1000 ELSE i END)}));
$node->safe_psql('postgres', plan_runs(14000, qq{'$due'::timestamptz + interval '1.5 s' + interval '0.1 ms' * (i * 37 % 14000)}));
wait_for_end($node, 'timers past the horizon fire');
check_plans(28000, 'runs planned past the horizon');
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE run_id IS NOT NULL)});
my $read = value($node, $reads) - $before;
cmp_ok($read, '<', 3 * 28000, '... and the table was read about twice, however much died');
note("index entries read for 28000 timers: $read");
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'holder'});
is_consistent($node);

# What somebody has locked stays, and hides nothing behind it
$node->safe_psql('postgres', q{TRUNCATE plan; SELECT flow_start('planned', start_at => now() + interval '1 hour')});
$pid = scheduler();
kill 'STOP', $pid;
$node->safe_psql('postgres', plan_runs(11500, q{now() + interval '1 s' + interval '0.1 ms' * i}));
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('SELECT count(*) FROM (SELECT FROM flow_internal.task ORDER BY due_at LIMIT 10500 FOR UPDATE) locked');
kill 'CONT', $pid;
wait_for($node, q{(SELECT count(*) FROM audit JOIN plan USING (run_id)) = 1000}, 'timers behind ten thousand locked ones fire');
$holder->query_safe('ROLLBACK');
$holder->quit;
my $since = value($node, 'SELECT clock_timestamp()');
wait_for($node, q{(SELECT count(*) FROM audit JOIN plan USING (run_id)) = 11500}, '... and those when they are let go');
is(value($node, "SELECT clock_timestamp() - '$since' < interval '45 s'"), 't', '... soon');
check_plans(11500, 'timers that were locked');

$node->stop;
done_testing();
