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
	SELECT flow_start('fails') FROM generate_series(1, 300);
	SELECT flow_start('plans', start_at => now() + interval '1 s');
	SELECT flow_start('fails')});
$node->safe_psql('postgres', $_) foreach
  q{SELECT flow_pause(id) FROM flow.run WHERE status = 'pending'},
  q{SELECT flow_resume(id) FROM flow.run WHERE status = 'paused'},
  q{SELECT flow_start('plans', key => 'k1', on_conflict => 'cancel')};
wait_for_end($node, 'all runs ended');
$node->safe_psql('postgres', q{SELECT flow_retry(id) FROM flow.run WHERE workflow = 'fails'});
wait_for_end($node, 'the retried run ended');

# Finished runs that go, at once and by themselves
sub prune
{
	$node->safe_psql('postgres', $_) foreach
	  q{SELECT flow_define('pruned', ARRAY[flow_step('a', 'SELECT 1')], keep => '1 s', keep_data => '1 s')},
	  q{SELECT flow_start('pruned') FROM generate_series(1, 300)},
	  q{SELECT flow_delete_data(min(id), key => true) FROM flow.run WHERE workflow = 'fails' AND finished_at IS NOT NULL},
	  q{SELECT flow_prune('1 day')};
	wait_for($node, q{NOT EXISTS (SELECT FROM flow.run WHERE workflow = 'pruned')}, 'runs that are kept for a second are gone');
	return;
}

# Each plan in the log, of statements that name the tables themselves
my $offset = 0;

sub check_plans
{
	my ($when, $expected) = @_;
	my $log = substr slurp_file($node->logfile), $offset;
	my @plans = grep { /Query Text:[^\n]*flow_internal\./ && !/Query Text: (?:SELECT NOT EXISTS|INSERT INTO flow_internal.task SELECT)/ }
	  $log =~ /duration: [\d.]+ ms  plan:\n((?:\t[^\n]*\n)+)/g;
	my %statements = map { /Query Text: ([^\n]*)/ => 1 } @plans;

	$offset += length $log;
	cmp_ok(scalar keys %statements, '>=', $expected, "$when: the engine ran statements of many kinds");

	# of definitions, schedules and limits there are few, and renamed roles are rare
	is(join('', grep { /Seq Scan on (?!(?:workflow|schedule|workflow_grant|"limit") i\b)/ } @plans), '', '... none reads a table from end to end');
	is(join('', grep { /Hash Join|Merge Join/ } @plans), '', '... none joins by hashing or merging');
	is(join('', grep { /FROM flow_internal\.task[^\n]* LIMIT \$/ && /^\t *(?:->  )?(?:Incremental )?Sort/m } @plans), '',
		'... none sorts tasks to read some of them');
	return;
}

prune();
check_plans('on empty tables', 30);

# The same when there are statistics of large tables, and all sessions are new;
# most of the rows lie asleep
$node->safe_psql('postgres', q{
	INSERT INTO flow_internal.task SELECT 1000000 + i, i % 7, 0, t.home, t.owner, t.workflow_id, t.definition_id, i % 3,
		CASE i % 20 WHEN 0 THEN 'ready' ELSE 'sleeping' END, 0, 0, now(), CASE WHEN i % 20 > 0 THEN now() + interval '1 day' + i * interval '1 s' END
	FROM generate_series(1, 100000) i, (SELECT w.home, w.owner, w.id AS workflow_id, w.definition_id FROM flow_internal.workflow w ORDER BY id LIMIT 1) t;
	ANALYZE flow_internal.task, flow_internal.run, flow_internal.outcome, flow_internal.attempt, flow_internal.event});
$node->restart;
$node->safe_psql('postgres', q{
	SELECT flow_start('plans', key => 'l' || i) FROM generate_series(1, 20) i;
	SELECT flow_start('fails') FROM generate_series(1, 300);
	SELECT flow_start('plans', start_at => now() + interval '1 s');
	SELECT flow_start('fails')});
$node->safe_psql('postgres', $_) foreach
  q{SELECT flow_pause(id) FROM flow.run WHERE status = 'pending'},
  q{SELECT flow_resume(id) FROM flow.run WHERE status = 'paused'};
wait_for($node, q{NOT EXISTS (SELECT FROM flow.run WHERE finished_at IS NULL)}, 'all runs ended on large tables');
prune();
check_plans('on large tables', 30);
$node->safe_psql('postgres', 'DELETE FROM flow_internal.task');

# No index is on or over the state of a run, so its end can stay on the page
ok($node->poll_query_until('postgres', q{SELECT n_tup_upd > 0 AND n_tup_hot_upd >= 0.5 * n_tup_upd FROM pg_stat_user_tables
	WHERE schemaname = 'flow_internal' AND relname = 'run'}), 'ends of runs are updates that touch no index');
note('report: updates of runs, and those that touch no index: ', value($node, q{SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables
	WHERE schemaname = 'flow_internal' AND relname = 'run'}));

$node->stop;
done_testing();
