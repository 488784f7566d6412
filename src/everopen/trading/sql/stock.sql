-- name: move_stock
-- Books a goods receipt or a correction, all or nothing.
SELECT * FROM move_stock($1, $2, $3, $4, $5, $6, $7);

-- name: transfer_stock
-- Moves goods from one location to another.
SELECT * FROM transfer_stock($1, $2, $3, $4, $5, $6, $7);

-- name: put_locations
-- Adds or changes locations.
SELECT * FROM put_locations($1, $2, $3, $4, $5);

-- name: list_locations
-- All locations in the order in which goods are picked from them, with how many pieces lie there.
SELECT l.id, l.name, l.priority, coalesce((SELECT sum(s.on_hand) FROM stock_at s WHERE s.location_id = l.id), 0)::bigint AS on_hand
  FROM locations l ORDER BY l.priority, l.id;

-- name: find_stock
-- What is there of a SKU, with its threshold.
SELECT p.id, p.sku, p.tracks_stock, s.on_hand, s.reserved, s.backorder, a.low_at, a.low_since
  FROM products p
  LEFT JOIN stock s ON s.sku_id = p.id
  LEFT JOIN stock_alerts a ON a.sku_id = p.id
 WHERE p.sku = $1;

-- name: find_stock_at
-- What lies of a SKU at its locations, in the order of picking.
SELECT s.location_id, s.on_hand FROM stock_at s JOIN locations l ON l.id = s.location_id
 WHERE s.sku_id = $1 ORDER BY l.priority, l.id;

-- name: moved_since
-- What was moved of a SKU after a time, per location, to be taken off what is there now.
SELECT location_id, sum(delta)::bigint AS delta FROM stock_movements WHERE sku_id = $1 AND moved_at > $2 GROUP BY location_id;

-- name: find_movements
-- A page of a SKU's movements, the newest first, before a place in that order.
SELECT id, moved_at, delta, kind, key, reason, location_id, actor FROM stock_movements
 WHERE sku_id = $1 AND ($2::timestamptz IS NULL OR (moved_at, id) < ($2, $3::bigint))
 ORDER BY moved_at DESC, id DESC LIMIT $4;

-- name: set_stock
-- Sets how a SKU may be sold out, and when it counts as low.
SELECT * FROM set_stock($1, $2, $3, $4, $5);

-- name: end_low
-- SKUs that are above their threshold again may be announced anew.
UPDATE stock_alerts a SET low_since = NULL FROM stock s
 WHERE s.sku_id = a.sku_id AND a.low_since IS NOT NULL AND s.on_hand - s.reserved > a.low_at
RETURNING a.sku_id;

-- name: announce_low
-- Announces each SKU that has come down to its threshold, once: who waited for the row finds it announced.
WITH low AS (
    UPDATE stock_alerts a SET low_since = now() FROM stock s
     WHERE s.sku_id = a.sku_id AND a.low_since IS NULL AND s.on_hand - s.reserved <= a.low_at
    RETURNING a.id, a.sku_id, a.low_at, s.on_hand - s.reserved AS available
)
INSERT INTO outbox (topic, subject, payload)
SELECT 'stock.low', w.id, jsonb_build_object('sku', p.sku, 'available', w.available, 'low_at', w.low_at)
  FROM low w JOIN products p ON p.id = w.sku_id
RETURNING 1;
