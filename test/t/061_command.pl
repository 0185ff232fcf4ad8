# Commands: one statement outside a transaction block, and what is left of it
# when it fails, is interrupted, or its process dies.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('command', 'flow.workers' => 3, 'restart_after_crash' => 'on');
my @shop = (extra_params => [ '-U', 'shop' ]);
flow_owner($node, 'shop');
flow_audit($node);
$node->safe_psql('postgres', q{
	CREATE TABLE big (n int);
	INSERT INTO big SELECT generate_series(1, 1000);
	CREATE TABLE parts (name text, n int);
	CREATE TABLE marks (mark text, run_id bigint, step text, attempt int, extra jsonb, pid int DEFAULT pg_backend_pid());
	CREATE PROCEDURE note(what text) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO marks VALUES (what || ' first', flow_run_id(), flow_step_name(), flow_attempt(), flow_input());
		COMMIT;
		INSERT INTO marks VALUES (what || ' second', flow_run_id(), flow_step_name(), flow_attempt(), flow_output('a'));
	END $$;
	CREATE PROCEDURE fail(what text) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO marks VALUES (what, flow_run_id(), flow_step_name(), flow_attempt());
		COMMIT;
		INSERT INTO marks VALUES ('lost', flow_run_id());
		RAISE EXCEPTION 'no %', what USING HINT = 'Stay.';
	END $$;
	CREATE PROCEDURE once(what text) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO marks VALUES (what, flow_run_id(), flow_step_name(), flow_attempt());
		COMMIT;
		IF flow_attempt() = 1 THEN RAISE EXCEPTION 'not yet'; END IF;
	END $$;
	CREATE PROCEDURE linger(what text) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO marks VALUES (what, flow_run_id(), flow_step_name(), flow_attempt());
		COMMIT;
		IF flow_attempt() = 1 THEN PERFORM pg_advisory_lock(1); END IF;
	END $$;
	CREATE PROCEDURE mess() LANGUAGE plpgsql AS $$
	BEGIN
		SET work_mem = '9MB';
		SET search_path = pg_catalog;
		SET default_transaction_read_only = on;
		SET ROLE shop2;
		PERFORM pg_catalog.pg_advisory_lock(42);
		EXECUTE 'CREATE TEMP TABLE scratch (n int)';
		EXECUTE 'PREPARE q AS SELECT 1';
		COMMIT;
	END $$;
	CREATE PROCEDURE answer(INOUT a int, INOUT b text) LANGUAGE plpgsql AS $$ BEGIN COMMIT; a := a + 1; END $$;
	CREATE ROLE shop2;
	GRANT shop2 TO shop;
	GRANT ALL ON ALL TABLES IN SCHEMA public TO shop, shop2;
	ALTER TABLE big OWNER TO shop; ALTER TABLE parts OWNER TO shop});

sub define
{
	my ($name, @steps) = @_;

	$node->safe_psql('postgres', "SELECT flow_define('$name', ARRAY[" . join(', ', @steps) . '])', @shop);
	return;
}

sub start { my ($name, @more) = @_; return value($node, sprintf(q{SELECT flow_start(%s)}, join ', ', "'$name'", @more), @shop); }

# Waits for the end of the run, and tells of its steps
sub ended
{
	my ($run, $what) = @_;

	wait_for($node, "(SELECT finished_at IS NOT NULL FROM flow.run WHERE id = $run) AND NOT EXISTS (SELECT FROM flow_internal.task WHERE run_id = $run)", $what);
	return value($node, "SELECT string_agg(concat_ws(' ', name, status, attempt, sqlstate), ', ' ORDER BY step_no) FROM flow.step WHERE run_id = $run");
}

sub marks { my ($run) = @_; return value($node, "SELECT string_agg(concat_ws(' ', mark, step, attempt, extra), ', ' ORDER BY ctid) FROM marks WHERE run_id = $run"); }

# ---- what cannot be done in a transaction
define('vacuum', audited('a'), q{flow_command('v', 'VACUUM (ANALYZE) big', after => '{a}')},
	q{flow_command('i', 'CREATE INDEX CONCURRENTLY big_n ON big (n)', after => '{v}')}, audited('z', q{after => '{i}'}));
