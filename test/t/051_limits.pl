# Named limits: never more steps than places, whatever ends them, and whoever is
# killed.  The steps themselves count who runs beside them.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('limits', 'flow.workers' => 6, max_worker_processes => 20, restart_after_crash => 'on');
my @shop = (extra_params => [ '-U', 'shop' ]);

# Who has one of a set of advisory locks runs now.  It is given back before the
# commit: a commit is seen a moment before the locks of its transaction are free.
flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE beside (places text, run_id bigint, n int);
	GRANT ALL ON beside TO PUBLIC;
	CREATE FUNCTION runs_beside(run bigint, VARIADIC places text[]) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_lock(hashtext(p), run::int) FROM unnest(places) p;
		PERFORM count(*) FROM generate_series(1, (random() * 50000)::int);
		INSERT INTO beside SELECT p, run, count(*) FROM unnest(places) p, pg_locks
			WHERE locktype = 'advisory' AND classid::bigint = (hashtext(p)::bigint & 4294967295) AND granted
			GROUP BY p;
		PERFORM pg_advisory_unlock(hashtext(p), run::int) FROM unnest(places) p;
	END $$});

sub define
{
	my ($name, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',', @steps) . '])', @shop);
	return;
}

sub beside
{
	my ($step, $places, $options) = @_;

	return audited($step, "batch => false, $options", "SELECT runs_beside(flow.run_id, $places)");
}

sub most
{
	my ($places) = @_;

	return value($node, "SELECT coalesce(max(n), 0) FROM beside WHERE places = '$places'");
}

sub gate
{
	my ($lock) = @_;
	my $gate = $node->background_psql('postgres', on_error_stop => 0);

	$gate->query_safe("SELECT pg_advisory_lock($lock)");
	return $gate;
}

# A step that waits as long as somebody has that gate closed
sub behind
{
	my ($lock, $step, $options) = @_;

	return audited($step, "batch => false, $options", "SELECT pg_advisory_lock_shared($lock), pg_advisory_unlock_shared($lock)");
}

$node->safe_psql('postgres', q{SELECT flow_limit('two', 2), flow_limit('one', 1), flow_limit('other', 1)}, @shop);

# Never more than so many, of all runs of all workflows
define('a', beside('s', q{'two'}, q{limits => '{two}'}), beside('t', q{'two'}, q{limits => '{two}', after => '{s}'}));
define('b', audited('first'), beside('s', q{'two'}, q{limits => '{two}', after => '{first}'}));
$node->safe_psql('postgres', q{SELECT flow_start('a'), flow_start('b') FROM generate_series(1, 30)}, @shop);
wait_for_end($node, 'all runs end under a limit');
cmp_ok(most('two'), '<=', 2, '... never more than two steps at once, of whichever workflow');
is(value($node, q{SELECT running, waiting FROM flow.limit_state WHERE name = 'two'}), '0|0', '... and no place stays taken');
is(value($node, q{SELECT count(*) FROM flow.step WHERE attempt <> 1}), '0', '... and waiting is no attempt');

# Each key has places of its own
define('keyed', beside('s', q{'one ' || (input->>'k')}, q{limits => '{one}', limit_key => $$ input->>'k' $$}));
my $closed = gate(501);
define('stops', behind(501, 's', q{limits => '{one}', limit_key => $$ input->>'k' $$}));
$node->safe_psql('postgres', q{SELECT flow_start('stops', '{"k": "x"}') FROM generate_series(1, 3)}, @shop);
wait_for($node, q{(SELECT running || ' ' || waiting FROM flow.limit_state WHERE name = 'one' AND key = 'x') = '1 2'},
	'flow.limit_state tells who has a place and who waits');
is(value($node, q{SELECT status, reason FROM flow.step s WHERE s.workflow = 'stops' ORDER BY run_id DESC LIMIT 1}), 'waiting|limit "one"',
	'flow.step says what a step waits for');
