-- The tables that bench/run prints: medians over the rounds, and what they
-- are of the floor and of one durable commit per step.

CREATE TEMP TABLE label (name text, sort int, label text, unit text, base text);
INSERT INTO label VALUES
	('floor-1',      1, 'floor: 1 backend, 100 per commit', 'items/s', 'floor'),
	('floor-2',      2, 'floor: 2 backends, 100 per commit', 'items/s', 'floor'),
	('commit-2',     3, 'one durable commit per step, 2 backends', 'items/s', 'floor'),
	('chain-5',      4, 'chains of 5 steps', 'steps/s', 'floor'),
	('fan-10',       5, 'fan-out 1 -> 10 -> 1', 'steps/s', 'floor'),
	('one',          6, 'one-step runs', 'steps/s', 'floor'),
	('diamond',      7, 'choice, 2 branches, join: effects', 'steps/s', 'floor'),
	('map',          8, 'one step for each of 10 000 items', 'items/s', 'floor'),
	('set',          9, 'the same rows by one INSERT', 'items/s', 'floor'),
	('waking',      10, '100 000 sleeping runs that wake up at once', 'runs/s', 'floor'),
	('insert-4',    11, 'one-row INSERT, 4 clients', 'commits/s', 'insert'),
	('start-4-off', 12, 'flow_start, 4 clients, engine off', 'commits/s', 'insert'),
	('start-4',     13, 'flow_start, 4 clients, engine running', 'commits/s', 'insert'),
	('chain-1000-cold',   31, 'one chain of 1 000 steps, the first', 'ms', 'latency'),
	('chain-1000',        32, 'one chain of 1 000 steps', 'ms', 'latency'),
	('one-step-run',      33, 'one-step run, flow_start to flow_await', 'ms', 'latency'),
	('durable-commit',    34, 'a bare durable commit', 'ms', 'latency'),
	('notify-round-trip', 35, 'a NOTIFY round trip', 'ms', 'latency'),
	('beside-lock',       36, 'one-step run beside 50 runs behind a LOCK TABLE', 'ms', 'latency'),
	('beside-many',       37, 'first step of a run beside 100 000 of another workflow', 'ms', 'latency'),
	('hot-floor', 41, 'one durable commit per update, 2 clients', 'steps/s', 'hot-floor'),
	('hot-1',     42, 'two updates of 20 hot rows, 1 worker', 'steps/s', 'hot-floor'),
	('hot-2',     43, 'two updates of 20 hot rows, 2 workers', 'steps/s', 'hot-floor'),
	('hot-4',     44, 'two updates of 20 hot rows, 4 workers', 'steps/s', 'hot-floor'),
	('roles-1',   51, 'chains of 5 steps, 1 role, 4 workers', 'steps/s', 'roles-1'),
	('roles-50',  52, 'chains of 5 steps, 50 roles, 4 workers', 'steps/s', 'roles-1'),
	('none-asleep', 61, 'chains of 5 steps', 'steps/s', 'none-asleep'),
	('many-asleep', 62, 'chains of 5 steps beside 100 000 sleeping runs', 'steps/s', 'none-asleep');

CREATE TEMP VIEW middle AS
SELECT name, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS median,
	   min(value) AS least, max(value) AS most
FROM bench.result GROUP BY name;

-- A ratio is made within a round, from what was measured close together
CREATE TEMP VIEW ratio AS
SELECT r.name, b.name AS base, percentile_cont(0.5) WITHIN GROUP (ORDER BY r.value / b.value) AS median
FROM bench.result r JOIN bench.result b USING (round)
WHERE b.name IN ('floor-2', 'commit-2', 'set', 'insert-4', 'hot-floor', 'roles-1', 'none-asleep')
GROUP BY r.name, b.name;

\pset footer off
\pset null ''
\echo
\echo Throughput
SELECT label AS "what", unit, round(m.median) AS median, round(least) AS least, round(most) AS most,
	   round(f.median::numeric, 3) AS "of the floor",
	   round(c.median::numeric, 2) AS "x one commit per step"
FROM label JOIN middle m USING (name)
	JOIN ratio f ON f.name = label.name AND f.base = 'floor-2'
	JOIN ratio c ON c.name = label.name AND c.base = 'commit-2'
WHERE label.base = 'floor' ORDER BY sort;

SELECT 'Of one INSERT of all rows, a step for each of 10 000 items: ' || round(median::numeric, 3) AS "Maps"
FROM ratio WHERE name = 'map' AND base = 'set';

\echo Starting
SELECT label AS "what", unit, round(m.median) AS median, round(least) AS least, round(most) AS most,
	   round(i.median::numeric, 3) AS "of a one-row INSERT"
FROM label JOIN middle m USING (name)
	JOIN ratio i ON i.name = label.name AND i.base = 'insert-4'
WHERE label.base = 'insert' ORDER BY sort;

\echo Hot rows, many roles, many sleeping runs
SELECT label AS "what", unit, round(m.median) AS median, round(least) AS least, round(most) AS most,
	   round(r.median::numeric, 2) AS "x the first"
FROM label JOIN middle m USING (name)
	JOIN ratio r ON r.name = label.name AND r.base = label.base
WHERE label.base IN ('hot-floor', 'roles-1', 'none-asleep') ORDER BY sort;

\echo Latency
SELECT label AS "what", unit, round(p50.median::numeric, 2) AS p50, round(p99.median::numeric, 2) AS p99,
	   round(longest.most::numeric, 2) AS longest
FROM label
	JOIN middle p50 ON p50.name = label.name || ' p50'
	JOIN middle p99 ON p99.name = label.name || ' p99'
	JOIN middle longest ON longest.name = label.name || ' longest'
WHERE label.base = 'latency' ORDER BY sort;
