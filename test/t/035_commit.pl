# Steps whose transaction fails when it commits, or when it is recorded: only
# they are charged, they are never tried in a tight loop, and the others of
# their batch have their effects once.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('commit', log_min_messages => 'log');

flow_audit($node);
flow_owner($node, 'shop');

# A foreign table whose far side checks a row only when it commits: postgres_fdw
# commits there before this side does.  The row says with which SQLSTATE to fail.
$node->safe_psql('postgres', 'CREATE DATABASE far');
$node->safe_psql('far', q{
	CREATE TABLE parcel (run_id bigint, fails text);
	CREATE FUNCTION check_parcel() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'parcel refused at commit' USING ERRCODE = NEW.fails;
	END $$;
	CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON parcel DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.fails IS NOT NULL) EXECUTE FUNCTION check_parcel();
});
my $host = $node->host;
my $port = $node->port;
my $user = value($node, 'SELECT current_user');
$node->safe_psql('postgres', qq{
	CREATE EXTENSION postgres_fdw;
	CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'far');
	CREATE USER MAPPING FOR shop SERVER far OPTIONS (user '$user', password_required 'false');
	CREATE FOREIGN TABLE parcel (run_id bigint, fails text) SERVER far;
	GRANT SELECT, INSERT ON parcel TO shop;
	CREATE SEQUENCE tries;
	CREATE FUNCTION no_space(bigint) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$\$
	BEGIN
		RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';
	END \$\$;
	GRANT ALL ON SEQUENCE tries TO PUBLIC;
});

# The steps of these count how often they are run; a sequence is not rolled back
my @shop = (extra_params => [ '-U', 'shop' ]);
my $send = q{SELECT nextval('tries'); INSERT INTO parcel VALUES (flow.run_id, flow.input->>'fails')};

$node->safe_psql('postgres', 'SELECT '
	  . join(', ',
		"flow_define('send', ARRAY[" . audited('a', q{retries => 0}, $send) . '])',
		"flow_define('resend', ARRAY[" . audited('a', q{retries => 2, retry_delay => '100 ms', backoff => 2}, $send) . '])',
		"flow_define('plain', ARRAY[" . audited('a', q{retries => 0}, q{SELECT nextval('tries')}) . '])'),
	@shop);

sub executions
{
	return value($node, 'SELECT last_value FROM tries');
}

sub reset_executions
{
	$node->safe_psql('postgres', q{SELECT setval('tries', 1)});
	return;
}

sub start
{
	my ($workflow, $n, $fails, $database) = @_;

	$fails //= 'NULL';
	return value($node, "SELECT min(flow_start('$workflow', jsonb_build_object('fails', $fails))) FROM generate_series(1, $n) i", @shop);
}

# Makes the effects and times of these steps known, so that they share batches
start('send', 2);
start('resend', 2);
wait_for_end($node, 'steps that write elsewhere complete');

# Alone
reset_executions();
my $run = start('resend', 1, q{'P0001'});
wait_for_end($node, 'a step whose commit fails ends');
is(value($node, "SELECT status, error->>'sqlstate', error->>'message' FROM flow.run WHERE id = $run"),
	'failed|P0001|parcel refused at commit', '... as failed, with that SQLSTATE');
is(value($node, "SELECT string_agg(attempt || ' ' || sqlstate || ' ' || COALESCE((next_at >= finished_at + interval '100 ms' * attempt)::text, 'last'), ', ' ORDER BY attempt) FROM flow.attempt WHERE run_id = $run"),
	'1 P0001 true, 2 P0001 true, 3 P0001 last', '... each attempt is recorded and waits by the policy of the step');
is(executions(), 1 + 3, '... and is run once');
is_consistent($node);

# The server's own deferred work is done within the step
$node->safe_psql('postgres', q{
	CREATE TABLE far_parcel (LIKE parcel);
	CREATE FUNCTION check_parcel() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'parcel refused' USING ERRCODE = NEW.fails;
	END $$;
	CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON far_parcel DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.fails IS NOT NULL) EXECUTE FUNCTION check_parcel();
	GRANT INSERT ON far_parcel TO shop;
});
$node->safe_psql('postgres', "SELECT flow_define('defer', ARRAY["
	  . audited('a', q{retries => 0}, q{SELECT nextval('tries'); INSERT INTO far_parcel VALUES (flow.run_id, flow.input->>'fails')}) . '])', @shop);
start('defer', 2);
wait_for_end($node);
reset_executions();
$run = start('defer', 100, q{CASE i % 50 WHEN 7 THEN '23514' END});
wait_for_end($node, 'steps with deferred constraints end');
is(value($node, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM flow.run WHERE id >= $run GROUP BY status) s"),
	'completed 98, failed 2', '... those with a violation as failed');
is(value($node, "SELECT count(*), min(sqlstate), max(sqlstate) FROM flow.attempt WHERE run_id >= $run"), '2|23514|23514', '... with its SQLSTATE');
is_consistent($node);

# Several among many good ones are found by halving the batch
reset_executions();
$run = start('send', 205, q{CASE i % 41 WHEN 20 THEN 'P0001' END});
wait_for_end($node, 'a mixed lot ends');
is(value($node, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM flow.run WHERE id >= $run GROUP BY status) s"),
	'completed 200, failed 5', '... only those fail whose commit does');
