# An idle server runs no query: at most one transaction in a minute, seen from
# another database.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('idle', 'flow.worker_idle_timeout' => 5);

$node->safe_psql('postgres', q{SELECT flow_define('one', ARRAY[flow_step('s', 'SELECT 1')])});
my $run = value($node, q{SELECT flow_start('one')});
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', 'a run ended');
# A step that is due in an hour is no reason to look at tables
$node->safe_psql('postgres', q{SELECT flow_start('one', start_at => now() + interval '1 hour')});
$node->safe_psql('postgres', 'CREATE DATABASE watch');

my $transactions = q{SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'postgres'};

# Idle from when the last worker has left
ok($node->poll_query_until('watch', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type ~ 'flow.*worker')}), 'workers leave when there is no work');
my $before = $node->safe_psql('watch', $transactions);
my $since = $node->safe_psql('watch', 'SELECT now()');
ok($node->poll_query_until('watch', qq{SELECT now() > '$since'::timestamptz + interval '65 s'}), 'a minute has passed');
my $after = $node->safe_psql('watch', $transactions);

cmp_ok($after - $before, '<=', 1, 'an idle server ran at most one transaction in a minute');
note("transactions in 65 s: ", $after - $before);

# ... and is awake at once
$run = value($node, q{SELECT flow_start('one')});
is(value($node, "SELECT status FROM flow_await($run, '30 s')"), 'completed', 'work after the idle time is done');

$node->stop;
done_testing();
