# The server stops at once under load and starts again: what was committed
# stays, what was not is done again.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('restart');

flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	SELECT flow_define('work', ARRAY[
		} . join(',',
		audited('a'),
		audited('b', q{after => '{a}'}, 'SELECT pg_sleep(0.001)'),
		audited('c', q{after => '{a}'}),
		audited('d', q{after => '{b,c}', batch => false})) . q{])
}, extra_params => [ '-U', 'shop' ]);

my $started = 0;
foreach my $mode ('immediate', 'fast', 'immediate')
{
	my $done = value($node, 'SELECT count(*) FROM audit');

	$node->safe_psql('postgres', q{SELECT flow_start('work') FROM generate_series(1, 300)},
		extra_params => [ '-U', 'shop' ]);
	$started += 300;
	wait_for($node, "(SELECT count(*) FROM audit) > $done", "work is under way before a stop that is $mode");
	$node->stop($mode);
	$node->start;
}
wait_for_end($node, 'all runs ended');
is(value($node, q{SELECT status, count(*) FROM flow.run GROUP BY status}), "completed|$started", 'nothing is lost');
is_consistent($node, 'nothing was done twice');

# A paused run stays paused over a restart, a planned one is started
my $paused = value($node, q{SELECT flow_start('work', start_at => now() + interval '1 h')}, extra_params => [ '-U', 'shop' ]);
my $due = value($node, q{SELECT now() + interval '2 s'});
my $planned = value($node, "SELECT flow_start('work', start_at => '$due')", extra_params => [ '-U', 'shop' ]);
$node->safe_psql('postgres', "SELECT flow_pause($paused)");
$node->stop('immediate');
$node->start;
is(value($node, "SELECT status FROM flow_await($planned, '60 s')"), 'completed', 'a planned run is started after a restart');
is(value($node, "SELECT started_at >= '$due' FROM flow.run WHERE id = $planned"), 't', '... not before its time');
is(value($node, "SELECT status FROM flow.run WHERE id = $paused"), 'paused', 'a paused run is still paused');

$node->stop;
done_testing();