my $run = start('vacuum');
is(ended($run, 'VACUUM and CREATE INDEX CONCURRENTLY run'), 'a completed 1, v completed 1, i completed 1, z completed 1', '... once');
is(value($node, q{SELECT reltuples, (SELECT indisvalid FROM pg_index WHERE indexrelid = 'big_n'::regclass) FROM pg_class WHERE relname = 'big'}), '1000|t', '... and did it');
is(value($node, "SELECT count(output) FROM flow.step WHERE run_id = $run AND kind = 'command'"), '0', '... without an output');

# ---- a procedure that commits, and knows where it is
define('calls', q{flow_step('a', 'SELECT 7 AS seven')}, q{flow_command('c', $$ CALL note('x') $$, after => '{a}')},
	q{flow_command('o', $$ CALL answer(1, 'b') $$, after => '{a}')}, q{flow_command('q', 'SELECT session_user AS who, current_user AS me', after => '{a}')});
$run = start('calls', q{'{"k": 1}'});
like(ended($run, 'a procedure that commits runs'), qr/^a completed 1, c completed 1, o completed 1, q completed 1$/, '... as a step');
is(marks($run), 'x first c 1 {"k": 1}, x second c 1 {"seven": 7}', '... and its functions know the run');
is(value($node, "SELECT output->'o', output->'q' FROM flow.run WHERE id = $run"), '{"a": 2, "b": "b"}|{"me": "shop", "who": "shop"}', 'what a statement returns is the output');

# ---- built text, by item too
define('built', q{flow_step('a', $$ SELECT 'parts' AS t $$)},
	q{flow_command('v', $$ format('VACUUM %I', a->>'t') $$, build => true, after => '{a}')},
	q{flow_command('e', $$ format('CALL note(%L)', item->>'n') $$, build => true, after => '{a}', for_each => 'SELECT generate_series(1, 3) AS n')},
	q{flow_command('n', $$ input->>'none' $$, build => true, after => '{a}', on_error => 'continue')},
	q{flow_command('two', $$ 'SELECT 1; SELECT 2' $$, build => true, after => '{a}', on_error => 'continue')},
	q{flow_command('begin', $$ 'BEGIN' $$, build => true, after => '{a}', on_error => 'continue')},
	q{flow_command('copy', $$ 'COPY parts FROM STDIN' $$, build => true, after => '{a}', on_error => 'continue')},
	q{flow_command('skipped', 'VACUUM nowhere', condition => 'false', after => '{a}')});
$run = start('built');
is(ended($run, 'text is built'), 'a completed 1, v completed 1, e completed 1, n failed 1 22004, two failed 1 42601, begin failed 1 2D000, copy failed 1 0A000, skipped skipped 0', '... and checked')
  or diag value($node, "SELECT jsonb_agg(error) FROM flow.step WHERE run_id = $run");
is(value($node, "SELECT progress->>'command' FROM flow.step WHERE run_id = $run AND name = 'v'"), 'VACUUM parts', '... and recorded');
is(value($node, "SELECT count(*), count(DISTINCT mark) FROM marks WHERE run_id = $run"), '6|6', '... for each item once');

# ---- failures, retries, limits
define('fails', q{flow_command('f', $$ CALL fail('f') $$, on_error => 'continue')}, q{flow_command('n', $$ CALL note(input) $$, on_error => 'continue')},
	q{flow_command('r', $$ CALL once('r') $$, retries => 2, retry_delay => '10 ms')},
	q{flow_command('t', $$ SELECT pg_sleep(1000) $$, timeout => '100 ms', on_error => 'continue')},
	q{flow_command('s', 'ALTER SYSTEM SET work_mem = 1000', on_error => 'continue')},
	q{flow_command('u', $$ CALL fail('u') $$, retries => 1, retry_delay => '10 ms', no_retry_on => '{P0001}', on_error => 'continue')},
	q{flow_command('total', $$ SELECT pg_sleep(1000) $$, total_timeout => '100 ms', retries => 5, on_error => 'continue')});
