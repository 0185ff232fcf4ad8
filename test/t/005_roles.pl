# Two owners at once: each step runs in a session of its own owner, and a role
# sees only what it may.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('roles', 'flow.workers' => 3, 'flow.worker_idle_timeout' => 1);
my @ann = (extra_params => [ '-U', 'ann' ]);
my @bob = (extra_params => [ '-U', 'bob' ]);
my @eve = (extra_params => [ '-U', 'eve' ]);
my ($code, $out, $err);

flow_owner($node, $_) foreach 'ann', 'bob', 'eve';
flow_audit($node);

foreach my $owner ('ann', 'bob')
{
	$node->safe_psql('postgres',
		"SELECT flow_define('of-$owner', ARRAY["
		  . join(',', audited('a'),
			audited('b', q{after => '{a}', batch => false}, 'SET ROLE NONE; RESET SESSION AUTHORIZATION'),
			audited('c', q{after => '{b}'})) . '])',
		extra_params => [ '-U', $owner ]);
}

# Started in turns, so that both have work at the same time
$node->safe_psql('postgres', q{SELECT flow_start(CASE i % 2 WHEN 0 THEN 'of-ann' ELSE 'of-bob' END) FROM generate_series(1, 200) i});
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT string_agg(DISTINCT r.workflow || ' by ' || a.role, ', ' ORDER BY r.workflow || ' by ' || a.role)
	FROM audit a JOIN flow.run r ON r.id = a.run_id}), 'of-ann by ann, of-bob by bob', 'each step ran in a session of its owner');
is(value($node, q{SELECT count(*) FROM audit GROUP BY pid HAVING count(DISTINCT role) > 1}), '', 'no session served two owners');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), 'completed|200', 'all runs completed');
is_consistent($node);

# Who sees what
is(value($node, q{SELECT string_agg(DISTINCT workflow, ',') FROM flow.run}, @ann), 'of-ann', 'ann sees the runs of her own');
is(value($node, q{SELECT string_agg(DISTINCT workflow, ',') FROM flow.step}, @bob), 'of-bob', 'bob sees the steps of his own');
is(value($node, q{SELECT count(*) FROM flow.run}, @eve), '0', 'eve sees nothing');
is(value($node, q{SELECT count(*) FROM flow.workflow}, @eve), '0', '... no workflow either');

# Who may do what
my $run = value($node, q{SELECT min(id) FROM flow.run WHERE workflow = 'of-ann'});
foreach my $try (
	"SELECT flow_start('of-ann')", "SELECT flow_cancel($run)", "SELECT flow_await($run)",
	"SELECT flow_retry($run)", "SELECT flow_disable('of-ann')",
	"SELECT flow_grant('of-ann', 'eve')", 'SELECT * FROM flow_internal.run',
	"INSERT INTO flow.run (id) VALUES (1)", "SELECT flow_define('of-ann', ARRAY[flow_step('x', 'SELECT 1')])")
{
	($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$try", @eve);
	like($err, qr/^(psql:\S+ )?ERROR:  (42501|42704|55000)$/m, "refused: $try");
}

is(value($node, q{SELECT flow_drop('of-ann')}, @eve), 'f', 'what eve cannot see is not there to be dropped');
is(value($node, q{SELECT count(*) FROM flow.workflow WHERE name = 'of-ann'}, @ann), '1', '... and stays');

# The privilege to start
$node->safe_psql('postgres', q{SELECT flow_grant('of-ann', 'eve')}, @ann);
$run = value($node, q{SELECT flow_start('of-ann', '{"by": "eve"}')}, @eve);
is(value($node, qq{SELECT status, owner, started_by FROM flow_await($run, '30 s')}, @eve), 'completed|ann|eve', 'who may start can start and wait');
is(value($node, q{SELECT count(*) FROM flow.run}, @eve), '1', '... and sees the runs it started');
is(value($node, qq{SELECT DISTINCT role FROM audit WHERE run_id = $run}), 'ann', '... which run as their owner');

# Who caused what: a role, or flow itself
$run = value($node, q{SELECT flow_start('of-ann', start_at => now() + interval '1 hour')}, @eve);
$node->safe_psql('postgres', "SELECT flow_pause($run); SELECT flow_resume($run)", @ann);
$node->safe_psql('postgres', "SELECT flow_cancel($run)", @eve);
$node->safe_psql('postgres', "SELECT flow_retry($run)");
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', 'a run that many hands have touched completes');
is(value($node, "SELECT string_agg(status || ' ' || coalesce(by_role, '-'), ', ' ORDER BY id) FROM flow.event WHERE run_id = $run"),
	'paused ann, resumed ann, cancelled eve, resumed ' . value($node, 'SELECT current_user') . ', completed -', 'its events say by whom');
$run = value($node, q{SELECT flow_start('of-ann')}, @eve);
is(value($node, "SELECT status FROM flow_await($run, '30 s')", @eve), 'completed', 'another');
is(value($node, "SELECT string_agg(status || ' ' || coalesce(by_role, '-'), ', ' ORDER BY id) FROM flow.event WHERE run_id = $run"),
	'started eve, completed -', '... was started by who called flow_start');
$node->safe_psql('postgres', q{SELECT flow_define('self', ARRAY[flow_step('s', 'SELECT flow_cancel(flow.run_id)')]); SELECT flow_grant('self', 'eve')}, @ann);
$run = value($node, q{SELECT flow_start('self')}, @eve);
is(value($node, "SELECT status FROM flow_await($run, '30 s')", @eve), 'cancelled', 'a step cancels its run');
is(value($node, "SELECT string_agg(status || ' ' || coalesce(by_role, '-'), ', ' ORDER BY id) FROM flow.event WHERE run_id = $run"),
	'started eve, cancelled ann', '... as the owner that it runs as');
$node->safe_psql('postgres', q{SELECT flow_revoke('of-ann', 'eve')}, @ann);
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_start('of-ann')}, @eve);
isnt($code, 0, 'not any more after flow_revoke');

