# A storm of kills under mixed load: workers, scheduler, launcher, clients, the
# server's own processes and the postmaster itself, one after the other, some before
# the server has recovered from the last, immediate stops in between.  At the end
# nothing is lost, nothing done twice, and the books agree.
#
# FLOW_STORM_KILLS says how many (make storm: 200); FLOW_STORM_SEED repeats a
# storm's choices; FLOW_STORM_POINTS adds kills at the test points of a library
# that has them.
use strict;
use warnings;
use FlowTest;
use List::Util qw(max min sum);
use PostgreSQL::Test::Utils;
use Test::More;

my $kills = $ENV{FLOW_STORM_KILLS} // 8;
my $seed = $ENV{FLOW_STORM_SEED} // time;
my $node = flow_node('storm',
	restart_after_crash => 'on',
	'flow.crash_delay' => 1,
	'flow.workers' => 3,
	log_line_prefix => q{'%m [%p] '},
	max_prepared_transactions => 2);

my @points = qw(start-insert commit push-begin push-end take-popped claim-begin claim-end
  execute-publish execute-begin execute-end isolated-begin isolated-ended flush-begin
  flush-locked flush-written record-begin refill-read timer-fire timer-fired emit-send
  staff-start map-park map-end repair-store repair-stored scheduler-start worker-start launcher-start);

srand($seed);
note("report: seed $seed, $kills kills");

# Three owners, each with all kinds of workflows over accounts of their own
my @owners = qw(ann bob cyd);
flow_audit($node);
flow_owner($node, $_) foreach @owners;
$node->safe_psql('postgres', q{
	CREATE TABLE account (owner text, no int, balance int NOT NULL, PRIMARY KEY (owner, no));
	INSERT INTO account SELECT o, n, 1000 FROM unnest('{ann,bob,cyd}'::text[]) o, generate_series(1, 20) n;
	GRANT SELECT, UPDATE ON account TO PUBLIC;
	CREATE TABLE undone (run_id bigint, step text);
	CREATE INDEX ON undone (run_id);
	GRANT INSERT ON undone TO PUBLIC;
	CREATE FUNCTION stumble(attempt int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF attempt = 1 THEN RAISE EXCEPTION 'not yet'; END IF;
	END $$;
	CREATE FUNCTION move(amount int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		payer int := 1 + floor(random() * 20);
		payee int := 1 + floor(random() * 20);
	BEGIN
		UPDATE account SET balance = balance - amount WHERE owner = current_user AND no = payer;
		UPDATE account SET balance = balance + amount WHERE owner = current_user AND no = payee;
	END $$});

sub define
{
	my ($owner, $name, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$owner-$name', ARRAY[" . join(',', @steps) . '])',
		extra_params => [ '-U', $owner ]);
}

