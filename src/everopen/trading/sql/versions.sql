-- name: find_version
-- A product as it was at a time.
SELECT p.id, v.version, v.content, v.changed_at
  FROM products p
  JOIN LATERAL (SELECT * FROM product_versions x WHERE x.product_id = p.id AND x.changed_at <= $2 ORDER BY x.version DESC LIMIT 1) v ON true
 WHERE p.sku = $1;

-- name: list_versions
-- A page of a product's versions, the newest first; one more than asked for, so that the last one can be compared, too.
SELECT v.version, v.changed_at, v.actor, v.reason, v.content
  FROM product_versions v
 WHERE v.product_id = (SELECT p.id FROM products p WHERE p.sku = $1) AND ($2::integer IS NULL OR v.version < $2)
 ORDER BY v.version DESC LIMIT $3;

-- name: on_hand_then
-- What lay on the shelf at a time: what is there now, without what was moved since.
SELECT s.on_hand - coalesce((SELECT sum(m.delta) FROM stock_movements m WHERE m.sku_id = s.sku_id AND m.moved_at > $2), 0)::bigint
  FROM stock s WHERE s.sku_id = $1;

-- name: price_then
-- The price with validity that counted at a time, as far as it was recorded by then.
SELECT v.amount
  FROM (SELECT DISTINCT ON (x.valid_from) x.* FROM price_versions x
         WHERE x.sku_id = $1 AND x.currency = $2 AND x.changed_at <= $3 ORDER BY x.valid_from, x.id DESC) v
 WHERE NOT v.gone AND v.valid_from <= $3 AND (v.valid_to > $3 OR v.valid_to IS NULL);
