# Prepared transactions: what they start, plan, cancel, pause and resume takes
# effect when they are committed, soon after, also across a restart; and as
# long as they hold a run, other runs go on and the held step is not run again
# and again.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('prepared', max_prepared_transactions => 10);

flow_audit($node);
$node->safe_psql('postgres', 'CREATE SEQUENCE tries; SELECT '
	  . join(', ',
		"flow_define('one', ARRAY[" . audited('a') . '])',
		"flow_define('two', ARRAY[" . audited('a', '', q{SELECT nextval('tries')}) . ', ' . audited('b', q{after => '{a}', batch => false}, q{SELECT nextval('tries')}) . '])'));
$node->safe_psql('postgres', q{SELECT flow_start('two') FROM generate_series(1, 3)});
wait_for_end($node, 'the steps are known');

sub prepare
{
	my ($name, $sql) = @_;

	return (split /\n/, value($node, "BEGIN; $sql; PREPARE TRANSACTION '$name'"))[0];
}

sub finish
{
	my ($verb, $name) = @_;

	return value($node, "$verb PREPARED '$name'; SELECT clock_timestamp()");
}

# Effects come within seconds, far from the sweep of every minute
sub is_soon
{
	my ($since, $what) = @_;

	return is(value($node, "SELECT clock_timestamp() - '$since' < interval '30 s'"), 't', $what);
}

# Starts
my $run = prepare('start', q{SELECT flow_start('one')});
my $planned = prepare('plan', q{SELECT flow_start('one', start_at => now() + interval '1 s')});
my $undone = prepare('undo', q{SELECT flow_start('one')});
my $many = prepare('many', q{SELECT min(flow_start('one')) FROM generate_series(1, 1000)});
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'one'}), '0', 'what is only prepared is not there');
my $since = finish('COMMIT', 'start');
is(value($node, "SELECT status FROM flow_await($run, '100 s')"), 'completed', 'a run of a prepared transaction starts when that is committed');
is_soon($since, '... soon');
$since = finish('COMMIT', 'plan');
is(value($node, "SELECT status FROM flow_await($planned, '100 s')"), 'completed', '... and so does one planned for later');
is_soon($since, '... soon');
finish('ROLLBACK', 'undo');

# Across a restart
$run = prepare('restarted', q{SELECT flow_start('one')});
$node->restart;
$since = finish('COMMIT', 'restarted');
is(value($node, "SELECT status FROM flow_await($run, '100 s')"), 'completed', 'a run starts when the server was restarted in between');
is_soon($since, '... soon');
finish('COMMIT', 'many');
wait_for($node, "(SELECT count(*) FROM flow.run WHERE id BETWEEN $many AND $many + 999 AND status = 'completed') = 1000", '... and a thousand do');
is(value($node, "SELECT count(*) FROM flow.run WHERE id = $undone"), '0', 'what was rolled back is not there');

# Control: the calls wait in prepared transactions while the runs are held and
# others of the same workflow go on
$node->append_conf('postgresql.conf', 'flow.enabled = off');
$node->reload;
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type <> 'launcher')});
$node->safe_psql('postgres', q{SELECT setval('tries', 1)});
my $first = value($node, q{SELECT min(flow_start('two')) FROM generate_series(1, 100)});
my %held = (cancel => $first + 20, undo => $first + 40, pause => $first + 60);
prepare('cancel', "SELECT flow_cancel($held{cancel})");
prepare('undo', "SELECT flow_cancel($held{undo})");
prepare('pause', "SELECT flow_pause(id) FROM flow.run WHERE id BETWEEN $held{pause} AND $held{pause} + 4");
$node->append_conf('postgresql.conf', 'flow.enabled = on');
$node->reload;
wait_for($node, "(SELECT count(*) FROM flow.run WHERE id >= $first AND status = 'completed') = 93", 'all other runs complete while some are held');
my $others = value($node, 'SELECT last_value FROM tries');
my $until = value($node, q{SELECT clock_timestamp() + interval '4 s'});
$node->poll_query_until('postgres', "SELECT clock_timestamp() > '$until'");
my $in_vain = value($node, 'SELECT last_value FROM tries') - $others;
cmp_ok($in_vain, '<=', 5 * 2, '... whose steps are not run in vain all the time');
note("in vain in 4 s: $in_vain; in all: $others");
is(value($node, "SELECT count(*) FROM audit WHERE run_id IN (" . join(',', values %held) . ')'), '0', '... and have no effect');

$since = finish('ROLLBACK', 'undo');
is(value($node, "SELECT status FROM flow_await($held{undo}, '100 s')"), 'completed', 'a cancel that is rolled back lets its run go on');
is_soon($since, '... soon');
finish('COMMIT', 'cancel');
is(value($node, "SELECT status FROM flow.run WHERE id = $held{cancel}"), 'cancelled', 'a cancel holds from its commit');
finish('COMMIT', 'pause');
is(value($node, "SELECT status, count(*) FROM flow.run WHERE id BETWEEN $held{pause} AND $held{pause} + 4 GROUP BY 1"), 'paused|5', '... and so does a pause');
prepare('resume', "SELECT flow_resume(id) FROM flow.run WHERE id BETWEEN $held{pause} AND $held{pause} + 4");
$node->restart('immediate');
$since = finish('COMMIT', 'resume');
is(value($node, "SELECT status FROM flow_await($held{pause}, '100 s')"), 'completed', 'a resume takes effect after a crash in between');
is_soon($since, '... soon');
wait_for_end($node, 'nothing is left');
is(value($node, "SELECT count(*) FROM audit WHERE run_id = $held{cancel}"), '0', 'nothing of the cancelled run was done');
is_consistent($node);

$node->stop;
done_testing();
