-- API.md 1.1 and 1.2, steps that run once for each item: each row of the contract with
-- what it does and what it refuses.
\ir api.psql
SELECT no_plan();

-- for_each
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT item, item_no', for_each => 'SELECT n, n * 2 AS m FROM generate_series(1, 2) n')]), 'a'),
	'[{"item": {"n": 1, "m": 2}, "item_no": 1}, {"item": {"n": 2, "m": 4}, "item_no": 2}]', 'for_each: a query gives an item a row, always an object');
SELECT is((SELECT string_agg(out_of(ran(ARRAY[flow_step('a', 'SELECT item', for_each => q)]), 'a')::text, ' ') FROM unnest(ARRAY['WITH x AS (SELECT 1 AS n) SELECT n FROM x', 'VALUES (1)']) q),
	'[{"n": 1}] [{"column1": 1}]', 'for_each: its first word is SELECT, WITH, VALUES or TABLE');
CREATE TABLE two AS SELECT 7 AS n;
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT item', for_each => 'TABLE two')]), 'a'), '[{"n": 7}]', 'for_each: TABLE');
SELECT is(out_of(ran(ARRAY[flow_step('a', $$ SELECT item->'x' AS x, item_no AS no $$, for_each => $$ input->'list' $$)], '{"list": [{"x": 1}, {"x": 2}]}'), 'a'),
	'[{"x": 1, "no": 1}, {"x": 2, "no": 2}]', 'for_each: an expression gives an array, its elements are the items');
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT item', for_each => $$ (SELECT jsonb_agg(n) FROM generate_series(1, 2) n) $$)]), 'a'), '[1, 2]', 'for_each: a query in parentheses is an expression');
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT 1', for_each => $$ '[]'::jsonb $$)]), 'a'), '[]', 'for_each: no items');
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT 1', for_each => $$ '[1, 2]'::jsonb $$, result => 'none')]), 'a'), NULL, 'for_each: null with result none');
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT 1', for_each => $$ '{}'::jsonb $$)])), '42804', 'for_each: what is no array fails');
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT 1', for_each => 'NULL::jsonb')])), '22004', 'for_each: so does null');
SELECT is(refused(flow_step('a', 'SELECT 1', for_each => 'SELECT (')), '42601', 'for_each: what does not parse is refused');
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1', for_each => '1 / 0', condition => 'false')]), 'completed: a skipped', 'for_each: condition is evaluated once before the items');
SELECT is(out_of(ran(ARRAY[flow_wait('w', for_each => $$ '[1, 2]'::jsonb $$)]), 'w'), NULL, 'for_each: of any kind; a wait waits');
SELECT is((SELECT string_agg(item_no || ' ' || status, ', ' ORDER BY item_no) FROM flow.item WHERE run_id = (SELECT max(id) FROM flow.run)), '1 waiting, 2 waiting', 'for_each: each of its items');

-- max_parallel
SELECT ran(ARRAY[flow_wait('w', for_each => $$ '[1, 2, 3]'::jsonb $$, max_parallel => 2)]) AS run \gset
SELECT is((SELECT count(*) FROM flow.item WHERE run_id = :run AND status = 'waiting'), 2::bigint, 'max_parallel: items at once');
SELECT is(refused(flow_step('a', 'SELECT 1', for_each => $$ '[]'::jsonb $$, max_parallel => 0)), '22023', 'max_parallel: zero is refused');
SELECT is(refused(flow_step('a', 'SELECT 1', max_parallel => 2)), '22023', 'max_parallel: it means nothing without for_each');

-- on_item_error
SELECT is(became(ARRAY[flow_step('a', 'SELECT 1 / item::int AS n', for_each => $$ '[1, 0, 2]'::jsonb $$)]), 'failed: a failed', 'on_item_error fail: an item that fails, fails the step');
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT 2 / item::int AS n', for_each => $$ '[1, 0, 2]'::jsonb $$, on_item_error => 'collect')]), 'a'), '[{"n": 2}, null, {"n": 1}]', 'on_item_error collect: failed items are null in the output');
SELECT is(refused(flow_step('a', 'SELECT 1', for_each => $$ '[]'::jsonb $$, on_item_error => 'skip')), '22023', 'on_item_error: another value is refused');
SELECT is(refused(flow_step('a', 'SELECT 1', on_item_error => 'collect')), '22023', 'on_item_error: it means nothing without for_each');