is(value($node, "SELECT count(*), count(DISTINCT run_id) FROM flow.attempt WHERE run_id >= $run"), '5|5', '... and nobody else is charged');
is(value($node, "SELECT count(*), count(DISTINCT run_id) FROM parcel WHERE run_id >= $run", database => 'far'), '200|200', '... the others have their far effect once');
is_consistent($node, '... and their near one');
cmp_ok(executions(), '<', 205 * 8, '... and a bounded number of repetitions');
note('executions for 205 runs: ', executions());

# Conflicts for ever, at the commit and within the step, are attempts too
$node->safe_psql('postgres', "SELECT flow_define('conflict', ARRAY["
	  . audited('a', q{retries => 0}, q{
		SELECT nextval('tries');
		DO $do$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40P01'; END $do$}) . '])', @shop);
foreach ([ 'send', '40001' ], [ 'conflict', '40P01' ])
{
	my ($workflow, $sqlstate) = @$_;

	reset_executions();
	$run = start($workflow, 1, "'$sqlstate'");
	wait_for_end($node, "a step of \"$workflow\" that conflicts for ever ends");
	is(value($node, "SELECT attempt, sqlstate FROM flow.attempt WHERE run_id = $run"), "1|$sqlstate", '... with one failed attempt');
	cmp_ok(executions(), '<=', 1 + 25, '... after a bounded number of tries');
	note('tries: ', executions() - 1);
}

# A step in a hundred fails: batches are smaller, not gone
sub transactions
{
	foreach my $enabled (qw(off on))
	{
		$node->append_conf('postgresql.conf', "flow.enabled = $enabled");
		$node->reload;

		# Workers count for others at the latest when they end
		wait_for($node, "current_setting('flow.enabled') = '$enabled'");
		wait_for($node, q{current_setting('flow.enabled') = 'on' OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'flow worker')});
	}
	return split /\|/, value($node, q{SELECT xact_commit, xact_rollback FROM pg_stat_database WHERE datname = 'postgres'});
}

$node->safe_psql('postgres', "SELECT flow_define('rare', ARRAY["
	  . audited('a', q{retries => 0}, q{SELECT 1 / (flow.input->>'fails')::int}) . '])', @shop);
start('rare', 200, 'CASE WHEN i % 100 = 50 THEN 0 ELSE 1 END');
wait_for_end($node);
my ($commits, $rollbacks) = transactions();
start('rare', 3000, 'CASE WHEN i % 100 = 50 THEN 0 ELSE 1 END');
wait_for_end($node, '3000 runs of which one in a hundred fails end');
is(value($node, q{SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM flow.run WHERE workflow = 'rare' GROUP BY status) s}),
	'completed 3168, failed 32', '... as they should');
my ($commits_after, $rollbacks_after) = transactions();
note('commits ', $commits_after - $commits, ', rollbacks ', $rollbacks_after - $rollbacks);
cmp_ok($rollbacks_after - $rollbacks, '>=', 30, '... each failure undoes a batch');
cmp_ok($rollbacks_after - $rollbacks, '<=', 3 * 30 + 20, '... twice, and not many others');
cmp_ok($commits_after - $commits, '<', 3000 / 2, '... and the others share transactions');
is_consistent($node);

# What can neither be done nor recorded as failed waits, longer and longer.  An
# index is the one thing on these tables that can be made to fail.
sub fill_disk
{
	foreach my $table (qw(outcome attempt))
	{
		my $last = value($node, 'SELECT max(id) FROM flow.run');
		$node->safe_psql('postgres', "CREATE INDEX ${table}_full ON flow_internal.$table (no_space(run_id)) WHERE run_id > $last");
	}
	return;
}

sub free_disk
{
	$node->safe_psql('postgres', "DROP INDEX flow_internal.${_}_full") foreach qw(outcome attempt);
	return;
}

sub wait_seconds
{
	my ($seconds) = @_;
	my $until = value($node, "SELECT clock_timestamp() + interval '$seconds s'");

	return $node->poll_query_until('postgres', "SELECT clock_timestamp() > '$until'");
}

sub complaints
{
	my $log = slurp_file($node->logfile);

	return scalar(() = $log =~ /could not be recorded/g);
}

# ... one step beside good ones: it alone waits
start('plain', 2);
wait_for_end($node);
reset_executions();
fill_disk();
$run = start('plain', 1);
wait_seconds(3);
cmp_ok(executions(), '>', 1, 'a step that cannot be recorded is tried');
cmp_ok(executions(), '<', 15, '... again and again, but ever more rarely');
note('tries in 3 s: ', executions() - 1);
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'running', '... and not given up');
free_disk();
wait_for_end($node, '... until it can be recorded');
is(value($node, "SELECT status, count(*) FROM flow.run JOIN audit ON run_id = id WHERE id = $run GROUP BY 1"), 'completed|1', '... and has its effect once');

# ... many
reset_executions();
my $complaints = complaints();
fill_disk();
$run = start('plain', 2000);
wait_seconds(4);
cmp_ok(executions(), '>', 5, 'many steps that cannot be recorded are tried');
cmp_ok(executions(), '<', 6000, '... but not all of them all the time');
note('tries in 4 s: ', executions() - 1);
cmp_ok(complaints() - $complaints, '<=', 4, '... and the log is not filled with it');
free_disk();
wait_for_end($node, '... until they can be recorded');
is(value($node, "SELECT count(*), count(DISTINCT run_id) FROM audit WHERE run_id >= $run"), '2000|2000', '... and have their effects once');
is_consistent($node);

$node->stop;
done_testing();
