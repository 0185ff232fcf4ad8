# The server crashes time and again without anything done in between: workflows
# wait for a while, then for somebody to release them; clients can connect.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('crash_loop', restart_after_crash => 'on', 'flow.crash_delay' => 2);

flow_audit($node);

# What crashes is not the step but our own write, so no step can be blamed for good
$node->safe_psql('postgres', q{
	CREATE FUNCTION segv(bigint) RETURNS cstring LANGUAGE internal VOLATILE AS 'textout';
	CREATE FUNCTION crash(at timestamptz) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
	BEGIN
		IF at IS NOT NULL THEN PERFORM public.segv(0) IS NULL; END IF;
		RETURN 0;
	END $$;
	SELECT flow_define('work', ARRAY[} . audited('a') . q{])});
my $run = value($node, q{SELECT flow_start('work')});
wait_for_end($node, 'all is well');
$node->safe_psql('postgres', "CREATE INDEX ends_badly ON flow_internal.run (crash(finished_at)) WHERE id > $run");

sub starts
{
	my @starts = slurp_file($node->logfile) =~ /was terminated by signal 11/g;

	return scalar @starts;
}

ask($node, q{SELECT flow_start('work', key => 'looping')});
wait_through($node, q{flow_internal.held_until() IS NOT NULL AND isfinite(flow_internal.held_until())}, 'after some crashes workflows wait');
is(starts(), 3, '... three');
is(value($node, 'SELECT count(*) FROM flow.activity WHERE type <> \'launcher\''), '0', '... and nothing of ours runs but the launcher');
wait_through($node, q{flow_internal.held_until() = 'infinity'}, 'after more crashes they wait for somebody');
is(starts(), 5, '... five');
wait_through($node, q{(SELECT reason = 'safe mode' AND hint ~ 'flow_release_all' FROM flow.stuck LIMIT 1)}, '... and say so');
like(slurp_file($node->logfile), qr/WARNING:  workflows do not run for a while after 3 crashes in a row.*WARNING:  workflows do not run after 5 crashes in a row/s, '... as does the log');

# An orderly restart does not let them go
$node->restart;
is(value($node, q{SELECT flow_internal.held_until()}), 'infinity', 'nor do they go on after a restart');
is(value($node, q{SELECT count(*) FROM flow.activity WHERE type <> 'launcher'}), '0', '... where nothing runs either');

# Nor does a role that is no superuser, nor one that changes its mind
flow_owner($node, 'shop');
$node->safe_psql('postgres', 'SELECT flow_release_all()', extra_params => [ '-U', 'shop' ]);
is(value($node, q{SELECT flow_internal.held_until()}), 'infinity', 'an ordinary role cannot release the server');
$node->safe_psql('postgres', 'BEGIN; SELECT flow_release_all(); ROLLBACK');
is(value($node, q{SELECT flow_internal.held_until()}), 'infinity', 'nor can who rolls back');

$node->safe_psql('postgres', 'DROP INDEX flow_internal.ends_badly; SELECT flow_release_all()');
wait_for_end($node, 'flow_release_all lets them go');
is(starts(), 5, '... without another crash');

# Crashes that come after something was done, or that flow has no part in, do not count
$node->safe_psql('postgres', q{SELECT flow_define('calm', ARRAY[} . audited('a') . q{])});
foreach my $round (1 .. 6)
{
	$node->safe_psql('postgres', q{SELECT flow_start('calm')});
	wait_for_end($node);
	my $client = $node->background_psql('postgres', on_error_stop => 0);
	kill_through($node, $client->query_safe('SELECT pg_backend_pid()'));
	$client->{run}->finish;
}
is(value($node, 'SELECT flow_internal.held_until() IS NULL'), 't', 'other crashes do not count');
is_consistent($node);

$node->stop;
done_testing();
