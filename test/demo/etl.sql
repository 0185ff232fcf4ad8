-- ETL over this machine's own list of installed packages.  Run as the role
-- "etl", a member of pg_read_server_files, with psql's variable "file" set.

CREATE SCHEMA etl;
SET search_path = etl, public;

CREATE TABLE line
(
	no      bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	content text
);

CREATE TABLE field
(
	paragraph bigint,
	name      text CHECK (name ~ '^[A-Za-z][A-Za-z0-9-]*$'),
	value     text NOT NULL,
	PRIMARY KEY (paragraph, name)
);

CREATE TABLE package
(
	name         text,
	architecture text,
	version      text NOT NULL,
	section      text NOT NULL,
	installed_kb bigint NOT NULL CHECK (installed_kb >= 0),
	PRIMARY KEY (name, architecture)
);

CREATE TABLE dependency (package text, needs text, PRIMARY KEY (package, needs));
CREATE TABLE section_total (section text PRIMARY KEY, packages int NOT NULL, installed_kb bigint NOT NULL);
CREATE TABLE most_needed (package text PRIMARY KEY, needed_by int NOT NULL);

SELECT flow_define('package-report', ARRAY[
	-- A paragraph per package, an empty line between them.  (Delimiter and
	-- quote are characters that do not occur: a line is one column.)
	flow_step('extract', format($$
		TRUNCATE line, field, package, dependency, section_total, most_needed RESTART IDENTITY;
		COPY line (content) FROM %L WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ENCODING 'UTF8');
		SELECT count(*) AS lines FROM line $$, :'file')),

	-- Fields have a well-formed name, once per paragraph: the table's
	-- constraints say so.  Continuation lines begin with a blank.
	flow_step('validate', $$
		INSERT INTO field (paragraph, name, value)
		SELECT paragraph, split_part(content, ':', 1), ltrim(substr(content, strpos(content, ':') + 1))
		FROM (SELECT content, count(*) FILTER (WHERE content IS NULL) OVER (ORDER BY no) AS paragraph FROM line) l
		WHERE content !~ '^\s';
		SELECT count(DISTINCT paragraph) AS paragraphs, count(*) AS fields FROM field $$,
		after => '{extract}'),

	flow_step('packages', $$
		INSERT INTO package (name, architecture, version, section, installed_kb)
		SELECT f->>'Package', f->>'Architecture', f->>'Version', coalesce(f->>'Section', 'unknown'),
			   coalesce(f->>'Installed-Size', '0')::bigint
		FROM (SELECT jsonb_object_agg(name, value) AS f FROM field GROUP BY paragraph) p
		WHERE f->>'Status' LIKE '% installed';
		SELECT count(*) AS packages FROM package $$,
		after => '{validate}'),

	flow_step('dependencies', $$
		INSERT INTO dependency (package, needs)
		SELECT DISTINCT p.value, substring(alternative FROM '^[a-z0-9][a-z0-9+.-]*')
		FROM field p
			JOIN field d ON d.paragraph = p.paragraph AND d.name IN ('Depends', 'Pre-Depends')
			CROSS JOIN regexp_split_to_table(d.value, '\s*[,|]\s*') alternative
		WHERE p.name = 'Package';
		SELECT count(*) AS dependencies FROM dependency $$,
		after => '{validate}'),

	flow_step('aggregate', $$
		INSERT INTO section_total
		SELECT section, count(*), sum(installed_kb) FROM package GROUP BY section;
		INSERT INTO most_needed
		SELECT needs, count(*) FROM dependency WHERE needs IN (SELECT name FROM package) GROUP BY needs $$,
		after => '{packages,dependencies}'),

	flow_step('report', $$
		SELECT jsonb_build_object(
			'lines', extract->'lines', 'fields', validate->'fields',
			'packages', packages->'packages', 'dependencies', dependencies->'dependencies',
			'megabytes', (SELECT sum(installed_kb) / 1024 FROM package),
			'sections', (SELECT jsonb_agg(s) FROM (SELECT * FROM section_total ORDER BY installed_kb DESC, section LIMIT 8) s),
			'biggest', (SELECT jsonb_agg(b) FROM (SELECT name, version, installed_kb FROM package ORDER BY installed_kb DESC, name LIMIT 8) b),
			'needed', (SELECT jsonb_agg(n) FROM (SELECT * FROM most_needed ORDER BY needed_by DESC, package LIMIT 8) n)) $$,
		after => '{extract,validate,packages,dependencies,aggregate}')
], description => 'What is installed here');