# A workflow changes hands: what was started goes on as who it was started for
my $old = value($node, q{SELECT flow_start('of-ann', start_at => clock_timestamp() + '500 ms')}, @ann);
$node->safe_psql('postgres', q{SELECT flow_set_owner('of-ann', 'bob')});
my $new = value($node, q{SELECT flow_start('of-ann')}, @bob);
is(value($node, qq{SELECT status, owner FROM flow_await($new, '30 s')}, @bob), 'completed|bob', 'a new run is the new owner\'s');
is(value($node, qq{SELECT status, owner FROM flow_await($old, '30 s')}, @ann), 'completed|ann', '... and an old one stays the old owner\'s');
is(value($node, qq{SELECT string_agg(DISTINCT a.run_id || ' by ' || a.role, ', ') FROM audit a WHERE a.run_id IN ($old, $new)}), "$old by ann, $new by bob", '... whose worker runs it');
is(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'of-ann' AND owner = 'ann'}, @bob) > 1, 1, '... and the new owner sees all of them');
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_start('of-ann')}, @ann);
isnt($code, 0, '... which the old one cannot start any more');

# Without USAGE on schema flow nothing can be called
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_start('of-ann')}, extra_params => [ '-U', 'stranger' ]);
like($err, qr/permission denied/, 'a role without USAGE on schema flow is refused');

# An owner that cannot log in, where that matters
$node->safe_psql('postgres', q{CREATE ROLE silent NOLOGIN; GRANT USAGE, CREATE ON SCHEMA flow TO silent; GRANT silent TO ann});
($code, $out, $err) = $node->psql('postgres', q{SET ROLE silent; SELECT flow_define('mute', ARRAY[flow_step('s', 'SELECT 1')])}, @ann);
like($err, qr/HINT:.*LOGIN/, 'flow_define says that its owner must be able to log in');

wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND owner = 'bob')}, 'the worker of bob has left');
$node->safe_psql('postgres', 'ALTER ROLE bob NOLOGIN');
$node->safe_psql('postgres', q{SELECT flow_start('of-bob')});
wait_for($node, q{(SELECT reason FROM flow.stuck) = 'owner cannot log in'}, 'flow.stuck says that the owner cannot log in');
# The next start makes the scheduler look again, before its regular look does
$node->safe_psql('postgres', 'ALTER ROLE bob LOGIN');
$node->safe_psql('postgres', q{SELECT flow_start('of-bob')});
wait_for_end($node, 'its run goes on when it can');

$node->stop;
done_testing();
