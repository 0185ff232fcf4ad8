-- What steps can be beside SQL: trips that are booked in pieces.  Run as a role
-- with CREATE on schema flow and on the database.
--
-- trip:    a saga.  What was booked is undone in reverse when a later piece cannot
--          be had.  An expensive trip waits for somebody's approval first.
-- booking: a workflow of its own, which a step of the trip runs and waits for.
-- survey:  a letter to each traveller, as many as there are: a step that runs once
--          for each of them.

CREATE SCHEMA journey;
SET search_path = journey, public;

CREATE TABLE seat (flight text PRIMARY KEY, free int NOT NULL CONSTRAINT seats_left CHECK (free >= 0));
CREATE TABLE room (hotel text PRIMARY KEY, free int NOT NULL CONSTRAINT rooms_left CHECK (free >= 0));
CREATE TABLE voucher (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, run_id bigint NOT NULL, what text NOT NULL);
CREATE TABLE letter (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, run_id bigint NOT NULL, says text NOT NULL);
CREATE TABLE question (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, run_id bigint NOT NULL, traveller bigint NOT NULL);
INSERT INTO seat VALUES ('north', 40), ('south', 40);
INSERT INTO room VALUES ('inn', 25);

SELECT flow_define('booking', ARRAY[
	flow_step('seat', $$ UPDATE seat SET free = free - 1 WHERE flight = input->>'flight' RETURNING flight $$),
	flow_step('voucher', $$ INSERT INTO voucher (run_id, what) VALUES (flow.run_id, seat->>'flight') RETURNING id $$, after => '{seat}')]);

SELECT flow_define('trip', ARRAY[
	flow_choice('size', $$ CASE WHEN (input->>'price')::numeric > 1000 THEN 'dear' ELSE 'cheap' END $$, emits => '{dear,cheap}'),
	flow_approval('approve', after => '{size:dear}', timeout => '1 day'),
	flow_subflow('flight', 'booking', $$ jsonb_build_object('flight', input->'flight') $$,
		after => '{size:cheap,approve}', needs => 'some',
		-- a run of its own is undone by what it has booked
		undo => $$ UPDATE seat SET free = free + 1 WHERE seat.flight = input->>'flight';
			DELETE FROM voucher WHERE id = (flow.flight->>'id')::bigint $$),
	flow_step('lodging', $$ UPDATE room SET free = free - 1 WHERE hotel = 'inn' RETURNING hotel $$,
		after => '{flight}', undo => $$ UPDATE room SET free = free + 1 WHERE hotel = lodging->>'hotel' $$),
	flow_step('ticket', $$ INSERT INTO letter (run_id, says) VALUES (flow.run_id, 'your trip to the ' || (input->>'flight')) $$, after => '{lodging}'),
	flow_step('sorry', $$ INSERT INTO letter (run_id, says) VALUES (flow.run_id, 'no trip: ' || (event->>'message')) $$, hook => '{failed}')]);

SELECT flow_define('survey', ARRAY[
	flow_step('ask', $$ INSERT INTO question (run_id, traveller) VALUES (flow.run_id, (item->>'run_id')::bigint) RETURNING id $$,
		for_each => $$ SELECT run_id FROM letter WHERE says LIKE 'your trip%' ORDER BY run_id $$),
	flow_step('count', 'SELECT jsonb_array_length(ask) AS asked', after => '{ask}')]);

-- Sixty trips for twenty-five rooms; every tenth one has to be approved
SELECT count(flow_start('trip', jsonb_build_object('flight', CASE i % 2 WHEN 0 THEN 'north' ELSE 'south' END,
	'price', CASE i % 10 WHEN 0 THEN 2000 ELSE 200 END), key => 'trip-' || i)) AS trips
FROM generate_series(1, 60) i;
