-- Starting runs: in the caller's transaction, by key, in time, by version.
SELECT flow_define('start-one', ARRAY[flow_step('s', $$ SELECT input->'n' AS n $$)]);

-- A start belongs to its transaction
BEGIN;
SELECT flow_start('start-one') AS run \gset
SELECT status FROM flow.run WHERE id = :run;
ROLLBACK;
SELECT count(*) FROM flow.run WHERE workflow = 'start-one';

BEGIN;
SAVEPOINT a;
SELECT flow_start('start-one', '{"n": 1}') AS lost \gset
ROLLBACK TO a;
SELECT flow_start('start-one', '{"n": 2}') AS kept \gset
COMMIT;
SELECT id = :kept AS kept, status, input, priority, key, steps, steps_done, started_by = current_user AS by_me,
	created_at = started_at AS at_once, finished_at IS NULL AS unfinished
FROM flow.run WHERE workflow = 'start-one';
SELECT flow_drain(:kept);
SELECT status, output, finished_at >= started_at AS finished FROM flow.run WHERE id = :kept;

-- A run without steps completes at once
SELECT flow_define('start-empty', '{}');
SELECT flow_start('start-empty') AS run \gset
SELECT flow_drain(:run) AS no_step;
SELECT status, output, steps FROM flow.run WHERE id = :run;

-- Keys: at most one unfinished run
SELECT flow_start('start-one', key => 'k') AS first \gset
SELECT flow_start('start-one', key => 'k') = :first AS returned;
SELECT flow_start('start-one', key => 'k', on_conflict => 'skip') IS NULL AS skipped;
\set VERBOSITY terse
SELECT flow_start('start-one', key => 'k', on_conflict => 'error');
\set VERBOSITY sqlstate
SELECT flow_start('start-one', key => 'k', on_conflict => 'error');
\set VERBOSITY default
SELECT flow_start('start-one', '{"n": 3}', key => 'k', on_conflict => 'cancel') AS second \gset
SELECT :second > :first AS new;
SELECT id = :second AS second, status FROM flow.run WHERE key = 'k' ORDER BY id;
SELECT flow_find('start-one', 'k') = :second AS unfinished;
SELECT flow_drain(:second);
SELECT flow_find('start-one', 'k') = :second AS latest;
SELECT flow_find('start-one', 'nobody') IS NULL AS no_run;
SELECT flow_start('start-one', key => 'k') > :second AS third;

-- The same key in another workflow is another key
SELECT flow_define('start-two', ARRAY[flow_step('s', 'SELECT 1')]);
SELECT flow_start('start-two', key => 'k') <> flow_find('start-one', 'k') AS another;

-- Once: one run of this key ever
SELECT flow_start('start-one', key => 'only', once => true) AS only \gset
SELECT flow_drain(:only);
SELECT flow_start('start-one', key => 'only', once => true) = :only AS returned;
SELECT flow_start('start-one', key => 'only', once => true, on_conflict => 'skip') IS NULL AS skipped;
\set VERBOSITY sqlstate
SELECT flow_start('start-one', key => 'only', once => true, on_conflict => 'error');
\set VERBOSITY default
SELECT flow_start('start-one', key => 'only', once => true, on_conflict => 'cancel');

-- Time
SELECT flow_start('start-one', '{"n": 4}', start_at => now() + interval '1 day') AS later \gset
SELECT status, started_at, waiting_for LIKE 'start at %' AS waits FROM flow.run WHERE id = :later;
SELECT flow_drain(:later) AS too_early;
SELECT flow_drain(:later, skip_time => true) AS skipped_time;
SELECT status, output FROM flow.run WHERE id = :later;
SELECT flow_start('start-one', start_at => now() - interval '1 day') AS past \gset
SELECT flow_drain(:past);
SELECT status FROM flow.run WHERE id = :past;

-- The instant a run is for
SELECT flow_define('start-slot', ARRAY[flow_step('s', $$ SELECT flow.slot AS slot, flow_slot() = flow.slot AS same $$)]);
SELECT flow_start('start-slot', slot => '2020-02-02 02:02+00') AS run \gset
SELECT flow_drain(:run);
SELECT (output->>'slot')::timestamptz = slot AS slot, output->'same' AS same FROM flow.run WHERE id = :run;
SELECT flow_start('start-slot') AS run \gset
SELECT flow_drain(:run);
SELECT (output->>'slot')::timestamptz = started_at AS its_start, slot IS NULL AS none FROM flow.run WHERE id = :run;

