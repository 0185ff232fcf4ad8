-- How many run at once: what may be said, and what waits.  Who is let in is the
-- scheduler's to decide, which is not here; see test/t/050_max_runs.pl and 051.

-- max_runs: what is wrong with it
SELECT flow_define('lim', '{}', max_runs => 0);
SELECT flow_define('lim', '{}', max_runs => -1);
SELECT flow_define('lim', '{}', max_runs_by => $$ input->>'customer' $$);
SELECT flow_define('lim', '{}', max_runs => 1, max_runs_by => $$ input->> $$);
SELECT flow_define('lim', '{}', max_runs => 1, max_runs_by => $$ 1, 2 $$);
SELECT flow_define('lim', '{}', max_runs => 1, max_runs_by => $$ inputt->>'customer' $$);
SELECT workflow, severity, code, step, message FROM flow_check('lim');

-- It changes in place, and goes through flow_definition and flow_source
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one')], max_runs => 2, max_runs_by => $$ input->>'customer' $$);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one')], max_runs => 1) AS same_version;
SELECT max_runs, max_runs_by FROM flow.workflow WHERE name = 'lim' AND latest;
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one')], max_runs => 1, max_runs_by => $$ input->>'customer' $$) AS same_version;
SELECT flow_definition('lim') - 'search_path';
SELECT flow_define(flow_definition('lim')) AS same_version;
SELECT max_runs, max_runs_by FROM flow.workflow WHERE name = 'lim' AND latest;
SELECT flow_source('lim') LIKE '%max_runs => 1, max_runs_by => $$ input->>''customer'' $$%' AS in_source;

-- A run of a workflow with a limit is pending until it is let in
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one')], max_runs => 1);
SELECT flow_start('lim', '{"n": 1}') AS r1 \gset
SELECT flow_start('lim', '{"n": 2}', key => 'second') AS r2 \gset
SELECT flow_start('lim', '{"n": 3}', start_at => now() + interval '1 day') AS r3 \gset
SELECT flow_start('lim', '{"n": 2}', key => 'second') = :r2 AS same_run;
SELECT input->'n' AS n, status, started_at, waiting_for LIKE 'start at%' AS later, waiting_for = 'a place under max_runs' AS waits
FROM flow.run WHERE id IN (:r2, :r3) ORDER BY id;
SELECT pending, ready, sleeping, waiting FROM flow.queue WHERE workflow = 'lim';
SELECT name, status FROM flow.step WHERE run_id = :r1;

-- It can be paused, resumed, cancelled and retried, and is pending again
SELECT flow_pause(:r1), flow_pause(:r2);
SELECT pending FROM flow.queue WHERE workflow = 'lim';
SELECT flow_resume(:r1);
SELECT flow_cancel(:r2);
SELECT status FROM flow.run WHERE id IN (:r1, :r2) ORDER BY id;
SELECT flow_retry(:r2);
SELECT status, started_at FROM flow.run WHERE id IN (:r1, :r2) ORDER BY id;

-- A client that runs them itself asks nobody
SELECT flow_drain(:r1);
SELECT status, output FROM flow.run WHERE id IN (:r1, :r2) ORDER BY id;
SELECT flow_drain();
SELECT status FROM flow.run WHERE workflow = 'lim' ORDER BY id;
SELECT flow_execute('lim');
BEGIN;
SELECT flow_start('lim') AS r4 \gset
SELECT flow_drain(:r4);
SELECT status FROM flow.run WHERE id = :r4;
ROLLBACK;
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one')], max_runs => 1, max_runs_by => '1/0');
SELECT flow_execute('lim');
SELECT flow_drain(:r3, skip_time => true);
SELECT status FROM flow.run WHERE id = :r3;

SELECT flow_drop('lim');

-- max_parallel is part of the version
SELECT flow_define('lim', '{}', max_parallel => 0);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one')], max_parallel => 2);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one')], max_parallel => 3) AS next_version;
SELECT flow_define(flow_definition('lim', 2)) AS same_version;
SELECT flow_definition('lim')->'max_parallel' AS max_parallel;
SELECT flow_source('lim') LIKE '%max_parallel => 3%' AS in_source;
SELECT flow_execute('lim');
SELECT flow_drop('lim');

-- Named limits: what is wrong with them
SELECT flow_limit(NULL, 1);
SELECT flow_limit('', 1);
SELECT flow_limit(repeat('x', 64), 1);
SELECT flow_limit(E'a\nb', 1);
SELECT flow_limit('api', running => 0);
SELECT flow_limit('api', rate => -1);
SELECT flow_limit('api', rate => 1, per => '0');
SELECT flow_limit('api', rate => 1, per => '-1 s');
SELECT flow_limit('api', rate => 1, per => '2 years');
SELECT flow_limit('api', rate => 1, per => NULL);
SELECT flow_limit('nobody');
\echo :SQLSTATE
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1', limits => '{}')]);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1', limits => '{api,""}')]);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1', limits => '{a,b,c,d,e,f,g,h,i}')]);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1', limit_key => '1')]);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1', limits => '{api}', limit_key => 'SELECT 1')]);
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1', limits => '{api}', limit_key => '1, 2')]);
SELECT flow_define('lim', ARRAY[flow_wait('a', limits => '{api}')]);
SELECT flow_define('lim', ARRAY[flow_subflow('a', 'b', limits => '{api}')]);

-- One that does not exist is a warning, and stops nobody
SELECT flow_define('lim', ARRAY[flow_step('a', 'SELECT 1 AS one', limits => '{api}')]);
SELECT severity, code, step, message, hint FROM flow_check('lim');

-- A limit is made, changed and removed
SELECT flow_limit('api', running => 2, rate => 100);
SELECT flow_limit('api', running => 3);
SELECT * FROM flow.limit_state WHERE name = 'api';
SELECT severity FROM flow_check('lim');
SELECT flow_limit('api');
SELECT * FROM flow.limit_state WHERE name = 'api';
CREATE ROLE regress_limit_user;
SET ROLE regress_limit_user;
SELECT flow_limit('api', 1);
SELECT * FROM flow.limit_state;
RESET ROLE;
GRANT USAGE ON SCHEMA flow TO regress_limit_user;
SET ROLE regress_limit_user;
SELECT flow_limit('api', 1);
RESET ROLE;
GRANT CREATE ON SCHEMA flow TO regress_limit_user;
SET ROLE regress_limit_user;
SELECT flow_limit('api', 1);
SELECT name, max_running FROM flow.limit_state;
RESET ROLE;
REVOKE ALL ON SCHEMA flow FROM regress_limit_user;
DROP ROLE regress_limit_user;

-- Limits of steps go through flow_definition and flow_source
SELECT flow_define('lim', ARRAY[
	flow_step('a', $$ SELECT input->'n' AS n $$, limits => '{api,other,api}', limit_key => $$ input->>'k' $$, undo => 'SELECT 1'),
	flow_step('b', 'SELECT a', after => '{a}', limits => '{api}', limit_key => $$ a->>'n' $$)]);
SELECT flow_define(flow_definition('lim')) = (SELECT max(version) FROM flow.workflow WHERE name = 'lim') AS same_version;
SELECT flow_source('lim') LIKE '%limits => ''{api,other,api}'', limit_key => $$ input->>''k'' $$%' AS in_source;

-- A client that runs steps itself asks nobody, and takes no place
SELECT flow_start('lim', '{"n": 1}') AS r1 \gset
SELECT flow_drain(:r1);
SELECT status, output FROM flow.run WHERE id = :r1;
SELECT flow_execute('lim', '{"n": 2}');
SELECT flow_limit('api'), flow_drop('lim');
