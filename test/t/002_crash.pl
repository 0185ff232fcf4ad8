# A worker is killed under load: the server restarts, nothing is lost and
# nothing is done twice.  Shows also that the checker would notice.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('crash', restart_after_crash => 'on');

flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	SELECT flow_define('work', ARRAY[
		} . join(',',
		audited('a'),
		audited('b', q{after => '{a}'}, 'SELECT pg_sleep(0.002)'),
		audited('c', q{after => '{a}', batch => false}),
		audited('d', q{after => '{b,c}'}),
		audited('e', q{after => '{d}'})) . q{])
}, extra_params => [ '-U', 'shop' ]);

sub start_runs
{
	$node->safe_psql('postgres', q{SELECT flow_start('work') FROM generate_series(1, 200)},
		extra_params => [ '-U', 'shop' ]);
}

foreach my $round (1 .. 3)
{
	start_runs();

	# The worker is in the middle of it when some of its steps have ended
	my $done = value($node, 'SELECT count(*) FROM audit');
	wait_for($node, "(SELECT count(*) FROM audit) > $done AND EXISTS (SELECT FROM flow.activity WHERE type = 'worker' AND run_id IS NOT NULL)");
	my $pid = value($node, q{SELECT pid FROM flow.activity WHERE type = 'worker' ORDER BY run_id NULLS LAST LIMIT 1});

	ok(kill(0, $pid), "worker killed, round $round");
	ok(kill_through($node, $pid), 'the server is back');
}
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), 'completed|600', 'nothing is lost');
is_consistent($node, 'nothing was done twice');

# The checker sees an effect that was doubled, or lost, or out of order
$node->safe_psql('postgres', q{INSERT INTO audit (run_id, step) SELECT run_id, step FROM audit WHERE step = 'e' ORDER BY no LIMIT 1});
like(problems($node), qr/^effect done 2 times\|\d+\|e$/m, 'the checker sees an effect that was doubled by hand');
$node->safe_psql('postgres', q{DELETE FROM audit WHERE run_id = (SELECT max(run_id) FROM audit) AND step = 'd'});
like(problems($node), qr/^completed step without effect\|\d+\|d$/m, 'the checker sees an effect that is missing');
$node->safe_psql('postgres', q{
	INSERT INTO audit (run_id, step) SELECT max(run_id), 'a' FROM audit;
	DELETE FROM audit WHERE no = (SELECT min(no) FROM audit WHERE step = 'a' AND run_id = (SELECT max(run_id) FROM audit))});
like(problems($node), qr/^order\|\d+\|a -> [bc]$/m, 'the checker sees an effect that came too late');

$node->stop;
done_testing();