foreach my $owner (@owners)
{
	define($owner, 'chain', audited('a'), map { audited($_, sprintf(q{after => '{%s}'}, chr(ord($_) - 1))) } 'b' .. 'f');
	define($owner, 'fan', audited('r'), (map { audited("m$_", q{after => '{r}'}) } 1 .. 8), audited('j', q{after => '{m1,m2,m3,m4,m5,m6,m7,m8}'}));
	define($owner, 'money', audited('a', undef, 'SELECT move(7)'), audited('b', q{after => '{a}'}, 'SELECT move(3)'));
	define($owner, 'levels', audited('a', q{isolation => 'serializable'}), audited('b'), audited('c', q{isolation => 'repeatable read'}), audited('j', q{after => '{a,b,c}'}));
	define($owner, 'slow', audited('a', undef, 'SELECT pg_sleep(0.03)'), audited('b', q{after => '{a}', batch => false}));
	define($owner, 'retries', audited('a', q{retries => 3, retry_delay => '20 ms'}, 'SELECT stumble(flow.attempt)'), audited('b', q{after => '{a}'}));
	define($owner, 'fails', audited('a'), audited('b', q{after => '{a}'}, 'SELECT 1 / 0'), audited('c', q{after => '{b}'}));
	define($owner, 'branches', audited('a'), q{flow_choice('side', $$ CASE WHEN random() < 0.5 THEN 'l' ELSE 'r' END $$, after => '{a}')},
		audited('l', q{after => '{side:l}'}), audited('r', q{after => '{side:r}', batch => false}), audited('j', q{after => '{l,r}', needs => 'any'}));
	define($owner, 'subs', audited('a'), "flow_subflow('s', '$owner-chain', after => '{a}')", "flow_subflow('t', '$owner-fan')", audited('z', q{after => '{s,t}'}));
	define($owner, 'waits', audited('a'), q{flow_delay('d', '30 ms', after => '{a}')}, q{flow_wait('w', after => '{d}')}, audited('z', q{after => '{w}'}));
	define($owner, 'maps', audited('a'), audited('m', q{after => '{a}', retries => 1, retry_delay => '20 ms', for_each => 'SELECT n FROM generate_series(1, 30) n', undo => $$ INSERT INTO undone VALUES (flow.run_id, concat('m/', item_no)) $$}, q{SELECT CASE WHEN item_no = 7 THEN stumble(flow.attempt) END}),
		audited('p', q{for_each => $$ '[1, 2, 3, 4]'::jsonb $$, max_parallel => 1}, 'SELECT move(1)'), audited('z', q{after => '{m,p}'}, 'SELECT 1 / (flow.run_id % 3)'));
	define($owner, 'undoes', audited('a', q{undo => $$ INSERT INTO undone VALUES (flow.run_id, 'a') $$}),
		audited('b', q{after => '{a}', undo => $$ INSERT INTO undone VALUES (flow.run_id, 'b') $$}), audited('c', q{after => '{b}'}, 'SELECT 1 / 0'));
}
my @workflows = map { my $owner = $_; map { "$owner-$_" } qw(chain fan money levels slow retries fails branches subs waits maps undoes) } @owners;

# Runs whose start was acknowledged, by id
my %acknowledged;

sub load
{
	# what waits for a signal is sent it in the same transaction
	my $starts = join(' UNION ALL ', map {
		my $workflow = $workflows[ rand @workflows ];

		sprintf($workflow =~ /-waits$/
			? q{SELECT r FROM (SELECT flow_start('%s', start_at => %s) AS r FROM generate_series(1, %d) OFFSET 0) s CROSS JOIN LATERAL (SELECT flow_signal(r, 'w') OFFSET 0) g}
			: q{SELECT flow_start('%s', start_at => %s) FROM generate_series(1, %d)},
			$workflow,
			rand() < 0.2 ? q{now() + random() * interval '300 ms'} : 'NULL', 1 + rand 25)
	} 1 .. 8);
	my $out = ask($node, "BEGIN; $starts; COMMIT; SELECT 'committed'");

	return if !defined $out || $out !~ /^committed$/m;
	$acknowledged{$_} = 1 foreach grep { /^\d+$/ } split /\n/, $out;
}

# Somebody steers some runs
sub control
{
	my $call = qw(flow_cancel flow_pause flow_resume flow_retry)[ rand 4 ];

	ask($node, sprintf(q{SELECT %s(id) FROM flow.run WHERE status = '%s' AND id %% 17 = %d ORDER BY id DESC LIMIT 3},
		$call, { flow_cancel => 'running', flow_pause => 'running', flow_resume => 'paused', flow_retry => 'failed' }->{$call}, rand 17));
}

sub start_server
{
	foreach my $try (1 .. 300)
	{
		return wait_through($node, 'true') if $node->start(fail_ok => 1);
		$node->{_pid} = undef;	# the file of the one that was killed
		linger(200);
	}
	die 'the server does not start';
}

