# Indexes that a DBA makes on the tables of flow: sessions and workers that have
# written to a table before notice that it has one more, or one less.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('indexes', 'flow.workers' => 2);

flow_audit($node);
$node->safe_psql('postgres', 'CREATE EXTENSION amcheck');
$node->safe_psql('postgres',
	'SELECT flow_define(\'w\', ARRAY[' . join(',', audited('a'), audited('b', q{after => '{a}'})) . '])');
my $client = $node->background_psql('postgres');

sub run_some
{
	my ($n) = @_;

	$client->query_safe("SELECT count(flow_start('w', key => i::text)) FROM generate_series(1, $n) i");
	wait_for_end($node, "$n runs end");
	return;
}

# What an index finds of a table, and what there is
sub finds_all
{
	my ($index, $table, $condition) = @_;
	my $count = "SELECT count(*) FROM flow_internal.$table WHERE $condition";
	my $indexed = 'SET enable_seqscan = off; SET enable_bitmapscan = on; ';
	my $through = $node->safe_psql('postgres', "$indexed EXPLAIN (COSTS off) $count");

	like($through, qr/\b$index\b/, "$index is used");
	is($node->safe_psql('postgres', "$indexed $count"),
		$node->safe_psql('postgres', "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; $count"),
		"... and finds all rows of $table");
	return;
}

# Each row of each table is in each of its btrees
sub all_complete
{
	my ($when) = @_;

	is($node->safe_psql('postgres', q{
		SELECT count(*) > 10, count(bt_index_check(c.oid, true)::text) = count(*)
		FROM pg_class c JOIN pg_am a ON a.oid = c.relam JOIN pg_index i ON i.indexrelid = c.oid
		WHERE c.relnamespace = 'flow_internal'::regnamespace AND a.amname = 'btree' AND i.indisvalid}), 't|t', "indexes are complete $when");
	return;
}

run_some(20);
$node->safe_psql('postgres', $_) foreach
  'CREATE INDEX by_end ON flow_internal.run (finished_at)',
  'CREATE INDEX by_third ON flow_internal.outcome ((run_id % 3)) WHERE step_no = 2',
  'CREATE INDEX by_status ON flow_internal.event USING hash (status)',
  'CREATE INDEX by_input ON flow_internal.run USING gin (input)',
  'CREATE INDEX by_day ON flow_internal.run USING brin (finished_at) WITH (pages_per_range = 1)';
run_some(300);
finds_all('by_end', 'run', "finished_at > '2000-01-01'");
finds_all('by_third', 'outcome', 'run_id % 3 = 1 AND step_no = 2');
finds_all('by_status', 'event', "status = 'completed'");
finds_all('by_input', 'run', q(input @> '{}'));
$node->safe_psql('postgres', 'DROP INDEX flow_internal.by_end');
finds_all('by_day', 'run', "finished_at > '2000-01-01'");
all_complete('with more of them');

$node->safe_psql('postgres', "DROP INDEX flow_internal.$_") foreach qw(by_day by_input by_status);
run_some(100);
all_complete('with less of them');

# Errors with an index for which nothing is kept from one insert to the next
$client->query_safe($_) foreach
  'CREATE INDEX by_input ON flow_internal.run USING gin (input)',
  q{CREATE INDEX by_share ON flow_internal.run ((1 / (input->>'of')::int)) WHERE input ? 'of'},
  q{CREATE FUNCTION fail(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	FOR i IN 1 .. n LOOP
		BEGIN
			PERFORM flow_start('w', input => '{"of": 0}');
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
  END $$};
my $kept = q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'flow target'};
$client->query_safe('SELECT fail(10)');
my $before = $client->query_safe($kept);
$client->query_safe('SELECT fail(10)');
is($client->query_safe($kept), $before, 'an insert that fails leaves nothing behind');
run_some(20);
all_complete('after errors');
$client->query_safe("DROP INDEX flow_internal.$_") foreach qw(by_input by_share);

# While rows are written
$client->query_safe(q{SELECT count(flow_start('w')) FROM generate_series(1, 3000) i});
for my $n (1 .. 5)
{
	$node->safe_psql('postgres', "CREATE INDEX CONCURRENTLY live_$n ON flow_internal.$_->[0] ($_->[1])") foreach
	  [ ('run', 'outcome', 'event', 'task', 'run')[ $n - 1 ], ('finished_at', 'status', 'run_id, at', 'ready_at', 'status')[ $n - 1 ] ];
	$client->query_safe(q{SELECT count(flow_start('w')) FROM generate_series(1, 200) i});
}
wait_for_end($node, 'runs end while indexes are made');
all_complete('that were made meanwhile');
$node->safe_psql('postgres', "REINDEX TABLE CONCURRENTLY flow_internal.$_") foreach qw(run task outcome event workflow definition);
run_some(50);
$node->safe_psql('postgres', "DROP INDEX CONCURRENTLY flow_internal.live_$_") foreach 1 .. 5;
run_some(50);
all_complete('after REINDEX and DROP INDEX');

# A table that is gone, and another one of its name
$node->safe_psql('postgres', 'DROP EXTENSION flow; CREATE EXTENSION flow');
$node->safe_psql('postgres', 'TRUNCATE audit; SELECT flow_define(\'w\', ARRAY[' . join(',', audited('a'), audited('b', q{after => '{a}'})) . '])');
run_some(20);
all_complete('of new tables');
is_consistent($node, 'every step was done once');
$client->quit;
done_testing();
