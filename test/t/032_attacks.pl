# An unprivileged role attacks with its workflows, run by real workers beside
# those of a victim and of a superuser.  Each attack tries to write a table that
# only a superuser can write; it must have been tried, and must not succeed.
# Afterwards the same SQL runs as a superuser's workflow, and does.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = flow_node('attacks', 'flow.workers' => 4, max_prepared_transactions => 2, log_min_messages => 'error');
my @mallory = (extra_params => [ '-U', 'mallory' ]);
my @shop = (extra_params => [ '-U', 'shop' ]);
my $super = value($node, 'SELECT current_user');
my ($code, $out, $err);

flow_owner($node, $_) foreach 'mallory', 'shop';
$node->safe_psql('postgres', q{
	CREATE SCHEMA lair AUTHORIZATION mallory;
	CREATE SCHEMA home AUTHORIZATION shop;
	GRANT USAGE ON SCHEMA lair, home TO PUBLIC;
	CREATE TABLE loot (via text, by_role text DEFAULT current_user);
	CREATE TABLE tried (via text, by_role text DEFAULT current_user, session text DEFAULT session_user,
		superuser text DEFAULT current_setting('is_superuser'), pid int DEFAULT pg_backend_pid());
	GRANT SELECT, INSERT ON tried TO PUBLIC;
	CREATE TABLE vault (secret text);
	INSERT INTO vault VALUES ('gold');
	CREATE VIEW guarded AS SELECT 'guarded view'::text AS via FROM vault
		WHERE current_setting('is_superuser') = 'on'
		OR EXISTS (SELECT FROM pg_roles WHERE rolsuper AND rolname IN (session_user, current_user));
	GRANT SELECT ON guarded TO PUBLIC;
});