# A process to kill; undef if there is none of that kind just now
sub victim
{
	my ($kind) = @_;
	my %where = (
		worker => q{backend_type = 'flow worker' ORDER BY random()},
		busy => q{backend_type = 'flow worker' AND state = 'active' OR backend_type = 'flow worker' AND backend_xid IS NOT NULL ORDER BY random()},
		scheduler => q{backend_type = 'flow scheduler'},
		launcher => q{backend_type = 'flow launcher'},
		client => q{backend_type = 'client backend' AND pid <> pg_backend_pid()},
		server => q{backend_type IN ('checkpointer', 'walwriter', 'background writer') ORDER BY random()});
	my $out = ask($node, "SELECT pid FROM pg_stat_activity WHERE $where{$kind} LIMIT 1");

	return defined $out && $out =~ /^(\d+)$/ ? $1 : undef;
}

sub strike
{
	my $kind = (qw(busy) x 6, qw(worker worker scheduler scheduler launcher launcher client server postmaster immediate))[ rand 16 ];
	my $pid;

	if ($kind eq 'postmaster')
	{
		$node->kill9;
		start_server();
		return $kind;
	}
	if ($kind eq 'immediate')
	{
		$node->stop('immediate');
		start_server();
		return $kind;
	}
	if ($kind eq 'client')
	{
		eval {
			my $client = $node->background_psql('postgres', on_error_stop => 0);

			$client->query_safe('BEGIN');
			$client->query_safe("SELECT flow_start('ann-chain')");
			$pid = $client->query_safe('SELECT pg_backend_pid()');
			kill(9, $pid);
			$client->{run}->finish;
		};
		return defined $pid ? $kind : undef;
	}
	$pid = victim($kind);
	kill(9, $pid) if defined $pid;
	return defined $pid ? $kind : undef;
}

# Whoever comes to that point next dies there; returns whether somebody did
sub strike_at_point
{
	my $point = $points[ rand @points ];
	my $before = deaths();

	defined ask($node, sprintf(q{SELECT test.arm('%s', 'kill', skip => %d)}, $point, rand 5)) or return 0;
	foreach my $try (1 .. 40)
	{
		load() if $try % 10 == 1;
		return 1 if deaths() > $before;
		linger(50);
	}
	ask($node, "SELECT test.disarm('$point')");
	return 0;
}

sub deaths
{
	my @deaths = slurp_file($node->logfile) =~ /was terminated by signal 9/g;

	return scalar @deaths;
}

my %struck;
my $done = 0;

$node->safe_psql('postgres', slurp_file('test/races/points.sql')) if $ENV{FLOW_STORM_POINTS};

