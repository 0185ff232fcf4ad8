# Owners that may not work any more, are renamed, dropped or created again; many
# owners; an owner of the tables that is no superuser; names that need quotes.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('owners', 'flow.workers' => 4, max_worker_processes => 32, log_min_messages => 'debug1');

sub as { return (extra_params => [ '-U', shift ]) }

sub oid_of
{
	my ($role) = @_;

	return value($node, "SELECT oid FROM pg_roles WHERE rolname = '$role'");
}

# How many workers of a role have been started since that place in the log
sub starts
{
	my ($oid, $offset) = @_;

	return scalar(() = slurp_file($node->logfile, $offset) =~ /DEBUG:  registering background worker "flow worker for role $oid in/g);
}

# Two transactions, of which the first can be made to wait; not for a lock, since a
# step that waits for one may be set aside
sub define_steps
{
	my ($role) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('of-$role', ARRAY[" . join(',',
		audited('a', undef, q{DO $do$ BEGIN WHILE flow_input() ? 'wait' LOOP EXIT WHEN pg_try_advisory_xact_lock_shared(flow_run_id()); PERFORM pg_sleep(0.01); END LOOP; END $do$}),
		audited('b', q{after => '{a}', batch => false})) . '])', as($role));
	return;
}

sub is_waiting
{
	my ($run) = @_;

	return "EXISTS (SELECT FROM flow.activity WHERE run_id = $run AND step = 'a')";
}

flow_audit($node);
my @barred = ('nologin', 'noconnect', 'boss');
my @others = ('expired', 'limited', 'before', 'left', 'right', 'leaver');
my %oid;
foreach my $role (@barred, @others)
{
	flow_owner($node, $role);
	$oid{$role} = oid_of($role);
	$node->safe_psql('postgres', "GRANT CONNECT ON DATABASE postgres TO $role");
	$node->safe_psql('postgres', 'ALTER ROLE boss SUPERUSER') if $role eq 'boss';
	define_steps($role);
}
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');

# While a worker is idle, while its step runs, and while its run is ready
my $holder = $node->background_psql('postgres');
my (%running, %ready);
foreach my $role (@barred, @others)
{
	my $run = value($node, "SELECT flow_start('of-$role')");

	is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', "$role has a worker");
}
$node->append_conf('postgresql.conf', 'flow.workers = 20');
$node->reload;
foreach my $role (@barred, @others)
{
	my $id = value($node, q{SELECT nextval('flow_internal.run_id_seq') + 1});

	$holder->query_safe("SELECT pg_advisory_lock($id)");
	$running{$role} = value($node, qq{SELECT flow_start('of-$role', '{"wait": true}')});
	is($running{$role}, $id, "$role is to wait");
}
wait_for($node, is_waiting($running{$_}), "... and waits") foreach @barred, @others;
my $barred_at = value($node, 'SELECT clock_timestamp()');
$node->safe_psql('postgres', q{
	ALTER ROLE nologin NOLOGIN;
	REVOKE CONNECT ON DATABASE postgres FROM noconnect;
	ALTER SYSTEM SET flow.allow_superuser = off});
$node->safe_psql('postgres', q{
	ALTER ROLE expired VALID UNTIL '2000-01-01';
	ALTER ROLE limited CONNECTION LIMIT 0;
	ALTER ROLE before RENAME TO afterwards;
	ALTER ROLE "left" RENAME TO middle;
	ALTER ROLE "right" RENAME TO "left";
	ALTER ROLE middle RENAME TO "right";
	DROP OWNED BY leaver; DROP ROLE leaver; CREATE ROLE leaver LOGIN;
	GRANT CONNECT ON DATABASE postgres TO leaver;
	GRANT USAGE, CREATE ON SCHEMA flow TO leaver});
$node->reload;
$ready{$_} = value($node, "SELECT flow_start('of-$_')") foreach @barred, @others;

# What a worker knows of its role is as old as this, at most
wait_for($node, "clock_timestamp() > '$barred_at'::timestamptz + interval '700 ms'");
my $log_offset = -s $node->logfile;
$holder->query_safe("SELECT pg_advisory_unlock($running{$_})") foreach @barred, @others;

my %reason = (nologin => 'owner cannot log in', noconnect => 'owner may not connect', boss => 'owner is a superuser');
foreach my $role (@barred)
{
	wait_for($node, "(SELECT count(*) = 2 FROM flow.stuck WHERE run_id IN ($running{$role}, $ready{$role}) AND reason = '$reason{$role}' AND hint IS NOT NULL)",
		"$role: both runs are stuck, $reason{$role}");
	is(value($node, "SELECT string_agg(step, ' ' ORDER BY no) FROM audit WHERE run_id IN ($running{$role}, $ready{$role})"), 'a',
		'... and none but the step that was running was run');
}
wait_for($node, "(SELECT reason = 'owner gone' FROM flow.stuck WHERE run_id = $ready{leaver})", 'leaver: the run is stuck, owner gone');
is(value($node, "SELECT status FROM flow_await($running{leaver}, '60 s')"), 'failed', '... and the step that was running fails, for it is nobody');
is(value($node, "SELECT count(*) FROM audit WHERE run_id IN ($running{leaver}, $ready{leaver})"), '0', '... leaving nothing');
foreach my $role ('expired', 'limited', 'before', 'left', 'right')
{
	is(value($node, "SELECT a.status || ' ' || b.status FROM flow_await($running{$role}, '60 s') a, flow_await($ready{$role}, '60 s') b"),
		'completed completed', "$role: work goes on");
}

# Passwords and connection limits are not for background workers; a role is its OID, whatever its name
is(value($node, "SELECT owner FROM flow.run WHERE id = $running{before}"), 'afterwards', 'a run shows the new name of its owner');
is(value($node, "SELECT DISTINCT a.role || ' ' || r.owner FROM audit a JOIN flow.run r ON r.id = a.run_id WHERE r.id = $ready{left}"), 'right right',
	'names that were swapped swap no runs');
is(value($node, "SELECT count(*) FROM flow.run", as('leaver')), '0', 'a new role of an old name sees no run');
my ($code, $out, $err) = $node->psql('postgres', "SELECT flow_cancel($ready{leaver})", as('leaver'));
like($err, qr/does not exist/, '... cannot steer one');
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_start('of-leaver')}, as('leaver'));
like($err, qr/ERROR/, '... and cannot start one');

