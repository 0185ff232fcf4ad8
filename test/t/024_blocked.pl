# Steps behind somebody's lock: everything else goes on, with however few
# workers, and they run when it is gone, without an attempt being charged.
# Steps that get in each other's way take turns.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('blocked');
flow_audit($node);
flow_owner($node, $_) foreach qw(one other);
$node->safe_psql('postgres', q{
	CREATE TABLE gate (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
	INSERT INTO gate SELECT generate_series(1, 20);
	GRANT ALL ON gate TO PUBLIC});

sub as
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

# From a fresh start, so that nothing is known of the steps
sub workers
{
	my ($n) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET flow.workers = $n");
	$node->restart;
	return;
}

# A session that holds a lock until it is let go
sub hold
{
	my ($lock) = @_;
	my $holder = $node->background_psql('postgres');

	$holder->query_safe('BEGIN');
	$holder->query_safe($lock);
	return $holder;
}

sub let_go
{
	my ($holder) = @_;

	$holder->query_safe('COMMIT');
	$holder->quit;
	return;
}

sub defined_by
{
	my ($owner, $workflow, $before) = @_;

	as($owner, qq{SELECT flow_define('$workflow', ARRAY[} . audited('s', q{retries => 0}, $before) . '])');
	return;
}

sub start
{
	my ($owner, $workflow, $n) = @_;

	as($owner, qq{SELECT flow_start('$workflow', jsonb_build_object('row', i % 20 + 1)) FROM generate_series(1, $n) i});
	return;
}

sub unfinished
{
	my ($workflow) = @_;

	return "(SELECT count(*) FROM flow.run WHERE workflow = '$workflow' AND finished_at IS NULL)";
}

sub is_clean
{
	my ($what) = @_;

	wait_for_end($node, "$what: then they complete");
	is(value($node, q{SELECT string_agg(DISTINCT status, ' ') FROM flow.run}), 'completed', "$what: all of them");
	is(value($node, 'SELECT count(*) FROM flow.attempt'), '0', "$what: no attempt was charged");
	return;
}

# The others start when the first has come to the lock
sub behind_table_lock
{
	my ($what, $beside, $known) = @_;
	my ($workflow, $owner) = @$beside;
	my $holder;

	if ($known)
	{
		start('one', 'behind', 20);
		start($owner, $workflow, 20);
		wait_for_end($node, "$what: the steps are known to be short");
	}
	$holder = hold('LOCK TABLE gate');
	start('one', 'behind', 200);
	wait_for($node, q{EXISTS (SELECT FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted)}, "$what: a step has come to the lock");
	start($owner, $workflow, 300);
	wait_for($node, unfinished($workflow) . ' = 0', "$what: all others complete while it is held");
	is(value($node, 'SELECT ' . unfinished('behind')), '200', "$what: ... and none of those behind it");
	let_go($holder);
	is_clean($what);
	return;
}

my $update = q{UPDATE gate SET n = n + 1 WHERE id = (input->>'row')::int};

defined_by('one', 'behind', $update);
defined_by(@$_) foreach [qw(one beside)], [qw(other abroad)];
foreach my $n (1, 2, 4)
{
	workers($n);
	behind_table_lock("$n workers, unknown steps", [qw(beside one)], 0);
	behind_table_lock("$n workers, short steps", [qw(beside one)], 1);
}

# Another role, for which there may be no further place
foreach my $n (1, 2)
{
	workers($n);
	behind_table_lock("$n workers, two owners", [qw(abroad other)], 1);
}

# A lock on a row: other runs of the same step complete, too
foreach my $n (1, 2)
{
	my $holder;

	workers($n);
	$holder = hold('SELECT FROM gate WHERE id = 7 FOR UPDATE');
	start('one', 'behind', 200);
	wait_for($node, unfinished('behind') . ' = 10', "$n workers, a row: all but those that need it complete");
	start('one', 'beside', 300);
	wait_for($node, unfinished('beside') . ' = 0', "$n workers, a row: other workflows complete");
	let_go($holder);
	is_clean("$n workers, a row");
}

# Rows again: several in a row that need the one that is locked, and more of
# them than the queue waits for before it reads further
defined_by('one', 'clustered', q{UPDATE gate SET n = n + 1 WHERE id = CASE WHEN (input->>'row')::int < 5 THEN 7 ELSE (input->>'row')::int % 10 + 8 END});
foreach my $case ([ 'clustered', 300, 60 ], [ 'behind', 6000, 300 ])
{
	my ($workflow, $n, $blocked) = @$case;
	my $holder;

	workers(2);
	start('one', $workflow, 20);
	wait_for_end($node, "$workflow: the steps are known to be short");
	$holder = hold('SELECT FROM gate WHERE id = 7 FOR UPDATE');
	start('one', $workflow, $n);
	wait_for($node, unfinished($workflow) . " = $blocked", "$workflow: all but those that need the row complete");
	let_go($holder);
	is_clean($workflow);
}

# Nobody waits actively for a step that is to be tried when there is a worker
sub scheduler_ticks
{
	my $pid = value($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'flow scheduler'});

	my @fields = split ' ', PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat");

	return $fields[13] + $fields[14];
}

SKIP:
{
	skip 'no /proc', 2 unless -r "/proc/$$/stat";
	workers(1);
	as('other', q{SELECT flow_define('doze', ARRAY[flow_step('s', $$ SELECT pg_sleep(600) $$)])});

	my $holder = hold('LOCK TABLE gate');
	start('one', 'behind', 3);
	wait_for($node, q{EXISTS (SELECT FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted)});
	start('other', 'doze', 1);
	wait_for($node, q{EXISTS (SELECT FROM flow.activity WHERE workflow = 'doze')}, 'no place: another role has it');
	my $ticks = scheduler_ticks();
	my $since = value($node, 'SELECT now()');
	wait_for($node, "now() > '$since'::timestamptz + interval '4 s'");
	cmp_ok(scheduler_ticks() - $ticks, '<', 50, 'no place: the scheduler sleeps');
	let_go($holder);
	steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE workflow = 'doze'});
	wait_for_end($node);
	workers(2);
}