$run = start('fails');
is(ended($run, 'commands fail'), 'f failed 1 P0001, n failed 1 42703, r completed 2, t failed 1 WF004, s failed 1 42501, u failed 1 P0001, total failed 1 WF004', '... as they should');
is(value($node, "SELECT error->>'message', error->>'hint' FROM flow.step WHERE run_id = $run AND name = 'f'"), 'no f|Stay.', '... and say why');
like(value($node, "SELECT error->>'hint' FROM flow.step WHERE run_id = $run AND name = 'n'"), qr/build => true/, '... or how');
is(value($node, "SELECT string_agg(mark || ' ' || attempt, ', ' ORDER BY mark, attempt) FROM marks WHERE run_id = $run"), 'f 1, r 1, r 2, u 1', '... and what they committed stays');
is(value($node, "SELECT step, attempt, sqlstate FROM flow.attempt WHERE run_id = $run AND step = 'r'"), 'r|1|P0001', '... with each failed attempt');

# ---- on_result: in the transaction that records the end
$node->safe_psql('postgres', q{CREATE TABLE results (run_id bigint, a int, by text DEFAULT current_user); GRANT ALL ON results TO shop});
define('results', q{flow_command('c', $$ CALL answer(1, 'b') $$, on_result => $$ SELECT flow_set('k', c), flow_emit('seen'); INSERT INTO results VALUES (flow.run_id, (c->>'a')::int) RETURNING a, by $$)},
	q{flow_command('e', $$ CALL once('e') $$, retries => 1, retry_delay => '10 ms', on_result => $$ INSERT INTO results VALUES (0, 0); SELECT 1/0 $$, no_retry_on => '{}', on_error => 'continue')},
	q{flow_step('z', $$ SELECT c, flow_get('k') AS k $$, after => '{c:seen}')});
$run = start('results');
is(ended($run, 'on_result of commands is run'), 'c completed 1, e failed 2 22012, z completed 1', '... and fails the attempt');
is(value($node, "SELECT output FROM flow.step WHERE run_id = $run AND name = 'z'"), '{"c": {"a": 2, "by": "shop"}, "k": {"a": 2, "b": "b"}}', '... or gives the output');
is(value($node, 'SELECT count(*), max(a) FROM results'), '1|2', '... once');
is(value($node, "SELECT count(*) FROM marks WHERE run_id = $run"), '2', '... and the command is run again for the next attempt');

# ---- more rows than its output has room for
define('many', q{flow_command('c', $$ SELECT n FROM big $$, on_error => 'continue')},
	q{flow_command('r', $$ CALL answer(1, 'b') $$, on_result => 'SELECT n FROM big', on_error => 'continue')});
$run = start('many');
is(ended($run, 'commands with several rows'), 'c failed 1 21000, r failed 1 21000', '... fail');
is(value($node, "SELECT DISTINCT error->>'message', error->>'detail', error->>'hint' FROM flow.step WHERE run_id = $run"),
	'step returned more than one row|Its result is taken as a single row.|Have it return a single row, by jsonb_agg() or LIMIT 1 for instance, or none.', '... with a hint at no option that they do not have');

# ---- what it leaves in the session
define('mess', q{flow_command('m', 'CALL mess()')}, audited('w', q{after => '{m}'}),
	q{flow_step('look', $$ SELECT current_user AS me, to_regclass('pg_temp.scratch') IS NOT NULL AS temp, current_setting('work_mem') AS work_mem, current_setting('application_name') AS app,
		(SELECT count(*) FROM pg_prepared_statements) AS prepared, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks,
		current_setting('deadlock_timeout') AS deadlock $$, after => '{w}')});
$run = start('mess');
like(ended($run, 'a command that leaves a mess runs'), qr/^m completed 1, w completed 1, look completed 1$/, '... and so do those after it');
is(value($node, "SELECT output FROM flow.run WHERE id = $run"),
	'{"me": "shop", "app": "flow worker", "temp": false, "locks": 0, "deadlock": "10ms", "prepared": 0, "work_mem": "4MB"}', '... in a clean session');

