-- Tables of a small shop: bulk insert, indices, joins, groups, updates.
DROP TABLE IF EXISTS customer;
DROP TABLE IF EXISTS purchase;
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE purchase(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT,
                      price REAL, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)
INSERT INTO customer
  SELECT i, printf('customer %08x', i * 2654435761 % 4294967296),
         'city ' || (i % 97) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000)
INSERT INTO purchase
  SELECT i, 1 + i * 7919 % 20000, 'item ' || (i * 31 % 5003),
         (i * 37 % 10007) / 100.0,
         substr('the quick brown fox jumps over the lazy dog', 1 + i % 20)
    FROM n;
COMMIT;
CREATE INDEX purchase_customer ON purchase(customer, price);
CREATE INDEX purchase_item ON purchase(item);
SELECT city, count(*), sum(price) FROM customer JOIN purchase
    ON customer.id = purchase.customer
 GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT item, group_concat(note, ',') FROM purchase GROUP BY item
 ORDER BY length(group_concat(note, ',')) DESC, item LIMIT 3;
SELECT name, total, rank() OVER (ORDER BY total DESC) FROM
  (SELECT name, sum(price) AS total FROM customer JOIN purchase
     ON customer.id = purchase.customer GROUP BY name) LIMIT 10;
UPDATE purchase SET price = price * 1.1, note = note || ' again'
 WHERE customer % 3 = 0;
DELETE FROM purchase WHERE id % 5 = 0;
SELECT count(DISTINCT note), avg(price) FROM purchase;
