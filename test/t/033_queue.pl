# The ready queue when it is full: nothing is lost, nobody starves, priorities
# hold, and what finds no room is read from the table without wading through
# what has been done.  What a process had taken off it, and did not do, is done
# soon by another.
use strict;
use warnings;
use FlowTest;
use Test::More;

# A pool of 16384 entries; a role has three quarters, a workflow one
my $flood = 18000;
my $node = flow_node('queue', max_prepared_transactions => 2, max_worker_processes => 24);

flow_audit($node);
flow_owner($node, $_) foreach qw(shop other third);

my @shop = (extra_params => [ '-U', 'shop' ]);
my @small = map { "small$_" } 1 .. 40;

foreach my $workflow (qw(flood flood2 flood3 flood4), @small)
{
	$node->safe_psql('postgres', "SELECT flow_define('$workflow', ARRAY[" . audited('a') . '])', @shop);
}
foreach my $role (qw(other third))
{
	$node->safe_psql('postgres', "SELECT flow_define('$role', ARRAY[" . audited('a') . '])', extra_params => [ '-U', $role ]);
}

# How many steps had their effect before the first of these runs had its own
sub rank_of
{
	my ($runs, $last) = @_;

	$last = $last ? 'max' : 'min';
	return value($node, "SELECT count(*) FROM audit WHERE no < (SELECT $last(no) FROM audit WHERE run_id IN ($runs))");
}

sub enable
{
	my ($enabled) = @_;

	$node->append_conf('postgresql.conf', "flow.enabled = $enabled");
	$node->reload;
	wait_for($node, "current_setting('flow.enabled') = '$enabled'");
	wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type <> 'launcher')}) if $enabled eq 'off';
	return;
}

# Entries of the index of ready steps that were read per step done
sub index_reads
{
	return value($node, q{SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'task_ready'});
}

# Nothing that dies from here on may be removed
$node->safe_psql('postgres', q{BEGIN; CREATE TABLE holder (); PREPARE TRANSACTION 'holder'});

# All of this is waiting, in this order, when the workers come.  Four workflows
# fill the lane of their role, and with the other role's the pool.
enable('off');
$node->safe_psql('postgres', qq{
	SELECT count(flow_start('flood')) FROM generate_series(1, $flood);
	SELECT count(flow_start('flood2')) FROM generate_series(1, 4500);
	SELECT count(flow_start('flood3')) FROM generate_series(1, 4500);
	SELECT count(flow_start('flood4')) FROM generate_series(1, 4500)}, @shop);
$node->safe_psql('postgres', q{SELECT count(flow_start('other')) FROM generate_series(1, 4500)}, extra_params => [ '-U', 'other' ]);
my %single = map { $_ => value($node, "SELECT flow_start('$_')", @shop) } @small[ 0 .. 1 ];
$node->safe_psql('postgres', join('; ', map { "SELECT flow_start('$_')" } @small[ 2 .. $#small ]), @shop);
my $late = value($node, q{SELECT flow_start('flood', priority => 10)}, @shop);
my $lot = value($node, q{SELECT min(flow_start('flood', priority => 5)) FROM generate_series(1, 1000)}, @shop);
my $low = value($node, q{SELECT flow_start('small1', priority => -1)}, @shop);
my $third = value($node, q{SELECT flow_start('third')}, extra_params => [ '-U', 'third' ]);
my $total = $flood + 4 * 4500 + 40 + 1 + 1000 + 1 + 1;

is(value($node, q{SELECT sum(ready) FROM flow.queue}), $total, 'everything waits');
enable('on');
wait_for_end($node, 'everything ends');
is(value($node, q{SELECT count(*) FROM flow.run WHERE status = 'completed'}), $total, '... and completes');
is(value($node, 'SELECT count(*), count(DISTINCT run_id) FROM audit'), "$total|$total", '... once');

my $most = $total / 2;
cmp_ok(rank_of($late), '<', 1000, 'a run of high priority that came last comes first');
cmp_ok(rank_of(qq{SELECT id FROM flow.run WHERE workflow = 'flood' AND priority = 5}, 1), '<', $most, '... and many of them before the others');
cmp_ok(rank_of(join(',', values %single)), '<', $most, 'the run of another workflow starts while most are waiting');
cmp_ok(rank_of(q{SELECT id FROM flow.run WHERE workflow LIKE 'small%' AND priority = 0}, 1), '<', $most, '... and so do those of forty others');
cmp_ok(rank_of($third), '<', $most, '... and that of another role');
cmp_ok(rank_of($low), '>', 1000, 'a run of low priority waits');
foreach my $workflow (qw(flood flood2 flood3 flood4 other))
{
	cmp_ok(rank_of("SELECT id FROM flow.run WHERE workflow = '$workflow' AND priority = 0"), '<', $most, "workflow \"$workflow\" has its turns");
}
note("ranks: late $_") foreach rank_of($late) . ', third ' . rank_of($third);

my $reads = index_reads();
cmp_ok($reads, '<', 3 * $total, 'the table was read about once');
note("index entries read for $total steps: $reads");

# The same with workers at work, and with the dead of the first lot in the way;
# in small lots, of which each is more than one transaction announces
$node->safe_psql('postgres', q{SELECT count(flow_start('flood')) FROM generate_series(1, 500)}, @shop) foreach 1 .. 10;
$node->safe_psql('postgres', q{SELECT count(flow_start('flood')) FROM generate_series(1, 5000)}, @shop);
wait_for_end($node, 'runs started in lots end');
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE run_id IS NOT NULL)});
my $more = index_reads() - $reads;
cmp_ok($more, '<', 3 * 10000, '... and the table was read about once, however much died before');
note("index entries read for 10000 further steps: $more");
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'holder'});