# ---- no lock and no snapshot of ours meanwhile; cancel and pause
my $holder = $node->background_psql('postgres', on_error_die => 1);
$holder->query_safe('SELECT pg_advisory_lock(1)');
define('lingers', audited('a'), q{flow_command('l', $$ CALL linger('l') $$, after => '{a}')}, audited('z', q{after => '{l}'}), audited('always', q{after => '{l}', needs => 'always'}));
my ($cancelled, $paused, $failing) = map { start('lingers') } 1 .. 3;
wait_for($node, q{3 = (SELECT count(*) FROM marks WHERE mark = 'l')}, 'commands run');
is(value($node, q{SELECT count(*) FROM pg_stat_activity a JOIN flow.activity f USING (pid) WHERE f.step = 'l' AND (a.backend_xid IS NOT NULL
	OR EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = a.pid AND c.relnamespace = 'flow_internal'::regnamespace))}), '0', '... without a lock of ours');
is(value($node, q{SELECT DISTINCT status, attempt, started_at IS NOT NULL FROM flow.step WHERE name = 'l'}), 'running|1|t', '... and are shown');
is($node->psql('postgres', "SET lock_timeout = '10 s'; BEGIN; SELECT flow_pause($paused); COMMIT", @shop), 0, 'a run is paused while its command runs');
is($node->psql('postgres', "SELECT flow_cancel($cancelled)", @shop), 0, '... and cancelled');
is(ended($cancelled, 'a cancel interrupts it'), 'a completed 1, l cancelled 1, z cancelled 0, always completed 1', '... and the run winds down');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM flow.activity WHERE run_id = $failing");
is(ended($failing, 'an operator interrupts one'), 'a completed 1, l failed 1 57014, z skipped 0, always completed 1', '... which is a failure');
is(value($node, "SELECT flow_skip($paused, 'z')", @shop), 't', 'a later step is skipped meanwhile');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
wait_for($node, "(SELECT status = 'completed' FROM flow.step WHERE run_id = $paused AND name = 'l')", 'a command of a paused run ends and is recorded');
like(value($node, "SELECT status FROM flow.step WHERE run_id = $paused AND name = 'always'"), qr/^(pending|ready)$/, '... and nothing follows');
$node->safe_psql('postgres', "SELECT flow_resume($paused)", @shop);
is(ended($paused, '... until it goes on'), 'a completed 1, l completed 1, z skipped 0, always completed 1', '... to its end');

# ---- places under limits: a command that runs has its own
$holder->query_safe('SELECT pg_advisory_lock(1)');
$node->safe_psql('postgres', q{SELECT flow_limit('one', running => 1)}, @shop);
define('limited', q{flow_command('l', $$ CALL linger('l') $$, limits => '{one}')});
define('hurried', q{flow_step('h', 'SELECT 1', limits => '{one}', total_timeout => '1 s')});
$node->safe_psql('postgres', q{SELECT flow_define('single', ARRAY[flow_command('l', $$ CALL linger('l') $$)], max_runs => 1)}, @shop);
my ($first) = start('limited');
wait_for($node, "EXISTS (SELECT FROM marks WHERE run_id = $first)");
my $second = start('limited');
my $hurried = start('hurried');
wait_for($node, "(SELECT status = 'waiting' FROM flow.step WHERE run_id = $second)", 'a second command waits for its place');
like(ended($hurried, 'a step that waits for a place for too long ends'), qr/^h failed 1 WF004$/, '... as too late');
is(value($node, q{SELECT running, waiting FROM flow.limit_state WHERE name = 'one'}), '1|1', '... while one runs');
my ($single, $next) = (start('single'), start('single'));
wait_for($node, "EXISTS (SELECT FROM marks WHERE run_id = $single)");
wait_for($node, "(SELECT waiting_for = 'a place under max_runs' FROM flow.run WHERE id = $next)", 'a run waits for one whose command runs');
is(value($node, "SELECT status FROM flow.run WHERE id = $next"), 'pending', '... and does not begin');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
is(ended($second, 'both run'), 'l completed 1', '... one after the other');
is(ended($next, '... and both runs'), 'l completed 1', '... likewise');
is(value($node, q{SELECT count(*) FROM flow_internal.task}), '0', '... and leave nothing');

