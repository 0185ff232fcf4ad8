# Random graphs whose runs are paused, resumed, cancelled and retried while they
# run, with steps of all isolation levels, and steps with items: every run ends, each step that has
# completed has its effect once, and no other step has any.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $cases = $ENV{FLOW_MODEL_CASES} // 200;
my $seed = $ENV{FLOW_MODEL_SEED} // time;

srand($seed);
note("seed $seed, $cases cases");

sub one_of
{
	return $_[ int(rand(@_)) ];
}

sub random_step
{
	my ($i) = @_;
	my @after = map { '"s' . $_ . one_of('', '', '', '', ':x', ':failed', ':completed') . '"' } grep { rand() < 2 / ($i + 1) } 0 .. $i - 1;
	my $does = one_of('', '', '', '; SELECT stumble()', q{; SELECT flow_emit('x')}, '; SELECT count(*) FROM generate_series(1, 200000)');
	my $items = rand() < 0.25;
	my $sql = "INSERT INTO audit (run_id, step) VALUES (flow.run_id, 's$i'" . ($items ? " || '/' || item_no" : '') . ")$does";
	my $options = '';

	$sql =~ s/200000/5000/ if $items;
	if ($items)
	{
		$options .= sprintf q{, for_each => 'SELECT n FROM generate_series(1, %d) n'}, rand(12);
		$options .= q{, on_item_error => 'collect'} if rand() < 0.3;
		$options .= sprintf q{, max_parallel => %d}, 1 + rand(3) if rand() < 0.3;
	}
	$options .= ", after => '{" . join(',', @after) . "}', needs => '" . one_of(qw(all all any some always first first)) . q{'} if @after;
	$options .= ", on_error => '" . one_of(qw(fail isolate continue skip pause)) . q{'};
	$options .= q{, retries => 2, retry_delay => '5 ms'} if rand() < 0.3;
	$options .= q{, condition => 'random() < 0.7'} if rand() < 0.1;
	$options .= one_of(q{, isolation => 'serializable'}, q{, isolation => 'repeatable read'}, ', batch => false') if rand() < 0.3;
	return "flow_step('s$i', \$\$ $sql \$\$, result => 'none'$options)";
}

my $node = flow_node('steered', 'flow.workers' => 3);
my @shop = (extra_params => [ '-U', 'shop' ]);
my $script = 'SET client_min_messages = error;';

flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE mended (yes boolean);
	CREATE FUNCTION stumble() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF random() < 0.7 AND NOT EXISTS (SELECT FROM mended) THEN
			RAISE 'stumbled';
		END IF;
	END $$;
	CREATE FUNCTION steer(run bigint) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		chance float := random();
	BEGIN
		CASE
			WHEN chance < 0.3 THEN PERFORM flow_pause(run);
			WHEN chance < 0.6 THEN PERFORM flow_resume(run);
			WHEN chance < 0.7 THEN PERFORM flow_cancel(run);
			ELSE PERFORM flow_retry(run);
		END CASE;
		RETURN 'done';
	EXCEPTION WHEN SQLSTATE 'WF001' THEN
		RETURN 'refused';
	END $$}, @shop);
foreach my $case (1 .. $cases)
{
	$script .= "SELECT flow_define('w$case', ARRAY[" . join(',', map { random_step($_) } 0 .. 2 + int(rand(7))) . q{], resume_after => '1 s');};
}
$node->safe_psql('postgres', $script, @shop);
foreach my $round (1 .. 6)
{
	$node->safe_psql('postgres', q{SELECT flow_start(name) FROM flow.workflow ORDER BY random()}, @shop);
	foreach my $time (1 .. 10)
	{
		$node->safe_psql('postgres', q{SELECT steer(id) FROM (SELECT id FROM flow.run WHERE status <> 'completed' ORDER BY random() LIMIT 6) r ORDER BY id}, @shop);
	}
}
$node->safe_psql('postgres', q{INSERT INTO mended VALUES (true)}, @shop);
foreach my $round (1 .. 8)
{
	$node->safe_psql('postgres', q{SELECT flow_resume(id) FROM flow.run WHERE status = 'paused'}, @shop);
	wait_for_end($node, "all runs ended, round $round") || last;
	last if value($node, q{SELECT count(*) FROM flow.run WHERE status <> 'completed'}) == 0;
	$node->safe_psql('postgres', q{SELECT flow_retry(id) FROM flow.run WHERE status <> 'completed'}, @shop);
}
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), 'completed|' . 6 * $cases, "... and completed (seed $seed)");
is(value($node, q{WITH s AS MATERIALIZED (SELECT run_id, name, name AS step, status FROM flow.step WHERE items IS NULL
		UNION ALL SELECT run_id, step || '/' || item_no, step, status FROM flow.item),
	w AS MATERIALIZED (SELECT r.id, r.workflow, w.name, w.options FROM flow.run r JOIN flow.workflow_step w ON w.workflow = r.workflow AND w.version = r.version)
	SELECT string_agg(format('run %s of %s: %s is %s, %s effects', s.run_id, w.workflow, s.name, s.status, n), E'\n')
	FROM s JOIN w ON w.id = s.run_id AND w.name = s.step
	CROSS JOIN LATERAL (SELECT count(*) AS n FROM audit a WHERE a.run_id = s.run_id AND a.step = s.name) e
	WHERE w.options->>'needs' IS DISTINCT FROM 'always'
	AND n <> CASE s.status WHEN 'completed' THEN 1 ELSE 0 END}), '',
	'each step that completed has its effect once, and no other has any');
is(value($node, q{SELECT count(*) FROM flow.step s WHERE s.status = 'completed' AND s.items > 0
	AND (SELECT (count(*) FILTER (WHERE i.status = 'completed'), count(*) FILTER (WHERE i.status = 'failed'), count(*)) FROM flow.item i WHERE i.run_id = s.run_id AND i.step = s.name)
		IS DISTINCT FROM (s.items_done::bigint, s.items_failed::bigint, s.items::bigint)}), '0', '... and so its items, which have all ended');
unlike(slurp_file($node->logfile), qr/duplicate key/, 'no end was written twice');
$node->stop;
done_testing();
