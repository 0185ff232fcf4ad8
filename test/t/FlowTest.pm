# Helpers of the TAP tests: a server with flow, an audited table that steps
# write to, waiting for conditions, and the consistency checker.
package FlowTest;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  flow_node flow_owner flow_audit audited
  ask linger kill_through wait_for wait_through wait_for_end problems is_consistent value steer);

# A server that has flow preloaded and created in the database postgres;
# further lines of configuration in %conf
sub flow_node
{
	my ($name, %conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my %default = (
		shared_preload_libraries => "'flow'",
		'flow.workers' => 2,
		max_worker_processes => 16,
		log_statement => "'none'",
		autovacuum => 'off');

	$node->init;
	%conf = (%default, %conf);
	$node->append_conf('postgresql.conf',
		join "\n", map { "$_ = $conf{$_}" } sort keys %conf);
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION flow');
	return $node;
}

# A role that may define workflows in the database
sub flow_owner
{
	my ($node, $role) = @_;

	$node->safe_psql('postgres', qq{
		CREATE ROLE $role LOGIN;
		GRANT USAGE, CREATE ON SCHEMA flow TO $role;
		GRANT USAGE, CREATE ON SCHEMA public TO $role;
	});
	return;
}

# The table that test/check/consistency.sql compares with what flow says
sub flow_audit
{
	my ($node) = @_;

	$node->safe_psql('postgres', q{
		CREATE TABLE audit (
			no bigint GENERATED ALWAYS AS IDENTITY,
			run_id bigint, step text,
			role text DEFAULT session_user, pid int DEFAULT pg_backend_pid(),
			at timestamptz DEFAULT clock_timestamp());
		CREATE INDEX ON audit (run_id, step);
		GRANT SELECT, INSERT ON audit TO PUBLIC;
	});
	return;
}

# The call of flow_step for a step that writes its row of audit, after other
# SQL if there is any
sub audited
{
	my ($name, $options, $before) = @_;
	my $item = $options && $options =~ /for_each/ ? q{ || '/' || item_no} : '';

	return sprintf q{flow_step('%s', $$ %s INSERT INTO audit (run_id, step) VALUES (flow.run_id, '%s'%s) $$%s)},
	  $name, $before ? "$before;" : '', $name, $item, $options ? ", $options" : '';
}

# One value
sub value
{
	my ($node, $sql, %params) = @_;

	return scalar $node->safe_psql($params{database} // 'postgres', $sql, %params);
}

# What a query returns, or undef if the server crashes under it, or is not there
sub ask
{
	my ($node, $sql, %params) = @_;
	my ($code, $out) = eval { $node->psql('postgres', $sql, %params) };

	return defined $code && $code == 0 ? $out : undef;
}

# Waits until the query returns true, through crashes of the server
sub wait_through
{
	my ($node, $condition, $what) = @_;
	my $came = 0;

	foreach my $try (1 .. 10 * ($ENV{PG_TEST_TIMEOUT_DEFAULT} // 180))
	{
		my $answer = ask($node, "SELECT $condition");

		$came = defined $answer && $answer eq 't';
		last if $came;
		usleep(100_000);
	}
	ok($came, $what) if $what || !$came;
	return $came;
}

# Kills a process, if there is one, and waits until the server has noticed and
# has come back
sub kill_through
{
	my ($node, $pid) = @_;
	my $offset = -s $node->logfile;

	$node->wait_for_log(qr/was terminated by signal 9/, $offset) if $pid && kill 'KILL', $pid;
	return wait_through($node, 'true');
}

# Does nothing for a random moment, in milliseconds at most: for a storm's choice
# of when to strike, never to wait for something
sub linger
{
	my ($most) = @_;

	usleep(rand(1000 * $most));
	return;
}

# Waits until the query returns true
sub wait_for
{
	my ($node, $condition, $what) = @_;
	my $came = $node->poll_query_until('postgres', "SELECT $condition");

	diag($node->safe_psql('postgres', q{
		SELECT 'stuck: ' || s::text FROM (SELECT * FROM flow.stuck LIMIT 5) s
		UNION ALL
		SELECT 'run: ' || status || ' ' || count(*) FROM flow.run GROUP BY status
		UNION ALL
		SELECT 'activity: ' || a::text FROM flow.activity a}))
	  if !$came;
	ok($came, $what) if $what || !$came;
	return $came;
}

# Waits until no run is unfinished
sub wait_for_end
{
	my ($node, $what) = @_;

	return wait_for($node,
		q{NOT EXISTS (SELECT FROM flow_internal.task)}, $what);
}

# Calls a control function for every run of a query (of ids), passing over those
# that have ended meanwhile; returns how many calls answered true
sub steer
{
	my ($node, $function, $runs) = @_;

	$node->safe_psql('postgres', qq{
		CREATE OR REPLACE FUNCTION try_$function(run_no bigint) RETURNS boolean LANGUAGE plpgsql AS \$\$
		BEGIN
			RETURN $function(run_no);
		EXCEPTION WHEN SQLSTATE 'WF001' THEN
			RETURN false;
		END \$\$});
	return value($node, "SELECT count(*) FROM ($runs) AS runs (run_no) WHERE try_$function(run_no)");
}

# What the checker finds
sub problems
{
	my ($node) = @_;
	my $checker = dirname(abs_path(__FILE__)) . '/../check/consistency.sql';

	# It joins whole tables, of which nothing is known yet
	$node->safe_psql('postgres', 'ANALYZE');
	return $node->safe_psql('postgres', slurp_file($checker));
}

sub is_consistent
{
	my ($node, $what) = @_;

	is(problems($node), '', $what // 'effects and states agree');
	return;
}

1;
