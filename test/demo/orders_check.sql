-- Are the books in order?  One row per question: what must be, what is.
-- Run as the role "shop" when no order is under way any more.

SET search_path = shop, public;

-- What was captured for orders that failed afterwards: to be given back
CREATE VIEW refund_due AS
SELECT p.order_id, p.amount, r.error->>'message' AS reason
FROM payment p JOIN flow.run r ON r.workflow = 'order-processing' AND r.key = p.order_id::text
WHERE r.status = 'failed';

CREATE TEMP TABLE run AS
SELECT id, key::bigint AS order_id, status FROM flow.run WHERE workflow = 'order-processing';

-- Effects as they lie in the shop's tables
CREATE TEMP TABLE effect AS
SELECT order_id, step, count(*) AS times
FROM (SELECT order_id, 'process-payment' FROM payment
	  UNION ALL SELECT order_id, 'allocate-inventory' FROM allocation
	  UNION ALL SELECT order_id, 'generate-invoice' FROM invoice
	  UNION ALL SELECT order_id, 'schedule-shipment' FROM shipment
	  UNION ALL SELECT order_id, 'send-confirmation' FROM confirmation) e (order_id, step)
GROUP BY order_id, step;

-- Steps that have an effect and, so the engine says, completed
CREATE TEMP TABLE done AS
SELECT run.order_id, s.name AS step, s.attempt
FROM flow.step s JOIN run ON run.id = s.run_id
WHERE s.status = 'completed' AND s.name NOT IN ('validate-order', 'check-inventory');

CREATE TABLE audit AS
SELECT 'orders that have one run, and it has ended' AS question,
	   (SELECT count(*) FROM orders)::numeric AS expected,
	   (SELECT count(*) FROM orders o WHERE (SELECT count(*) FROM run WHERE order_id = o.id AND status IN ('completed', 'failed')) = 1)::numeric AS found
UNION ALL
SELECT 'runs of orders whose transaction was rolled back', 0,
	   (SELECT count(*) FROM run WHERE order_id NOT IN (SELECT id FROM orders))
UNION ALL
SELECT 'completed steps whose effect is there exactly once',
	   (SELECT count(*) FROM done),
	   (SELECT count(*) FROM done JOIN effect USING (order_id, step) WHERE times = 1)
UNION ALL
SELECT 'effects of steps that did not complete', 0,
	   (SELECT count(*) FROM effect LEFT JOIN done USING (order_id, step) WHERE done.step IS NULL)
UNION ALL
SELECT 'completed orders that were confirmed, once',
	   (SELECT count(*) FROM run WHERE status = 'completed'),
	   (SELECT count(*) FROM run JOIN effect USING (order_id) WHERE status = 'completed' AND step = 'send-confirmation' AND times = 1)
UNION ALL
SELECT 'failed orders with goods, invoice, parcel or confirmation', 0,
	   (SELECT count(*) FROM run JOIN effect USING (order_id) WHERE status = 'failed' AND step <> 'process-payment')
UNION ALL
SELECT 'goods that left the stock = goods allocated',
	   (SELECT sum(delivered - stock) FROM product), (SELECT coalesce(sum(quantity), 0) FROM allocation)
UNION ALL
SELECT 'products whose own stock does not agree', 0,
	   (SELECT count(*) FROM product p
		WHERE delivered - stock <> (SELECT coalesce(sum(quantity), 0) FROM allocation a WHERE a.product_id = p.id))
UNION ALL
SELECT 'money captured = invoiced + refunds due',
	   (SELECT sum(amount) FROM payment),
	   (SELECT coalesce(sum(amount), 0) FROM invoice) + (SELECT coalesce(sum(amount), 0) FROM refund_due)
UNION ALL
SELECT 'payments from expired cards', 0,
	   (SELECT count(*) FROM payment p JOIN orders o ON o.id = p.order_id JOIN customer c ON c.id = o.customer_id
		WHERE c.card = 'expired')
UNION ALL
SELECT 'payments by a gateway that was silent at first, none earlier',
	   (SELECT count(*) FROM done WHERE step = 'process-payment' AND order_id % 25 = 0),
	   (SELECT count(*) FROM done
		WHERE step = 'process-payment' AND order_id % 25 = 0 AND attempt = CASE WHEN order_id % 50 = 0 THEN 3 ELSE 2 END);

\pset footer off
\echo What became of the orders
SELECT coalesce(s.name, '') AS "failed step", r.status, coalesce(s.sqlstate, '') AS sqlstate,
	   coalesce(regexp_replace(s.error->>'message', 'product \d+', 'product ...'), '') AS reason, count(*) AS orders
FROM run r LEFT JOIN flow.step s ON s.run_id = r.id AND s.status = 'failed'
GROUP BY s.name, r.status, s.sqlstate, 4 ORDER BY orders DESC;

\echo Failed attempts that were tried again
SELECT step, sqlstate, message, count(*) AS attempts
FROM flow.attempt WHERE run_id IN (SELECT id FROM run) AND next_at IS NOT NULL
GROUP BY step, sqlstate, message ORDER BY attempts DESC;

\echo Refunds due: captured, then the order failed (shop.refund_due)
SELECT count(*) AS orders, sum(amount) AS amount FROM refund_due;

\echo Are the books in order?
SELECT question, expected, found, CASE WHEN expected = found THEN 'OK' ELSE 'FAILED' END AS verdict FROM audit;
