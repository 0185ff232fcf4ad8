# Steps that run once for each of many items, by real workers: many items in a
# commit, so many at once as was asked for, and each once, whoever is killed.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('maps', 'flow.workers' => 3, restart_after_crash => 'on', 'flow.crash_delay' => 1);
my @shop = (extra_params => [ '-U', 'shop' ]);

flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE FUNCTION segv(bigint) RETURNS cstring LANGUAGE internal VOLATILE AS 'textout';
	CREATE FUNCTION crash() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM segv(0) IS NULL; END $$;
});

sub define
{
	my ($name, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',', @steps) . '])', @shop);
}

sub outcome
{
	my ($run) = @_;

	return value($node, "SELECT status FROM flow.run WHERE id = $run");
}

# Ten thousand: neither so many commits, nor all items read for each
define('many', audited('m', q{for_each => 'SELECT n FROM generate_series(1, 10000) n', result => 'none'}), audited('z', q{after => '{m}'}));
my $commits = q{SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot(), xact_commit FROM pg_stat_database WHERE datname = 'postgres'};
my $before = (split /\|/, value($node, $commits))[2];
my $reads = q{SELECT pg_stat_clear_snapshot(), sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_all_tables
	WHERE schemaname = 'flow_internal' AND relname IN ('item', 'map', 'outcome', 'task')};
my $reads_before = (split /\|/, value($node, $reads))[1];
my $run = value($node, q{SELECT flow_start('many')}, @shop);
wait_for_end($node, 'a map of 10 000 items ends');
is(outcome($run), 'completed', '... well');
is(value($node, "SELECT items || ' ' || items_done FROM flow.step WHERE run_id = $run AND name = 'm'"), '10000 10000', '... with all its items');
cmp_ok((split /\|/, value($node, $commits))[2] - $before, '<', 3000, '... in far fewer commits');
cmp_ok(value($node, q{SELECT count(DISTINCT pid) FROM audit}), '>', 1, '... by more than one worker');

# A worker tells of what it has read when it goes idle, or ends
$node->safe_psql('postgres', 'ALTER SYSTEM SET flow.workers = 0');
$node->reload;
wait_for($node, q{NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow worker')});
my $read = (split /\|/, value($node, $reads))[1] - $reads_before;
note("report: rows read for a map of 10 000 items: $read");
cmp_ok($read, '>=', 10000, 'items are read');
cmp_ok($read, '<', 20 * 10000, '... a few times each, whatever the number of commits');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET flow.workers');
$node->reload;
is_consistent($node);

# Killed in the middle, time and again
foreach my $round (1 .. 4)
{
	$run = value($node, q{SELECT flow_start('many')}, @shop);
	wait_for($node, "(SELECT items_done FROM flow.step WHERE run_id = $run AND name = 'm') > 100");
	my $pid = ask($node, q{SELECT max(pid) FROM flow.activity WHERE type = 'worker'});
	kill_through($node, $pid);
}
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'maps end through crashes');
is(value($node, q{SELECT count(*) FROM flow.run WHERE status <> 'completed'}), '0', '... well');
is_consistent($node, '... each item once');

# max_parallel: each item sees who else is at work
$node->safe_psql('postgres', q{
	CREATE FUNCTION visit(most int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR place IN 1 .. most LOOP
			IF pg_try_advisory_xact_lock(47, place) THEN RETURN; END IF;
		END LOOP;
		RAISE EXCEPTION 'too many at once';
	END $$});
define('two', audited('m', q{for_each => 'SELECT n FROM generate_series(1, 60) n', max_parallel => 2, batch => false}, 'SELECT visit(2), pg_sleep(0.002)'));
define('one', audited('m', q{for_each => 'SELECT n FROM generate_series(1, 60) n', max_parallel => 1, batch => false}, 'SELECT visit(1), pg_sleep(0.002)'));
foreach my $name (qw(two one))
{
	$run = value($node, "SELECT flow_start('$name')", @shop);
	wait_for_end($node, "a map of $name at once ends");
	is(outcome($run), 'completed', '... and no more were at work');
}

# The first failure stops the others; those that run then are recorded
define('stops', audited('m', q{for_each => 'SELECT n FROM generate_series(1, 2000) n', batch => false}, 'SELECT 1 / (item_no - 5)'), audited('z', q{after => '{m}'}),
	audited('always', q{after => '{m}', needs => 'always'}));
$run = value($node, q{SELECT flow_start('stops')}, @shop);
wait_for_end($node, 'a map with a failing item ends');
is(outcome($run), 'failed', '... failed');
cmp_ok(value($node, "SELECT count(*) FROM flow.item WHERE run_id = $run AND status = 'completed'"), '<', 1500, '... and does not go through all');
is_consistent($node);

# Cancelled in the middle: no effect after it.  Later items wait for a lock, so that
# the middle lasts.
define('long', audited('m', q{for_each => 'SELECT n FROM generate_series(1, 500) n', batch => false}, 'SELECT CASE WHEN item_no > 50 THEN pg_advisory_xact_lock_shared(48) END'));
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(48)');
$run = value($node, q{SELECT flow_start('long')}, @shop);
wait_for($node, "(SELECT items_done FROM flow.step WHERE run_id = $run) > 5");
my $effects = value($node, "SELECT flow_cancel($run); SELECT count(*) FROM audit WHERE run_id = $run", @shop);
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE run_id IS NOT NULL)});
is("t\n" . value($node, "SELECT count(*) FROM audit WHERE run_id = $run"), $effects, 'no item has an effect after the cancel');
is_consistent($node);

