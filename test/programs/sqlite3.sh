#!/usr/bin/env bash
# Models: a B-tree page cache, a parser and sorters: small blocks of many sizes, short-lived, on one thread and on three
# Packages: sqlite3
# Quick: yes
. "$(dirname "$0")/lib.sh"

loads sqlite3

rows=$(amount 60000 300000)
cat >"$T/input.sql" <<END
PRAGMA page_size = 4096;
PRAGMA cache_size = -8000;
PRAGMA threads = 2;
CREATE TABLE item (id INTEGER PRIMARY KEY, grp INTEGER, name TEXT, body BLOB, price REAL);
CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT);
CREATE TRIGGER item_gone AFTER DELETE ON item BEGIN INSERT INTO audit (what) VALUES ('gone ' || old.name); END;

BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $rows)
INSERT INTO item
SELECT i, i * 7919 % 1009, printf('item-%08x', i * 2654435761 % 4294967296),
       CAST(substr(hex(i * 7919) || '-' || hex(i * 104729), 1, i % 40) AS BLOB), (i * 31 % 10007) / 100.0
FROM n;
COMMIT;
CREATE INDEX by_name ON item (name);
CREATE INDEX by_group ON item (grp, price DESC);
ANALYZE;

SELECT count(*), sum(length(body)), total(price), min(name), max(name) FROM item;
SELECT grp, count(*), round(avg(price), 6), group_concat(substr(name, 10), '.') FROM item WHERE grp % 100 = 7 GROUP BY grp;
SELECT a.grp, count(*), sum(a.price * b.price) FROM item a JOIN item b ON a.grp = b.grp AND b.id < a.id
 WHERE a.grp < 12 GROUP BY a.grp ORDER BY 3;
SELECT id, name, row_number() OVER w, round(sum(price) OVER w, 4) FROM item WHERE grp BETWEEN 20 AND 22
WINDOW w AS (PARTITION BY grp ORDER BY price, id ROWS BETWEEN 5 PRECEDING AND CURRENT ROW);
SELECT json_group_array(json_object('id', id, 'name', name, 'price', price)) FROM item WHERE grp = 500;
SELECT name, hex(body) FROM item WHERE length(body) > 9 ORDER BY body, name DESC LIMIT 300;

CREATE VIRTUAL TABLE words USING fts5 (t);
INSERT INTO words SELECT 'word' || (id % 313) || ' number ' || (id % 17) || ' of group ' || grp FROM item WHERE id % 5 = 0;
SELECT count(*), sum(rowid) FROM words WHERE words MATCH 'word17 AND number';
SELECT rowid, snippet(words, 0, '[', ']', '...', 4) FROM words WHERE words MATCH 'group NEAR 7' ORDER BY rank, rowid LIMIT 50;

BEGIN;
UPDATE item SET name = upper(name) || '/' || length(body), body = zeroblob(id % 3000) WHERE grp % 50 = 3;
DELETE FROM item WHERE grp % 50 = 4;
ROLLBACK;
DELETE FROM item WHERE grp % 40 = 9;
UPDATE item SET body = replace(hex(zeroblob(id % 2000)), '0', 'x') WHERE grp % 60 = 5;
SELECT count(*), max(what) FROM audit;
VACUUM;
PRAGMA integrity_check;
END

input=$T/input.sql compare session sqlite3 -batch items.db
# The dump and not the file: SQLite leaves bytes of a page that hold nothing as it found them in the heap.
compare dump sqlite3 items.db .dump
