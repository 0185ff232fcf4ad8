# The trips of the demonstration: a saga with an approval, and a workflow that is
# a step of another, run by workers.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('demo', 'flow.workers' => 3);
my $demo = dirname(abs_path(__FILE__)) . '/../demo';
my @shop = (extra_params => [ '-U', 'shop' ]);

flow_owner($node, 'shop');
$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE postgres TO shop');
$node->safe_psql('postgres', slurp_file("$demo/journeys.sql"), @shop);
wait_for($node, q{(SELECT count(*) FROM flow.step WHERE name = 'approve' AND status = 'waiting') = 6}, 'dear trips wait for an approval');
is(value($node, q{SELECT count(*) FILTER (WHERE flow_approve(run_id, 'approve', 'go')), count(*) FILTER (WHERE run_id % 2 = 0)
	FROM (SELECT run_id FROM flow.step WHERE name = 'approve' AND status = 'waiting' ORDER BY run_id LIMIT 4) w}, @shop) =~ /^4\|/ ? 1 : 0, 1, 'some are approved');
is(value($node, q{SELECT count(*) FROM (SELECT flow_reject(run_id, 'approve', 'no') FROM flow.step s
	WHERE name = 'approve' AND status = 'waiting' ORDER BY run_id DESC LIMIT 2) r}, @shop), '2', '... others are not');
wait_for_end($node, 'all trips end');
$node->safe_psql('postgres', q{SELECT flow_start('survey')}, @shop);
wait_for_end($node, '... and the survey');
my @rows = split /\n/, value($node, slurp_file("$demo/journeys_check.sql"), @shop);
cmp_ok(scalar(@rows), '>=', 8, 'every question is asked');
is($_ =~ /\|OK$/ ? 'OK' : $_, 'OK', (split /\|/)[0]) foreach @rows;
cmp_ok(value($node, q{SELECT count(*) FROM flow.run WHERE workflow = 'trip' AND status = 'failed'}), '>=', 35, 'there were not enough rooms');
$node->stop;
done_testing();
