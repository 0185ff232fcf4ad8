# Pause, resume, retry and the failure of a step, each against a step that is
# just being claimed or flushed.
use strict;
use warnings;
use FlowTest;
use RaceTest;
use Test::More;

my $node = race_node('control');
my ($run, $client, $second);

$node->safe_psql('postgres', 'CREATE TABLE broken (yes boolean); INSERT INTO broken VALUES (true);
	SELECT flow_define(\'one\', ARRAY[' . audited('s', q{batch => false}) . ']);
	SELECT flow_define(\'two\', ARRAY[' . join(',', audited('a', q{batch => false}), audited('b', q{after => '{a}', batch => false})) . '])');

# Two steps side by side of a workflow that is new each time: what nothing is
# known of shares no batch, so that two workers run them
my $n = 0;

sub start_siblings
{
	my $name = 'siblings' . ++$n;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(',',
		audited('good', q{batch => false}),
		audited('bad', q{batch => false, retries => 0}, 'SELECT 1 / CASE WHEN yes THEN 0 ELSE 1 END FROM broken'),
		audited('last', q{after => '{good,bad}'})) . '])');
	return start($name);
}

sub start
{
	return value($node, "SELECT flow_start('$_[0]')");
}

sub completed_once
{
	my ($run, $steps, $what) = @_;

	disarm($node);
	ends_as($node, $run, 'completed', "$what: the run completes");
	is(join(' ', sort split / /, effects($node, $run)), $steps, '... each effect once');
	return;
}

# Pause against the last step: it is recorded, and the run ends when resumed
foreach my $point ('claim-end', 'execute-end', 'flush-begin')
{
	arm($node, $point, 'wait', process => 'worker');
	$run = start('one');
	wait_at($node, $point);
	is(value($node, "SELECT flow_pause($run)"), 't', "paused when its last step stood at $point");
	disarm($node);
	wait_for($node, "(SELECT status FROM flow.step WHERE run_id = $run) = 'completed'", '... which completes');
	is(run_state($node, $run), 'paused', '... the run stays paused');
	is(value($node, "SELECT flow_resume($run)"), 't', '... is resumed');
	completed_once($run, 's', "pause at $point");
}

# ... from the lock of the run on the pause waits, and comes too late
foreach my $point ('flush-locked', 'flush-written', 'commit')
{
	arm($node, $point, 'wait', process => 'worker');
	$run = start('one');
	wait_at($node, $point);
	$client = client($node, "SELECT flow_pause($run)");
	is_blocked($node, 'SELECT flow_pause');
	disarm($node);
	is(answer($client), 'ERROR:  WF001', "a pause after $point is refused");
	completed_once($run, 's', "pause at $point");
}

# Resume against a claim that has just seen the run paused: the worker still
# holds the task when the entry comes again
foreach my $point ('claim-begin', 'claim-end', 'push-begin')
{
	fresh($node);
	arm($node, 'take-popped', 'wait', process => 'worker');
	$run = start('two');
	wait_at($node, 'take-popped');
	is(value($node, "SELECT flow_pause($run)"), 't', 'paused before the claim');
	arm($node, 'claim-end', 'count');
	arm($node, $point, 'wait', process => $point eq 'push-begin' ? 'client' : 'worker');
	release($node, 'take-popped');
	if ($point eq 'push-begin')
	{
		wait_for($node, q{test.passed('claim-end') > 0});
		$client = client($node, "SELECT flow_resume($run)");
		wait_at($node, $point);
		is(value($node, "SELECT flow_pause($run)"), 't', '... a resume that nobody knows of is paused again');
		release($node, $point);
		is(answer($client), 't', '... its own answer stands');
		is(value($node, "SELECT flow_resume($run)"), 't', '... resumed at last');
	}
	else
	{
		wait_at($node, $point);
		is(value($node, "SELECT flow_resume($run)"), 't', "resumed while the worker stands at $point");
		release($node, $point);
	}
	completed_once($run, 'a b', "resume at $point");
}

# Resume while the last step of a paused run is flushed
arm($node, 'flush-begin', 'wait', process => 'worker');
$run = start('one');
wait_at($node, 'flush-begin');
is(value($node, "SELECT flow_pause($run)"), 't');
is(value($node, "SELECT flow_resume($run)"), 't', 'paused and resumed before the last flush');
completed_once($run, 's', 'pause and resume at flush-begin');

# A step fails while its sibling completes; each comes first, or stands between
# the lock and the commit when the other comes.  Who then has to step aside
# does its step again, unless the run is failing by then
foreach my $order ('failure first', 'success first', 'failure locks', 'success locks')
{
	arm($node, 'record-begin', 'wait');
	arm($node, 'flush-begin', 'wait');	# only the good one: a failure is flushed after record-begin
	$run = start_siblings();
	wait_at($node, 'record-begin');
	wait_at($node, 'flush-begin');
	my ($first, $then) = $order =~ /^failure/ ? ('record-begin', 'flush-begin') : ('flush-begin', 'record-begin');
	if ($order =~ /locks$/)
	{
		arm($node, 'flush-locked', 'wait');
		release($node, $first);
		wait_at($node, 'flush-locked');
		my $other = waiter($node, $then);
		release($node, $then);
		steps_aside($node, $other, "$order: the other steps aside");
		release($node, 'flush-locked');
	}
	else
	{
		my $state = $order =~ /^failure/ ? q{name = 'bad' AND status = 'failed'} : q{name = 'good' AND status = 'completed'};

		release($node, $first);
		wait_for($node, "EXISTS (SELECT FROM flow.step WHERE run_id = $run AND $state)");
		release($node, $then);
	}
	disarm($node);
	ends_as($node, $run, 'failed', "$order: the run fails");
	my $good = $order eq 'failure locks' ? 'cancelled' : 'completed';
	is(step_states($node, $run), "good $good, bad failed, last skipped", '... the outcome of both is recorded');
	is(effects($node, $run), $good eq 'completed' ? 'good' : '', '... the effect of what completed');
	is(value($node, "SELECT string_agg(step || ' ' || sqlstate, ', ') FROM flow.attempt WHERE run_id = $run"), 'bad 22012', '... one attempt');
}

# Cancelled between the failure and its record: the cancel wins
arm($node, 'record-begin', 'wait');
$run = start_siblings();
wait_at($node, 'record-begin');
is(value($node, "SELECT flow_cancel($run)"), 't', 'cancelled before a failure is recorded');
disarm($node);
ends_as($node, $run, 'cancelled', '... the run is cancelled');
wait_for($node, "NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)");
is(value($node, "SELECT count(*) FROM flow.attempt WHERE run_id = $run"), 0, '... the failure is not recorded');

# ... and cancelled and retried: the retry has all its attempts
arm($node, 'record-begin', 'wait');
$run = start_siblings();
wait_at($node, 'record-begin');
wait_for($node, "EXISTS (SELECT FROM flow.step WHERE run_id = $run AND name = 'good' AND status = 'completed')");
is(value($node, "SELECT flow_cancel($run)"), 't', 'cancelled before a failure is recorded');
$node->safe_psql('postgres', 'UPDATE broken SET yes = false');
is(value($node, "SELECT flow_retry($run)"), 't', '... and retried');
completed_once($run, 'bad good last', 'retry before the record of a failure');
$node->safe_psql('postgres', 'UPDATE broken SET yes = true');

# Retry twice at once
$run = start_siblings();
ends_as($node, $run, 'failed');
$node->safe_psql('postgres', 'UPDATE broken SET yes = false');
arm($node, 'control-locked', 'wait', process => 'client');
$client = client($node, "SELECT flow_retry($run)");
wait_at($node, 'control-locked');
$second = client($node, "SELECT  flow_retry($run)");
is_blocked($node, 'SELECT  flow_retry', 'the second of two retries waits');
disarm($node);
my $answers = join ' ', answer($client), answer($second);
like($answers, qr/^t (f|ERROR:  WF001)$/, 'only one of two retries at once does it');
completed_once($run, 'bad good last', 'two retries');

wait_for_end($node);
is_consistent($node);
$node->stop;
done_testing();
