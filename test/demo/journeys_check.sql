-- Are the books of the trips in order?  One row per question: what must be,
-- what is.  Run as the same role, when no trip is under way any more.

SET search_path = journey, public;

CREATE TEMP TABLE trip AS
SELECT id, status, compensation FROM flow.run WHERE workflow = 'trip';

CREATE TABLE IF NOT EXISTS audit (question text, expected numeric, found numeric);
TRUNCATE audit;
INSERT INTO audit
SELECT 'trips that have ended', 60, (SELECT count(*) FROM trip WHERE status IN ('completed', 'failed'))
UNION ALL
SELECT 'seats taken: one for each trip that completed',
	(SELECT count(*) FROM trip WHERE status = 'completed'), 80 - (SELECT sum(free) FROM seat)
UNION ALL
SELECT 'rooms taken: likewise',
	(SELECT count(*) FROM trip WHERE status = 'completed'), 25 - (SELECT sum(free) FROM room)
UNION ALL
SELECT 'vouchers: likewise',
	(SELECT count(*) FROM trip WHERE status = 'completed'), (SELECT count(*) FROM voucher)
UNION ALL
SELECT 'letters: one for every trip', 60, (SELECT count(*) FROM letter)
UNION ALL
SELECT 'trips that failed after a booking, and are undone',
	(SELECT count(*) FROM trip JOIN flow.run c ON c.parent_run = trip.id WHERE trip.status = 'failed' AND c.status = 'completed'),
	(SELECT count(*) FROM trip WHERE status = 'failed' AND compensation = 'complete')
UNION ALL
SELECT 'questions in the survey: one for every trip that completed',
	(SELECT count(*) FROM trip WHERE status = 'completed'),
	(SELECT count(DISTINCT q.traveller) FROM question q JOIN trip ON trip.id = q.traveller)
UNION ALL
SELECT 'decisions that were waited for', 6,
	(SELECT count(*) FROM flow.step s JOIN trip ON trip.id = s.run_id WHERE s.name = 'approve' AND s.status IN ('completed', 'failed'));

SELECT question, expected, found, CASE WHEN expected = found THEN 'OK' ELSE 'FAILED' END AS answer FROM audit;
