# How many runs of a workflow run at once: never more than max_runs, the oldest
# first, and nobody for ever.  The steps themselves count who runs beside them.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('max_runs', 'flow.workers' => 4, restart_after_crash => 'on');
my @shop = (extra_params => [ '-U', 'shop' ]);

# Who has one of a set of advisory locks runs now.  It is given back before the
# commit: a commit is seen a moment before the locks of its transaction are free.
flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE beside (workflow text, key text, run_id bigint, n int);
	GRANT ALL ON beside TO PUBLIC;
	CREATE FUNCTION runs_beside(workflow text, key text, run bigint) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		class int := hashtext(workflow || ' ' || key);
	BEGIN
		PERFORM pg_advisory_lock(class, run::int);
		PERFORM count(*) FROM generate_series(1, (random() * 50000)::int);
		INSERT INTO beside SELECT $1, $2, run, count(DISTINCT objid) FROM pg_locks
			WHERE locktype = 'advisory' AND classid::bigint = (class::bigint & 4294967295) AND granted;
		PERFORM pg_advisory_unlock(class, run::int);
	END $$});

sub define
{
	my ($name, $options, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',', @steps) . "], $options)", @shop);
	return;
}

sub beside
{
	my ($name, $step, $options) = @_;

	return audited($step, 'batch => false' . ($options ? ", $options" : ''),
		"SELECT runs_beside('$name', coalesce(input->>'k', ''), flow.run_id)");
}

sub most
{
	my ($name) = @_;

	return value($node, "SELECT coalesce(max(n), 0) FROM beside WHERE workflow = '$name'");
}

# Never more than so many
define('two', 'max_runs => 2', beside('two', 'a'), beside('two', 'b', q{after => '{a}'}));
$node->safe_psql('postgres', q{SELECT flow_start('two') FROM generate_series(1, 40)}, @shop);
wait_for_end($node, 'all runs end under a limit');
cmp_ok(most('two'), '<=', 2, '... never more than two at once');

# Priority, then age
define('rank', 'max_runs => 1', beside('rank', 'a'));
$node->safe_psql('postgres', q{BEGIN; SELECT flow_start('rank', priority => i % 3) FROM generate_series(1, 30) i; COMMIT}, @shop);
wait_for_end($node);
is(value($node, q{SELECT string_agg(id::text, ' ' ORDER BY started_at) = string_agg(id::text, ' ' ORDER BY priority DESC, id)
	FROM flow.run WHERE workflow = 'rank'}), 't', 'higher priorities are let in first, then the oldest');

# A key that is full does not stop another
define('keyed', q{max_runs => 1, max_runs_by => $$ input->>'k' $$},
	beside('keyed', 'a'), q{flow_wait('go', after => '{a}')}, beside('keyed', 'b', q{after => '{go}'}));
define('slow', q{max_runs => 1, max_runs_by => $$ input->>'k' $$},
	audited('a', 'batch => false', q{SELECT pg_advisory_lock_shared(4711) WHERE input->>'k' = 'x'}));
my $gate = $node->background_psql('postgres', on_error_stop => 0);
$gate->query_safe('SELECT pg_advisory_lock(4711)');
$node->safe_psql('postgres', q{SELECT flow_start('slow', jsonb_build_object('k', k)) FROM unnest('{x,x,x,y,y,z}'::text[]) k}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'slow' AND status = 'completed') = 3}, 'a key that is full stops no other');
is(value($node, q{SELECT string_agg(status, ' ' ORDER BY id) FROM flow.run WHERE workflow = 'slow' AND input->>'k' = 'x'}),
	'running pending pending', '... and only its own');
is(value($node, q{SELECT pending FROM flow.queue WHERE workflow = 'slow'}), '2', '... which flow.queue counts');
is(value($node, q{SELECT count(*) FROM flow.stuck}), '0', '... and nothing of it is stuck');
$gate->query_safe('SELECT pg_advisory_unlock(4711)');
$gate->quit;
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'slow' AND status = 'completed') = 6}, '... until it is not full');

# What waits has no place, and gets along without one when it goes on
$node->safe_psql('postgres', q{SELECT flow_start('keyed', jsonb_build_object('k', i % 3), key => 'k' || i) FROM generate_series(1, 30) i}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE workflow = 'keyed' AND name = 'go' AND status = 'waiting') = 30},
	'a run that waits gives its place to the next');
