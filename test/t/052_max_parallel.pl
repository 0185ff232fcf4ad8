# How many steps of one run run at once: never more than max_parallel, items
# among them, through retries, pauses and kills.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('max_parallel', 'flow.workers' => 6, max_worker_processes => 20, restart_after_crash => 'on');
my @shop = (extra_params => [ '-U', 'shop' ]);

# As in 051: who has one of the advisory locks of a run runs now.
flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE beside (run_id bigint, n int);
	CREATE SEQUENCE place;
	GRANT ALL ON beside TO PUBLIC;
	GRANT ALL ON SEQUENCE place TO PUBLIC;
	CREATE FUNCTION runs_beside(run bigint) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		mine int := nextval('place');
	BEGIN
		PERFORM pg_advisory_lock(run::int, mine);
		PERFORM count(*) FROM generate_series(1, (random() * 50000)::int);
		INSERT INTO beside SELECT run, count(*) FROM pg_locks
			WHERE locktype = 'advisory' AND classid::bigint = run AND objid::bigint < 1000000 AND granted;
		PERFORM pg_advisory_unlock(run::int, mine);
	END $$});

sub beside
{
	my ($step, $options) = @_;

	return audited($step, 'batch => false' . ($options ? ", $options" : ''), 'SELECT runs_beside(flow.run_id)');
}

sub define
{
	my ($name, $options, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',', @steps) . "], $options)", @shop);
	return;
}

my $most = 'SELECT coalesce(max(n), 0) FROM beside';

# Roots, what comes after them, items, retries and compensation
define('wide', 'max_parallel => 2', (map { beside("r$_") } 1 .. 6), (map { beside("n$_", "after => '{r$_}'") } 1 .. 6),
	beside('m', q{for_each => 'SELECT i FROM generate_series(1, 12) i', after => '{r1}'}),
	q{flow_delay('d', '10 ms')}, beside('last', q{after => '{n1,n2,n3,n4,n5,n6,m,d}'}));
$node->safe_psql('postgres', q{SELECT flow_start('wide') FROM generate_series(1, 6)}, @shop);
wait_for_end($node, 'runs end with few steps at once');
cmp_ok(value($node, $most), '<=', 2, '... never more than two of a run');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'wide' AND status = 'completed'}), '6', '... each');
is(value($node, q{SELECT max(attempt) FROM flow.step}), '1', '... and waiting is no attempt');

# Each run has places of its own, and as many as it should
my $gate = $node->background_psql('postgres', on_error_stop => 0);
$gate->query_safe('SELECT pg_advisory_lock(601)');
define('gated', 'max_parallel => 2', map { audited("s$_", 'batch => false', 'SELECT pg_advisory_lock_shared(601), pg_advisory_unlock_shared(601)') } 1 .. 4);
$node->safe_psql('postgres', q{SELECT flow_start('gated', key => 'g' || i) FROM generate_series(1, 2) i}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE workflow = 'gated' AND status = 'running') = 4}, 'each run has its own places');
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE workflow = 'gated' AND status = 'waiting' AND reason = 'max_parallel') = 4}, '... and the others wait');
is(value($node, q{SELECT count(*) FROM flow.limit_state}), '0', '... which are no limits by name');
$node->safe_psql('postgres', q{SELECT flow_pause(flow_find('gated', 'g1')); SELECT flow_cancel(flow_find('gated', 'g2'))}, @shop);
$gate->query_safe('SELECT pg_advisory_unlock(601)');
$gate->quit;
wait_for($node, q{(SELECT count(*) FROM flow.step s JOIN flow.run r ON r.id = s.run_id WHERE r.key = 'g1' AND s.status = 'completed') = 2},
	'steps that run end in a paused run');
is(value($node, q{SELECT count(*) FROM flow.step s JOIN flow.run r ON r.id = s.run_id WHERE r.key = 'g1' AND s.started_at IS NOT NULL}), '2', '... and no other starts');
$node->safe_psql('postgres', q{SELECT flow_resume(flow_find('gated', 'g1'))}, @shop);
wait_for_end($node, '... until it is resumed');

# Through kills, and beside a limit by name
$node->safe_psql('postgres', q{TRUNCATE beside; SELECT flow_limit('all', 3)}, @shop);
define('both', 'max_parallel => 2', (map { beside("r$_", q{limits => '{all}'}) } 1 .. 4), beside('m', q{for_each => 'SELECT i FROM generate_series(1, 6) i'}),
	audited('again', q{retries => 2, retry_delay => '10 ms', no_retry_on => '{}'}, 'SELECT 1 / (flow.attempt / 2)'));
foreach my $round (1 .. 4)
{
	ask($node, q{SELECT flow_start('both') FROM generate_series(1, 6)}, @shop);
	wait_through($node, q{(EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL)
		OR NOT EXISTS (SELECT FROM flow_internal.task))});
	my $type = $round % 2 ? 'worker' : 'scheduler';
	my $pid = ask($node, "SELECT max(pid) FROM flow.activity WHERE type = '$type'");
	kill_through($node, $pid);
}
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'all runs end through kills');
cmp_ok(value($node, $most), '<=', 2, '... never more than two steps of a run at once');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'both' AND status <> 'completed'}), '0', '... each');
$node->stop;
done_testing();