-- undo, retries, hooks
SELECT is(effects(ran(ARRAY[flow_step('a', 'SELECT 1', for_each => $$ '["x", "y"]'::jsonb $$, undo => $$ INSERT INTO effect (run_id, what) VALUES (flow.run_id, '-' || (item#>>'{}')) $$), flow_step('b', 'SELECT 1 / 0', after => '{a}')])), '-y -x', 'undo: once for each completed item, in reverse');
SELECT ran(ARRAY[flow_step('a', 'SELECT 1 / item::int', for_each => $$ '[1, 0]'::jsonb $$, retries => 1, options => '{"no_retry_on": []}')], elapse => true) AS run \gset
SELECT is((SELECT string_agg(item_no || ' ' || attempt, ', ' ORDER BY item_no, attempt) FROM flow.attempt WHERE run_id = :run), '2 1, 2 2', 'retries: each item by itself');
SELECT is(refused(flow_step('h', 'SELECT 1', hook => '{failed}', for_each => $$ '[]'::jsonb $$)), '22023', 'hook: not beside for_each');

-- Names and functions
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT pg_typeof(flow.item) AS i, pg_typeof(flow.item_no) AS n', for_each => $$ '[1]'::jsonb $$)]), 'a'), '[{"i": "jsonb", "n": "integer"}]', 'names: flow.item, flow.item_no are typed');
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT flow.item')])), '42703', 'names: not without for_each');
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT flow_item() AS i, flow_item_no() AS n', for_each => $$ '[5]'::jsonb $$)]), 'a'), '[{"i": 5, "n": 1}]', 'functions: flow_item, flow_item_no');
SELECT is(out_of(ran(ARRAY[flow_step('a', 'SELECT 2 / item::int AS n', for_each => $$ '[1, 0]'::jsonb $$, on_item_error => 'collect'),
	flow_step('b', $$ SELECT string_agg(concat_ws(' ', item_no, item, status, output, sqlstate), ', ' ORDER BY item_no) AS all FROM flow_items('a') $$, after => '{a}')]), 'b'),
	'{"all": "1 1 completed {\"n\": 2}, 2 0 failed 22012"}', 'functions: flow_items');
SELECT is(answer('SELECT flow_item()') || answer('SELECT flow_item_no()') || answer('SELECT count(*) FROM flow_items(''a'')'), '550005500055000', 'functions: outside a step they are refused');
SELECT is(failure(ran(ARRAY[flow_step('a', 'SELECT 1'), flow_step('b', $$ SELECT count(*) FROM flow_items('a') $$, after => '{a}')])), '22023', 'functions: flow_items of a step without items');

-- Steering items
SELECT ran(ARRAY[flow_step('a', 'SELECT 1 / CASE WHEN item = ''0'' AND NOT EXISTS (SELECT FROM effect WHERE what = ''mended'') THEN 0 ELSE 1 END AS n', for_each => $$ '[1, 0]'::jsonb $$, on_item_error => 'collect'), flow_step('b', 'SELECT 1 / 0', after => '{a}')]) AS run \gset
INSERT INTO effect (what) VALUES ('mended');
SELECT is(flow_retry(:run, 'a'), true, 'flow_retry: with a step, also the failed items that it collected');
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run) || ' ' || out_of(:run, 'a'), 'failed: a completed, b failed [{"n": 1}, {"n": 1}]', 'flow_retry: ... and what is behind it runs again');
SELECT ran(ARRAY[flow_step('a', 'SELECT 1 / CASE WHEN item = ''0'' AND (SELECT count(*) FROM effect WHERE what = ''mended'') < 2 THEN 0 ELSE 1 END AS n', for_each => $$ '[1, 0]'::jsonb $$)]) AS run \gset
INSERT INTO effect (what) VALUES ('mended');
SELECT is(flow_retry(:run, 'a', 2), true, 'flow_retry: an item');
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run) || ' ' || out_of(:run, 'a'), 'completed: a completed [{"n": 1}, {"n": 1}]', 'flow_retry: ... and it completes');
SELECT ran(ARRAY[flow_approval('a', for_each => $$ '[1, 2, 3]'::jsonb $$)]) AS run \gset
SELECT is(flow_skip(:run, 'a', 1), true, 'flow_skip: an item');
SELECT is(flow_finish(:run, 'a', '"by hand"', 2), true, 'flow_finish: an item');
SELECT is(answer(format('SELECT flow_approve(%s, ''a'')', :run)), '22023', 'flow_approve: of a step with items it wants item_no');
SELECT is(flow_approve(:run, 'a', item_no => 3), true, 'flow_approve: an item');
SELECT flow_drain(:run) AS d \gset
SELECT is(states(:run), 'completed: a completed', 'flow_approve: ... and the step has ended');
SELECT is((out_of(:run, 'a'))->1, '"by hand"', 'flow_finish: with that output');

SELECT * FROM finish();
ROLLBACK;
