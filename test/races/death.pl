# A process ends at every point, killed (the server restarts) or in a FATAL
# error (only the process does): nothing is lost, nothing done twice, and what
# there is to do goes on long before a sweep would find it.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('death');

$node->safe_psql('postgres', 'SELECT flow_define(\'work\', ARRAY[' . join(',',
	audited('a'),
	audited('b', q{after => '{a}', batch => false}),
	audited('c', q{after => '{a}', isolation => 'serializable'}),
	audited('d', q{after => '{b,c}', batch => false})) . '])');

# Runs that are ready at once, and one that becomes due
my $work = q{SELECT flow_start('work') FROM generate_series(1, 3)
	UNION ALL SELECT flow_start('work', start_at => clock_timestamp() + interval '20 ms')};

sub start_work
{
	return split /\n/, value($node, $work);
}

sub ended_well
{
	my $runs = join ',', @_;

	is(value($node, "SELECT string_agg(DISTINCT (SELECT status FROM flow_await(r, '40 s')), ' ') FROM unnest(ARRAY[$runs]::bigint[]) r"),
		'completed', '... all runs completed');
	is(value($node, "SELECT count(*), count(DISTINCT (run_id, step)) FROM audit WHERE run_id = ANY (ARRAY[$runs]::bigint[])"),
		(4 * @_) . '|' . (4 * @_), '... each effect once');
	return;
}

# How to make a process come to a point that work alone does not bring it to
my $new_scheduler = q{SELECT pg_terminate_backend(pid) FROM flow.activity WHERE type = 'scheduler'};
my $new_workers = q{SELECT pg_terminate_backend(pid) FROM flow.activity WHERE type = 'worker'};
my $suspect = q{SELECT test.arm('execute-begin', 'fatal', process => 'worker')};
my @points = (
	[ 'worker', 'take-popped' ],
	[ 'worker', 'claim-begin' ],
	[ 'worker', 'claim-end' ],
	[ 'worker', 'execute-begin' ],
	[ 'worker', 'execute-end' ],
	[ 'worker', 'isolated-begin' ],
	[ 'worker', 'isolated-ended' ],
	[ 'worker', 'flush-begin' ],
	[ 'worker', 'flush-locked' ],
	[ 'worker', 'flush-written' ],
	[ 'worker', 'commit' ],
	[ 'worker', 'push-begin' ],
	[ 'worker', 'push-end' ],
	[ 'worker', 'worker-start', $new_workers ],
	[ 'scheduler', 'timer-fire' ],
	[ 'scheduler', 'timer-fired' ],
	[ 'scheduler', 'push-begin' ],
	[ 'scheduler', 'emit-send' ],
	[ 'scheduler', 'repair-store', $suspect ],
	[ 'scheduler', 'repair-stored', $suspect ],
	[ 'scheduler', 'staff-start', $new_workers ],
	[ 'scheduler', 'refill-read', $new_scheduler ],
	[ 'scheduler', 'scheduler-start', $new_scheduler ],
	[ 'launcher', 'launcher-start', $new_scheduler ]);

foreach my $case (@points)
{
	my ($process, $point, $before) = @$case;

	my $log = -s $node->logfile;

	# Past the commit nothing is raised
	if ($point !~ /^push/)
	{
		arm($node, $point, 'fatal', process => $process);
		$node->safe_psql('postgres', $before) if $before;
		my @runs = start_work();
		wait_for($node, "test.passed('$point') > 0", "$process: FATAL at $point");
		ended_well(@runs);
		ok(!$node->log_contains('terminating any other active server processes', $log), '... the others went on');
		disarm($node);
	}

	# The crash may end the client's session, before its commit or after it, or
	# come before, since the process may have something to do
	my $last = value($node, 'SELECT coalesce(max(id), 0) FROM flow.run');
	answer(client($node, [ "SELECT test.arm('$point', 'kill', process => '$process')", $before // (), $work ]));
	ok($node->wait_for_log('was terminated by signal 9', $log), "$process: killed at $point");
	ok($node->poll_query_until('postgres', 'SELECT true'), '... the server is back');
	my @runs = split /\n/, value($node, "SELECT id FROM flow.run WHERE id > $last");
	ended_well(@runs ? @runs : start_work());
}

wait_for_end($node);
is_consistent($node);
$node->stop;
done_testing();
