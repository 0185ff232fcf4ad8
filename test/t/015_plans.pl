# The engine's own statements are planned at their first use, on tables that
# are empty, and keep these plans when the tables are full: none may read a
# table from end to end, or build a hash of one.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('plans',
	shared_preload_libraries => "'flow,auto_explain'",
	'auto_explain.log_min_duration' => 0,
	'auto_explain.log_nested_statements' => 'on');

flow_audit($node);
$node->safe_psql('postgres',
	'SELECT flow_define(\'plans\', ARRAY['
	  . join(',',
		audited('a'),
		audited('b', q{after => '{a}'}),
		audited('c', q{after => '{a}', batch => false}),
		audited('flaky', q{after => '{b,c}', retries => 1, retry_delay => '10ms', no_retry_on => '{}'},
			'SELECT 1 / (flow.attempt - 1), flow_set(\'k\', flow.input)'),
		audited('d', q{after => '{flaky}'}, 'SELECT flow_get(\'k\'), flow.b')) . '])');
$node->safe_psql('postgres', q{SELECT flow_define('fails', ARRAY[flow_step('a', 'SELECT 1/0'), flow_step('b', 'SELECT 1', after => '{a}')])});
$node->safe_psql('postgres', q{
	SELECT flow_start('plans', key => 'k' || i) FROM generate_series(1, 20) i;
	SELECT flow_start('plans', start_at => now() + interval '1 s');
	SELECT flow_start('fails')});
$node->safe_psql('postgres', $_) foreach
  q{SELECT flow_pause(id) FROM flow.run WHERE status = 'pending'},
  q{SELECT flow_resume(id) FROM flow.run WHERE status = 'paused'},
  q{SELECT flow_start('plans', key => 'k1', on_conflict => 'cancel')};
wait_for_end($node, 'all runs ended');
$node->safe_psql('postgres', q{SELECT flow_retry(id) FROM flow.run WHERE workflow = 'fails'});
wait_for_end($node, 'the retried run ended');

# Each plan in the log, of statements that name the tables themselves
my $log = slurp_file($node->logfile);
my @plans = grep { /Query Text:[^\n]*flow_internal\./ && !/Query Text: SELECT NOT EXISTS/ }
  $log =~ /duration: [\d.]+ ms  plan:\n((?:\t[^\n]*\n)+)/g;
my %statements = map { /Query Text: ([^\n]*)/ => 1 } @plans;

cmp_ok(scalar keys %statements, '>=', 15, 'the engine ran statements of many kinds');
is(join('', grep { /Seq Scan on/ } @plans), '', 'none reads a table from end to end');
is(join('', grep { /Hash Join|Merge Join/ } @plans), '', 'none joins by hashing or merging');

# No index is on or over the state of a run, so its end can stay on the page
ok($node->poll_query_until('postgres', q{SELECT n_tup_hot_upd > 0 FROM pg_stat_user_tables
	WHERE schemaname = 'flow_internal' AND relname = 'run'}), 'ends of runs are updates that touch no index');

$node->stop;
done_testing();