# No process was started in vain, nor are there many lines in the log
foreach my $role (@barred, 'leaver')
{
	is(starts($oid{$role}, $log_offset), 0, "$role: no worker is started");
}
my $warnings = () = slurp_file($node->logfile) =~ /WARNING:  workflows of role/g;
cmp_ok($warnings, '<=', 4, 'the log says so once for each role');
cmp_ok($warnings, '>=', 4, '... and for each');

# Mended, each goes on by itself; what has no owner does not, and can be cancelled
$node->safe_psql('postgres', q{
	ALTER ROLE nologin LOGIN;
	GRANT CONNECT ON DATABASE postgres TO noconnect});
wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id IN ($running{$_}, $ready{$_}))", "$_ goes on by itself") foreach 'nologin', 'noconnect';
$node->safe_psql('postgres', 'ALTER SYSTEM SET flow.allow_superuser = on');
$node->reload;
wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id <> $ready{leaver})", '... and the last after a reload');
is(value($node, "SELECT count(*) FROM audit WHERE run_id = $ready{leaver}"), '0', '... but not what has no owner');
is(value($node, "SELECT flow_cancel($ready{leaver})"), 't', '... which can be cancelled');
is_consistent($node);
$holder->quit;

# An owner that always has work, and fifty that have some
$node->append_conf('postgresql.conf', "flow.workers = 4\nflow.worker_idle_timeout = 5");
$node->reload;
flow_owner($node, $_) foreach 'hog', map { "many_$_" } 1 .. 50;
$node->safe_psql('postgres', q{
	GRANT CONNECT ON DATABASE postgres TO PUBLIC;
	CREATE TABLE go_on AS SELECT true AS yes;
	GRANT SELECT ON go_on TO PUBLIC});
$node->safe_psql('postgres', q{
	SELECT flow_define('hog', ARRAY[flow_step('s', $$ SELECT flow_start('hog'), pg_sleep(0.005) FROM go_on WHERE yes $$)]);
	SELECT flow_start('hog') FROM generate_series(1, 20)}, as('hog'));
$node->safe_psql('postgres', join '', map { "SET SESSION AUTHORIZATION many_$_; SELECT flow_define('many-$_', ARRAY[" . audited('a') . ',' . audited('b', q{after => '{a}'}) . ']);' } 1 .. 50);
$node->safe_psql('postgres', q{SELECT flow_start('many-' || 1 + i % 50) FROM generate_series(1, 500) i});
my ($most, $left) = (0, 1);
while ($left)
{
	($left, my $now) = split /\|/, value($node, q{SELECT
		(SELECT count(*) FROM flow_internal.task t JOIN flow_internal.workflow w ON w.id = t.workflow_id WHERE w.name <> 'hog'),
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'flow worker')});
	$most = $now if $now > $most;
}
is(value($node, q{SELECT status, count(*) FROM flow.run WHERE workflow LIKE 'many-%' GROUP BY status}), 'completed|500', 'fifty owners beside one that always has work complete');
cmp_ok($most, '<=', 4, 'never with more workers than flow.workers');
$node->safe_psql('postgres', 'UPDATE go_on SET yes = false');
wait_for_end($node, 'and the one ends when it is told to');
is(value($node, q{SELECT count(*) FROM audit GROUP BY pid HAVING count(DISTINCT role) > 1}), '', 'no worker served two of them');

