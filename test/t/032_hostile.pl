# Hostile input and hostile neighbours: errors, settings, names and payloads of
# a step; a role that ends its own workers; what processes show to others; and
# what lies in wait for CREATE EXTENSION.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('hostile', 'flow.workers' => 4, 'flow.batch_time' => '1s', max_prepared_transactions => 2, log_min_messages => 'error');
my @mallory = (extra_params => [ '-U', 'mallory' ]);
my @shop = (extra_params => [ '-U', 'shop' ]);
my ($code, $out, $err);

flow_owner($node, $_) foreach 'mallory', 'shop';
flow_audit($node);

sub define
{
	my ($name, $options, @steps) = @_;

	$node->safe_psql('postgres',
		"SELECT flow_define('$name', ARRAY[" . join(',', map {
			my ($step, $sql, $more) = @$_;
			"flow_step('$step', \$step\$ $sql \$step\$" . ($more ? ", $more" : '') . ')' } @steps) . ']' . ($options ? ", $options" : '') . ')',
		@mallory);
	return;
}

# The run of a workflow of mallory's, and the row of its one step
sub run
{
	my ($name) = @_;
	my $run = value($node, "SELECT flow_start('$name')", @mallory);

	value($node, "SELECT status FROM flow_await($run, '60 s')", @mallory);
	return $run;
}

# Errors that a step makes up: each is that step's failure, and no more
my %codes = map { $_ => $_ } qw(WF001 WF002 WF003 WF004 WF005 WF999 57014 57P01 57P02 57P03 XX000 XX001 25P02 2D000 08006 53200 P0004 01000);
define($_, '', [ 's', "DO \$d\$ BEGIN RAISE EXCEPTION SQLSTATE '$_' USING MESSAGE = 'made up'; END \$d\$" ], [ 't', 'SELECT 1', q{after => '{s}'} ]) foreach sort keys %codes;
$node->safe_psql('postgres', q{SELECT flow_start(name) FROM flow.workflow}, @mallory);
wait_for_end($node, 'runs with made up errors end');
is(value($node, qq{SELECT count(*) FROM flow.step WHERE name = 's' AND status = 'failed' AND sqlstate = workflow AND attempt = 1 AND error->>'message' = 'made up'}, @mallory),
	scalar keys %codes, 'an SQLSTATE that a step raises by hand is its failure, and no more');
is(value($node, q{SELECT DISTINCT r.status || ' ' || s.status FROM flow.run r JOIN flow.step s ON s.run_id = r.id AND s.name = 't'}, @mallory), 'failed skipped', '... of its run');

# A conflict that never ends is bounded
$node->safe_psql('postgres', 'CREATE SEQUENCE tries', @mallory);
define('conflict', '', [ 's', q{DO $d$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION SQLSTATE '40001'; END $d$} ]);
my $run = run('conflict');
is(value($node, "SELECT status, error->>'sqlstate' FROM flow.run WHERE id = $run"), 'failed|40001', 'a step that always reports a conflict fails');
cmp_ok(value($node, 'SELECT last_value FROM tries'), '<=', 30, '... after a bounded number of tries');

# Errors of 10 MB in each field
define('large', '', [ 's', q{DO $d$ BEGIN RAISE EXCEPTION SQLSTATE 'ZZ001' USING MESSAGE = repeat('é', 5000000), DETAIL = repeat('d', 10000000), HINT = repeat('h', 10000000); END $d$} ]);
$run = run('large');
is(value($node, "SELECT sqlstate, octet_length(message), octet_length(detail), octet_length(hint) FROM flow.attempt WHERE run_id = $run"),
	'ZZ001|10000|10000|10000', 'what is kept of an error is bounded');
cmp_ok(value($node, "SELECT octet_length(error::text) FROM flow.run WHERE id = $run"), '<', 50000, '... in the run, too');

# Results that are no plain values
my %results = (
	nested => q{SELECT (repeat('[', 5000) || repeat(']', 5000))::jsonb AS deep},
	abyss => q{SELECT (repeat('[', 1000000) || repeat(']', 1000000))::jsonb AS deep},
	huge => q{SELECT repeat('x', 100000000) AS much},
	rows => q{SELECT repeat('x', 1000) AS much FROM generate_series(1, 100000)},
	wide => q{SELECT jsonb_object_agg(i::text, i) FROM generate_series(1, 20000) i},
	odd => q{SELECT 'NaN'::float8 AS nan, 'infinity'::timestamptz AS never, '\x00'::bytea AS zero, '1e1000'::numeric AS big, ARRAY[[1, 2], [3, 4]] AS array, NULL::xid AS xid});
