# The test points themselves: every one that is listed exists in the code, and
# each action does what it says.
use strict;
use warnings;
use File::Find;
use FlowTest;
use PostgreSQL::Test::Utils;
use RaceTest;
use Test::More;

my ($code, $out, $err, %in_code);

find({ no_chdir => 1, wanted => sub {
	return if !/\.c$/;
	my $text = slurp_file($_);
	$in_code{$1}++ while $text =~ /FLOW_TEST_POINT\("([^"]+)"\)/g;
} }, 'src');
my ($table) = slurp_file('src/shmem/testpoint.c') =~ /points\[\] = \{(.*?)\};/s;
is(join(' ', $table =~ /"([^"]+)"/g), join(' ', sort keys %in_code), 'every point is listed, and every listed one exists');
is(join(' ', grep { $in_code{$_} > 1 } sort keys %in_code), '', '... once');

my ($listed) = slurp_file('test/races/README.md') =~ /^## The points\n(.*?)^## /ms;
is(join(' ', sort map { /`([^`]+)`/g } $listed =~ /^\| (`[^|]*)\|/mg), join(' ', sort keys %in_code), '... and is in the documentation');

my $node = race_node('points');

$node->safe_psql('postgres', 'SELECT flow_define(\'one\', ARRAY[' . audited('s', q{batch => false}) . '])');
($code, $out, $err) = $node->psql('postgres', q{SELECT test.arm('claim-behind', 'wait')});
like($err, qr/there is no test point "claim-behind"/, 'a point that does not exist cannot be armed');
($code, $out, $err) = $node->psql('postgres', q{SELECT test.arm('claim-end', 'panic')});
like($err, qr/there is no action "panic"/, 'nor with an action that does not exist');

sub start
{
	return value($node, q{SELECT flow_start('one')});
}

# wait, and that it heeds a cancel
arm($node, 'execute-begin', 'wait');
my $run = start();
wait_at($node, 'execute-begin');
is(run_state($node, $run), 'running', 'a worker waits');
is(release($node, 'execute-begin'), 1, '... is released');
ends_as($node, $run, 'completed', '... and goes on');
is(value($node, q{SELECT test.waiting('execute-begin')}), 0, 'nobody waits any more');

arm($node, 'execute-begin', 'wait');
$run = start();
wait_at($node, 'execute-begin');
is(value($node, "SELECT flow_cancel($run)"), 't', 'a run that waits is cancelled');
wait_for($node, q{test.waiting('execute-begin') = 0}, '... which ends the waiting');
disarm($node);

# A client in its commit callback: interrupts are held off there
arm($node, 'push-begin', 'wait', process => 'client');
my $client = client($node, q{SELECT flow_start('one')});
wait_at($node, 'push-begin');
is(value($node, q{SELECT pg_cancel_backend((test.waiters('push-begin'))[1])}), 't', 'a client that waits after its commit is cancelled');
is(value($node, q{SELECT test.waiting('push-begin')}), 1, '... and waits on');
release($node, 'push-begin');
like(answer($client), qr/^\d+$/, '... its commit stands');
wait_for_end($node, 'the run ended');

# error, with skip, every and times
arm($node, 'start-insert', 'error', argument => '53200', skip => 1, every => 2, times => 2);
is(join(' ', map {
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT flow_start('one')");
	$err =~ /(\d{5})/ ? $1 : 'ok'
} 1 .. 7), 'ok 53200 ok 53200 ok ok ok', 'errors come as told');
is(value($node, q{SELECT test.passed('start-insert')}), 7, 'passes are counted');

# ... but not after the commit, where it would be a PANIC
arm($node, 'push-begin', 'error', times => undef);
arm($node, 'push-end', 'fatal', times => undef);
$run = start();
cmp_ok(value($node, q{SELECT least(test.passed('push-begin'), test.passed('push-end'))}), '>', 0, 'nothing is raised after a commit');
disarm($node);
ends_as($node, $run, 'completed', 'the run completes');

# sleep
arm($node, 'start-insert', 'sleep', argument => '200');
cmp_ok(value($node, q{SELECT extract(epoch FROM clock_timestamp() - now()) FROM (SELECT flow_start('one') OFFSET 0) s}), '>=', 0.2, 'it sleeps');

# fatal ends one process, kill the server; in another database neither
arm($node, 'start-insert', 'fatal', database => 1, times => undef);
wait_for_end($node);
start();
is(value($node, q{SELECT test.passed('start-insert')}), 0, 'an order for another database is not for this one');
arm($node, 'start-insert', 'fatal', process => 'worker', times => undef);
start();
is(value($node, q{SELECT test.passed('start-insert')}), 0, '... nor one for another kind of process');
arm($node, 'start-insert', 'fatal');
like(answer(client($node, q{SELECT flow_start('one')})), qr/server closed the connection|FATAL/, 'a client is ended');
start();
my $since = value($node, 'SELECT pg_postmaster_start_time()');
my $log = -s $node->logfile;
arm($node, 'start-insert', 'kill');
like(answer(client($node, q{SELECT flow_start('one')})), qr/server closed the connection|FATAL/, 'a client is killed');
ok($node->poll_query_until('postgres', q{SELECT test.passed('start-insert') = 0}), 'the server is back, with nothing armed');
ok($node->log_contains('was terminated by signal 9', $log), '... after a crash');
$run = start();
ends_as($node, $run, 'completed', '... and works');
wait_for_end($node);
is_consistent($node);

$node->stop;
done_testing();