$node->safe_psql('postgres', q{SELECT flow_start('keyed', jsonb_build_object('k', k)) FROM generate_series(1, 10), unnest('{y,z}'::text[]) k}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.run WHERE workflow = 'keyed' AND status = 'completed') = 20}, 'a key that is full stops no other');
is(most('one y') . most('one z'), '11', '... and each has its own place');
is(value($node, q{SELECT count(*) FROM flow.stuck}), '0', 'nothing that waits for a place is stuck');

# What waits and what has a place can be cancelled, paused and finished by hand
my ($first, $second, $third) = split /\n/, value($node, q{SELECT id FROM flow.run WHERE workflow = 'stops' ORDER BY id});
$node->safe_psql('postgres', "SELECT flow_cancel($second)", @shop);
is(value($node, "SELECT status FROM flow.step WHERE run_id = $second"), 'cancelled', 'a step that waits can be cancelled');
$node->safe_psql('postgres', "SELECT flow_cancel($first)", @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $third) = 'running'", 'the place of a step that is cancelled is free');
my $fourth = value($node, q{SELECT flow_start('stops', '{"k": "x"}')}, @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $fourth) = 'waiting'");
$node->safe_psql('postgres', "SELECT flow_finish($fourth, 's')", @shop);
is(value($node, "SELECT status FROM flow_await($fourth, '60 s')"), 'completed', 'a step that waits can be finished by hand');
$closed->query_safe('SELECT pg_advisory_unlock(501)');
$closed->quit;
wait_for_end($node);

# A paused run holds no place, and waits again when it is resumed
$closed = gate(502);
define('gated', behind(502, 's', q{limits => '{one}'}), audited('t', q{after => '{s}'}));
my $holder = value($node, q{SELECT flow_start('gated')}, @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $holder AND name = 's') = 'running'");
my $paused = value($node, q{SELECT flow_start('gated')}, @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $paused AND name = 's') = 'waiting'");
$node->safe_psql('postgres', "SELECT flow_pause($paused)", @shop);
my $after = value($node, q{SELECT flow_start('gated')}, @shop);
$closed->query_safe('SELECT pg_advisory_unlock(502)');
is(value($node, "SELECT status FROM flow_await($after, '60 s')"), 'completed', 'a step of a paused run that waits hides nobody');
$closed->query_safe('SELECT pg_advisory_lock(502)');
$node->safe_psql('postgres', "SELECT flow_resume($paused)", @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $paused AND name = 's') = 'running'", '... and goes on when it is resumed');
is(value($node, q{SELECT running FROM flow.limit_state WHERE name = 'one'}), '1', '... with a place');
$closed->query_safe('SELECT pg_advisory_unlock(502)');
$closed->quit;
wait_for_end($node);

# Two limits at once, in both orders: no deadlock, and nobody is overtaken for ever
define('ab', beside('s', q{'one', 'other'}, q{limits => '{one,other}'}));
define('ba', beside('s', q{'other', 'one'}, q{limits => '{other,one}'}));
define('just', beside('s', q{'one'}, q{limits => '{one}'}), beside('t', q{'other'}, q{limits => '{other}'}));
$node->safe_psql('postgres', q{SELECT flow_start('just'), flow_start('ab'), flow_start('ba'), flow_start('just') FROM generate_series(1, 15)}, @shop);
wait_for_end($node, 'steps under two limits, in both orders, do not wait for each other');
is(most('one') . most('other'), '11', '... and keep both');
is(value($node, q{SELECT bool_and(status = 'completed') FROM flow.run WHERE workflow IN ('ab', 'ba', 'just')}), 't', '... all of them');