while ($done < $kills)
{
	my $before;

	wait_through($node, 'true');
	load();
	control() if rand() < 0.5;
	$before = ask($node, 'SELECT coalesce(max(no), 0) FROM audit');

	# Mostly something is done between two kills; sometimes one follows at once
	if (rand() < 0.85 && defined $before && $before =~ /^\d+$/)
	{
		foreach my $try (1 .. 500)
		{
			last if (ask($node, "SELECT coalesce(max(no), 0) > $before FROM audit") // '') eq 't';
			linger(20);
		}
		linger(200);
	}
	my $kind = $ENV{FLOW_STORM_POINTS} && rand() < 0.7 ? (strike_at_point() ? 'at a point' : undef) : strike();
	next if !defined $kind;
	$struck{$kind}++;
	$done++;
}
note('report: killed ', join(', ', map { "$_ $struck{$_}" } sort keys %struck));
wait_through($node, 'true');
wait_for($node, q{NOT EXISTS (SELECT FROM flow_internal.task t JOIN flow.run r ON r.id = t.run_id WHERE r.status IN ('pending', 'running')
	AND NOT EXISTS (SELECT FROM flow.run c WHERE c.parent_run = r.id AND c.finished_at IS NULL))}, 'all runs that are not paused end');
steer($node, 'flow_resume', q{SELECT id FROM flow.run WHERE status = 'paused'});
wait_for($node, q{(SELECT count(*) FILTER (WHERE try_flow_resume(id)) FROM (SELECT id FROM flow.run WHERE status = 'paused' OFFSET 0) p) = 0
	AND NOT EXISTS (SELECT FROM flow_internal.task)}, '... and the paused ones once they are resumed');

is_consistent($node, 'nothing was lost or done twice');
is(value($node, q{SELECT count(*) FROM flow.step s JOIN flow.run r ON r.id = s.run_id WHERE r.workflow LIKE '%-undoes' AND s.name IN ('a', 'b')
	AND (SELECT count(*) FROM undone u WHERE u.run_id = s.run_id AND u.step = s.name) <> CASE s.status WHEN 'compensated' THEN 1 ELSE 0 END}), '0',
	'what was undone, was undone once');
is(value($node, q{SELECT count(*) FROM flow.item i JOIN flow.run r ON r.id = i.run_id WHERE i.step = 'm'
	AND (SELECT count(*) FROM undone u WHERE u.run_id = i.run_id AND u.step = 'm/' || i.item_no) <> CASE i.status WHEN 'compensated' THEN 1 ELSE 0 END}), '0',
	'... and so were items');
is(value($node, q{SELECT count(*) FROM flow.step s WHERE s.kind = 'subflow' AND s.status = 'completed'
	AND (SELECT count(*) FROM flow_internal.run c WHERE c.parent_run = s.run_id AND c.parent_step = s.step_no AND c.status = 'completed') <> 1}), '0', 'every sub-workflow ran once');
is(value($node, 'SELECT DISTINCT sum(balance) FROM account GROUP BY owner'), '20000', 'the books of each owner agree');
my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT id FROM flow.run');
is(scalar(grep { !$there{$_} } keys %acknowledged), 0, 'every run whose start was acknowledged is there');
cmp_ok(scalar(keys %acknowledged), '>', 0, '... and there are some');
is(value($node, q{
	SELECT count(*) FROM flow.run r WHERE r.status = 'failed' AND r.workflow NOT LIKE '%-fails' AND r.workflow NOT LIKE '%-undoes'
	AND NOT (r.workflow LIKE '%-maps' AND r.error->>'sqlstate' = '22012')
	AND NOT (r.workflow LIKE '%-subs' AND r.error->>'sqlstate' IN ('57014', 'WF005'))
	AND (r.error->>'sqlstate' <> 'WF005'
		OR 2 > (SELECT count(*) FROM flow_internal.crash c WHERE c.run_id = r.id AND c.charged))}), '0', 'no run failed but by its own fault, or was killed twice')
	or diag($node->safe_psql('postgres', q{SELECT workflow, error->>'sqlstate', error->>'message', count(*) FROM flow.run WHERE status = 'failed' GROUP BY 1, 2, 3}));
is(value($node, q{SELECT count(*) FROM audit a JOIN flow.run r ON r.id = a.run_id WHERE a.role <> r.owner}), '0', 'no step ran as another role');
note('report: failed because they were killed twice: ', value($node, q{SELECT count(*) FROM flow.run WHERE error->>'sqlstate' = 'WF005'}));
note('report: runs ', value($node, q{SELECT string_agg(status || ' ' || n, ', ') FROM (SELECT status, count(*) AS n FROM flow.run GROUP BY 1) s}));

# How long it took from the server being ready to the first step
my @ready = slurp_file($node->logfile) =~ /^(\S+ \S+ \S+) \[\d+\] LOG:  database system is ready/mg;
my @times = map { value($node, "SELECT round(extract(epoch FROM min(at) - '$_'::timestamptz) * 1000) FROM audit WHERE at > '$_'") } @ready[ 1 .. $#ready ];
@times = sort { $a <=> $b } grep { $_ ne '' } @times;
note(sprintf('report: from ready to the first step: median %d ms, longest %d ms, of %d', $times[ @times / 2 ], $times[-1], scalar @times)) if @times;

$node->stop;
done_testing();