define($_, '', [ 's', $results{$_}, $_ eq 'rows' ? q{result => 'rows'} : '' ]) foreach sort keys %results;
my %status = map { my $id = run($_); $_ => value($node, "SELECT coalesce(sqlstate, status) FROM flow.step WHERE run_id = $id") } sort keys %results;
is($status{$_}, 'completed', "result: $_") foreach 'nested', 'odd', 'wide';
is($status{$_}, '53400', "result: $_ is refused") foreach 'huge', 'rows';
is($status{abyss}, '54001', 'result: abyss is refused');

# Statements that would end or change the transaction, where no check of the
# definition sees them
my %transactions = (
	prepare => [ q{DO $d$ BEGIN EXECUTE 'PREPARE TRANSACTION ''lair'''; END $d$}, '0A000' ],
	commit => [ q{DO $d$ BEGIN COMMIT; END $d$}, '2D000' ],
	rollback => [ q{DO $d$ BEGIN ROLLBACK; END $d$}, '2D000' ],
	execute => [ q{DO $d$ BEGIN EXECUTE 'COMMIT'; END $d$}, '0A000' ],
	copy => [ q{DO $d$ BEGIN EXECUTE 'COPY audit TO STDOUT'; END $d$}, '0A000' ],
	read_only => [ q{SET TRANSACTION READ ONLY}, '' ],
	read_only_local => [ q{SET LOCAL transaction_read_only = on}, '' ],
	characteristics => [ q{SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE}, '' ],
	isolation => [ q{SET TRANSACTION ISOLATION LEVEL SERIALIZABLE}, '25001' ],
	constraints => [ q{SET CONSTRAINTS ALL DEFERRED}, '' ]);
foreach my $name (sort keys %transactions)
{
	my ($sql, $sqlstate) = @{ $transactions{$name} };

	define("tx-$name", '', [ 'before', "INSERT INTO audit (run_id, step) VALUES (flow.run_id, 'before')" ], [ 's', $sql, q{after => '{before}'} ],
		[ 'after', "INSERT INTO audit (run_id, step) VALUES (flow.run_id, 'after')", q{after => '{s}'} ]);
	$run = run("tx-$name");
	is(value($node, "SELECT coalesce(sqlstate, '') FROM flow.step WHERE run_id = $run AND name = 's'"), $sqlstate, "$name: as expected");
	is(value($node, "SELECT string_agg(step, ' ' ORDER BY no) FROM audit WHERE run_id = $run"), $sqlstate ? 'before' : 'before after', '... and the steps around it write');
}
is(value($node, 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'no transaction was left prepared');

# Every setting that a user may set, changed by one step, as the next one of the
# same transaction sees it
define('settings', '',
	[ 'a', q{SELECT md5(string_agg(name || setting, ',' ORDER BY name)) AS hash, now() AS at FROM pg_settings} ],
	[ 'b', q{DO $d$
		DECLARE
			s record;
			changed int := 0;
		BEGIN
			FOR s IN SELECT * FROM pg_settings WHERE context = 'user' AND name NOT IN ('exit_on_error', 'search_path', 'role', 'session_authorization') LOOP
				BEGIN
					PERFORM set_config(s.name, CASE s.vartype
						WHEN 'bool' THEN CASE s.setting WHEN 'on' THEN 'off' ELSE 'on' END
						WHEN 'enum' THEN (SELECT e FROM unnest(s.enumvals) e WHERE e <> s.setting LIMIT 1)
						WHEN 'integer' THEN CASE WHEN s.name LIKE '%timeout' THEN '3600000' WHEN s.setting = s.max_val THEN s.min_val ELSE (s.setting::bigint + 1)::text END
						WHEN 'real' THEN (s.setting::float8 + 0.5)::text
						ELSE CASE s.name WHEN 'DateStyle' THEN 'German' WHEN 'TimeZone' THEN 'Asia/Tokyo' WHEN 'client_encoding' THEN 'LATIN1' ELSE 'hostile' END END, false);
					changed := changed + 1;
				EXCEPTION WHEN OTHERS THEN
					NULL;
				END;
			END LOOP;
			PERFORM set_config('lair.changed', changed::text, false), flow_set('changed', to_jsonb(changed));
		END $d$}, q{after => '{a}'} ],
	[ 'c', q{SELECT md5(string_agg(name || setting, ',' ORDER BY name)) AS hash, now() AS at, current_setting('lair.changed', true) AS changed FROM pg_settings}, q{after => '{b}'} ]);
$run = run('settings');
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'completed', 'a step sets all that can be set');
cmp_ok(value($node, "SELECT value::int FROM flow.data WHERE run_id = $run AND key = 'changed'"), '>', 100, '... which is more than a hundred settings');
is(value($node, "SELECT count(DISTINCT output->>'hash') || ' ' || count(DISTINCT output->>'at') || ' ' || coalesce(nullif(max(output->>'changed'), ''), '-') FROM flow.step WHERE run_id = $run AND name IN ('a', 'c')"),
	'1 1 -', '... and the next step of the same transaction sees none of it');

