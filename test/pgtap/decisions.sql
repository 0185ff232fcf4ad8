-- Approvals: a decision that is malformed, comes from the wrong role or for the wrong
-- step decides nothing; a right one is on record with who made it.
\ir api.psql
SELECT no_plan();
CREATE ROLE decide_boss;
CREATE ROLE decide_chief LOGIN IN ROLE decide_boss;
CREATE ROLE decide_clerk LOGIN;
CREATE ROLE decide_owner LOGIN;
GRANT USAGE ON SCHEMA flow TO decide_chief, decide_clerk, decide_owner;
GRANT CREATE ON SCHEMA flow TO decide_owner;
SET LOCAL ROLE decide_owner;
SELECT flow_define('decide', ARRAY[flow_step('a', 'SELECT 1'), flow_approval('ok', 'decide_boss', after => '{a}'), flow_approval('second', after => '{ok}'),
	flow_approval('lost', 'decide_nobody'), flow_approval('many', for_each => $$ '[1, 2]'::jsonb $$)]) AS v \gset
SELECT flow_grant('decide', 'decide_clerk', 'approve'), flow_grant('decide', 'decide_clerk', 'read'), flow_grant('decide', 'decide_chief', 'start') \g /dev/null
SELECT flow_start('decide') AS run \gset
SET LOCAL ROLE decide_owner;
SELECT flow_drain(:run) AS d \gset
RESET ROLE;
SELECT is(states(:run), 'running: a completed, ok waiting, second pending, lost waiting, many running', 'they wait');

-- What is not a decision for that step, by one that may decide about all of them
CREATE TEMP TABLE wrong AS
SELECT f || arguments AS call
FROM unnest('{flow_approve,flow_reject}'::text[]) f, unnest(ARRAY[
	format('(%s, NULL)', :run), '(NULL, ''ok'')', '(NULL, NULL)', format('(%s, '''')', :run), format('(%s, ''OK'')', :run), format('(%s, ''ok '')', :run),
	format('(%s, ''nowhere'')', :run), format('(%s, ''a'')', :run), format('(%s, ''second'')', :run), '(-1, ''ok'')', '(0, ''ok'')',
	format('(%s, ''ok'', item_no => 1)', :run), format('(%s, ''ok'', item_no => -1)', :run), format('(%s, ''many'')', :run), format('(%s, ''many'', item_no => 0)', :run),
	format('(%s, ''many'', item_no => 3)', :run), format('(%s, ''many'', item_no => NULL)', :run)]) arguments;
SELECT is((SELECT string_agg(call, ' ') FROM wrong WHERE answer('SELECT ' || call) !~ '^[0-9A-Z]{5}$'), NULL, 'a malformed decision is an error');
SELECT is((SELECT string_agg(DISTINCT answer('SELECT ' || call), ' ' ORDER BY answer('SELECT ' || call)) FROM wrong WHERE answer('SELECT ' || call) LIKE 'XX%'), NULL, '... and no internal one');
SET LOCAL ROLE decide_owner;
SELECT flow_drain(:run) AS d \gset
RESET ROLE;
SELECT is(states(:run), 'running: a completed, ok waiting, second pending, lost waiting, many running', '... and decides nothing');
SELECT is((SELECT string_agg(item_no || ' ' || status, ', ' ORDER BY item_no) FROM flow.item WHERE run_id = :run), '1 waiting, 2 waiting', '... of items, either');

-- By who may not: with the privilege and not in the role, an owner that is not in it, a
-- member without any, for approvers that are no role
SET LOCAL ROLE decide_clerk;
SELECT answer(format('SELECT flow_approve(%s, ''ok'')', :run)) || ' ' || answer(format('SELECT flow_approve(%s, ''ok'', approver => ''decide_chief'')', :run)) AS clerk \gset
SET LOCAL ROLE decide_owner;
SELECT answer(format('SELECT flow_approve(%s, ''ok'')', :run)) || ' ' || answer(format('SELECT flow_approve(%s, ''lost'')', :run)) AS owner \gset
SET LOCAL ROLE decide_owner;
SELECT flow_drain(:run) AS d \gset
RESET ROLE;
SELECT is(:'clerk'::text, '42501 42501', 'who is no approver does not decide, whoever it claims to be');
SELECT isnt(:'owner'::text ~ '(true|t)', true, 'nor does the owner, nor anybody for approvers that are no role');
SELECT is(states(:run), 'running: a completed, ok waiting, second pending, lost waiting, many running', '... and nothing is decided');

-- By who may: the session's user is on record, and who it says it is beside
SET LOCAL ROLE decide_chief;
SELECT flow_approve(:run, 'ok', 'fine', 'Ada') AS chief \gset
RESET ROLE;
SELECT is(:'chief'::text, 't', 'a member of the approvers decides');
SET LOCAL ROLE decide_owner;
SELECT flow_drain(:run) AS d \gset
RESET ROLE;
SELECT is((SELECT output FROM flow.step WHERE run_id = :run AND name = 'ok'),
	jsonb_build_object('approved', true, 'by', session_user, 'approver', 'Ada', 'comment', 'fine'), '... which is recorded with session user and comment');
SELECT is(states(:run), 'running: a completed, ok completed, second waiting, lost waiting, many running', '... and the next one waits');

SELECT * FROM finish();
ROLLBACK;