# ---- the process dies, the server goes down: at least once, and never lost
$holder->query_safe('SELECT pg_advisory_lock(1)');
my @runs = map { start('lingers') } 1 .. 2;
wait_for($node, q{2 = (SELECT count(*) FROM flow.activity WHERE step = 'l')});
wait_for($node, sprintf q{2 = (SELECT count(*) FROM marks WHERE run_id IN (%s))}, join ',', @runs);
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM flow.activity WHERE run_id = $runs[0]");
is(ended($runs[0], 'a command whose worker was ended is run again'), 'a completed 1, l completed 2, z completed 1, always completed 1', '... to its end');
is(value($node, "SELECT attempt, sqlstate FROM flow.attempt WHERE run_id = $runs[0]"), '1|WF005', '... with its attempt recorded');
is(value($node, "SELECT status FROM flow.step WHERE run_id = $runs[1] AND name = 'l'"), 'running', '... and no other');
$holder->quit;
wait_for($node, "(SELECT status = 'completed' FROM flow.run WHERE id = $runs[1])", '... which ends');
$holder = $node->background_psql('postgres', on_error_die => 1);
$holder->query_safe('SELECT pg_advisory_lock(1)');
define('deadly', q{flow_command('d', 'SELECT pg_advisory_lock(1)', retries => 5)});
$run = start('deadly');
foreach my $attempt (1, 2)
{
	wait_for($node, "EXISTS (SELECT FROM flow.activity f JOIN pg_stat_activity a USING (pid) WHERE f.run_id = $run AND f.attempt = $attempt AND a.wait_event = 'advisory')");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM flow.activity WHERE run_id = $run");
}
is(ended($run, 'a command whose worker was ended twice fails'), 'd failed 3 WF005', '... whatever its retries say');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
foreach my $mode (qw(immediate fast))
{
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	$run = start('lingers');
	wait_for($node, "EXISTS (SELECT FROM marks WHERE run_id = $run)");
	$node->stop($mode);
	$node->start;
	# a fast stop may end the holder of the lock first, and then the command itself
	like(ended($run, "a command ends after a stop of mode $mode"), $mode eq 'fast' ? qr/^a completed 1, l completed [12], z completed 1, always completed 1$/ :
		qr/^a completed 1, l completed 2, z completed 1, always completed 1$/, '... to its end');
	$holder = $node->background_psql('postgres', on_error_die => 1);
}
$holder->quit;
is(value($node, q{SELECT count(*) FROM flow_internal.task}), '0', 'nothing is left behind');
is(value($node, q{SELECT count(*) FROM audit WHERE step = 'z' GROUP BY run_id HAVING count(*) <> 1}), '', 'what follows runs once');

# ---- a storm of deaths
define('storm', audited('a'), q{flow_command('c', $$ CALL note('s') $$, after => '{a}', retries => 3)}, audited('z', q{after => '{c}'}));
$node->safe_psql('postgres', q{SELECT flow_start('storm') FROM generate_series(1, 60)}, @shop);
foreach my $round (1 .. 4)
{
	linger(300);
	my $pid = ask($node, q{SELECT max(pid) FROM flow.activity WHERE type = 'worker'});
	kill_through($node, $pid);
}
wait_through($node, 'NOT EXISTS (SELECT FROM flow_internal.task)', 'commands end through crashes');
is(value($node, q{SELECT count(*) FROM flow.run r WHERE workflow = 'storm' AND (status = 'completed') <> (2 <= (SELECT count(*) FROM marks m WHERE m.run_id = r.id)
	AND 1 = (SELECT count(*) FROM audit m WHERE m.run_id = r.id AND step = 'z'))}), '0', '... each at least once, and what follows once');

$node->stop;
done_testing();
