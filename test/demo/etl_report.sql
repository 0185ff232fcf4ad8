-- Prints the output of the newest run of "package-report"

\pset footer off
SELECT output AS report FROM flow.run WHERE workflow = 'package-report' ORDER BY id DESC LIMIT 1 \gset

SELECT r->>'lines' AS lines, r->>'fields' AS fields, r->>'packages' AS packages,
	   r->>'dependencies' AS dependencies, (r->>'megabytes')::numeric(10) AS "MB installed"
FROM (SELECT :'report'::jsonb AS r) s;

\echo Sections by size
SELECT section, packages, installed_kb / 1024 AS mb
FROM jsonb_to_recordset(:'report'::jsonb->'sections') s (section text, packages int, installed_kb bigint);

\echo The biggest packages
SELECT name, version, installed_kb / 1024 AS mb
FROM jsonb_to_recordset(:'report'::jsonb->'biggest') b (name text, version text, installed_kb bigint);

\echo What most packages depend on
SELECT package, needed_by
FROM jsonb_to_recordset(:'report'::jsonb->'needed') n (package text, needed_by int);
