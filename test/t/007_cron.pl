# The real pg_cron fires a schedule.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('cron',
	shared_preload_libraries => "'pg_cron,flow'",
	'cron.database_name' => "'postgres'",
	'cron.use_background_workers' => 'on');
my ($code, $out, $err);

$node->safe_psql('postgres', 'SELECT flow_define(\'tick\', ARRAY[flow_step(\'s\', $$ SELECT flow.slot AS slot $$)])');
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_schedule('every-minute', '* * * * *', 'tick')});
isnt($code, 0, 'without pg_cron there is no schedule');
like($err, qr/HINT:.*pg_cron/, '... and the hint says so');

$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
my $job = value($node, q{SELECT flow_schedule('every-minute', '* * * * *', 'tick', '{"from": "cron"}')});
is(value($node, "SELECT schedule FROM cron.job WHERE jobid = $job"), '* * * * *', 'flow_schedule returns the job of pg_cron');
is(value($node, q{SELECT cron, workflow, overlap, enabled, next_at > now() AND next_at <= now() + interval '61 s' FROM flow.schedule}),
	'* * * * *|tick|skip|t|t', 'flow.schedule shows it');
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_schedule('x', 'every day', 'tick')});
isnt($code, 0, 'pg_cron refuses what it cannot read');
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_schedule('x', '* * * * *', 'tock')});
like($err, qr/"tock"/, 'an unknown workflow cannot be scheduled');

wait_for($node, q{EXISTS (SELECT FROM flow.run WHERE schedule = 'every-minute' AND status = 'completed')}, 'a run was started by the clock');
is(value($node, q{SELECT input, (output->>'slot')::timestamptz = slot, slot = date_trunc('minute', slot), slot <= created_at
	FROM flow.run WHERE schedule = 'every-minute' ORDER BY id LIMIT 1}), '{"from": "cron"}|t|t|t', 'the run sees its slot and its input');
is(value($node, q{SELECT last_decision, last_run IS NOT NULL FROM flow.schedule}), 'started|t', 'flow.schedule shows the decision');

# Asked twice for one slot, one run
is(value($node, q{SELECT count(*) FROM flow.run GROUP BY slot HAVING count(*) > 1}), '', 'at most one run per slot');

is(value($node, q{SELECT flow_unschedule('every-minute'), flow_unschedule('every-minute')}), 't|f', 'flow_unschedule removes it once');
is(value($node, q{SELECT count(*) FROM cron.job}), '0', '... and its job');

# The job is that of one role
$node->safe_psql('postgres', q{CREATE ROLE ann LOGIN; CREATE ROLE anns LOGIN IN ROLE ann; CREATE ROLE eve LOGIN;
	GRANT USAGE, CREATE ON SCHEMA flow TO ann, anns, eve; SELECT flow_grant('tick', 'ann'), flow_grant('tick', 'eve');
	GRANT USAGE ON SCHEMA cron TO ann, anns, eve});
$node->safe_psql('postgres', q{SELECT flow_schedule('anns', '0 3 * * *', 'tick')}, extra_params => [ '-U', 'ann' ]);
foreach my $case (
	[ 'anns', qr/schedule "anns" belongs to role "ann"\nDETAIL:  Its job in pg_cron is that of one role, .*\nHINT:  SET ROLE ann first\./ ],
	[ 'eve', qr/schedule "anns" belongs to another role\nDETAIL:  Only its owner may change it, .*\nHINT:  Leave it to that role/ ])
{
	($code, $out, $err) = $node->psql('postgres', q{SELECT flow_schedule('anns', '0 4 * * *', 'tick')}, extra_params => [ '-U', $case->[0] ]);
	like($err, $case->[1], "$case->[0] cannot change it, and is told why");
}
$node->safe_psql('postgres', q{UPDATE flow_internal.schedule SET owner = 1});
($code, $out, $err) = $node->psql('postgres', q{SELECT flow_schedule('anns', '0 4 * * *', 'tick')});
like($err, qr/belongs to a role that no longer exists\nDETAIL:  Only its owner may change it, and there is none\.\nHINT:  Call flow_unschedule first/, 'nobody can when that role is gone');
is(value($node, q{SELECT flow_unschedule('anns')}), 't', '... but a superuser can remove it');
$node->safe_psql('postgres', q{SELECT cron.unschedule(jobid) FROM cron.job});

# One that was restored does not count as enabled, until its owner makes it anew
$node->safe_psql('postgres', q{SELECT flow_schedule('daily', '0 3 * * *', 'tick')});
is(value($node, q{SELECT enabled FROM flow.schedule}), 't', 'a schedule is enabled');
$node->safe_psql('postgres', q{UPDATE flow_internal.schedule SET home = home + 1, owner = 1});
is(value($node, q{SELECT enabled, next_at FROM flow.schedule}), 'f|', '... not when it was restored');
$node->safe_psql('postgres', q{SELECT flow_schedule('daily', '0 5 * * *', 'tick')});
is(value($node, q{SELECT cron, enabled FROM flow.schedule}), '0 5 * * *|t', 'its owner by name makes it anew');

# After a restore the number of a job may be somebody else's
$node->safe_psql('postgres', q{UPDATE flow_internal.schedule SET job_id = cron.schedule('backup', '0 4 * * *', 'SELECT 1')});
is(value($node, q{SELECT enabled, next_at FROM flow.schedule}), 'f|', 'the job of another name is not that of the schedule');
is(value($node, q{SELECT flow_unschedule('daily')}), 't', 'flow_unschedule of a schedule whose job is lost');
is(value($node, q{SELECT count(*) FROM cron.job WHERE jobname = 'backup'}), '1', '... leaves the job of another name alone');

$node->stop;
done_testing();
