-- What a test calls to use the test points of a library that was compiled with
-- -DFLOW_TEST.  Not part of the extension.
CREATE SCHEMA test;

-- Tells a point what to do.  Action: wait, error (argument: SQLSTATE), fatal,
-- kill, sleep (argument: ms), count.  It lets "skip" passes go first, then
-- acts at each "every"-th, "times" times (null: always), in processes of that
-- kind (client, worker, scheduler, launcher; null: all) and that database.
CREATE FUNCTION test.arm(point text, action text, argument text DEFAULT NULL, skip int DEFAULT 0,
	every int DEFAULT 1, times int DEFAULT 1, process text DEFAULT NULL, database oid DEFAULT NULL)
RETURNS void LANGUAGE c AS '$libdir/flow', 'flow_test_arm';

-- Takes that back, for one point or all; who waits goes on
CREATE FUNCTION test.disarm(point text DEFAULT NULL)
RETURNS void LANGUAGE c AS '$libdir/flow', 'flow_test_disarm';

-- Lets go who waits there now, all or one; returns how many
CREATE FUNCTION test.release(point text, pid int DEFAULT NULL)
RETURNS int LANGUAGE c AS '$libdir/flow', 'flow_test_release';

-- Processes that wait there, in the order of their arrival
CREATE FUNCTION test.waiters(point text)
RETURNS int[] LANGUAGE c AS '$libdir/flow', 'flow_test_waiters';

CREATE FUNCTION test.waiting(point text) RETURNS int LANGUAGE sql
RETURN cardinality(test.waiters(point));

-- Passes since it was armed
CREATE FUNCTION test.passed(point text)
RETURNS bigint LANGUAGE c AS '$libdir/flow', 'flow_test_passed';