# Paused and resumed
$run = value($node, q{SELECT flow_start('long')}, @shop);
wait_for($node, "(SELECT items_done FROM flow.step WHERE run_id = $run) > 5");
$node->safe_psql('postgres', "SELECT flow_pause($run)", @shop);
$holder->query_safe('SELECT pg_advisory_unlock(48)');
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE run_id IS NOT NULL)});
cmp_ok(value($node, "SELECT count(*) FROM audit WHERE run_id = $run"), '<', 500, 'a paused map stops');
$node->safe_psql('postgres', "SELECT flow_resume($run)", @shop);
wait_for_end($node, '... and goes on');
is(outcome($run), 'completed', '... to its end');
is_consistent($node);
$holder->quit;

# Items at other isolation levels, and joins that are content with less
define('levels', audited('m', q{for_each => 'SELECT n FROM generate_series(1, 30) n', isolation => 'serializable'}),
	audited('n', q{for_each => 'SELECT n FROM generate_series(1, 30) n', isolation => 'repeatable read'}), audited('z', q{after => '{m,n}'}));
define('races', audited('quick'), audited('m', q{for_each => 'SELECT n FROM generate_series(1, 300) n'}), audited('first', q{after => '{quick,m}', needs => 'first'}),
	audited('any', q{after => '{quick,m}', needs => 'any'}));
$node->safe_psql('postgres', q{SELECT flow_start('levels'), flow_start('races') FROM generate_series(1, 10)}, @shop);
wait_for_end($node, 'maps at other levels, and overtaken ones, end');
is(value($node, q{SELECT string_agg(DISTINCT status, ' ') FROM flow.run WHERE workflow IN ('levels', 'races')}), 'completed', '... well');
is_consistent($node);

# An item that takes the server down fails; the others do not
define('poison', audited('m', q{for_each => 'SELECT n FROM generate_series(1, 20) n', on_item_error => 'collect'}, 'SELECT CASE WHEN item_no = 9 THEN crash() END'));
ask($node, q{SELECT flow_start('poison', key => 'poison')}, @shop);
wait_through($node, q{EXISTS (SELECT FROM flow.run WHERE key = 'poison' AND status = 'completed')}, 'a map with a poisonous item ends');
is(value($node, q{SELECT string_agg(i.item_no || ' ' || i.status || ' ' || coalesce(i.error->>'sqlstate', ''), ', ') FROM flow.item i JOIN flow.run r ON r.id = i.run_id
	WHERE r.key = 'poison' AND i.status <> 'completed'}), '9 failed WF005', '... and only that item has failed');
is_consistent($node);

# Children: a run for each item, cancelled with it
define('leaf', audited('x', undef, q{SELECT 1 / ((input->>'n')::int - 40)}));
define('children', q{flow_subflow('c', 'leaf', 'item', for_each => $$ SELECT n FROM generate_series(1, (input->>'n')::int) n $$)}, audited('z', q{after => '{c}'}));
$node->safe_psql('postgres', q{SELECT flow_start('children', '{"n": 35}') FROM generate_series(1, 5)}, @shop);
$node->safe_psql('postgres', q{SELECT flow_start('children', '{"n": 50}') FROM generate_series(1, 5)}, @shop);
wait_for($node, q{NOT EXISTS (SELECT FROM flow_internal.task)}, 'maps of runs end');
is(value($node, q{SELECT string_agg(input->>'n' || ' ' || status || ' ' || n, ', ' ORDER BY input) FROM
	(SELECT input, status, count(*) AS n FROM flow.run WHERE workflow = 'children' GROUP BY 1, 2) r}), '35 completed 5, 50 failed 5', '... as their items do');
is(value($node, q{SELECT count(*) FROM flow.run c JOIN flow.run p ON p.id = c.parent_run WHERE p.status = 'completed' AND c.status <> 'completed'}), '0');
is(value($node, q{SELECT count(*) FROM (SELECT FROM flow_internal.run WHERE parent_run IS NOT NULL GROUP BY parent_run, parent_step, parent_item HAVING count(*) > 1) d}), '0', '... one for each');

# A signal for each of many that wait for the same
define('signals', q{flow_wait('w', 'go', for_each => 'SELECT n FROM generate_series(1, 60) n')});
$run = value($node, q{SELECT flow_start('signals')}, @shop);
wait_for($node, "(SELECT count(*) FROM flow.item WHERE run_id = $run AND status = 'waiting') = 60");
$node->safe_psql('postgres', "SELECT flow_signal($run, 'go', to_jsonb(n)) FROM generate_series(1, 30) n", @shop);
$node->safe_psql('postgres', "SELECT flow_signal($run, 'go', to_jsonb($_))", @shop) foreach 31 .. 60;
wait_for_end($node, 'many items that wait for the same signal');
is(value($node, "SELECT count(DISTINCT v) || ' ' || max(v::text::int) FROM flow.run r, jsonb_array_elements(r.output) v WHERE r.id = $run"), '60 60', '... each get one of their own');
$node->stop;
done_testing();
