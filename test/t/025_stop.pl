# The server is stopped in every state of the engine: it stops soon, nothing is
# charged to what it interrupts, and everything completes after the next start.
use strict;
use warnings;
use FlowTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('stop', 'flow.workers' => 4, wal_level => 'replica', max_wal_senders => 2);

# The bound on every stop: far above what it takes, far below what steps sleep
$ENV{PGCTLTIMEOUT} = 20;

flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE gate (open boolean);
	CREATE TABLE held (i int);
	SELECT flow_define('short', ARRAY[} . join(',', audited('a'), audited('b', q{after => '{a}'})) . q{]);
	SELECT flow_define('sleeps', ARRAY[} . audited('s', 'batch => false', q{SELECT CASE WHEN NOT EXISTS (SELECT FROM gate) THEN pg_sleep(600) END}) . q{]);
	SELECT flow_define('locks', ARRAY[} . audited('s', 'batch => false', q{SELECT count(*) FROM held}) . q{]);
	SELECT flow_define('asks', ARRAY[} . audited('s', 'batch => false', q{SELECT pg_advisory_xact_lock(1)}) . q{])});

sub waits
{
	my ($event, $n) = @_;

	$n //= 1;
	return "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'flow worker' AND wait_event = '$event') >= $n";
}

# Whether something comes true, asked where wait_for finds no server that lets it in
sub comes
{
	my ($condition) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $condition->();
		linger(100);
	}
	return 0;
}

# Stops and starts; then nothing was charged, and everything completes
sub stop_and_start
{
	my ($mode, $what, %params) = @_;

	ok($node->stop($mode, fail_ok => 1), "$what: a $mode stop ends soon") or die 'the server does not stop';
	$params{between}->() if $params{between};
	$node->start;
	wait_for_end($node, '... after the start all that was started ends');
	is(value($node, q{SELECT count(*) FROM flow.attempt}), '0', '... no attempt has failed');
	is(value($node, q{SELECT count(*) FROM flow.step WHERE status <> 'completed' OR attempt <> 1}), '0', '... every step completed at its first');
	is_consistent($node, '... once');
	return;
}

foreach my $mode (qw(fast immediate))
{
	# Nothing to do, with a worker that waits
	my $run = value($node, q{SELECT flow_start('short')});
	is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', 'a worker is idle');
	stop_and_start($mode, 'idle');

	# A step in a sleep, one that waits for a lock, and more ready steps than workers
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; LOCK TABLE held; TRUNCATE gate; COMMIT; BEGIN; LOCK TABLE held');
	$node->safe_psql('postgres', q{SELECT flow_start('sleeps'), flow_start('sleeps'), flow_start('locks')});
	wait_for($node, waits('PgSleep', 2));
	wait_for($node, waits('relation'));
	$node->safe_psql('postgres', q{SELECT flow_start('sleeps') FROM generate_series(1, 5)});
	wait_for($node, waits('PgSleep', 3), 'all workers are busy');
	is(($node->psql('postgres', 'CREATE DATABASE other', timeout => 60))[0], 0, '... and hold up no command that all processes must take note of:');
	is(($node->psql('postgres', 'DROP DATABASE other', timeout => 60))[0], 0, '... another database can be dropped');
	$node->safe_psql('postgres', q{SELECT flow_start('short') FROM generate_series(1, 20); INSERT INTO gate VALUES (true)});
	stop_and_start($mode, 'steps in a sleep and behind a lock');
	eval { $holder->quit };

	# Workers that are about to start, for several roles
	foreach my $i (1 .. 6)
	{
		flow_owner($node, "${mode}_$i");
		$node->safe_psql('postgres', "SELECT flow_define('own_${mode}_$i', ARRAY[" . audited('s') . '])',
			extra_params => [ '-U', "${mode}_$i" ]);
	}
	$node->safe_psql('postgres', "SELECT flow_start('own_${mode}_' || i) FROM generate_series(1, 6) i, generate_series(1, 10)");
	stop_and_start($mode, 'workers that start');
}