# now() of an attempt is its own; the slot is that of the run
define('time', '', [ 's', q{DO $d$ BEGIN IF flow_attempt() = 1 THEN RAISE EXCEPTION SQLSTATE 'ZZ001'; END IF; END $d$; SELECT now() AS at, flow.slot AS slot}, q{retries => 1, retry_delay => '10 ms'} ]);
$run = run('time');
is(value($node, qq{SELECT (s.output->>'at')::timestamptz > a.finished_at, (s.output->>'slot')::timestamptz = r.created_at
	FROM flow.run r JOIN flow.step s ON s.run_id = r.id JOIN flow.attempt a ON a.run_id = r.id WHERE r.id = $run}), 't|t', 'now() moves on with the attempts, the slot does not');

# Names and payloads with everything that must be quoted; in bytes, as long as
# they may be
my $name57 = q{"';$$\\%s%n{}-} . ('é' x 22);
my $name63 = q{a"'\\} . ('é' x 29) . 'z';
$node->safe_psql('postgres', q{
	CREATE ROLE "We ird""R';--" LOGIN;
	CREATE ROLE "} . ('r' x 63) . q{" LOGIN;
	GRANT USAGE, CREATE ON SCHEMA flow TO "We ird""R';--", "} . ('r' x 63) . q{";
	CREATE TABLE canary (n int)});
my $listener = $node->background_psql('postgres', on_error_die => 1);
$listener->query_safe(q{LISTEN flow});
my $earlier = $run;
foreach my $role (q{We ird"R';--}, 'r' x 63)
{
	my $suffix = length($role) > 20 ? 'b' : 'a';
	my $workflow = $name57 . $suffix;

	$run = value($node, qq{
		SET application_name = 'it''s "me" \\ %s';
		SELECT flow_define(\$w\$$workflow\$w\$, ARRAY[flow_step(\$w\$$name63\$w\$, \$s\$ SELECT flow_idempotency_key() IS NOT NULL AS ok, flow.run_key AS key \$s\$)], description => \$w\$$name57\$w\$) > 0 AS x \\gset
		SELECT flow_start(\$w\$$workflow\$w\$, key => (SELECT left(string_agg(chr(i), ''), 400) FROM generate_series(1, 127) i) || \$w\$$name57\$w\$)}, extra_params => [ '-U', $role ]);
	is(value($node, "SELECT status FROM flow_await($run, '60 s')"), 'completed', 'a role, a workflow, a step and a key with odd names');
	is(value($node, "SELECT owner = \$r\$$role\$r\$, started_by_app, output->>'key' = key, octet_length(workflow) FROM flow.run WHERE id = $run"),
		q{t|it's "me" \ %s|t|} . value($node, "SELECT octet_length(\$w\$$workflow\$w\$)"), '... which are kept');
	is(value($node, "SELECT flow_definition(workflow)->>'name' = workflow, flow_status(id)->>'status' FROM flow.run WHERE id = $run"), 't|completed', '... and found by them');
}
my $heard = '';
foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	$heard .= $listener->query_safe('SELECT 1') . "\n";
	last if () = $heard =~ /"run" : $run\b.*"status" : "completed"/g;
	$node->safe_psql('postgres', 'SELECT pg_stat_clear_snapshot()');
}
# What came before may be announced a moment later
my @payloads = grep { /"run" : (\d+)/ && $1 > $earlier } $heard =~ /with payload "(\{[^\n]*\})" received/g;
cmp_ok(scalar @payloads, '>=', 4, 'the events of both are announced');
is(value($node, 'SELECT count(*) FROM unnest(ARRAY[' . join(',', map { "\$p\$$_\$p\$" } @payloads) . "]) p WHERE p::json->>'workflow' LIKE '%é%' AND length(p::json->>'key') > 150"),
	scalar @payloads, '... with payloads that are JSON');
$listener->quit;
is(value($node, q{SELECT count(*) FROM canary}), '0', 'nothing that was quoted was executed');

# A role that ends its own workers harms nobody else, and it can end no others
$node->safe_psql('postgres', q{GRANT pg_signal_backend TO mallory});
define('suicide', '', [ 's', 'SELECT pg_terminate_backend(pg_backend_pid()); SELECT pg_sleep(600)' ]);
$node->safe_psql('postgres', 'SELECT flow_define($$work$$, ARRAY[' . join(',', audited('a'), audited('b', q{after => '{a}'})) . '])', @shop);
$node->safe_psql('postgres', q{SELECT flow_start('suicide') FROM generate_series(1, 3)}, @mallory);
$node->safe_psql('postgres', q{SELECT flow_start('work') FROM generate_series(1, 200)}, @shop);
wait_for($node, q{NOT EXISTS (SELECT FROM flow_internal.task t JOIN flow_internal.workflow w ON w.id = t.workflow_id WHERE w.name = 'work')}, 'others make progress while a role ends its workers');
is(value($node, q{SELECT status, count(*) FROM flow.run WHERE workflow = 'work' GROUP BY 1}), 'completed|200', '... all of them');
is(value($node, q{SELECT count(*) FROM audit a JOIN flow.run r ON r.id = a.run_id WHERE r.workflow = 'work'}), '400', '... once');
$node->safe_psql('postgres', q{SELECT flow_cancel(id) FROM flow.run WHERE workflow = 'suicide' AND status = 'running'}, @mallory);
wait_for_end($node, 'the runs that end their workers can be cancelled');

# Nor does one that sends notifications and takes locks by the thousand
define('storm', '', [ 's', q{SELECT count(pg_notify('storm' || i % 100, repeat('x', 1000) || i)) FROM generate_series(1, 5000) i} ],
	[ 't', q{SELECT count(pg_advisory_lock(i)) FROM generate_series(1, 500) i}, q{after => '{s}'} ]);
$node->safe_psql('postgres', q{SELECT flow_start('storm') FROM generate_series(1, 3)}, @mallory);
$node->safe_psql('postgres', q{SELECT flow_start('work') FROM generate_series(1, 50)}, @shop);
wait_for_end($node, 'notifications and locks by the thousand');
is(value($node, q{SELECT workflow, count(*) FROM flow.run WHERE workflow IN ('storm', 'work') AND status = 'completed' GROUP BY 1 ORDER BY 1}), "storm|3\nwork|250", '... of which all complete');
is(value($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', '... and none are left');
foreach my $type ('launcher', 'scheduler')
{
	my $pid = value($node, "SELECT pid FROM flow.activity WHERE type = '$type'");

	foreach my $function ('pg_terminate_backend', 'pg_cancel_backend')
	{
		($code, $out, $err) = $node->psql('postgres', "SELECT $function($pid)", @mallory);
		like($err, qr/must be a superuser|permission denied/, "$function of the $type is refused to a member of pg_signal_backend");
	}
}
$node->safe_psql('postgres', q{REVOKE pg_signal_backend FROM mallory});

# What the processes of others show: numbers
$node->safe_psql('postgres', q{
	SELECT flow_define('secretive', ARRAY[flow_step('s', $$ SELECT pg_sleep(600) /* secret text */ $$)]);
	SELECT flow_start('secretive', '{"pin": "secret input"}', key => 'secret key')}, @shop);
wait_for($node, q{EXISTS (SELECT FROM flow.activity WHERE workflow = 'secretive')}, 'a step of the victim runs');
my $pid = value($node, q{SELECT pid FROM flow.activity WHERE workflow = 'secretive'});
is(value($node, "SELECT count(*) FROM pg_stat_activity a WHERE a::text LIKE '%secret%' AND pid <> pg_backend_pid()", @mallory), '0', 'pg_stat_activity tells nothing of it');
is(value($node, "SELECT usename, application_name, query FROM pg_stat_activity a WHERE pid = $pid", @mallory), 'shop|flow worker|<insufficient privilege>', '... but what is said of every process');
is(value($node, 'SELECT count(*) FROM flow.activity WHERE type IN ($$worker$$, $$drain$$) AND owner <> $$mallory$$', @mallory), '0', 'flow.activity does not, either');
($code, $out) = (system("ps -o args= -p $pid >/dev/null 2>&1"), scalar `ps -o args= -p $pid 2>/dev/null`);
unlike($out, qr/secret|shop/, 'the title of the process names nobody');
($code, $out, $err) = $node->psql('postgres', "SELECT pg_terminate_backend($pid)", @mallory);
like($err, qr/must be a member|permission denied/, 'who is no member of its role cannot end it');
is(value($node, q{SELECT flow_cancel(id) FROM flow.run WHERE workflow = 'secretive'}, @shop), 't', 'its owner cancels it');
wait_for_end($node);

# CREATE EXTENSION where somebody was before: it fails and changes nothing
my @squatted = (
	[ 'CREATE SCHEMA flow', 'flow' ], [ 'CREATE SCHEMA flow_internal', 'flow_internal' ],
	[ q{CREATE FUNCTION public.flow_find(workflow text, key text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'}, 'flow_find' ],
	[ q{CREATE FUNCTION public.flow_run_id() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'}, 'flow_run_id' ]);
my $squat = 0;
foreach (@squatted)
{
	my ($sql, $object) = @$_;
	my $database = 'squatted' . $squat++;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'GRANT CREATE ON SCHEMA public TO mallory');
	$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $database TO mallory");
	$node->safe_psql($database, $sql, @mallory);
	($code, $out, $err) = $node->psql($database, 'CREATE EXTENSION flow');
	like($err, qr/"$object" already exists/, "CREATE EXTENSION fails where there is $object");
	is(value($node, "SELECT count(*) FROM pg_extension WHERE extname = 'flow'", database => $database), '0', '... and leaves nothing');
}

# Default privileges give nothing of the extension away
$node->safe_psql('postgres', 'CREATE DATABASE generous');
$node->safe_psql('generous', join ';', map {
	my $kind = $_;
	map { "ALTER DEFAULT PRIVILEGES GRANT ALL ON $kind TO $_" } 'PUBLIC', 'mallory', 'pg_monitor'
} 'TABLES', 'SEQUENCES', 'FUNCTIONS', 'TYPES', 'SCHEMAS');
$node->safe_psql('generous', 'CREATE EXTENSION flow; CREATE TABLE control (n int)');
my $grants = q{
	SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
	WHERE %s AND a.grantee <> c.relowner};
is(value($node, sprintf($grants, q{c.relname = 'control' AND a.grantee = 'mallory'::regrole}), database => 'generous'), '7', 'a table made now belongs to everybody');
is(value($node, sprintf($grants, q{n.nspname = 'flow_internal'}), database => 'generous'), '0', 'the tables of the extension do not');
is(value($node, sprintf($grants, q{n.nspname = 'flow' AND (a.grantee <> 0 OR a.privilege_type <> 'SELECT')}), database => 'generous'), '0', '... its views are to be read');
is(value($node, q{SELECT count(*) FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname LIKE 'flow%' AND a.grantee <> n.nspowner}, database => 'generous'), '0', '... nobody may use its schemas');
is(value($node, q{SELECT count(*) FROM pg_proc p, aclexplode(p.proacl) a WHERE p.pronamespace = 'flow_internal'::regnamespace AND a.grantee <> 0 AND a.grantee <> p.proowner}, database => 'generous'),
	'0', '... and its inner functions are not given to roles');
($code, $out, $err) = $node->psql('generous', 'CREATE TRIGGER t AFTER INSERT ON flow_internal.run EXECUTE FUNCTION suppress_redundant_updates_trigger()', @mallory);
like($err, qr/permission denied/, 'no trigger can be put on its tables');

$node->stop;
done_testing();
