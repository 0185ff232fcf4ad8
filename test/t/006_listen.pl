# A psql that listens hears its run end; a rolled back start is silent.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('listen');
my $listener = $node->background_psql('postgres', on_error_die => 1);
my $heard = '';

# What has been heard so far, until it matches
sub hear
{
	my ($pattern, $what) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$heard .= $listener->query_safe('SELECT 1') . "\n";
		last if $heard =~ $pattern;
		# Wakes after a moment; the notification itself wakes nobody in psql
		$node->safe_psql('postgres', 'SELECT pg_stat_clear_snapshot()');
	}
	like($heard, $pattern, $what);
}

$node->safe_psql('postgres', q{
	SELECT flow_define('loud', ARRAY[flow_step('s', 'SELECT 1')]);
	SELECT flow_define('silent', ARRAY[flow_step('s', 'SELECT 1')], notify => 'none')});
$listener->query_safe('LISTEN flow; LISTEN "flow.loud"');

$node->safe_psql('postgres', q{BEGIN; SELECT flow_start('loud', key => 'ghost'); ROLLBACK});
my $silent = value($node, q{SELECT flow_start('silent', key => 'hush')});
my $run = value($node, q{SELECT flow_start('loud', key => 'order "7"')});

hear(qr/Asynchronous notification "flow\.loud".*"status"\s*:\s*"completed"/, 'the end of a run is heard on its own channel');
hear(qr/Asynchronous notification "flow" .*"status"\s*:\s*"completed"/, '... and on flow');
like($heard, qr/"run"\s*:\s*$run\b/, 'with the number of the run');
like($heard, qr/"key"\s*:\s*"order \\"7\\""/, '... its key');
like($heard, qr/"workflow"\s*:\s*"loud"/, '... and its workflow');

is(value($node, qq{SELECT status FROM flow_await($silent, '30 s')}), 'completed', 'a run that does not notify ends, too');
my $last = value($node, q{SELECT flow_start('loud', key => 'last')});
hear(qr/"last"[^\n]*"completed"|"completed"[^\n]*"last"/, 'the next run is heard');
unlike($heard, qr/ghost/, 'a start that was rolled back was not heard');
unlike($heard, qr/hush/, 'a run that does not notify was not heard');

is(value($node, qq{SELECT string_agg(status, ' ' ORDER BY id) FROM flow.event WHERE run_id = $run}),
	'started completed', 'the events are rows of flow.event');
is(value($node, qq{SELECT count(*) FROM flow_events((SELECT min(id) FROM flow.event WHERE run_id = $last)) WHERE run_id = $last}), '1', 'flow_events reads on after an event');

$listener->quit;
$node->stop;
done_testing();
