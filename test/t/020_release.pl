# What came with a dump or a clone executes nothing until flow_release_all(),
# and then exactly once, as roles of the same names.
#
# FLOW_LONG=1 in the environment watches for a minute that nothing runs.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use FlowTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $checker = slurp_file(dirname(abs_path(__FILE__)) . '/../check/consistency.sql');

# Roles come first, so that they have the first OIDs there are, in this order
sub cluster
{
	my ($name, @roles) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', join "\n",
		"shared_preload_libraries = 'flow'", 'flow.workers = 4', 'flow.worker_idle_timeout = 2',
		"flow.databases = 'copy_a,copy_c,other'", 'max_worker_processes = 24',
		'autovacuum = off', 'wal_level = logical');
	$node->start;
	$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN") foreach @roles;
	return $node;
}

sub as { my ($role) = @_; return (extra_params => [ '-U', $role ]); }

sub run_id { my ($node, $role, $sql) = @_; return value($node, $sql, database => 'shop', as($role)); }

# SQLSTATE, and hint, of a statement that fails
sub refused
{
	my ($node, $database, $role, $sql, $state, $hint, $what) = @_;
	my ($code, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$sql", as($role));

	like($err, qr/ERROR:  \Q$state\E: /, $what);
	like($err, $hint, '... with its hint') if $hint;
	return;
}

# What each owner has alive; the numbers of these runs
my %unfinished = (ann => 8, bob => 1, ghost => 1);
my %run;
my $original;

sub fill_shop
{
	my ($node) = @_;

	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->safe_psql('shop', q{
		CREATE EXTENSION flow;
		GRANT USAGE, CREATE ON SCHEMA flow TO ann, bob, ghost;
		GRANT USAGE ON SCHEMA flow TO eve, mallory;
		CREATE TABLE audit (
			no bigint GENERATED ALWAYS AS IDENTITY,
			run_id bigint, step text, role text DEFAULT session_user,
			key text DEFAULT flow_idempotency_key());
		GRANT SELECT, INSERT ON audit TO PUBLIC;
		CREATE TABLE go (yes int);
		GRANT SELECT ON go TO PUBLIC;});
	foreach my $owner ('ann', 'bob', 'ghost')
	{
		$node->safe_psql('shop', "SELECT flow_define('of-$owner', ARRAY["
			  . audited('a') . ',' . audited('b', q{after => '{a}'}) . '])', as($owner));
	}
	foreach my $delay ('10 ms', '1 h')
	{
		$node->safe_psql('shop', "SELECT flow_define('nap of $delay', ARRAY["
			  . audited('s', "retries => 1, retry_delay => '$delay', no_retry_on => '{}'",
				q{SELECT CASE flow.attempt WHEN 1 THEN flow_idempotency_key()::int END}) . '])', as('ann'));
	}
	$node->safe_psql('shop', q{SELECT flow_define('flop', ARRAY[} . audited('s', undef, 'SELECT 1 / (SELECT count(*) FROM go)') . '])', as('ann'));
	$node->safe_psql('shop', q{SELECT flow_grant('of-ann', r) FROM unnest('{bob,eve,ghost,mallory}'::name[]) r}, as('ann'));

	# As flow_schedule would, where pg_cron is
	$node->safe_psql('shop', q{
		INSERT INTO flow_internal.schedule (name, home, owner, owner_name, job_id, cron, workflow_id, input, overlap, catchup)
		SELECT 'nightly', w.home, w.owner, w.owner_name, 1, '0 3 * * *', w.id, '{}', 'skip', 'one'
		FROM flow_internal.workflow w WHERE w.name = 'of-ann'});

	$run{pending} = run_id($node, 'ann', q{SELECT flow_start('of-ann', start_at => now() + interval '200 ms')});
	$run{ready} = run_id($node, 'ann', q{SELECT flow_start('of-ann', key => 'k1')});
	$run{half} = run_id($node, 'ann', q{SELECT flow_start('of-ann')});
	$run{short} = run_id($node, 'ann', q{SELECT flow_start('nap of 10 ms')});
	$run{long} = run_id($node, 'ann', q{SELECT flow_start('nap of 1 h')});
	$run{paused} = run_id($node, 'ann', q{SELECT flow_start('of-ann')});
	$run{second} = run_id($node, 'ann', q{SELECT flow_start('of-ann', key => 'k3')});
	$run{done} = run_id($node, 'ann', q{SELECT flow_start('of-ann', key => 'k2')});
	$run{cancelled} = run_id($node, 'ann', q{SELECT flow_start('of-ann')});
	$run{failed} = run_id($node, 'ann', q{SELECT flow_start('flop')});
	$run{eve} = run_id($node, 'eve', q{SELECT flow_start('of-ann', '{"secret": 1}')});
	$run{bob} = run_id($node, 'bob', q{SELECT flow_start('of-bob')});
	$run{ghost} = run_id($node, 'ghost', q{SELECT flow_start('of-ghost')});
	$node->safe_psql('shop', "SELECT flow_pause($run{paused}); SELECT flow_cancel($run{cancelled});"
		  . join('', map { "SELECT flow_drain($run{$_}, 1);" } 'half', 'short', 'long', 'failed')
		  . "SELECT flow_drain($run{done})", as('ann'));
	$node->poll_query_until('shop', q{SELECT count(*) = 2 FROM flow_internal.task WHERE due_at < now()}) or die 'no times went by';
	is(value($node, q{SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM flow.run GROUP BY status) s}, database => 'shop'),
		'cancelled 1, completed 1, failed 1, paused 1, pending 1, running 8', 'the source has runs in all states');
	return;
}

sub held
{
	my ($node, $database, $role) = @_;

	return value($node, q{SELECT count(*) FROM flow.run WHERE status = 'held'}, database => $database, as($role));
}

# The rows of live runs, in whatever database they are
sub rows_of
{
	my ($node, $database) = @_;

	return value($node, "SELECT string_agg(r::text || t::text, E'\\n' ORDER BY run_id, step_no)
		FROM flow_internal.task t JOIN flow_internal.run r ON r.id = t.run_id WHERE r.id <= $run{ghost}", database => $database);
}

# Workers live there and the copied runs stand still
sub stands_still
{
	my ($node, $database, $n) = @_;
	my $effects = value($node, 'SELECT count(*) FROM audit', database => $database);
	my $superuser = value($node, 'SELECT current_user');
	my $new;

	is(held($node, $database, $superuser), $n, "$database: all live runs are held");
	is(value($node, q{SELECT count(*) FROM flow.step WHERE status IN ('ready', 'sleeping', 'running')}, database => $database), 0, '... their steps too');
	is(value($node, q{SELECT sum(ready + sleeping + pending) FROM flow.queue}, database => $database), 0, '... and no queue counts them');
	is(value($node, q{SELECT count(*) FROM flow.stuck WHERE reason IN ('restored', 'owner gone') AND hint LIKE '%SELECT flow_release_all()'}, database => $database), $n, '... flow.stuck says what to do');
	$node->safe_psql($database, q{SELECT flow_define('new', ARRAY[} . audited('a') . '])', as('ann'));
	$new = value($node, q{SELECT flow_start('new')}, database => $database, as('ann'));
	is(value($node, "SELECT status FROM flow_await($new, '60 s')", database => $database), 'completed', '... while a new run completes');
	if ($ENV{FLOW_LONG})
	{
		my $from = value($node, 'SELECT clock_timestamp()');

		$node->poll_query_until($database, "SELECT clock_timestamp() > timestamptz '$from' + interval '60 s'");
	}
	is(value($node, "SELECT count(*) FROM audit WHERE run_id <> $new", database => $database), $effects, '... and no step of them has run');
	is(rows_of($node, $database), $original, '... nor has anything of them changed');
	return;
}

sub is_refused_while_held
{
	my ($node, $database) = @_;
	my $release = qr/HINT:.*SELECT flow_release_all\(\)/;

	refused($node, $database, 'ann', q{SELECT flow_start('of-ann')}, '55000', $release, "$database: a held workflow cannot be started");
	refused($node, $database, 'ann', q{SELECT flow_define('of-ann', ARRAY[flow_step('x', 'SELECT 1')])}, '55000', $release, '... nor defined again');
	refused($node, $database, 'ann', "SELECT flow_cancel($run{ready})", '55000', $release, 'a held run cannot be cancelled');
	refused($node, $database, 'bob', "SELECT flow_cancel($run{ready})", '42704', undef, '... and is not there for others');
	refused($node, $database, 'ann', "SELECT flow_drain($run{ready})", '42704', undef, '... nor can it be drained');
	is(value($node, "SELECT status FROM flow_await($run{ready}, '60 s')", database => $database, as('ann')), 'held', 'flow_await does not wait for it');
	return;
}

# The restored job of a schedule calls, as the role of that name
sub does_not_fire
{
	my ($node, $database) = @_;

	is(value($node, q{SELECT flow_fire('nightly')}, database => $database, as('ann')), '', "$database: a held schedule starts nothing");
	is(value($node, q{SELECT last_decision || ': ' || last_reason FROM flow.schedule}, database => $database, as('ann')),
		'skipped: the schedule was restored from another database', '... and says why');
	$node->safe_psql($database, 'DELETE FROM flow_internal.schedule_slot');
	return;
}

sub fires
{
	my ($node, $database) = @_;

	$node->safe_psql($database, 'BEGIN; SELECT flow_fire(\'nightly\') AS run \gset
		SELECT 1 / (count(*) = 1)::int FROM flow.run WHERE id = :run AND schedule = \'nightly\' AND started_by = \'ann\'; ROLLBACK', as('ann'));
	return;
}

# After the release: everything ends, once
sub goes_on
{
	my ($node, $database) = @_;

	$node->poll_query_until($database, "SELECT NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id NOT IN ($run{paused}, $run{long}))")
	  or diag($node->safe_psql($database, 'SELECT * FROM flow.stuck; SELECT * FROM flow_internal.task'));
	is(value($node, "SELECT string_agg(status, ',' ORDER BY id) FROM flow.run WHERE id IN ($run{paused}, $run{long})", database => $database),
		'running,paused', "$database: what was paused or asleep still is");
	is(value($node, "SELECT name || ' ' || status FROM flow.step WHERE run_id = $run{long}", database => $database), 's sleeping', '... as it was');
	$node->safe_psql($database, "INSERT INTO go VALUES (1); SELECT flow_resume($run{paused}); SELECT flow_cancel($run{long}); SELECT flow_retry($run{failed})");
	$node->poll_query_until($database, q{SELECT NOT EXISTS (SELECT FROM flow_internal.task)}) or die 'runs go on for ever';
	is($node->safe_psql($database, $checker), '', '... and all has happened exactly once');
	is(value($node, q{SELECT count(*) FROM flow.run WHERE status = 'completed' AND workflow <> 'new'}, database => $database), 11, '... to its end');
	is(value($node, q{SELECT string_agg(DISTINCT r.workflow || ' by ' || a.role, ', ' ORDER BY r.workflow || ' by ' || a.role)
		FROM audit a JOIN flow.run r ON r.id = a.run_id WHERE r.workflow LIKE 'of-%'}, database => $database),
		'of-ann by ann, of-bob by bob, of-ghost by ghost', '... as the owners by name');
	is(value($node, "SELECT a.message LIKE '%' || e.key || '%' FROM audit e JOIN flow.attempt a USING (run_id, step) WHERE run_id = $run{short}", database => $database),
		't', '... an attempt after the restore has the idempotency key of the one before');
	is(value($node, q{SELECT count(DISTINCT key) = count(*) AND count(*) > 20 FROM audit}, database => $database), 't', '... which no other step has');
	is(value($node, q{SELECT count(*) FROM flow_internal.run_key}, database => $database), 0, '... and left no key behind');
	is(value($node, q{SELECT flow_release_all()}, database => $database), 0, 'there is nothing left to release');
	return;
}

my $node = cluster('one', 'ann', 'bob', 'ghost', 'eve', 'mallory');
fill_shop($node);
$original = rows_of($node, 'shop');
my $base = $node->basedir;
my ($code, $out, $err);

# (a) Into another database of the cluster, dumped by a role that may only read
$node->safe_psql('postgres', 'CREATE ROLE dumper LOGIN; GRANT pg_read_all_data TO dumper; CREATE DATABASE copy_a');
$node->command_ok([ 'pg_dump', '-Fc', '-U', 'dumper', '-h', $node->host, '-p', $node->port, '-f', "$base/shop.dump", 'shop' ], 'a role with pg_read_all_data can dump it');
$node->command_ok([ 'pg_restore', '-e', '-h', $node->host, '-p', $node->port, '-d', 'copy_a', "$base/shop.dump" ], 'and it can be restored');
stands_still($node, 'copy_a', 10);
is_refused_while_held($node, 'copy_a');
does_not_fire($node, 'copy_a');
is(value($node, 'SELECT flow_release_all()', database => 'copy_a'), 10, 'flow_release_all returns how many runs go on');
fires($node, 'copy_a');
goes_on($node, 'copy_a');

# (c) A database that is the template of another
$node->safe_psql('postgres', 'CREATE DATABASE copy_c TEMPLATE shop');
stands_still($node, 'copy_c', 10);
is(value($node, 'BEGIN; SELECT flow_release_all(); ROLLBACK', database => 'copy_c'), 10, 'a release that is rolled back');
is(held($node, 'copy_c', 'ann'), 8, '... has released nothing');
is(value($node, "BEGIN; SELECT flow_release_all(); SELECT flow_start('of-ann', key => 'k1'); COMMIT", database => 'copy_c', as('ann')),
	"8\n$run{ready}", 'a role releases what it may act for, with its keys');
is(held($node, 'copy_c', 'bob'), 1, '... and leaves the rest');
is(value($node, 'SELECT flow_release_all()', database => 'copy_c', as('eve')), 0, 'who may act for nobody releases nothing');
is(value($node, 'SELECT flow_release_all()', database => 'copy_c'), 2, 'a superuser releases what is left');
goes_on($node, 'copy_c');

# (d) Into the same database, which is cleaned before
$node->command_ok([ 'pg_restore', '-e', '--clean', '--if-exists', '-h', $node->host, '-p', $node->port, '-d', 'shop', "$base/shop.dump" ], 'a dump goes back to where it came from');
$node->safe_psql('postgres', q{ALTER SYSTEM SET flow.databases = 'shop'});
$node->reload;
stands_still($node, 'shop', 10);
is(value($node, 'SELECT flow_release_all()', database => 'shop'), 10, 'released');
goes_on($node, 'shop');

# (e) A new installation, into which the data is restored
$node->safe_psql('shop', 'DROP EXTENSION flow CASCADE; CREATE EXTENSION flow; TRUNCATE audit, go;
	ALTER TABLE audit ALTER key SET DEFAULT flow_idempotency_key(); GRANT USAGE, CREATE ON SCHEMA flow TO ann, bob, ghost; GRANT USAGE ON SCHEMA flow TO eve');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '-h', $node->host, '-p', $node->port, '-d', 'shop', "$base/shop.dump" ], 'data can be restored alone');
stands_still($node, 'shop', 10);

# What is not wanted is dropped instead
refused($node, 'shop', 'ann', q{SELECT flow_drop('of-ann')}, '55006', undef, 'a held workflow with unfinished runs is not dropped by accident');
refused($node, 'shop', 'ann', q{SELECT flow_drop('of-ann', 1, true)}, '55000', undef, '... nor a version of it');
refused($node, 'shop', 'eve', q{SELECT flow_drop('of-ann', force => true)}, '42501', undef, '... nor by somebody else');
is(value($node, q{BEGIN; SELECT flow_drop('of-ann', force => true); SELECT count(*) FROM flow.run WHERE workflow = 'of-ann' AND status = 'cancelled'; ROLLBACK}, database => 'shop', as('ann')),
	"t\n7", 'with force its runs are cancelled');
is(value($node, 'SELECT flow_release_all()', database => 'shop'), 10, 'released');
goes_on($node, 'shop');

# (b) Into another cluster, where the OIDs of these roles are other roles'
my $other = cluster('two', 'mallory', 'ann', 'eve', 'bob');
my $oid_of = q{SELECT oid FROM pg_roles WHERE rolname = };

is(value($other, "$oid_of 'mallory'"), value($node, "$oid_of 'ann'"), 'the OID of the owner is that of another role');
is(value($other, "$oid_of 'bob'"), value($node, "$oid_of 'eve'"), '... and another one that of who may start');
$other->safe_psql('postgres', 'CREATE DATABASE other');
($out, $err) = run_command([ 'pg_restore', '-h', $other->host, '-p', $other->port, '-d', 'other', "$base/shop.dump" ]);
unlike($err =~ s/.*role "(ghost|dumper)" does not exist.*//gr, qr/error: (?!could not execute query: $)/m, 'only a role is missing');
$other->safe_psql('other', 'GRANT USAGE, CREATE ON SCHEMA flow TO ann, bob, mallory; GRANT USAGE ON SCHEMA flow TO eve');
stands_still($other, 'other', 10);
is_refused_while_held($other, 'other');
does_not_fire($other, 'other');
refused($other, 'other', 'mallory', q{SELECT flow_fire('nightly')}, '42704', undef, 'the owner by number cannot fire it');
is(value($other, q{SELECT flow_unschedule('nightly')}, database => 'other', as('mallory')), 'f', '... nor remove it');
is(value($other, q{SELECT count(*) FROM flow.schedule WHERE input IS NOT NULL}, database => 'other', as('mallory')), 0, '... nor read its input');
is(held($other, 'other', 'ann'), 8, 'the owner by name sees the runs');
is(held($other, 'other', 'bob'), 1, '... and only those');
is(held($other, 'other', 'mallory'), 0, 'the owner by number sees none');
is(value($other, q{SELECT count(*) FROM flow.workflow WHERE name <> 'of-ann'}, database => 'other', as('mallory')), 0, '... no workflow either, but what was granted to it by name');
is(value($other, q{SELECT id || ' ' || input::text FROM flow.run}, database => 'other', as('eve')), "$run{eve} {\"secret\": 1}", 'who started a run by name sees it');
is(value($other, q{SELECT owner || ' ' || started_by FROM flow.run}, database => 'other', as('eve')), 'ann eve', '... and whose it is');
is(value($other, q{SELECT reason || ': ' || hint FROM flow.stuck WHERE workflow = 'of-ghost'}, database => 'other'),
	'owner gone: CREATE ROLE ghost LOGIN; SELECT flow_release_all()', 'flow.stuck says that an owner is missing');
is(value($other, q{SELECT owner FROM flow.workflow WHERE name = 'of-ghost'}, database => 'other'), 'ghost', '... and flow.workflow which');
refused($other, 'other', 'postgres', q{SELECT flow_start('of-ghost')}, '55000', qr/HINT:.*Create that role/, 'so does flow_start to a superuser');
refused($other, 'other', 'ann', q{SELECT flow_start('of-ghost')}, '42704', undef, '... to another role it is none of its business');
is(value($other, q{SELECT flow_release_all()}, database => 'other', as('mallory')), 0, 'the owner by number releases nothing');
($code, $out, $err) = $other->psql('other', 'SELECT flow_release_all()', as('ann'));
is($out, 8, 'the owner by name releases its own');
like($err, qr/NOTICE:  privileges of role "ghost"/, '... and is told of privileges of a role that is not there');
is(value($other, q{SELECT string_agg(g.role::regrole::text, ',' ORDER BY g.role_name) || bool_and(g.role::regrole::text = g.role_name)::text
	FROM flow_internal.workflow_grant g}, database => 'other'), 'bob,eve,mallorytrue', 'others have theirs');
fires($other, 'other');
is(held($other, 'other', value($other, 'SELECT current_user')), 2, 'the rest is held');
is(value($other, q{SELECT flow_release_all()}, database => 'other'), 1, 'a superuser releases all but what has no owner');
is(value($other, q{SELECT workflow FROM flow.run WHERE status = 'held'}, database => 'other'), 'of-ghost', '... which is held');
is(value($other, q{BEGIN; SELECT flow_drop('of-ghost', force => true); SELECT status FROM flow.run WHERE workflow = 'of-ghost'; ROLLBACK}, database => 'other'), "t\ncancelled", 'a superuser can drop it');
$other->safe_psql('other', 'CREATE ROLE ghost LOGIN; GRANT USAGE, CREATE ON SCHEMA flow TO ghost');
is(value($other, q{SELECT flow_release_all()}, database => 'other', as('ghost')), 1, 'once there is that role, it releases its own');
goes_on($other, 'other');
is(value($other, q{SELECT count(*) FROM flow.run WHERE status = 'completed'}, database => 'other', as('mallory')), 0, 'the owner by number sees none afterwards');

# With a publication every row that changes needs an identity
$node->safe_psql('shop', 'CREATE PUBLICATION everything FOR ALL TABLES');
$node->safe_psql('shop', q{SELECT flow_define('published', ARRAY[} . audited('a', undef, q{SELECT flow_set('k', '1')}) . ','
	  . audited('b', q{after => '{a}', retries => 1, retry_delay => '10 ms', no_retry_on => '{}'}, 'SELECT 1 / (flow.attempt - 1)') . '])', as('ann'));
my $published = value($node, q{SELECT flow_start('published', key => 'p', start_at => now() + interval '10 ms')}, database => 'shop', as('ann'));
is(value($node, "SELECT status FROM flow_await($published, '60 s')", database => 'shop', as('ann')), 'completed', 'a run completes under a publication FOR ALL TABLES');
$node->safe_psql('shop', q{SELECT flow_pause(r), flow_resume(r), flow_cancel(r), flow_retry(r), flow_cancel(r) FROM flow_start('published', key => 'q', start_at => now() + interval '1 h') r;
	SELECT flow_disable('published'), flow_drop('published')}, as('ann'));
is(value($node, q{SELECT string_agg(c.relname, ',') FROM pg_class c WHERE c.relnamespace = 'flow_internal'::regnamespace AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)}, database => 'shop'), '', 'every table has a primary key');

# A role that has been renamed is dumped by its new name
my $late = value($node, q{SELECT flow_start('of-bob', start_at => now() + interval '1 h')}, database => 'shop', as('bob'));
$node->safe_psql('shop', q{ALTER ROLE bob RENAME TO robert; CREATE ROLE bob LOGIN; GRANT USAGE ON SCHEMA flow TO bob});
$node->reload;
$node->safe_psql('shop', q{SELECT flow_start('new')}, as('ann'));
$node->poll_query_until('shop', q{SELECT owner_name = 'robert' FROM flow_internal.workflow WHERE name = 'of-bob'}) or die 'the name did not change';
is(value($node, q{SELECT string_agg(role_name, ',' ORDER BY role_name) FROM flow_internal.workflow_grant}, database => 'shop'), 'eve,ghost,mallory,robert', 'names of roles that have been renamed follow');
$node->safe_psql('shop', "UPDATE flow_internal.workflow SET home = home + 1, owner = 1 WHERE name = 'of-bob';
	UPDATE flow_internal.run SET home = home + 1, owner = 1 WHERE id = $late; UPDATE flow_internal.task SET home = home + 1 WHERE run_id = $late");
is(value($node, 'SELECT flow_release_all()', database => 'shop', as('bob')), 0, '... so a new role of the old name releases nothing');
is(value($node, 'SELECT flow_release_all()', database => 'shop', as('robert')), 1, '... and the renamed one does');
is(value($node, "SELECT owner FROM flow.run WHERE id = $late", database => 'shop', as('robert')), 'robert', '... what is its own');

# A server that has been upgraded is another home, too
my $upgraded = PostgreSQL::Test::Cluster->new('three');
my $later = value($other, q{SELECT flow_start('of-ann', start_at => now() + interval '1 h')}, database => 'other', as('ann'));
my ($bin) = run_command([ 'pg_config', '--bindir' ]);

$upgraded->init;
$upgraded->append_conf('postgresql.conf', "shared_preload_libraries = 'flow'");
$other->stop;
$upgraded->command_ok([ 'pg_upgrade', '--no-sync', '-b', $bin, '-B', $bin, '-d', $other->data_dir, '-D', $upgraded->data_dir,
	'-p', $other->port, '-P', $upgraded->port, '-s', $upgraded->host ], 'pg_upgrade');
$upgraded->start;
is(value($upgraded, q{SELECT id FROM flow.run WHERE status = 'held'}, database => 'other'), $later, '... holds what was unfinished');
is(value($upgraded, q{SELECT flow_release_all()}, database => 'other'), 1, '... until it is released');
is(value($upgraded, "SELECT flow_drain($later, skip_time => true)", database => 'other', as('ann')), 2, '... and runs');
is($upgraded->safe_psql('other', $checker), '', '... to its end, once');

$node->stop;
$upgraded->stop;
done_testing();
