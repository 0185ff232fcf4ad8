-- What bench/run measures with: a role of its own, the table every step
-- inserts into, the state rows of the floor, the workflows, and procedures
-- that time them.  Run by a superuser, with psql's variable "module" set to
-- the path of the built floor module.

CREATE EXTENSION flow;
CREATE ROLE bench LOGIN;
CREATE SCHEMA bench AUTHORIZATION bench;
GRANT USAGE, CREATE ON SCHEMA flow TO bench;
CREATE PROCEDURE bench.floor(lane int, items int, per_commit int)
	LANGUAGE c AS :'module', 'bench_floor';

SET ROLE bench;

-- The effect of one step: one row, no index
CREATE TABLE bench.effect
(
	run_id bigint NOT NULL,
	step   int NOT NULL,
	at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The state row of one item of the floor, updated in place (HOT)
CREATE TABLE bench.state
(
	id          bigint PRIMARY KEY,
	status      text NOT NULL,
	finished_at timestamptz
) WITH (fillfactor = 50);

-- What was measured, one row each
CREATE TABLE bench.result (name text NOT NULL, round int NOT NULL, value float8 NOT NULL);

-- Workflows.  Every step is the same one-row INSERT.
CREATE FUNCTION bench.step(number int, after int[]) RETURNS jsonb LANGUAGE sql
	RETURN flow_step('s' || number,
		format('INSERT INTO bench.effect (run_id, step) VALUES (flow.run_id, %s)', number),
		after => ARRAY(SELECT 's' || a FROM unnest(after) a));

CREATE FUNCTION bench.chain(length int) RETURNS jsonb[] LANGUAGE sql
	RETURN ARRAY(SELECT bench.step(n, CASE WHEN n > 1 THEN ARRAY[n - 1] END)
				 FROM generate_series(1, length) n ORDER BY n);

SELECT flow_define('one', bench.chain(1));
SELECT flow_define('chain-5', bench.chain(5));
SELECT flow_define('chain-1000', bench.chain(1000));
SELECT flow_define('fan-10', ARRAY[bench.step(1, NULL)]
	|| ARRAY(SELECT bench.step(n, ARRAY[1]) FROM generate_series(2, 11) n)
	|| bench.step(12, ARRAY(SELECT generate_series(2, 11))));

-- A choice of two branches, one of which is skipped, and a step behind both with
-- a condition: three of the five steps insert a row
SELECT flow_define('diamond', ARRAY[
	bench.step(1, NULL),
	flow_choice('side', $$ CASE WHEN flow.run_id % 2 = 0 THEN 'left' ELSE 'right' END $$, after => '{s1}'),
	bench.step(2, NULL) || '{"after": ["side:left"]}',
	bench.step(3, NULL) || '{"after": ["side:right"]}',
	bench.step(4, '{2,3}') || jsonb_build_object('needs', 'some', 'condition', 'flow.s1 IS NULL')]);

-- Empties the tables and prepares the state rows of the floor.
CREATE PROCEDURE bench.reset(lanes int, items int) LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE bench.effect, bench.state;
	INSERT INTO bench.state
	SELECT lane * 1000000 + item, 'ready'
	FROM generate_series(0, lanes - 1) lane, generate_series(1, items) item;
END $$;

-- Waits until the runs of a range of ids have ended, looking rarely: at the
-- newest run alone, and at all of them only when that one has ended, and then
-- a moment later, since that look takes a processor as long as a thousand steps.
CREATE PROCEDURE bench.wait(first bigint, last bigint) LANGUAGE plpgsql AS $$
DECLARE
	waited int := 0;
BEGIN
	LOOP
		COMMIT;
		PERFORM pg_sleep(0.02);
		waited := waited + 1;
		CONTINUE WHEN (SELECT finished_at IS NULL FROM flow.run WHERE id = last) AND waited < 15000;
		PERFORM pg_sleep(0.2);
		EXIT WHEN NOT EXISTS (SELECT FROM flow.run
							  WHERE id BETWEEN first AND last AND finished_at IS NULL);
		IF waited >= 15000 THEN
			RAISE EXCEPTION 'runs % to % do not end', first, last;
		END IF;
	END LOOP;
END $$;

CREATE PROCEDURE bench.wait_all() LANGUAGE plpgsql AS $$
DECLARE
	last bigint := (SELECT max(id) FROM flow.run);
BEGIN
	CALL bench.wait(0, last);
END $$;

-- Whether each completed run of a workflow has one effect of each of its steps
CREATE FUNCTION bench.exactly_once(workflow text) RETURNS boolean LANGUAGE sql AS $$
	SELECT coalesce(bool_and(made = steps AND apart = steps), true)
	FROM (SELECT r.steps, count(e.run_id) AS made, count(DISTINCT e.step) AS apart
		  FROM flow.run r LEFT JOIN bench.effect e ON e.run_id = r.id
		  WHERE r.workflow = exactly_once.workflow
		  AND r.id >= (SELECT min(run_id) FROM bench.effect WHERE run_id > 0)
		  GROUP BY r.id, r.steps) x
$$;

-- Starts runs in one transaction and notes the steps per second from just
-- before its commit until the last of them has finished.
CREATE PROCEDURE bench.measure(workflow text, runs int, steps int, round int, name text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	first bigint;
	last  bigint;
	began timestamptz;
	done  bigint;
	made  bigint;
	apart bigint;
	seconds float8;
BEGIN
	TRUNCATE bench.effect;
	SELECT min(run), max(run) INTO first, last
	FROM (SELECT flow_start(workflow) AS run FROM generate_series(1, runs)) started;
	began := clock_timestamp();
	COMMIT;
	CALL bench.wait(first, last);

	SELECT extract(epoch FROM max(finished_at) - began), count(*) FILTER (WHERE status = 'completed')
	INTO seconds, done FROM flow.run WHERE id BETWEEN first AND last;
	SELECT count(*), count(DISTINCT (run_id, step)) INTO made, apart
	FROM bench.effect WHERE run_id BETWEEN first AND last;
	IF done <> runs OR made <> runs * steps OR apart <> runs * steps THEN
		RAISE EXCEPTION 'workflow "%": not every step was done exactly once: % of % runs completed, % effects, % of them apart, expected %',
			workflow, done, runs, made, apart, runs * steps;
	END IF;
	INSERT INTO bench.result VALUES (coalesce(measure.name, workflow), round, runs * steps / seconds);
END $$;

-- One step that inserts a row for each of many items, and the same rows by one
-- statement
SELECT flow_define('map', ARRAY[
	flow_step('s1', 'INSERT INTO bench.effect (run_id, step) VALUES (flow.run_id, item_no)',
		for_each => $$ SELECT n FROM generate_series(1, (input->>'n')::int) n $$)]);

CREATE PROCEDURE bench.measure_set(items int, round int) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
BEGIN
	TRUNCATE bench.effect;
	COMMIT;
	began := clock_timestamp();
	INSERT INTO bench.effect (run_id, step) SELECT 0, n FROM generate_series(1, items) n;
	COMMIT;
	INSERT INTO bench.result VALUES ('set', round, items / extract(epoch FROM clock_timestamp() - began));
END $$;

CREATE PROCEDURE bench.measure_map(items int, round int) LANGUAGE plpgsql AS $$
DECLARE
	mapped bigint;
	began timestamptz;
	made bigint;
	apart bigint;
BEGIN
	TRUNCATE bench.effect;
	mapped := flow_start('map', jsonb_build_object('n', items));
	began := clock_timestamp();
	COMMIT;
	CALL bench.wait(mapped, mapped);
	SELECT count(*), count(DISTINCT step) INTO made, apart FROM bench.effect WHERE run_id = mapped;
	IF made <> items OR apart <> items OR (SELECT status FROM flow.run WHERE id = mapped) <> 'completed' THEN
		RAISE EXCEPTION 'map: not every item was done exactly once: % effects, % of them apart, expected %', made, apart, items;
	END IF;
	INSERT INTO bench.result
	SELECT 'map', measure_map.round, items / extract(epoch FROM finished_at - began) FROM flow.run WHERE id = mapped;
END $$;

-- What a session locks, and the steps that need it
CREATE TABLE bench.gate (n int NOT NULL);
INSERT INTO bench.gate VALUES (0);
SELECT flow_define('behind', ARRAY[flow_step('s1', 'UPDATE bench.gate SET n = n + 1')]);

-- Orders of two products each, out of twenty
CREATE TABLE bench.stock (id int PRIMARY KEY, sold bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO bench.stock SELECT generate_series(0, 19), 0;
SELECT flow_define('order', ARRAY[
	flow_step('s1', 'UPDATE bench.stock SET sold = sold + 1 WHERE id = flow.run_id * 7919 % 20'),
	flow_step('s2', 'UPDATE bench.stock SET sold = sold + 1 WHERE id = flow.run_id / 3 % 20', after => '{s1}')]);

CREATE PROCEDURE bench.measure_hot(name text, runs int, round int) LANGUAGE plpgsql AS $$
DECLARE
	before bigint := (SELECT sum(sold) FROM bench.stock);
	first bigint;
	last bigint;
	began timestamptz;
BEGIN
	SELECT min(run), max(run) INTO first, last
	FROM (SELECT flow_start('order') AS run FROM generate_series(1, runs)) started;
	began := clock_timestamp();
	COMMIT;
	CALL bench.wait(first, last);
	IF (SELECT sum(sold) FROM bench.stock) - before <> 2 * runs
		OR EXISTS (SELECT FROM flow.run WHERE id BETWEEN first AND last AND status <> 'completed') THEN
		RAISE EXCEPTION '%: not every step was done exactly once', name;
	END IF;
	INSERT INTO bench.result
	SELECT name, round, 2 * runs / extract(epoch FROM max(finished_at) - began)
	FROM flow.run WHERE id BETWEEN first AND last;
END $$;

-- The same chains of five steps, owned by so many roles
CREATE PROCEDURE bench.measure_roles(name text, owners int, runs int, round int) LANGUAGE plpgsql AS $$
DECLARE
	first bigint;
	last bigint;
	began timestamptz;
	made bigint;
	apart bigint;
BEGIN
	TRUNCATE bench.effect;
	SELECT min(run), max(run) INTO first, last
	FROM (SELECT flow_start('chain-of-' || i % owners + 1) AS run FROM generate_series(1, runs) i) started;
	began := clock_timestamp();
	COMMIT;
	CALL bench.wait(first, last);
	SELECT count(*), count(DISTINCT (run_id, step)) INTO made, apart
	FROM bench.effect WHERE run_id BETWEEN first AND last;
	IF made <> 5 * runs OR apart <> 5 * runs THEN
		RAISE EXCEPTION '%: not every step was done exactly once', name;
	END IF;
	INSERT INTO bench.result
	SELECT name, round, 5 * runs / extract(epoch FROM max(finished_at) - began)
	FROM flow.run WHERE id BETWEEN first AND last;
END $$;

-- How long a run of one workflow waits for its first step, in ms, from its
-- commit on, beside so many ready runs of another that are being drained
SELECT flow_define('single', bench.chain(1));

CREATE PROCEDURE bench.measure_fair(runs int, round int) LANGUAGE plpgsql AS $$
DECLARE
	many bigint;
	single bigint;
	began timestamptz;
	waited float8[];
BEGIN
	SELECT max(run) INTO many
	FROM (SELECT flow_start('one') AS run FROM generate_series(1, runs)) started;
	COMMIT;
	WHILE EXISTS (SELECT FROM flow.run WHERE id = many AND finished_at IS NULL) LOOP
		single := flow_start('single');
		began := clock_timestamp();
		COMMIT;
		CALL bench.wait(single, single);
		waited := waited || (SELECT extract(epoch FROM started_at - began)::float8 * 1000
							 FROM flow.step WHERE run_id = single);
	END LOOP;
	CALL bench.wait(0, single);
	INSERT INTO bench.result
	SELECT 'beside-many ' || p.name, measure_fair.round, v.value
	FROM (VALUES ('p50', 0.5), ('p99', 0.99), ('longest', 1)) p (name, part),
		LATERAL (SELECT percentile_disc(p.part) WITHIN GROUP (ORDER BY w) AS value FROM unnest(waited) w) v;
END $$;

-- Runs that sleep until a moment that is the same for all of them, so far ahead that
-- what is measured beside them is over by then
SELECT flow_define('sleeper', ARRAY[
	flow_delay('s0', until => $$ (input->>'at')::timestamptz $$), bench.step(1, '{0}')]);
CREATE TABLE bench.asleep (round int NOT NULL, first bigint NOT NULL, last bigint NOT NULL, until timestamptz NOT NULL);

CREATE PROCEDURE bench.put_to_sleep(runs int, seconds float8, round int) LANGUAGE plpgsql AS $$
DECLARE
	waking timestamptz := clock_timestamp() + seconds * interval '1 s';
BEGIN
	INSERT INTO bench.asleep
	SELECT put_to_sleep.round, min(run), max(run), waking
	FROM (SELECT flow_start('sleeper', jsonb_build_object('at', waking)) AS run FROM generate_series(1, runs)) started;
	LOOP
		COMMIT;
		EXIT WHEN (SELECT sleeping = runs FROM flow.queue WHERE workflow = 'sleeper');
		IF clock_timestamp() > waking THEN
			RAISE EXCEPTION 'sleep: % s are too short to put % runs to sleep', seconds, runs;
		END IF;
		PERFORM pg_sleep(0.2);
	END LOOP;
END $$;

-- How many of them wake up and end each second, from that moment on
CREATE PROCEDURE bench.measure_waking(round int) LANGUAGE plpgsql AS $$
DECLARE
	asleep bench.asleep := (SELECT a FROM bench.asleep a WHERE a.round = measure_waking.round);
	runs int := asleep.last - asleep.first + 1;
	made bigint;
	apart bigint;
BEGIN
	IF clock_timestamp() > asleep.until OR EXISTS (SELECT FROM bench.effect WHERE run_id BETWEEN asleep.first AND asleep.last) THEN
		RAISE EXCEPTION 'sleep: some runs woke up before it was to be measured';
	END IF;
	PERFORM pg_sleep(extract(epoch FROM asleep.until - clock_timestamp()));
	CALL bench.wait(asleep.first, asleep.last);
	SELECT count(*), count(DISTINCT run_id) INTO made, apart
	FROM bench.effect WHERE run_id BETWEEN asleep.first AND asleep.last;
	IF made <> runs OR apart <> runs THEN
		RAISE EXCEPTION 'sleep: not every run woke up exactly once: % effects, % of them apart, expected %', made, apart, runs;
	END IF;
	INSERT INTO bench.result
	SELECT 'waking', measure_waking.round, runs / extract(epoch FROM max(finished_at) - asleep.until)
	FROM flow.run WHERE id BETWEEN asleep.first AND asleep.last;
END $$;

RESET ROLE;

-- Fifty roles with a workflow each, which "bench" may start
DO $$
BEGIN
	FOR i IN 1 .. 50 LOOP
		EXECUTE format('CREATE ROLE bench_%s LOGIN; GRANT USAGE ON SCHEMA flow, bench TO bench_%1$s; GRANT CREATE ON SCHEMA flow TO bench_%1$s; GRANT bench_%1$s TO bench', i);
	END LOOP;
END $$;
SET ROLE bench;
DO $$
BEGIN
	FOR i IN 1 .. 50 LOOP
		EXECUTE format('GRANT INSERT ON bench.effect TO bench_%s', i);
	END LOOP;
END $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA bench TO PUBLIC;
RESET ROLE;
DO $$
BEGIN
	FOR i IN 1 .. 50 LOOP
		EXECUTE format('SET LOCAL ROLE bench_%s', i);
		PERFORM flow_define('chain-of-' || i, bench.chain(5));
		PERFORM flow_grant('chain-of-' || i, 'bench');
	END LOOP;
	RESET ROLE;
END $$;