# Higher priority first, then the oldest
$closed = gate(503);
define('blocker', behind(503, 's', q{limits => '{one}'}));
define('low', audited('s', q{limits => '{one}', batch => false}));
define('high', audited('s', q{limits => '{one}', batch => false, priority => 5}));
$node->safe_psql('postgres', q{SELECT flow_start('blocker')}, @shop);
wait_for($node, q{(SELECT running FROM flow.limit_state WHERE name = 'one') = 1});
$node->safe_psql('postgres', "SELECT flow_start('$_')", @shop) foreach qw(low low high low high);
wait_for($node, q{(SELECT waiting FROM flow.limit_state WHERE name = 'one') = 5});
$closed->query_safe('SELECT pg_advisory_unlock(503)');
$closed->quit;
wait_for_end($node);
is(value($node, q{SELECT string_agg(r.workflow, ' ' ORDER BY a.no) FROM audit a JOIN flow.run r ON r.id = a.run_id WHERE r.workflow IN ('low', 'high')}),
	'high high low low low', 'higher priority comes first');

# A step that sleeps gives its place back, and needs one again
define('retries', audited('s', q{limits => '{one}', retries => 1, retry_delay => '1 h', retry_on => '{22012}', no_retry_on => '{}'}, q{SELECT 1 / (input->>'n')::int}));
my $sleeper = value($node, q{SELECT flow_start('retries', '{"n": 0}')}, @shop);
wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $sleeper) = 'sleeping'");
my $next = value($node, q{SELECT flow_start('retries', '{"n": 1}')}, @shop);
is(value($node, "SELECT status FROM flow_await($next, '60 s')"), 'completed', 'a step that sleeps has no place');
value($node, "SELECT flow_cancel($sleeper)", @shop);
define('again', audited('s', q{limits => '{one}', retries => 3, retry_delay => '20 ms', no_retry_on => '{}'}, q{SELECT 1 / (flow.attempt / 3)}));
$node->safe_psql('postgres', q{SELECT flow_start('again') FROM generate_series(1, 5)}, @shop);
wait_for_end($node, 'steps that are tried again end');
is(value($node, q{SELECT bool_and(attempt = 3 AND status = 'completed') FROM flow.step WHERE workflow = 'again'}), 't', '... after as many attempts as without a limit');
define('badkey', audited('s', q{limits => '{one}', limit_key => $$ (1 / (input->>'n')::int)::text $$}));
my $bad = value($node, q{SELECT flow_start('badkey', '{"n": 0}')}, @shop);
is(value($node, "SELECT status, error->>'sqlstate' FROM flow_await($bad, '60 s')"), 'failed|22012', 'a key that cannot be computed fails the step');

# Steps with a condition, an isolation level of their own, undo and hooks
define('kinds', audited('skipped', q{limits => '{one}', condition => 'false'}), audited('s', q{limits => '{one}', isolation => 'serializable'}),
	q{flow_choice('c', $$ 'x' $$, limits => '{one}', emits => '{x}', after => '{s}')}, audited('x', q{limits => '{one}', after => '{c:x}'}),
	audited('h', q{limits => '{one}', hook => '{failed}'}), audited('u', q{limits => '{one}', undo_of => 'x'}),
	audited('fails', q{limits => '{one}', after => '{x}'}, q{SELECT 1 / 0}), audited('last', q{limits => '{one}', needs => 'always', after => '{fails}'}));
my $kinds = value($node, q{SELECT flow_start('kinds')}, @shop);
wait_for_end($node, 'steps of all kinds end under a limit');
is(value($node, "SELECT string_agg(name || ' ' || status, ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $kinds"),
	'skipped skipped, s completed, c completed, x compensated, h completed, u completed, fails failed, last completed', '... as they would without');
is(value($node, "SELECT status, compensation FROM flow.run WHERE id = $kinds"), 'failed|complete', '... and so does the run');

# Items take places as steps do, each for itself
define('map', beside('s', q{'one ' || (item->>'k')}, q{limits => '{one}', limit_key => $$ item->>'k' $$, for_each => $$ SELECT i AS n, i % 2 AS k FROM generate_series(1, 20) i $$}));
$node->safe_psql('postgres', q{SELECT flow_start('map') FROM generate_series(1, 2)}, @shop);
wait_for_end($node, 'items end under a limit');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'map' AND status = 'completed'}), '2', '... all of them');
is(most('one 0') . most('one 1'), '11', '... one at once for each key');

