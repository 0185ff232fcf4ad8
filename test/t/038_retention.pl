# Workflows that keep what has run for a while: the scheduler prunes runs and
# erases payloads when that is over, and is not there in between.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('retention', 'flow.worker_idle_timeout' => 1, 'log_min_messages' => 'warning');
my $step = q{ARRAY[flow_step('a', $$ SELECT input->'n' AS n, flow_set('k', input) $$)]};

sub define
{
	my ($name, $options) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', $step$options)");
	return;
}

sub count_runs { my ($where) = @_; return value($node, "SELECT count(*) FROM flow.run WHERE $where"); }

# ---- runs go, of some workflows
define('ever', '');
define('short', q{, keep => '1 s'});
define('silent', q{, keep => '1 s', notify => 'none'});
define('data', q{, keep_data => '1 s'});
my $asleep = value($node, q{SELECT flow_start('silent', start_at => now() + interval '1 hour')});
$node->safe_psql('postgres', q{SELECT flow_start(w, jsonb_build_object('n', i)) FROM unnest('{ever,short,silent,data}'::text[]) w, generate_series(1, 300) i});
wait_for($node, "NOT EXISTS (SELECT FROM flow.run WHERE workflow IN ('short', 'silent') AND id <> $asleep)", 'runs that are kept for a second go');
is(value($node, q{SELECT count(*) FROM flow_internal.outcome}), '600', '... with their outcomes');
is(value($node, q{SELECT count(*) FROM flow_internal.data WHERE run_id IN (SELECT id FROM flow.run WHERE workflow = 'ever')}), '300', '... and those of no other workflow');
is(count_runs("id = $asleep AND status = 'pending'"), '1', '... nor one that has not finished');
wait_for($node, q{NOT EXISTS (SELECT FROM flow.run WHERE workflow = 'data' AND data_deleted_at IS NULL)}, 'payloads that are kept for a second go');
is(value($node, q{SELECT DISTINCT r.status, r.input, r.output, s.output FROM flow.run r JOIN flow.step s ON s.run_id = r.id WHERE r.workflow = 'data'}),
	'completed|{}||', '... and the runs stay');
is(count_runs(q{workflow = 'ever' AND input->>'n' = output->>'n'}), '300', '... as do the payloads of others');

# ---- the end of an old run is heard of, also by nobody but the scheduler
$node->safe_psql('postgres', "SELECT flow_cancel($asleep)");
wait_for($node, "NOT EXISTS (SELECT FROM flow.run WHERE id = $asleep)", 'an old run that is cancelled goes');

# ---- the times change in place; who holds a run is not waited for
define('later', q{, keep => '1 hour'});
my $held = value($node, q{SELECT flow_start('later', '{"n": 1}')});
$node->safe_psql('postgres', q{SELECT flow_start('later', '{"n": 2}')});
wait_for($node, q{NOT EXISTS (SELECT FROM flow.run WHERE status = 'running')});
my $client = $node->background_psql('postgres', on_error_die => 1);
$client->query_safe("BEGIN; SELECT flow_delete_data($held)");
define('later', q{, keep => '1 s'});
wait_for($node, "NOT EXISTS (SELECT FROM flow.run WHERE workflow = 'later' AND id <> $held)", 'a workflow that keeps its runs for less long loses them');
is(count_runs("id = $held"), '1', '... but for one that somebody has locked');
$client->query_safe('COMMIT');
wait_for($node, "NOT EXISTS (SELECT FROM flow.run WHERE id = $held)", '... until it is free');
$client->quit;

# ---- nobody is there in between
is(value($node, q{SELECT flow_prune('0', 'data')}), '300', 'runs without payloads are pruned, too');
$node->safe_psql('postgres', 'CREATE DATABASE watch');
define('rest', q{, keep => '25 s'});
my $rest = value($node, q{SELECT flow_start('rest', '{"n": 1}')});
is(value($node, "SELECT status FROM flow_await($rest, '30 s')"), 'completed', 'a run ended');
ok($node->poll_query_until('watch', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type IN ('flow worker', 'flow scheduler'))}),
	'the scheduler leaves while a run is kept');
ok($node->poll_query_until('watch', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow scheduler')}), '... and comes back');
wait_for($node, "NOT EXISTS (SELECT FROM flow.run WHERE id = $rest)", '... when its time is over');

# ---- what fell due while the server was down
define('down', q{, keep => '3 s'});
$node->safe_psql('postgres', q{SELECT flow_start('down', '{"n": 1}') FROM generate_series(1, 50)});
wait_for($node, q{NOT EXISTS (SELECT FROM flow.run WHERE status = 'running')});
$node->restart;
wait_for($node, q{NOT EXISTS (SELECT FROM flow.run WHERE workflow = 'down')}, 'runs go after a restart');

# ---- signals that no step takes
define('deaf', '');
$node->safe_psql('postgres', q{SELECT flow_define('hear', ARRAY[flow_wait('go'), flow_wait('more', after => '{go}')])});
$node->safe_psql('postgres', q{SELECT flow_start('hear', key => k) FROM unnest('{taken,paused}'::text[]) k});
wait_for($node, q{2 = (SELECT count(*) FROM flow.step WHERE status = 'waiting' AND name = 'go')});
$node->safe_psql('postgres', q{SELECT flow_pause(flow_find('hear', 'paused'))});
$node->safe_psql('postgres', q{SELECT flow_signal_key('hear', k, 'go'), flow_signal_key('hear', k, 'other') FROM unnest('{taken,paused,nobody}'::text[]) k});
wait_for($node, q{EXISTS (SELECT FROM flow.step WHERE status = 'waiting' AND name = 'more')}, 'a signal is taken');
is(value($node, 'SELECT count(*) FROM flow.signal'), '6', 'signals are kept');
$node->safe_psql('postgres', q{ALTER SYSTEM SET flow.signal_keep = '1 s'});
$node->reload;
# of a scheduler that is away, this one is heard all the same
$node->safe_psql('postgres', q{SELECT flow_signal_key('deaf', 'k', 'go', signal_id => '1')});
wait_for($node, q{3 = (SELECT count(*) FROM flow.signal)}, 'signals that no step takes go');
is(value($node, q{SELECT string_agg(coalesce(key, '') || ' ' || name || CASE WHEN taken_at IS NULL THEN '' ELSE ' taken' END, ', ' ORDER BY id) FROM flow.signal}),
	'taken go taken, paused go, paused other', '... but for those that were taken, and of a run that is paused');
is(value($node, q{SELECT flow_signal_key('deaf', 'k', 'go', signal_id => '1')}), 't', '... and are forgotten');
$node->safe_psql('postgres', q{SELECT flow_resume(flow_find('hear', 'paused'))});
wait_for($node, q{2 = (SELECT count(*) FROM flow.step WHERE status = 'waiting' AND name = 'more')}, 'a run that goes on finds its signal');
wait_for($node, q{2 = (SELECT count(*) FROM flow.signal)}, '... and those that it does not take go');

is(count_runs(q{workflow = 'ever'}), '300', 'what is kept for ever is there');
is(value($node, q{SELECT string_agg(DISTINCT o.workflow, ',') FROM flow_internal.outcome LEFT JOIN flow.run o ON o.id = run_id}), 'ever,hear', 'nothing is left of what is gone');
is(value($node, q{SELECT count(*) FROM flow_internal.event e WHERE NOT EXISTS (SELECT FROM flow_internal.run r WHERE r.id = e.run_id)}), '0', '... no event either');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/flow scheduler could not/, 'the log has no complaint');

$node->stop;
done_testing();