cmp_ok(most('keyed'), '<=', 1, '... one at once for each key');
$node->safe_psql('postgres', q{SELECT flow_signal_key('keyed', 'k' || i, 'go') FROM generate_series(1, 30) i}, @shop);
wait_for_end($node, 'runs that go on are not stopped by the limit');

# A parent waits for its child, which needs the only place
define('nest', 'max_runs => 1', audited('x'),
	q{flow_subflow('sub', 'nest', $$ jsonb_build_object('n', (input->>'n')::int - 1) $$, condition => $$ (input->>'n')::int > 0 $$, after => '{x}')},
	audited('y', q{after => '{sub}', needs => 'always'}));
$node->safe_psql('postgres', q{SELECT flow_start('nest', '{"n": 4}') FROM generate_series(1, 4)}, @shop);
wait_for_end($node, 'a parent holds no place while its child needs one');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'nest' AND status = 'completed'}), '20', '... at any depth');

# A run paused by hand, or that sleeps until its retry, has no place
define('stop', 'max_runs => 1', audited('a', q{retries => 1, retry_delay => '1 h', retry_on => '{22012}', no_retry_on => '{}'}, q{SELECT 1 / (input->>'n')::int}));
my $sleeper = value($node, q{SELECT flow_start('stop', '{"n": 0}')}, @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $sleeper) = 'sleeping'");
my $next = value($node, q{SELECT flow_start('stop', '{"n": 1}')}, @shop);
is(value($node, "SELECT status FROM flow_await($next, '60 s')"), 'completed', 'a run that sleeps has no place');
value($node, "SELECT flow_cancel($sleeper)", @shop);

# Pending runs that are paused hide nobody, and come back to their old place
define('line', 'max_runs => 1', audited('a', 'batch => false', 'SELECT pg_advisory_lock_shared(4712), pg_advisory_unlock_shared(4712)'));
$gate = $node->background_psql('postgres', on_error_stop => 0);
$gate->query_safe('SELECT pg_advisory_lock(4712)');
$node->safe_psql('postgres', q{SELECT flow_start('line', key => 'l' || i) FROM generate_series(1, 6) i}, @shop);
wait_for($node, q{(SELECT status FROM flow.run WHERE key = 'l1') = 'running'});
$node->safe_psql('postgres', q{SELECT flow_pause(flow_find('line', k)) FROM unnest('{l2,l3,l5}'::text[]) k; SELECT flow_cancel(flow_find('line', 'l4'))}, @shop);
$gate->query_safe('SELECT pg_advisory_unlock(4712)');
wait_for($node, q{(SELECT status FROM flow.run WHERE key = 'l6') = 'completed'}, 'paused runs are passed over');
$gate->query_safe('SELECT pg_advisory_lock(4712)');
$node->safe_psql('postgres', q{SELECT flow_start('line', key => 'l7'); SELECT flow_resume(flow_find('line', k)) FROM unnest('{l5,l3,l2}'::text[]) k}, @shop);
$node->safe_psql('postgres', q{SELECT flow_retry(flow_find('line', 'l4'))}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'line' AND status = 'pending') = 4});
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'line' AND status = 'running'}), '1', '... and wait again when they are resumed, or retried');
$gate->query_safe('SELECT pg_advisory_unlock(4712)');
$gate->quit;
wait_for_end($node, '... and end');

# A limit that is raised, lowered or taken away is felt at once, and ends nobody
my $body = audited('a', 'batch => false', 'SELECT pg_advisory_lock_shared(4713), pg_advisory_unlock_shared(4713)');
$gate = $node->background_psql('postgres', on_error_stop => 0);
$gate->query_safe('SELECT pg_advisory_lock(4713)');
my $running = q{(SELECT count(*) FROM flow.run WHERE workflow = 'change' AND status = 'running')};
define('change', 'max_runs => 1', $body);
$node->safe_psql('postgres', q{SELECT flow_start('change') FROM generate_series(1, 10)}, @shop);
wait_for($node, "$running = 1");
define('change', 'max_runs => 3', $body);
wait_for($node, "$running = 3", 'a limit that is raised lets in more');
define('change', 'max_runs => 2', $body);
is(value($node, "SELECT $running"), '3', 'one that is lowered stops nobody');
define('change', q{notify => 'none'}, $body);
wait_for($node, "$running = 10", 'without a limit all begin');
$gate->query_safe('SELECT pg_advisory_unlock(4713)');
$gate->quit;
wait_for_end($node);

