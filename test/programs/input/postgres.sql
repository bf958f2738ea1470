-- Tables of many types, filled without a random number; then queries that sort, hash, aggregate, compile and recurse.
CREATE TABLE item (id int PRIMARY KEY, grp int, name text, doc jsonb, tags text[], price numeric(12, 4), at timestamp);
INSERT INTO item
SELECT i, (i * 7919::bigint) % 1009, 'item-' || md5(i::text), jsonb_build_object('n', i, 'list', array[i, i + 1], 'text', repeat('x', i % 300)),
       array['t' || i % 17, 't' || i % 31], i * 31 % 10007 / 7.0, timestamp '2020-01-01' + i * interval '37 minutes'
  FROM generate_series(1, 60000) i;
CREATE TABLE word AS SELECT row_number() OVER () AS id, w, repeat(w, 40 + n % 400) AS long
  FROM (SELECT 'w' || n % 997 AS w, n FROM generate_series(1, 20000) n) s;
CREATE INDEX ON item USING gin (doc);
CREATE INDEX ON item USING gin (tags);
CREATE INDEX ON item (name text_pattern_ops);
CREATE INDEX ON item USING brin (at);
ANALYZE;

SELECT grp, count(*), sum(price), md5(string_agg(name, ',' ORDER BY id)) FROM item GROUP BY grp HAVING grp % 100 = 3 ORDER BY grp;
SELECT a.grp, count(*), sum(a.price * b.price) FROM item a JOIN item b USING (grp) WHERE grp < 30 GROUP BY a.grp ORDER BY a.grp;
SELECT md5(string_agg(t, '|' ORDER BY id)) FROM (SELECT id, id || ':' || rank() OVER w || ':' || sum(price) OVER w AS t FROM item
  WINDOW w AS (PARTITION BY grp ORDER BY price DESC, id)) s;
SELECT count(*), md5(string_agg(doc::text, '' ORDER BY id)) FROM item WHERE doc @> '{"list": [500]}' OR tags && array['t3'];
SELECT md5(string_agg(regexp_replace(name, '([a-f]+)([0-9]+)', '\2\1', 'g'), '' ORDER BY name DESC)) FROM item;
SELECT md5(string_agg(w || length(long), '' ORDER BY long COLLATE "C", id)) FROM word;
SELECT count(DISTINCT name), count(DISTINCT doc), percentile_cont(array[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY price) FROM item;
WITH RECURSIVE walk (id, path) AS (SELECT 1, array[1] UNION ALL SELECT id * 2 + k, path || id * 2 + k FROM walk, generate_series(0, 1) k WHERE id < 5000)
SELECT count(*), md5(string_agg(path::text, '' ORDER BY id, path)) FROM walk;
SELECT md5(xmlagg(xmlelement(name item, xmlattributes(id), name) ORDER BY id)::text) FROM item WHERE id < 3000;
SELECT to_tsvector('english', string_agg(w, ' ' ORDER BY id)) @@ 'w7 & w8'::tsquery FROM word WHERE id < 2000;

-- The same with every expression compiled, inlined and optimised.
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
SELECT grp % 10, count(*), sum(price), avg(length(name)) FROM item WHERE price > 100 AND grp BETWEEN 5 AND 900 GROUP BY 1 ORDER BY 1;
SELECT count(*), sum(a.price - b.price) FROM item a JOIN item b ON a.id = b.id + 1 WHERE a.grp <> b.grp;
RESET ALL;

-- A language with its own memory, an error that is caught ten thousand times, and a cursor.
CREATE FUNCTION work(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE all_of text := ''; bad int := 0; r record;
BEGIN
	FOR i IN 1 .. n LOOP
		BEGIN
			all_of := all_of || chr(97 + i % 26);
			PERFORM 1 / (i % 3);
		EXCEPTION WHEN division_by_zero THEN bad := bad + 1;
		END;
	END LOOP;
	FOR r IN SELECT * FROM item WHERE grp = 77 ORDER BY id LOOP all_of := md5(all_of || r.name); END LOOP;
	RETURN all_of || bad;
END $$;
SELECT work(10000);
BEGIN;
DECLARE c CURSOR FOR SELECT id, name FROM item ORDER BY name;
FETCH 5 FROM c;
MOVE 10000 IN c;
FETCH 5 FROM c;
ROLLBACK;