# A commit that waits for a standby that is not there: a worker's, not the scheduler's
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'x'});
$node->reload;
wait_for($node, q{current_setting('synchronous_standby_names') = 'x'});
{
	# as long as the checkpointer has not read the setting, no commit waits
	local $ENV{PGOPTIONS} = '-c synchronous_commit=local';
	wait_for($node, q{flow_start('short') > 0 AND } . waits('SyncRep'), 'the commit of a step waits for a standby');

	# The scheduler makes a run ready that is due, and starts the worker that it needs
	flow_owner($node, 'late');
	$node->safe_psql('postgres', "SELECT flow_define('late', ARRAY[" . audited('s') . q{]); SELECT flow_start('late', start_at => clock_timestamp() + '10 ms')},
		extra_params => [ '-U', 'late' ]);
	wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'late' AND wait_event = 'SyncRep')}, '... and the scheduler waits for none');
}
stop_and_start('fast', 'a commit that waits for a standby', between => sub {
	append_to_file($node->data_dir . '/postgresql.auto.conf', "synchronous_standby_names = ''\n");
});

# A full queue, and a scheduler in the middle of reading what belongs into it
$node->append_conf('postgresql.conf', 'flow.workers = 0');
$node->reload;
wait_for($node, q{NOT EXISTS (SELECT FROM flow.activity WHERE type = 'worker')}, 'no worker is left');
$node->safe_psql('postgres', q{SELECT flow_start('short') FROM generate_series(1, 600)});
ok($node->stop('fast', fail_ok => 1), 'a fast stop with a full queue ends soon');
$node->start;
wait_for($node, q{EXISTS (SELECT FROM flow.activity WHERE type = 'scheduler')});
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE flow_internal.task');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 60000) FROM flow.activity WHERE type = 'scheduler'});
wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow scheduler' AND wait_event = 'relation')}, 'the scheduler reads what is ready');
stop_and_start('fast', 'a scheduler that reads', between => sub {
	$node->append_conf('postgresql.conf', 'flow.workers = 4');
});
eval { $holder->quit };

# A smart stop lets the run finish that a client waits for
$holder = $node->background_psql('postgres');
my $waiting = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(1)');
my $run = value($node, q{SELECT flow_start('asks')});
wait_for($node, waits('advisory'), 'a step waits for a client');
$waiting->query_until(qr/waiting/, "\\echo waiting\nSELECT status FROM flow_await($run);\n\\echo ended\n");
wait_for($node, q{EXISTS (SELECT FROM pg_stat_activity WHERE query ~ '^SELECT status FROM flow_await' AND wait_event_type = 'Extension')});
my $offset = -s $node->logfile;
my $stop = IPC::Run::start([ 'pg_ctl', '-D', $node->data_dir, '-m', 'smart', '-t', 60, 'stop' ], '>', \my $stopped);
$node->wait_for_log(qr/received smart shutdown request/, $offset);

# The postmaster tells one process after the other to go.  What the first was doing
# is charged to nobody, though the others are still there to take note of it.
ok(comes(sub { slurp_file($node->data_dir . '/postmaster.pid') =~ /^stopping/m }), 'the server says that it stops');
is($holder->query_safe("SELECT pg_terminate_backend(pid, 60000) FROM flow.activity WHERE run_id = $run"), 't', 'a worker goes while the server stops');
ok(comes(sub { $holder->query_safe('SELECT ' . waits('advisory')) eq 't' }), '... another one runs its step');
is($holder->query_safe("SELECT crashes FROM flow.step WHERE run_id = $run"), '0', '... which is not charged');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
$holder->quit;
like($waiting->query_until(qr/ended/, ''), qr/completed/, 'after a smart stop was asked for, the run that a client waits for completes');
$waiting->quit;
ok($stop->finish, '... and then the server stops');
$node->_update_pid(0);
$node->start;

# ... and is not held up by clients that have vanished while they waited
$node->safe_psql('postgres', 'TRUNCATE gate');
$run = value($node, q{SELECT flow_start('sleeps')});
my @clients = map {
	IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT status FROM flow_await($run)" ],
		'<', \undef, '>', \my $out, '2>', \my $err)
} 1 .. 20;
wait_for($node, q{(SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT status FROM flow_await' AND wait_event_type = 'Extension') = 20}, 'many clients wait for a run');
$_->kill_kill foreach @clients;
$node->safe_psql('postgres', 'INSERT INTO gate VALUES (true)');
stop_and_start('smart', 'clients that have vanished');

$node->stop;
done_testing();
