-- Where to look: the views, as anybody would use them.

\pset footer off
\echo Runs (flow.run), with the times from start to end, waiting included
SELECT workflow, status, count(*) AS runs,
	   min(finished_at - created_at) AS "shortest, start to end", max(finished_at - created_at) AS "longest, start to end"
FROM flow.run GROUP BY workflow, status ORDER BY workflow DESC, status;

\echo Steps (flow.step)
SELECT workflow, name, count(*) FILTER (WHERE status = 'completed') AS completed,
	   count(*) FILTER (WHERE status = 'failed') AS failed,
	   count(*) FILTER (WHERE status IN ('skipped', 'cancelled')) AS "not run",
	   count(*) FILTER (WHERE attempt > 1) AS retried
FROM flow.step GROUP BY workflow, step_no, name ORDER BY workflow DESC, step_no;

\echo One order whose payment needed three attempts
SELECT s.step_no, s.name, s.status, s.attempt, s.output
FROM flow.step s
WHERE s.run_id = (SELECT min(p.run_id) FROM flow.step p JOIN flow.run r ON r.id = p.run_id
				  WHERE p.name = 'process-payment' AND p.attempt = 3 AND r.status = 'completed')
ORDER BY s.step_no;

\echo One order that failed
SELECT s.step_no, s.name, s.status, s.reason, s.error->>'message' AS error
FROM flow.step s
WHERE s.run_id = (SELECT min(id) FROM flow.run WHERE workflow = 'order-processing' AND status = 'failed')
ORDER BY s.step_no;

\echo Throughput
SELECT s.workflow, count(DISTINCT s.run_id) AS runs, count(*) AS steps,
	   round(extract(epoch FROM max(s.finished_at) - min(r.created_at)), 1) AS seconds,
	   CASE WHEN count(DISTINCT s.run_id) > 1
			THEN round(count(*) / extract(epoch FROM max(s.finished_at) - min(r.created_at))) END AS "steps/s"
FROM flow.step s JOIN flow.run r ON r.id = s.run_id
WHERE s.status IN ('completed', 'failed')
GROUP BY s.workflow ORDER BY s.workflow DESC;