# What steps of mallory's are made of
$node->safe_psql('postgres', q{
	CREATE FUNCTION lair.steal(via text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $$
	BEGIN
		INSERT INTO public.tried (via) VALUES (via);
		BEGIN
			INSERT INTO public.loot (via) VALUES (via);
		EXCEPTION WHEN insufficient_privilege THEN
			NULL;
		END;
		RETURN true;
	END $$;
	CREATE FUNCTION lair.steal_quietly(via text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lair.steal(via); END $$;
	CREATE FUNCTION lair.snap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal(TG_ARGV[0]); RETURN NEW; END $$;
	CREATE FUNCTION lair.definer(via text) RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$ SELECT lair.steal(via) $$;
	GRANT ALL ON ALL FUNCTIONS IN SCHEMA lair TO PUBLIC;

	CREATE TABLE lair.bait (n int);
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON lair.bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lair.snap('deferred trigger');
	CREATE TABLE lair.bait2 (n int);
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON lair.bait2 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lair.snap('trigger by a definer');
	GRANT INSERT ON lair.bait2 TO PUBLIC;
	CREATE TABLE lair.with_default (n int, b boolean DEFAULT lair.steal('default'));
	CREATE TABLE lair.with_check (n int CHECK (lair.steal('check')));
	CREATE TABLE lair.with_rule (n int);
	CREATE RULE r AS ON INSERT TO lair.with_rule DO ALSO SELECT lair.steal('rule');
	CREATE TABLE lair.with_policy (n int);
	CREATE POLICY p ON lair.with_policy USING (lair.steal('policy'));
	ALTER TABLE lair.with_policy ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	INSERT INTO lair.with_policy VALUES (1);
	CREATE TABLE lair.with_index (n int);
	CREATE INDEX ON lair.with_index (lair.steal_quietly('index'));
	CREATE VIEW lair.with_view AS SELECT lair.steal('view') AS b;
	CREATE DOMAIN lair.with_domain AS int CHECK (lair.steal('domain'));
	CREATE TYPE lair.with_cast AS ENUM ('x');
	CREATE FUNCTION lair.to_json(lair.with_cast) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('cast to json'); RETURN '1'; END $$;
	CREATE CAST (lair.with_cast AS json) WITH FUNCTION lair.to_json(lair.with_cast);
	CREATE TYPE lair.with_range AS RANGE (subtype = int4);
	CREATE FUNCTION lair.to_json(lair.with_range) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('cast of a range'); RETURN '1'; END $$;
	CREATE CAST (lair.with_range AS json) WITH FUNCTION lair.to_json(lair.with_range);
	CREATE TYPE lair.pair AS (a lair.with_cast, b lair.with_range);
}, @mallory);
$node->safe_psql('postgres', q{
	CREATE FUNCTION home.insert_for_you() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ INSERT INTO lair.bait2 VALUES (1) $$;
	CREATE FUNCTION home.reset_for_you() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		EXECUTE 'RESET ROLE';
		EXECUTE 'RESET SESSION AUTHORIZATION';
	END $$}, @shop);

# The SQL of each step, and the SQLSTATE it ends with, '' for none.  What it
# tries is noted under the name of the attack.
my @attacks = (
	[ 'deferred trigger', q{INSERT INTO lair.bait VALUES (1)} ],
	[ 'held cursor', q{DECLARE lair CURSOR WITH HOLD FOR SELECT lair.steal('held cursor')} ],
	[ 'reset role', q{RESET ROLE; SELECT lair.steal('reset role')} ],
	[ 'role none', q{SET ROLE NONE; SELECT lair.steal('role none')} ],
	[ 'reset authorization', q{RESET SESSION AUTHORIZATION; SELECT lair.steal('reset authorization')} ],
	[ 'default authorization', q{SET SESSION AUTHORIZATION DEFAULT; SELECT lair.steal('default authorization')} ],
	[ 'become superuser', qq{SET ROLE "$super"; SELECT lair.steal('become superuser')}, '42501' ],
	[ 'authorize as superuser', qq{SET SESSION AUTHORIZATION "$super"; SELECT lair.steal('authorize as superuser')}, '42501' ],
	[ 'in a block', qq{DO \$d\$ BEGIN BEGIN EXECUTE 'SET ROLE "$super"'; EXCEPTION WHEN OTHERS THEN NULL; END; PERFORM lair.steal('in a block'); END \$d\$} ],
	[ 'definer', q{SELECT lair.definer('definer')} ],
	[ 'trigger by a definer', q{SELECT home.insert_for_you()} ],
	[ 'reset by a definer', q{SELECT home.reset_for_you(), lair.steal('reset by a definer')}, '42501' ],
	[ 'default', q{INSERT INTO lair.with_default VALUES (1)} ],
	[ 'check', q{INSERT INTO lair.with_check VALUES (1)} ],
	[ 'rule', q{INSERT INTO lair.with_rule VALUES (1)} ],
	[ 'policy', q{SELECT n FROM lair.with_policy} ],
	[ 'index', q{INSERT INTO lair.with_index VALUES (1)} ],
	[ 'view', q{SELECT b FROM lair.with_view} ],
	[ 'domain', q{SELECT 1::lair.with_domain} ],
	[ 'cast to json', q{SELECT 'x'::lair.with_cast AS n} ],
	[ 'cast of a range', q{SELECT ROW('x', '[1,2)')::lair.pair} ],
	[ 'guarded view', q{SELECT lair.steal(via) FROM public.guarded} ]);

# The path of mallory's sessions begins with her schema, where there are better
# matches than the server's for whatever the engine's statements use
my @signatures = (
	[ '=', 'bigint', 'bigint' ], [ '=', 'int', 'int' ], [ '=', 'text', 'text' ], [ '=', 'oid', 'oid' ], [ '<>', 'text', 'text' ],
	[ '<>', 'boolean', 'boolean' ], [ '<=', 'timestamptz', 'timestamptz' ], [ '=', 'bigint', 'int' ], [ '=', 'oid', 'int' ]);
my $number = 0;
foreach (@signatures)
{
	my ($operator, $left, $right) = @$_;

	$number++;
	$node->safe_psql('postgres', qq{
		CREATE FUNCTION lair.operator$number($left, $right) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN RETURN lair.steal('path'); END \$\$;
		CREATE OPERATOR lair.$operator (LEFTARG = $left, RIGHTARG = $right, FUNCTION = lair.operator$number)}, @mallory);
}
$node->safe_psql('postgres', q{
	CREATE FUNCTION lair.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('path'); RETURN 'epoch'; END $$;
	CREATE FUNCTION lair.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('path'); RETURN 'epoch'; END $$;
	CREATE FUNCTION lair.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('path'); RETURN 1; END $$;
	CREATE FUNCTION lair.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('path'); END $$;
	CREATE FUNCTION lair.pg_has_role(oid, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN lair.steal('path'); END $$;
	CREATE DOMAIN lair.bigint AS pg_catalog.int8 CHECK (lair.steal('path'));
	CREATE DOMAIN lair.jsonb AS pg_catalog.jsonb CHECK (lair.steal('path'));
	CREATE FUNCTION lair.flow_start(workflow text) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS $$ BEGIN PERFORM lair.steal('path'); RETURN 0; END $$;
	ALTER ROLE mallory SET search_path = lair, pg_catalog, public}, @mallory);
is(value($node, q{SELECT 1::int = 2::int}, @mallory), 't', 'the operators of mallory stand before those of the server');
is(value($node, q{SELECT count(*) FROM tried WHERE via = 'path'}), '1', '... and note that they were used');
$node->safe_psql('postgres', 'DELETE FROM tried');

sub define_attacks
{
	my ($prefix, @how) = @_;

	$node->safe_psql('postgres', join(';', map {
		my ($name, $sql) = @$_;
		qq{SELECT flow_define('$prefix$name', ARRAY[flow_step('s', \$step\$ $sql \$step\$)])}
	} @attacks), @how);
}

# The superuser's workflow runs at the same time
define_attacks('', @mallory);
$node->safe_psql('postgres', q{DELETE FROM tried});
$node->safe_psql('postgres', q{
	SELECT flow_define('root', ARRAY[flow_step('s', $$ SELECT current_user AS who, pg_backend_pid() AS pid $$), flow_step('t', $$ SELECT current_user AS who, pg_backend_pid() AS pid $$, after => '{s}')]);
	SELECT flow_start('root') FROM generate_series(1, 20)});
$node->safe_psql('postgres', q{SELECT public.flow_start(name, key => NULL) FROM flow.workflow}, @mallory);
$node->safe_psql('postgres', q{SELECT flow_start('root') FROM generate_series(1, 20)});
wait_for_end($node, 'all runs ended');

foreach (@attacks)
{
	my ($name, $sql, $sqlstate) = @$_;

	$sqlstate //= '';
	is(value($node, qq{SELECT coalesce(sqlstate, '') FROM flow.step WHERE workflow = '$name'}), $sqlstate, "$name: ended as expected");
	next if $sqlstate ne '' || $name eq 'guarded view';
	is(value($node, qq{SELECT DISTINCT by_role || ' ' || session || ' ' || superuser FROM tried WHERE via = '$name'}), 'mallory mallory off', "$name: tried, as mallory");
}
is(value($node, 'SELECT string_agg(via, $$, $$) FROM loot'), '', 'nothing was stolen');
is(value($node, q{SELECT count(*) FROM tried WHERE via = 'path'}), '0', 'no statement of the engine used what lies in the path');
is(value($node, q{SELECT count(*) FROM tried WHERE via = 'guarded view'}), '0', 'a view that is guarded by the user shows nothing');
is(value($node, qq{SELECT count(DISTINCT run_id) || ' ' || min(output->>'who') || ' ' || max(output->>'who') FROM flow.step WHERE workflow = 'root'}),
	"40 $super $super", 'the runs of the superuser ran as the superuser');
is(value($node, q{SELECT count(*) FROM tried t JOIN flow.step s ON t.pid = (s.output->>'pid')::int WHERE s.workflow = 'root'}), '0', '... in other processes');

# All that can be done with runs, under that path
$node->safe_psql('postgres', q{
	SELECT public.flow_define('steered', ARRAY[flow_step('s', 'SELECT 1 AS one', retries => 1), flow_step('t', 'SELECT s', after => '{s}')], timeout => NULL);
	SELECT public.flow_start('steered', '{}', key => 'k', start_at => pg_catalog.clock_timestamp() + '1 hour') AS run \gset
	SELECT public.flow_pause(:run), public.flow_resume(:run), public.flow_cancel(:run), public.flow_retry(:run);
	SELECT (public.flow_await(:run, '30 s')).status;
	SELECT public.flow_find('steered', 'k'), public.flow_status(:run), pg_catalog.count(*) FROM public.flow_check();
	SELECT public.flow_start('steered', '{}', key => 'k2');
	SELECT public.flow_drain();
	SELECT public.flow_start('steered', '{}', key => 'k2', on_conflict => 'cancel');
	SELECT public.flow_drop('steered', force => true)}, @mallory);
wait_for_end($node, 'runs are steered under that path');
is(value($node, q{SELECT count(*) FROM tried WHERE via = 'path'}), '0', '... without use of what lies in it');

# The victim: temporary tables and prepared statements of mallory's are in
# sessions of mallory's
$node->safe_psql('postgres', q{
	CREATE TABLE home.parcel (n int);
	SELECT flow_define('send', ARRAY[flow_step('s', 'INSERT INTO parcel VALUES (1)')], search_path => 'home');
	SELECT flow_define('execute', ARRAY[flow_step('s', 'EXECUTE lair')])}, @shop);
$node->safe_psql('postgres', q{
	SELECT public.flow_define('shadow', ARRAY[
		public.flow_step('s', $$ CREATE TEMP TABLE parcel (n int);
			CREATE TRIGGER t BEFORE INSERT ON parcel FOR EACH ROW EXECUTE FUNCTION lair.snap('temporary table');
			GRANT ALL ON parcel TO PUBLIC;
			PREPARE lair AS SELECT lair.steal('prepared');
			INSERT INTO parcel VALUES (0) $$)]);
	SELECT public.flow_start('shadow', NULL) FROM generate_series(1, 10)}, @mallory);
$node->safe_psql('postgres', q{SELECT flow_start(w) FROM generate_series(1, 10), unnest('{send,execute}'::text[]) w}, @shop);
$node->safe_psql('postgres', q{SELECT public.flow_start('shadow', NULL) FROM generate_series(1, 10)}, @mallory);
wait_for_end($node, 'victim and attacker side by side');
is(value($node, 'SELECT count(*) FROM home.parcel'), '10', 'the rows of the victim are in the table of the victim');
is(value($node, q{SELECT DISTINCT by_role FROM tried WHERE via IN ('temporary table', 'prepared')}), 'mallory', '... and no trigger of the attacker ran as the victim');
is(value($node, q{SELECT DISTINCT sqlstate FROM flow.step WHERE workflow = 'execute'}), '26000', 'statements prepared by the attacker are not there for the victim');

# dblink: a way back into the server as the operating system user of the server
SKIP:
{
	($code, $out, $err) = $node->psql('postgres', 'CREATE SCHEMA link; CREATE EXTENSION dblink SCHEMA link; GRANT USAGE ON SCHEMA link TO PUBLIC');
	skip 'there is no dblink here', 2 if $code != 0;
	my $connection = sprintf 'host=%s port=%d dbname=postgres', $node->host, $node->port;
	$node->safe_psql('postgres', qq{
		SELECT public.flow_define('dblink', ARRAY[public.flow_step('s', \$\$ SELECT link.dblink_exec('$connection', 'INSERT INTO loot VALUES (''dblink'')') \$\$)]);
		SELECT public.flow_start('dblink', NULL)}, @mallory);
	wait_for_end($node);
	is(value($node, q{SELECT sqlstate FROM flow.step WHERE workflow = 'dblink'}), '2F003', 'dblink without a password is refused');
	is(value($node, 'SELECT count(*) FROM loot'), '0', '... and nothing is written');
}

# The same SQL in workflows of a superuser finds its mark
is(value($node, 'SELECT count(*) FROM loot'), '0', 'nothing has been stolen to the end');
$node->safe_psql('postgres', 'DELETE FROM tried');
define_attacks('control ');
$node->safe_psql('postgres', q{SELECT flow_start(name) FROM flow.workflow WHERE name LIKE 'control %'});
wait_for_end($node, 'the same steps as a superuser');
my @silent = grep { value($node, "SELECT count(*) FROM loot WHERE via = '$_'") == 0 } map { $_->[0] } @attacks;

# Two end in a role that is not the superuser's, whoever calls them; and no
# policy applies to a superuser
is(join(', ', @silent), 'definer, reset by a definer, policy', 'as a superuser each of them steals');

$node->stop;
done_testing();