# Names that need quotes; and tables of a role that is no superuser
my $odd = q{sh'op "1"};
my @odd = (database => $odd);
my $weird = 'We ird"R';
$node->safe_psql('postgres', q{
	CREATE ROLE installer SUPERUSER LOGIN;
	CREATE ROLE keeper;
	CREATE ROLE "We ird""R" LOGIN;
	CREATE DATABASE "sh'op ""1"""});
$node->safe_psql($odd, q{CREATE SCHEMA "sch ema"; CREATE EXTENSION flow SCHEMA "sch ema"}, as('installer'));
$node->safe_psql($odd, q{
	REASSIGN OWNED BY installer TO keeper;
	DROP ROLE installer;
	GRANT USAGE, CREATE ON SCHEMA "sch ema" TO PUBLIC;
	GRANT USAGE, CREATE ON SCHEMA flow TO "We ird""R";
	GRANT CREATE ON SCHEMA public TO "We ird""R"});
is(value($node, q{SELECT string_agg(DISTINCT relowner::regrole::text, ' ') FROM pg_class WHERE relnamespace IN ('flow'::regnamespace, 'flow_internal'::regnamespace)}, @odd),
	'keeper', 'the tables belong to a role that is no superuser');
is(value($node, q{
	SET search_path = "sch ema", public;
	CREATE TABLE did (run_id bigint, step text, who text DEFAULT session_user, functions text DEFAULT current_setting('search_path'));
	SELECT flow_define('o''dd "w"', ARRAY[
		flow_step('a b', $$ INSERT INTO did (run_id, step) VALUES (flow_run_id(), 'a'); SELECT flow_set('k', '1'), 2 AS two $$),
		flow_step('c"d', $$ INSERT INTO did (run_id, step) VALUES (flow_run_id(), 'c'); SELECT (flow."a b"->>'two')::int / (flow.attempt - 1) AS two $$,
			after => '{a b}', retries => 1, retry_delay => '10 ms', no_retry_on => '{}'),
		flow_step('e', $$ INSERT INTO did (run_id, step) VALUES (flow_run_id(), 'e'); SELECT flow_get('k') AS k, flow."c""d"->'two' AS two $$,
			after => ARRAY['c"d'])])}, @odd, as($weird)), '1', 'odd names are no hindrance to a definition');
sub odd { return value($node, "SET search_path = \"sch ema\"; $_[0]", @odd, as($weird)) }
my $run = odd(q{SELECT flow_start('o''dd "w"', key => 'k')});
is(odd("SELECT status, output FROM flow_await($run, '60 s')"), 'completed|{"k": 1, "two": 2}', '... nor to its run');
is(value($node, 'SELECT string_agg(step, $$ $$), string_agg(DISTINCT who, $$,$$) FROM "sch ema".did', @odd, as($weird)), "a c e|$weird", '... whose steps were done once, by their owner');
$run = odd(q{SELECT flow_start('o''dd "w"', start_at => now() + interval '1 hour')});
is(odd("SELECT flow_pause($run), flow_resume($run), flow_cancel($run), flow_retry($run)"), 't|t|t|t', '... nor to steering it');
is(odd("SELECT status FROM flow_await($run, '60 s')"), 'completed', '... to its end');
is(odd(q{SELECT count(*) > 0 AND bool_and(owner = 'We ird"R') FROM flow.run, flow_status(id)}), 't', '... nor to looking');
$node->safe_psql('postgres', 'ALTER ROLE "We ird""R" NOLOGIN');
value($node, q{SELECT "sch ema".flow_start('o''dd "w"', start_at => now() + interval '1 s')}, @odd);
ok($node->poll_query_until($odd, q{SELECT hint = 'ALTER ROLE "We ird""R" LOGIN' FROM flow.stuck}), 'the hint is quoted');
$node->safe_psql('postgres', value($node, 'SELECT hint FROM flow.stuck', @odd));
$node->reload;
ok($node->poll_query_until($odd, q{SELECT NOT EXISTS (SELECT FROM flow_internal.task)}), '... and helps');

$node->stop;
done_testing();