# Runs that were cancelled while they were set aside are in nobody's way
my $holder = hold('LOCK TABLE gate');
start('one', 'behind', 50);
start('one', 'beside', 50);
wait_for($node, unfinished('beside') . ' = 0', 'cancelled: other workflows complete');
is(steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE workflow = 'behind' AND finished_at IS NULL}), '50', 'cancelled: those that wait can be cancelled');
let_go($holder);
start('one', 'behind', 50);
wait_for_end($node, 'cancelled: those that come after them complete');
is(value($node, q{SELECT status, count(*) FROM (SELECT status FROM flow.run WHERE workflow = 'behind' ORDER BY id DESC LIMIT 100) r GROUP BY status ORDER BY status}),
	"cancelled|50\ncompleted|50", 'cancelled: those, and no others, were');

# Steps that conflict take turns; a turn ends with its worker.  Two at a time,
# since four at once would quarantine the workflow
workers(4);
as('one', q{SELECT flow_define('hot', ARRAY[} .
	audited('a', undef, 'UPDATE gate SET n = n + 1 WHERE id = flow.run_id * 7919 % 20 + 1') . ', ' .
	audited('b', q{after => '{a}'}, 'UPDATE gate SET n = n + 1 WHERE id = flow.run_id / 3 % 20 + 1') . '])');
my $sum = value($node, 'SELECT sum(n) FROM gate');
foreach my $round (1 .. 4)
{
	as('one', q{SELECT flow_start('hot') FROM generate_series(1, 1000)});
	start('one', 'beside', 100);
	wait_for($node, unfinished('hot') . ' < 700', "turns $round: some have run");
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL LIMIT 2});
	wait_for($node, unfinished('beside') . ' = 0', "turns $round: other workflows complete");
	wait_for_end($node, "turns $round: and those that conflict");
}
as('one', q{SELECT flow_define('nap', ARRAY[flow_step('s', $$ SELECT pg_sleep(600) $$)])});
foreach my $naps (0 .. 3)
{
	start('one', 'nap', 1) if $naps > 0;
	wait_for($node, "(SELECT count(*) FROM flow.activity WHERE workflow = 'nap') = $naps");
	my $run = value($node, q{SELECT flow_start('hot')});

	is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', "turns: nobody who does something else keeps one ($naps)");
}
steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE workflow = 'nap'});
wait_for_end($node, 'turns: all ended');
is(value($node, 'SELECT sum(n) FROM gate'), $sum + 2 * 4004, 'turns: each update was done once');
is(value($node, 'SELECT count(*) FROM flow.attempt'), '0', 'turns: no attempt was charged');

# A step that shares no transaction takes no turn, and so keeps none
as('one', q{SELECT flow_define('single', ARRAY[} .
	audited('s', 'batch => false', q{UPDATE gate SET n = n + 1 WHERE id = flow.run_id % 2 + 1; SELECT pg_sleep(0.001); UPDATE gate SET n = n + 1 WHERE id = 2 - flow.run_id % 2}) . '])');
foreach my $round (1 .. 4)
{
	as('one', q{SELECT flow_start('single') FROM generate_series(1, 50)});
	wait_for_end($node, "single $round: they end");
	foreach (1 .. 3)
	{
		my $run = value($node, q{SELECT flow_start('single')});

		is(value($node, "SELECT status FROM flow_await($run, '20 s')"), 'completed', "single $round: one completes");
	}
}

# What a worker keeps until a client has let go of its run does not wait for the
# long step that the worker takes meanwhile
as('one', q{SELECT flow_define('kept', ARRAY[} . audited('s', undef, 'SELECT pg_sleep(1)') . '])');
my $kept = value($node, q{SELECT flow_start('kept')});
wait_for($node, q{EXISTS (SELECT FROM flow.activity WHERE workflow = 'kept')});
$holder = hold("SELECT flow_cancel($kept)");
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE workflow = 'kept')}, 'kept: it has met the client');
start('one', 'nap', 2);
wait_for($node, q{(SELECT count(*) FROM flow.activity WHERE workflow = 'nap') = 2}, 'kept: workers do something long');
$holder->query_safe('ROLLBACK');
$holder->quit;
is(value($node, "SELECT status FROM flow_await($kept, '30 s')"), 'completed', 'kept: another worker does it');
steer($node, 'flow_cancel', q{SELECT id FROM flow.run WHERE workflow = 'nap'});
wait_for_end($node);
$node->safe_psql('postgres', 'ANALYZE');
is_consistent($node);

$node->stop;
done_testing();