-- Versions: a run keeps the one it was started with
SELECT flow_define('start-one', ARRAY[flow_step('t', $$ SELECT 'new' AS n $$)]) AS version;
SELECT flow_start('start-one', '{"n": 5}', version => 1) AS old \gset
SELECT flow_start('start-one') AS new \gset
SELECT flow_drain(:old) + flow_drain(:new) AS steps;
SELECT version, output FROM flow.run WHERE id IN (:old, :new) ORDER BY id;
SELECT flow_start('start-one', version => 3);

-- Priority: higher first
CREATE TABLE start_order (no int GENERATED ALWAYS AS IDENTITY, n int);
SELECT flow_define('start-priority', ARRAY[flow_step('s', $$ INSERT INTO start_order (n) VALUES ((input->>'n')::int) $$, batch => false)]);
BEGIN;
SELECT count(flow_start('start-priority', jsonb_build_object('n', n), priority => n)) FROM generate_series(1, 5) n;
COMMIT;
SELECT flow_drain(max_steps => 2) IS NOT NULL AS some;
SELECT flow_drain() IS NOT NULL AS rest;
SELECT string_agg(n::text, ' ' ORDER BY no) FROM start_order;

-- Refused
SELECT flow_start('start-nothing');
SELECT flow_start('start-oen');
SELECT flow_start(NULL);
SELECT flow_start('start-one', on_conflict => 'sometimes', key => 'k');
SELECT flow_start('start-one', key => repeat('x', 501));
SELECT flow_start('start-one', once => true);
SELECT flow_start('start-one', options => '{"colour": 1}');
SELECT flow_start('start-one', options => '[]');
SELECT flow_start('start-one', version => 0);
SELECT flow_start('start-one', version => -1);
SELECT flow_start('start-one', start_at => 'infinity');
SELECT flow_start('start-one', start_at => '-infinity');
SELECT flow_start('start-one', slot => 'infinity');
SELECT flow_start('start-one', slot => '-infinity');
SELECT flow_start('start-one', key => '');
SELECT flow_disable('start-two');
SELECT flow_start('start-two');
SELECT flow_enable('start-two');
SELECT flow_start('start-two') IS NOT NULL AS enabled;

-- The right to start is none to cancel what somebody else has started
CREATE ROLE start_ann;
CREATE ROLE start_eve;
GRANT USAGE ON SCHEMA flow TO start_ann, start_eve;
SELECT flow_define('start-role', ARRAY[flow_step('s', 'SELECT 1 AS one')]);
SELECT flow_grant('start-role', 'start_ann');
SELECT flow_grant('start-role', 'start_eve');
SET ROLE start_ann;
SELECT flow_start('start-role', key => 'k') AS anns \gset
SET ROLE start_eve;
DO $$ BEGIN
	PERFORM flow_start('start-role', key => 'k', on_conflict => 'cancel');
EXCEPTION WHEN insufficient_privilege THEN
	RAISE NOTICE 'refused';
END $$;
RESET ROLE;
SELECT status, started_by FROM flow.run WHERE id = :anns;
SELECT count(*) FROM flow.run WHERE workflow = 'start-role';
SET ROLE start_ann;
SELECT flow_start('start-role', key => 'k', on_conflict => 'cancel') AS second \gset
SELECT id = :second AS second, status, status_reason, started_by FROM flow.run WHERE workflow = 'start-role' ORDER BY id;
RESET ROLE;
SELECT flow_drain(:second);
SELECT status FROM flow.run WHERE id = :second;
SELECT status, by_role FROM flow.event WHERE run_id IN (:anns, :second) ORDER BY id;
SELECT flow_revoke('start-role', 'start_ann'), flow_revoke('start-role', 'start_eve');
REVOKE USAGE ON SCHEMA flow FROM start_ann, start_eve;
DROP ROLE start_ann;
DROP ROLE start_eve;

-- Nothing starts where nothing may be written
BEGIN READ ONLY;
SELECT flow_start('start-one');
ROLLBACK;

SELECT flow_drain() >= 0 AS drained;
DROP TABLE start_order;
