-- The shop: its tables, its seven-step workflow, and how an order is placed.
-- Run as the role "shop".
--
-- No table of effects is unique per order: nothing here would stop a payment
-- from being captured twice or a confirmation from being sent twice.  That
-- each happens exactly once is the engine's doing, and orders_check.sql looks.

CREATE SCHEMA shop;
SET search_path = shop, public;

CREATE TABLE product
(
	id        int PRIMARY KEY,
	name      text NOT NULL,
	price     numeric(8,2) NOT NULL CHECK (price > 0),
	delivered int NOT NULL,
	stock     int NOT NULL CONSTRAINT enough_stock CHECK (stock >= 0)
);

CREATE TABLE customer
(
	id   int PRIMARY KEY,
	name text NOT NULL,
	card text NOT NULL CHECK (card IN ('valid', 'expired'))
);

CREATE TABLE orders
(
	id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	customer_id int NOT NULL REFERENCES customer,
	product_id  int NOT NULL REFERENCES product,
	quantity    int NOT NULL CHECK (quantity BETWEEN 1 AND 5)
);

CREATE TABLE payment
(
	id       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	order_id bigint NOT NULL REFERENCES orders,
	amount   numeric(10,2) NOT NULL CHECK (amount > 0)
);

CREATE TABLE allocation
(
	order_id   bigint NOT NULL REFERENCES orders,
	product_id int NOT NULL REFERENCES product,
	quantity   int NOT NULL CHECK (quantity > 0)
);

CREATE TABLE invoice
(
	id         bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	order_id   bigint NOT NULL REFERENCES orders,
	payment_id bigint NOT NULL REFERENCES payment,
	amount     numeric(10,2) NOT NULL
);

CREATE TABLE shipment
(
	id       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	order_id bigint NOT NULL REFERENCES orders,
	leaves   date NOT NULL
);

CREATE TABLE confirmation
(
	order_id bigint NOT NULL REFERENCES orders,
	body     text NOT NULL
);

-- 36 products, a third of them too scarce for 10 000 orders; 2 000 customers,
-- every fiftieth with an expired card.
INSERT INTO product
SELECT id, 'product ' || id, 5 + id * 1.25, stock, stock
FROM (SELECT id, ceil(:orders * (CASE WHEN id % 3 = 0 THEN 0.07 ELSE 0.12 END))::int AS stock
	  FROM generate_series(1, 36) id) p;

INSERT INTO customer
SELECT id, 'customer ' || id, CASE WHEN id % 50 = 0 THEN 'expired' ELSE 'valid' END
FROM generate_series(1, 2000) id;

-- A look, without a lock: what is sold out is refused at once.  Whether there
-- is enough is decided by the constraint when the goods are allocated.
CREATE FUNCTION look_for(product int) RETURNS TABLE (stock int, days int)
LANGUAGE plpgsql STABLE AS $$
BEGIN
	SELECT p.stock, CASE WHEN p.stock > 100 THEN 1 ELSE 3 END
	INTO stock, days FROM product p WHERE p.id = product;
	IF stock = 0 THEN
		RAISE EXCEPTION 'product % is sold out', product USING ERRCODE = 'SH001';
	END IF;
	RETURN NEXT;
END $$;

-- The gateway: it declines expired cards, and for every 25th order it does not
-- answer at first (for every 50th, not at the second attempt either).
CREATE FUNCTION capture(paid_order bigint, amount numeric) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	silent  int := CASE WHEN paid_order % 50 = 0 THEN 2 WHEN paid_order % 25 = 0 THEN 1 ELSE 0 END;
	capture bigint;
BEGIN
	INSERT INTO payment (order_id, amount) VALUES (paid_order, amount) RETURNING id INTO capture;
	IF EXISTS (SELECT FROM customer c JOIN orders o ON o.customer_id = c.id
			   WHERE o.id = paid_order AND c.card = 'expired') THEN
		RAISE EXCEPTION 'card declined: expired' USING ERRCODE = 'SH002';
	END IF;
	IF flow_attempt() <= silent THEN
		RAISE EXCEPTION 'the payment gateway does not answer' USING ERRCODE = '08006';
	END IF;
	RETURN capture;
END $$;

SELECT flow_define('order-processing', ARRAY[
	flow_step('validate-order', $$
		SELECT o.product_id, o.quantity, o.quantity * p.price AS amount
		FROM orders o JOIN product p ON p.id = o.product_id
		WHERE o.id = (input->>'order_id')::bigint $$),

	flow_step('check-inventory', $$
		SELECT * FROM look_for(("validate-order"->>'product_id')::int) $$,
		after => '{validate-order}'),

	flow_step('process-payment', $$
		SELECT capture((input->>'order_id')::bigint, ("validate-order"->>'amount')::numeric) AS id $$,
		after => '{validate-order}', retries => 3, retry_delay => '100 ms', retry_on => '{08}'),

	flow_step('allocate-inventory', $$
		UPDATE product SET stock = stock - ("validate-order"->>'quantity')::int
		WHERE id = ("validate-order"->>'product_id')::int;
		INSERT INTO allocation (order_id, product_id, quantity)
		SELECT id, product_id, quantity FROM orders WHERE id = (input->>'order_id')::bigint $$,
		after => '{check-inventory,process-payment}'),

	flow_step('generate-invoice', $$
		INSERT INTO invoice (order_id, payment_id, amount)
		SELECT order_id, id, amount FROM payment WHERE id = ("process-payment"->>'id')::bigint
		RETURNING id, amount $$,
		after => '{allocate-inventory}'),

	flow_step('schedule-shipment', $$
		INSERT INTO shipment (order_id, leaves)
		VALUES ((input->>'order_id')::bigint, current_date + ("check-inventory"->>'days')::int)
		RETURNING id, leaves $$,
		after => '{allocate-inventory}'),

	flow_step('send-confirmation', $$
		INSERT INTO confirmation (order_id, body)
		VALUES ((input->>'order_id')::bigint, format('Invoice %s over %s; your parcel leaves on %s.',
				"generate-invoice"->>'id', "generate-invoice"->>'amount', "schedule-shipment"->>'leaves')) $$,
		after => '{generate-invoice,schedule-shipment}')
], description => 'From a placed order to a parcel on its way');

-- Places orders: the rows and the starts of their runs, in the same transaction
CREATE FUNCTION place_orders(number int) RETURNS bigint LANGUAGE sql AS $$
	WITH placed AS (
		INSERT INTO orders (customer_id, product_id, quantity)
		SELECT 1 + n * 7919 % 2000, 1 + n * 104729 % 36, 1 + n * 31 / 7 % 5
		FROM generate_series(1, number) n
		RETURNING id)
	SELECT count(flow_start('order-processing', jsonb_build_object('order_id', id), key => id::text))
	FROM placed
$$;