# A rate
$node->safe_psql('postgres', q{SELECT flow_limit('rate', rate => 3, per => '500 ms')}, @shop);
define('rated', audited('s', q{limits => '{rate}'}));
$node->safe_psql('postgres', q{SELECT flow_start('rated') FROM generate_series(1, 10)}, @shop);
wait_for($node, q{(SELECT next_at IS NOT NULL AND waiting > 0 FROM flow.limit_state WHERE name = 'rate')}, 'flow.limit_state tells when a rate goes on');
wait_for_end($node, 'all runs end under a rate');
is(value($node, q{SELECT count(*) FROM (SELECT at - lag(at, 3) OVER (ORDER BY at) AS span FROM flow_internal.limit_start) s WHERE span < '500 ms'}), '0', '... at that rate');

# A limit that is raised or removed lets in at once; what waits for one that is gone begins
$closed = gate(504);
define('many', behind(504, 's', q{limits => '{change}'}));
$node->safe_psql('postgres', q{SELECT flow_limit('change', 1); SELECT flow_start('many') FROM generate_series(1, 5)}, @shop);
wait_for($node, q{(SELECT running || ' ' || waiting FROM flow.limit_state WHERE name = 'change') = '1 4'});
$node->safe_psql('postgres', q{SELECT flow_limit('change', 2)}, @shop);
wait_for($node, q{(SELECT running || ' ' || waiting FROM flow.limit_state WHERE name = 'change') = '2 3'}, 'a limit that is raised lets in more');
$node->safe_psql('postgres', q{SELECT flow_limit('change')}, @shop);
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE workflow = 'many' AND status = 'running') = 5}, 'one that is removed holds nobody');
$closed->query_safe('SELECT pg_advisory_unlock(504)');
$closed->quit;
wait_for_end($node);

# A client that idles with a lock on what waits keeps nobody else waiting
$closed = gate(505);
define('shut', behind(505, 's', q{limits => '{one}'}));
define('next', audited('s', q{limits => '{one}'}));
$node->safe_psql('postgres', q{SELECT flow_start('shut')}, @shop);
wait_for($node, q{(SELECT status FROM flow.step WHERE workflow = 'shut') = 'running'});
my ($locked, $free) = map { value($node, q{SELECT flow_start('next')}, @shop) } 1 .. 2;
wait_for($node, q{(SELECT waiting FROM flow.limit_state WHERE name = 'one' AND key IS NULL) = 2});
my $client = $node->background_psql('postgres');
$client->query_safe("BEGIN; SELECT flow_cancel($locked)");
$closed->query_safe('SELECT pg_advisory_unlock(505)');
$closed->quit;
wait_for($node, "(SELECT status FROM flow.run WHERE id = $free) = 'completed'", 'a step that a client has locked holds up no other');
$client->query_safe('ROLLBACK');
$client->quit;
wait_for_end($node, '... and has a place when the client lets go');

# Through kills of workers and of the scheduler, and a crash, no place is lost or given twice
$node->safe_psql('postgres', 'TRUNCATE beside');
foreach my $round (1 .. 6)
{
	ask($node, q{SELECT flow_start('a'), flow_start('ab'), flow_start('ba'), flow_start('again') FROM generate_series(1, 10)}, @shop);
	wait_through($node, q{(EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL)
		OR NOT EXISTS (SELECT FROM flow_internal.task))});
	my $type = $round % 2 ? 'worker' : 'scheduler';
	my $pid = ask($node, "SELECT max(pid) FROM flow.activity WHERE type = '$type'");
	kill_through($node, $pid);
}
$node->stop('immediate');
$node->start;
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'all runs end through kills');
cmp_ok(most('two'), '<=', 2, '... never more than two under one limit');
cmp_ok(most('one'), '<=', 1, '... nor than one under another');
is(value($node, q{SELECT sum(running) + sum(waiting) FROM flow.limit_state}), '0', '... and no place is lost');
is_consistent($node);
$node->stop;
done_testing();
