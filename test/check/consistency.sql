-- What is wrong, a row per problem; no row: all is well.
--
-- Every step of kind sql in a test's workflows writes one row into
--
--	audit(no bigint GENERATED ALWAYS AS IDENTITY, run_id bigint, step text)
--
-- or, for an item of a step, with the step's name, a slash and the item's
-- number; nothing else counts: what is compared is the effect of the steps with
-- what the extension says about them.  Call it when everything has ended.
WITH step AS (
	SELECT s.run_id, s.name, s.kind, s.status, s.reason, s.handled, s.step_no, s.started_at, s.finished_at, s.items,
		(SELECT count(*) FROM audit a
		 WHERE a.run_id = s.run_id AND a.step = s.name) AS effects,
		(SELECT min(a.no) FROM audit a
		 WHERE a.run_id = s.run_id AND a.step = s.name) AS no
	FROM (SELECT run_id, name, kind, status, reason, handled, step_no, started_at, finished_at, items FROM flow.step
		UNION ALL
		SELECT i.run_id, i.step || '/' || i.item_no, p.kind, i.status, i.reason, false, NULL, i.started_at, i.finished_at, NULL
		FROM flow.item i JOIN flow.step p ON p.run_id = i.run_id AND p.name = i.step) s
), edge AS (
	SELECT r.id AS run_id, d.name AS dependency, w.name
	FROM flow.run r
		JOIN flow.workflow_step w USING (workflow, version)
		CROSS JOIN LATERAL unnest(w.after) AS d(name)
	WHERE NOT w.options ? 'needs' AND d.name NOT LIKE '%:%'
)
SELECT 'unfinished run' AS problem, r.id AS run_id, r.status AS detail
FROM flow.run r
WHERE r.status NOT IN ('completed', 'failed', 'cancelled')
UNION ALL
SELECT 'finished run without an end', r.id, r.status
FROM flow.run r
WHERE r.status IN ('completed', 'failed', 'cancelled') AND r.finished_at IS NULL
UNION ALL
SELECT 'unfinished step of a finished run', s.run_id, s.name || ' ' || s.status
FROM step s JOIN flow.run r ON r.id = s.run_id
WHERE r.status IN ('completed', 'failed', 'cancelled')
AND s.status NOT IN ('completed', 'failed', 'skipped', 'cancelled', 'compensated', 'compensation_failed')
UNION ALL
SELECT 'completed run with another step', s.run_id, s.name || ' ' || s.status
FROM step s JOIN flow.run r ON r.id = s.run_id
	JOIN flow.workflow_step w ON w.workflow = r.workflow AND w.version = r.version AND w.name = s.name
WHERE r.status = 'completed' AND s.status NOT IN ('completed', 'skipped')
AND NOT s.handled AND w.options->>'on_error' IS DISTINCT FROM 'continue'
AND NOT (s.status = 'cancelled' AND EXISTS (
	SELECT FROM flow.workflow_step f
	WHERE f.workflow = r.workflow AND f.version = r.version AND f.options->>'needs' = 'first'))
UNION ALL
SELECT 'completed step without effect', s.run_id, s.name
FROM step s
WHERE s.status = 'completed' AND s.effects = 0
AND s.kind = 'sql' AND s.reason IS NULL AND s.items IS NULL
UNION ALL
SELECT 'effect done ' || s.effects || ' times', s.run_id, s.name
FROM step s
WHERE s.effects > 1
UNION ALL
SELECT 'effect of a step that is ' || s.status, s.run_id, s.name
FROM step s
WHERE s.status NOT IN ('completed', 'compensated', 'compensation_failed') AND s.effects > 0
UNION ALL
SELECT 'effect of no step', a.run_id, a.step
FROM audit a
WHERE NOT EXISTS (
	SELECT FROM step s WHERE s.run_id = a.run_id AND s.name = a.step)
UNION ALL
SELECT 'task left behind', t.run_id, t.status
FROM flow_internal.task t JOIN flow.run r ON r.id = t.run_id
WHERE r.status IN ('completed', 'failed', 'cancelled')
UNION ALL
SELECT 'items of a completed step have not all ended', s.run_id, s.name
FROM flow.step s
WHERE s.status = 'completed' AND s.reason IS NULL AND s.items_done + s.items_failed <> s.items
UNION ALL
SELECT 'items are counted wrong', s.run_id, s.name
FROM flow.step s
	CROSS JOIN LATERAL (
		SELECT count(*) FILTER (WHERE i.status IN ('completed', 'skipped', 'compensated', 'compensation_failed')) AS done,
			count(*) FILTER (WHERE i.status = 'failed') AS failed
		FROM flow.item i WHERE i.run_id = s.run_id AND i.step = s.name) i
WHERE s.status IN ('completed', 'failed') AND s.reason IS NULL
AND (i.done, i.failed) IS DISTINCT FROM (s.items_done, s.items_failed) AND s.items IS NOT NULL
UNION ALL
SELECT 'key still taken', k.run_id, k.key
FROM flow_internal.run_key k JOIN flow.run r ON r.id = k.run_id
WHERE r.status IN ('completed', 'failed', 'cancelled')
AND NOT EXISTS (
	SELECT FROM flow_internal.run_key o
	WHERE o.workflow_id = k.workflow_id AND o.key = k.key AND o.run_id <> k.run_id)
UNION ALL
SELECT 'step without its dependency', e.run_id, e.dependency || ' -> ' || e.name
FROM edge e
	JOIN step s ON s.run_id = e.run_id AND s.name = e.name
	JOIN step d ON d.run_id = e.run_id AND d.name = e.dependency
	JOIN flow.run r ON r.id = e.run_id
	JOIN flow.workflow_step w ON w.workflow = r.workflow AND w.version = r.version AND w.name = d.name
WHERE s.status = 'completed' AND d.status <> 'completed'
AND NOT (d.status = 'failed' AND NOT d.handled AND w.options->>'on_error' IS NOT DISTINCT FROM 'continue')
UNION ALL
SELECT 'order', e.run_id, e.dependency || ' -> ' || e.name
FROM edge e
	JOIN step s ON s.run_id = e.run_id AND s.name = e.name
	JOIN step d ON d.run_id = e.run_id AND d.name = e.dependency
WHERE s.status = 'completed' AND d.status = 'completed'
AND (d.no >= s.no OR d.finished_at > s.started_at)
ORDER BY 1, 2, 3
