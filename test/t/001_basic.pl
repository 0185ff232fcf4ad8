# A server with workers: a graph runs after the commit, in order, as its
# owner; a caller can wait for it.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('basic');

flow_owner($node, 'shop');
flow_audit($node);

$node->safe_psql('postgres', q{
	SELECT flow_define('diamond', ARRAY[
		} . audited('a') . ','
		  . audited('b', q{after => '{a}'}) . ','
		  . audited('c', q{after => '{a}'}) . q{,
		flow_step('d', $$ INSERT INTO audit (run_id, step)
			VALUES (flow.run_id, 'd') RETURNING (input->>'n')::int AS n $$, after => '{b,c}')])
}, extra_params => [ '-U', 'shop' ]);

# A run that is rolled back has never been
$node->safe_psql('postgres', q{BEGIN; SELECT flow_start('diamond'); ROLLBACK}, extra_params => [ '-U', 'shop' ]);

my $run = value($node, q{SELECT flow_start('diamond', '{"n": 7}')}, extra_params => [ '-U', 'shop' ]);
is(value($node, qq{SELECT status, output FROM flow_await($run, '30 s')}, extra_params => [ '-U', 'shop' ]),
	'completed|{"n": 7}', 'flow_await returns the ended run');
is(value($node, 'SELECT count(*) FROM flow.run'), '1', 'a start that was rolled back left no run');
is(value($node, qq{SELECT string_agg(name || ' ' || status || ' ' || attempt, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run}),
	'a completed 1, b completed 1, c completed 1, d completed 1', 'all steps completed');
is(value($node, 'SELECT DISTINCT role FROM audit'), 'shop', 'steps ran in a session of the owner');
is_consistent($node);

is(value($node, q{SELECT string_agg(DISTINCT type, ' ' ORDER BY type) FROM flow.activity WHERE type <> 'drain'}),
	'launcher scheduler worker', 'all processes show in flow.activity');
is(value($node, q{SELECT count(*) FROM flow.stuck}), '0', 'nothing is stuck');

# Many runs in one transaction
$node->safe_psql('postgres', q{SELECT flow_start('diamond', jsonb_build_object('n', i)) FROM generate_series(1, 200) i},
	extra_params => [ '-U', 'shop' ]);
wait_for_end($node, '200 runs ended');
is(value($node, q{SELECT count(*) FROM flow.run WHERE status = 'completed' AND output = input}), '201', 'each run has its own output');
is_consistent($node, 'effects and states agree after 200 runs');

# A failing step: what depends on it is skipped, the error is kept
$node->safe_psql('postgres', q{
	SELECT flow_define('failing', ARRAY[
		flow_step('good', $$ SELECT 1 $$),
		flow_step('bad', $$ SELECT 1 / 0 $$, after => '{good}'),
		flow_step('never', $$ SELECT 1 $$, after => '{bad}')])
}, extra_params => [ '-U', 'shop' ]);
$run = value($node, q{SELECT flow_start('failing')}, extra_params => [ '-U', 'shop' ]);
is(value($node, qq{SELECT status, error->>'sqlstate' FROM flow_await($run, '30 s')}), 'failed|22012', 'the run failed by its step');
is(value($node, qq{SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run}),
	'good completed, bad failed, never skipped', 'the dependent step was skipped');

# A chain, long enough not to fit one batch
$node->safe_psql('postgres', q{
	SELECT flow_define('chain', array_agg(flow_step('s' || i, 'INSERT INTO audit (run_id, step) VALUES (flow.run_id, ''s' || i || ''')',
		after => CASE WHEN i > 1 THEN ARRAY['s' || i - 1] ELSE '{}' END) ORDER BY i))
	FROM generate_series(1, 1000) i
}, extra_params => [ '-U', 'shop' ]);
$run = value($node, q{SELECT flow_start('chain')}, extra_params => [ '-U', 'shop' ]);
is(value($node, qq{SELECT status, steps_done FROM flow_await($run, '60 s')}), 'completed|1000', 'a chain of 1000 steps completed');
is(value($node, qq{SELECT bool_and(step = 's' || n) FROM (SELECT step, row_number() OVER (ORDER BY no) AS n FROM audit WHERE run_id = $run) a}),
	't', '... in order');

# Waiting
my ($code, $out, $err);
$node->safe_psql('postgres', q{SELECT flow_define('slow', ARRAY[flow_step('s', $$ SELECT pg_sleep(60) $$)])});
$run = value($node, q{SELECT flow_start('slow')});
is(value($node, qq{SELECT status FROM flow_await($run, '100 ms')}), 'running', 'flow_await returns the row as it is when its time is up');
wait_for($node, qq{EXISTS (SELECT FROM flow.step WHERE run_id = $run AND status = 'running')}, 'a running step shows as running');
is(value($node, qq{SELECT flow_cancel($run, 'enough')}), 't', 'flow_cancel cancels');
is(value($node, qq{SELECT status, status_reason FROM flow_await($run, '30 s')}), 'cancelled|enough', 'the run is cancelled');

($code, $out, $err) = $node->psql('postgres', q{BEGIN; SELECT flow_await(flow_start('diamond'), '10 s')});
like($err, qr/ERROR:.*\n(?:.*\n)*HINT:/, 'a run of the same transaction cannot be awaited');
($code, $out, $err) = $node->psql('postgres', q{\set VERBOSITY sqlstate
SELECT flow_await(4711)});
like($err, qr/42704/, 'an unknown run cannot be awaited');

$node->stop;
done_testing();
