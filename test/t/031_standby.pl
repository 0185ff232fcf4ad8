# A standby runs nothing and can be looked at; promoted under load it goes on,
# and each step has been done once.  And a server that does not restart by
# itself after a crash, which is as good.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'flow'
flow.workers = 3
max_worker_processes = 16
restart_after_crash = off
autovacuum = off});
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION flow');
flow_owner($primary, 'shop');
flow_audit($primary);
$primary->safe_psql('postgres', q{SELECT flow_define('work', ARRAY[} . join(',',
	audited('a'),
	audited('b', q{after => '{a}'}, 'SELECT pg_sleep(0.002)'),
	audited('c', q{after => '{a}', batch => false}),
	audited('d', q{after => '{b,c}'})) . q{])}, extra_params => [ '-U', 'shop' ]);
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# The standby looks, and changes nothing
my $run = value($primary, q{SELECT flow_start('work', '{"n": 1}')});
is(value($primary, "SELECT status FROM flow_await($run, '60 s')"), 'completed', 'a run ends on the primary');
my $paused = value($primary, q{SELECT flow_start('work', start_at => now() + interval '1 hour')});
my $due = value($primary, q{SELECT flow_start('work', start_at => now() + interval '1 hour')});
value($primary, "SELECT flow_pause($paused)");
$primary->safe_psql('postgres', "UPDATE flow_internal.task SET due_at = now() - interval '1 min' WHERE run_id = $due");
$primary->wait_for_catchup($standby, 'replay');
is(value($standby, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'flow%'}), '0', 'a standby has no process of flow');
is(value($standby, "SELECT status, input FROM flow.run WHERE id = $run"), 'completed|{"n": 1}', 'its views show the runs');
is(value($standby, "SELECT flow_status($run)->>'status', flow_definition('work')->>'name'"), 'completed|work', '... and so do the functions that look');
my $views = value($standby, q{SELECT string_agg(format('(SELECT count(*) FROM flow.%I)', viewname), ' + ') FROM pg_views WHERE schemaname = 'flow'});
cmp_ok(value($standby, "SELECT $views"), '>', 0, '... every one of them');
is(value($standby, q{SELECT string_agg(reason, ',') FROM flow.stuck}), 'paused', '... and what runs on the primary is not stuck');
my $rows = value($primary, 'SELECT count(*) FROM flow_internal.event');
foreach my $call (q{flow_start('work')}, "flow_cancel($paused)", "flow_resume($paused)", 'flow_drain()', q{flow_define('x', ARRAY[flow_step('s', 'SELECT 1')])}, q{flow_drop('work')})
{
	my ($code, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");

	like($err, qr/ERROR:  25006: .*DETAIL:  This server is a standby.*HINT:  Connect to the primary/s, "refused on a standby: $call");
}
is(value($standby, "SELECT status FROM flow_await($run)"), 'completed', 'a run that has ended can be waited for');

# Promoted in the middle of work
value($primary, "SELECT flow_cancel($due)");
$primary->safe_psql('postgres', q{SELECT flow_start('work') FROM generate_series(1, 600)});
$primary->poll_query_until('postgres', q{SELECT count(*) > 300 FROM audit});
$standby->poll_query_until('postgres', q{SELECT count(*) > 300 FROM audit});
$primary->stop('immediate');
$standby->promote;
cmp_ok(value($standby, q{SELECT count(*) FROM flow_internal.task}), '>', 1, 'there is work left');
$standby->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow launcher')});
value($standby, "SELECT flow_resume($paused), flow_cancel($paused)");
wait_for_end($standby, 'promoted, it ends the runs that the primary has begun');
is(value($standby, q{SELECT status, count(*) FROM flow.run GROUP BY status ORDER BY 1}), "cancelled|2\ncompleted|601", '... all of them');
is_consistent($standby, '... and each step was done once');
like(slurp_file($standby->logfile), qr/LOG:  flow goes on in database with OID \d+ on timeline 2, to which the server was promoted/, 'the log tells of the new timeline');
unlike(slurp_file($primary->logfile), qr/flow goes on in database/, '... and told of none on the primary');

# Without a restart after a crash somebody else starts it
$standby->safe_psql('postgres', q{SELECT flow_start('work') FROM generate_series(1, 200)});
$standby->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL)});
my $pid = value($standby, q{SELECT pid FROM flow.activity WHERE type = 'worker' LIMIT 1});
my $postmaster = $standby->{_pid};
kill 9, $pid;
foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if !kill 0, $postmaster;
	select undef, undef, undef, 0.1;
}
ok(!kill(0, $postmaster), 'a server with restart_after_crash = off is gone after a crash');
$standby->_update_pid(-1);
$standby->start;
wait_for_end($standby, 'started again, it goes on');
is(value($standby, q{SELECT status, count(*) FROM flow.run GROUP BY status ORDER BY 1}), "cancelled|2\ncompleted|801", '... to the end of all runs');
is_consistent($standby, '... and each step was done once');

$standby->stop;
done_testing();