# Next steps of runs whose first ones have filled the queue
$node->safe_psql('postgres', q{SELECT flow_define('three', ARRAY[} . join(',', audited('a', 'batch => false', 'SELECT pg_sleep(0.001)'),
		audited('b', q{batch => false, after => '{a}'}, 'SELECT pg_sleep(0.001)'), audited('c', q{batch => false, after => '{b}'})) . '])', @shop);
$node->safe_psql('postgres', q{SELECT count(flow_start('three')) FROM generate_series(1, 1500); SELECT count(flow_start('three')) FROM generate_series(1, 1500)}, @shop);
my @paused = split /\n/, value($node, q{SELECT id FROM flow.run WHERE workflow = 'three' AND status = 'running' ORDER BY id DESC LIMIT 100}, @shop);
$node->safe_psql('postgres', join('; ', map { "SELECT flow_pause($_)" } @paused));
$node->safe_psql('postgres', join('; ', map { "SELECT flow_resume($_)" } @paused));

# ... while those who do it are ended
my $killed = 0;
foreach (1 .. 6)
{
	my $type = $_ % 3 ? 'flow worker' : 'flow scheduler';

	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = '$type') OR NOT EXISTS (SELECT FROM flow_internal.task)");
	$killed += value($node, "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = '$type'");
}
cmp_ok($killed, '>', 3, 'workers and schedulers were ended');
my $since = value($node, 'SELECT clock_timestamp()');
wait_for_end($node, 'runs of several steps end');
is(value($node, "SELECT clock_timestamp() - '$since' < interval '45 s'"), 't', '... without waiting for the sweep of the minute');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'three' AND status = 'completed'}), '3000', '... and complete');
is(value($node, q{SELECT count(*) FROM audit JOIN flow.run ON run_id = id WHERE workflow = 'three'}), '9000', '... each step once');

# More priorities than can be told apart
my $by_priority = value($node, q{SELECT min(flow_start('small1', priority => i)) FROM generate_series(1, 6000) i}, @shop);
$since = value($node, 'SELECT clock_timestamp()');
wait_for_end($node, 'runs of six thousand priorities end');
is(value($node, "SELECT clock_timestamp() - '$since' < interval '40 s'"), 't', '... without waiting for the sweep of the minute');
is(value($node, "SELECT count(*), count(DISTINCT run_id) FROM audit WHERE run_id >= $by_priority"), '6000|6000', '... each once');

# Steps that a client holds while they are taken off the queue
enable('off');
my $first = value($node, q{SELECT min(flow_start('small1')) FROM generate_series(1, 300)}, @shop);
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT count(flow_cancel(id)) FROM flow.run WHERE id >= $first");
enable('on');
my $free = value($node, q{SELECT flow_start('small2')}, @shop);
is(value($node, "SELECT status FROM flow_await($free, '60 s')"), 'completed', 'what a client holds holds up nobody else');
$node->poll_query_until('postgres', q{SELECT clock_timestamp() > (SELECT max(at) FROM audit) + interval '2 s'});
$holder->query_safe('ROLLBACK');
$holder->quit;
$since = value($node, 'SELECT clock_timestamp()');
wait_for_end($node, '... and is done when the client has let go');
is(value($node, "SELECT count(*), max(at) - '$since' < interval '15 s' FROM audit WHERE run_id BETWEEN $first AND $first + 299"), '300|t', '... soon');
is_consistent($node);

# More owners at once than the queue has lanes
$node->safe_psql('postgres', q{
	GRANT USAGE, CREATE ON SCHEMA flow TO PUBLIC;
	DO $$
	BEGIN
		FOR i IN 1 .. 265 LOOP
			EXECUTE format('CREATE ROLE many%s LOGIN', i);
			EXECUTE format('SET LOCAL ROLE many%s', i);
			EXECUTE format('SELECT flow_define(%L, ARRAY[flow_step(%L, %L)])', 'many' || i, 'a',
				'INSERT INTO audit (run_id, step) VALUES (flow.run_id, ''a'')');
			RESET ROLE;
		END LOOP;
	END $$});
enable('off');
$node->safe_psql('postgres', q{SELECT flow_start('many' || i) FROM generate_series(1, 265) i});
enable('on');
$since = value($node, 'SELECT clock_timestamp()');
wait_for_end($node, 'the runs of 265 owners end');
is(value($node, q{SELECT count(DISTINCT role) FROM audit WHERE role LIKE 'many%'}), '265', '... each as its owner');
is(value($node, "SELECT clock_timestamp() - '$since' < interval '45 s'"), 't', '... without waiting for the sweep of the minute');

# Two databases, of which one has more than it can do
$node->safe_psql('postgres', q{SELECT flow_define('long', ARRAY[flow_step('a', $$ SELECT pg_sleep(0.01) $$, batch => false)])}, @shop);
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', q{CREATE EXTENSION flow; SELECT flow_define('one', ARRAY[flow_step('a', 'SELECT 1')])});
$node->safe_psql('postgres', q{SELECT count(flow_start('long')) FROM generate_series(1, 5000)}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.activity WHERE workflow = 'long') = 2});
my $run = value($node, q{SELECT flow_start('one')}, database => 'second');
is(value($node, "SELECT status FROM flow_await($run, '60 s')", database => 'second'), 'completed', 'a run of another database completes');
cmp_ok(value($node, q{SELECT ready FROM flow.queue WHERE workflow = 'long'}), '>', 1000, '... while most of the first one wait');

$node->stop('immediate');
done_testing();
