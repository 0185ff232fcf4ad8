-- COMMIT, ROLLBACK and COPY in a step: at its top level flow_define refuses
-- them, from inside functions they fail when they run, and nothing of the step
-- stays.
SELECT flow_define('tx-commit', ARRAY[flow_step('s', $$ SELECT 1; COMMIT $$)]);
SELECT flow_define('tx-rollback', ARRAY[flow_step('s', $$ ROLLBACK $$)]);
SELECT flow_define('tx-begin', ARRAY[flow_step('s', $$ BEGIN; SELECT 1 $$)]);
SELECT flow_define('tx-savepoint', ARRAY[flow_step('s', $$ SAVEPOINT a $$)]);
SELECT flow_define('tx-prepare', ARRAY[flow_step('s', $$ PREPARE TRANSACTION 'a' $$)]);
SELECT flow_define('tx-copy', ARRAY[flow_step('s', $$ COPY pg_class TO STDOUT $$)]);
SELECT flow_define('tx-copy', ARRAY[flow_step('s', $$ COPY pg_class FROM STDIN $$)]);
SELECT flow_define('tx-vacuum', ARRAY[flow_step('s', $$ VACUUM pg_class $$)]);

CREATE TABLE tx_log (step text);
CREATE PROCEDURE tx_commits() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO tx_log VALUES ('procedure'); COMMIT; END $$;
CREATE FUNCTION tx_dynamic(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE $1; END $$;

-- One failing run each, with an effect before the failure
CREATE FUNCTION tx_try(sql text) RETURNS TABLE (status text, sqlstate text, message text, hint text, effects bigint)
LANGUAGE plpgsql AS $body$
DECLARE run bigint;
BEGIN
	PERFORM flow_define('tx-try', ARRAY[flow_step('s', 'INSERT INTO tx_log VALUES (''before''); ' || sql)]);
	run := flow_start('tx-try');
	PERFORM flow_drain(run);
	RETURN QUERY SELECT r.status, r.error->>'sqlstate', r.error->>'message', r.error->>'hint', (SELECT count(*) FROM tx_log)
		FROM flow.run r WHERE r.id = run;
END $body$;
\x on
SELECT * FROM tx_try($$ CALL tx_commits() $$);
SELECT * FROM tx_try($$ DO $do$ BEGIN COMMIT; END $do$ $$);
SELECT * FROM tx_try($$ DO $do$ BEGIN ROLLBACK; END $do$ $$);
SELECT * FROM tx_try($$ SELECT tx_dynamic('COMMIT') $$);
SELECT * FROM tx_try($$ SELECT tx_dynamic('COPY tx_log TO STDOUT') $$);
SELECT * FROM tx_try($$ SELECT tx_dynamic('SAVEPOINT a') $$);
SELECT * FROM tx_try($$ SELECT tx_dynamic('VACUUM tx_log') $$);
\x off

-- COPY between a table and a file is no different from other statements
SELECT flow_define('tx-file', ARRAY[
	flow_step('write', $$ INSERT INTO tx_log VALUES ('file'); COPY tx_log TO PROGRAM 'cat > /dev/null' $$),
	flow_step('read', $$ COPY tx_log FROM PROGRAM 'echo one; echo two'; SELECT count(*) FROM tx_log $$, after => '{write}')]);
SELECT flow_start('tx-file') AS run \gset
SELECT flow_drain(:run);
SELECT name, status, output FROM flow.step WHERE run_id = :run ORDER BY step_no;

-- A step that catches its own errors
SELECT flow_define('tx-catch', ARRAY[flow_step('s', $$
	DO $do$
	BEGIN
		INSERT INTO tx_log VALUES ('undone');
		PERFORM 1 / 0;
	EXCEPTION WHEN division_by_zero THEN
		INSERT INTO tx_log VALUES ('caught');
	END $do$;
	SELECT string_agg(step, ' ') FROM tx_log WHERE step IN ('undone', 'caught') $$)]);
SELECT flow_start('tx-catch') AS run \gset
SELECT flow_drain(:run);
SELECT status, output FROM flow.run WHERE id = :run;

-- A prepared transaction may start runs: they go on when it is committed
BEGIN;
SELECT flow_start('tx-catch', key => 'prepared') AS run \gset
PREPARE TRANSACTION 'flow-tx';
SELECT count(*) FROM flow.run WHERE id = :run;
COMMIT PREPARED 'flow-tx';
SELECT flow_drain(:run);
SELECT status FROM flow.run WHERE id = :run;

DROP TABLE tx_log;
DROP PROCEDURE tx_commits;
DROP FUNCTION tx_dynamic, tx_try;