# Its SQL is the owner's: it runs as the owner, in a worker, whoever starts the run
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA flow TO app;
	CREATE FUNCTION who() RETURNS text LANGUAGE sql AS 'SELECT current_user || '' '' || session_user'});
define('owned', q{max_runs => 1, max_runs_by => $$ who() $$}, audited('a'));
define('writes', q{max_runs => 1, max_runs_by => $$ nextval('audit_no_seq') $$}, audited('a'));
$node->safe_psql('postgres', q{SELECT flow_grant('owned', 'app'); SELECT flow_grant('writes', 'app')}, @shop);
$node->safe_psql('postgres', q{SELECT flow_start('owned'); SELECT flow_start('writes')}, extra_params => [ '-U', 'app' ]);
wait_for_end($node, 'runs that somebody else has started end');
is(value($node, q{SELECT limit_key FROM flow_internal.run r WHERE r.workflow_id = (SELECT id FROM flow.workflow WHERE name = 'owned')}),
	'=shop shop', 'the key is computed as the owner, in its own session');
is(value($node, q{SELECT flow_delete_data(r.id) FROM flow.run r WHERE workflow = 'owned'}), 't');
is(value($node, q{SELECT count(*) FROM flow_internal.run r WHERE erased > 0 AND limit_key IS NOT NULL}), '0', '... and goes with what the run was about');
is(value($node, q{SELECT limit_key FROM flow_internal.run r WHERE r.workflow_id = (SELECT id FROM flow.workflow WHERE name = 'writes')}),
	'-', 'a key that cannot be computed, such as one that writes, is none');

# What a client has locked, and keeps after all, is looked at again
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(550)');
define('kept', 'max_runs => 1', audited('a', 'batch => false', 'SELECT pg_advisory_lock_shared(550), pg_advisory_unlock_shared(550)'));
my @kept = map { value($node, q{SELECT flow_start('kept')}, @shop) } 1 .. 3;
wait_for($node, "(SELECT string_agg(status, ' ' ORDER BY id) FROM flow.run WHERE workflow = 'kept') = 'running pending pending'");
my $client = $node->background_psql('postgres');
$client->query_safe("BEGIN; SELECT flow_cancel($kept[1])");
define('kept', 'max_runs => 3', audited('a', 'batch => false', 'SELECT pg_advisory_lock_shared(550), pg_advisory_unlock_shared(550)'));
wait_for($node, "(SELECT status FROM flow.run WHERE id = $kept[2]) = 'running'", 'a run that a client has locked holds up no other');
$client->query_safe('ROLLBACK');
wait_for($node, "(SELECT status FROM flow.run WHERE id = $kept[1]) = 'running'", '... and has the next place when the client lets go');
$client->quit;
$gate->query_safe('SELECT pg_advisory_unlock(550)');
$gate->quit;
wait_for_end($node);

# Through crashes no place is lost, and none is given twice
define('storm', q{max_runs => 2, max_runs_by => $$ input->>'k' $$}, beside('storm', 'a'), beside('storm', 'b', q{after => '{a}'}));
foreach my $round (1 .. 4)
{
	ask($node, q{SELECT flow_start('storm', jsonb_build_object('k', i % 2)) FROM generate_series(1, 30) i}, @shop);
	wait_for($node, q{EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL)
		OR NOT EXISTS (SELECT FROM flow_internal.task)});
	my $type = $round % 2 ? 'worker' : 'scheduler';
	my $pid = ask($node, "SELECT max(pid) FROM flow.activity WHERE type = '$type'");
	kill_through($node, $pid);
}
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'all runs end through crashes');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'storm' AND status <> 'completed'}), '0', '... every one');
cmp_ok(most('storm'), '<=', 2, '... never more than two of a key at once');
is_consistent($node);
$node->stop;
done_testing();
