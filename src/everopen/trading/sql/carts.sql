-- name: open_cart
-- A new, empty cart.
INSERT INTO carts (id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: open_session
-- A session over that cart; only the hash of its token is kept.
INSERT INTO sessions (token_hash, cart_id, expires_at) VALUES ($1, $2, now() + $3::interval)
ON CONFLICT (token_hash) DO NOTHING;

-- name: find_session
-- The cart of a session that has not expired.
SELECT cart_id, seen_at < now() - interval '1 hour' AS stale FROM sessions WHERE token_hash = $1 AND expires_at > now();

-- name: touch_session
-- Moves a session's end away, at most once an hour.
UPDATE sessions SET seen_at = now(), expires_at = now() + (expires_at - seen_at) WHERE token_hash = $1;

-- name: find_cart
-- A cart with its lines at today's prices, one row per line, one with NULLs for an empty one.
SELECT c.version, p.sku, p.title, l.quantity, p.unit_price,
       CASE WHEN p.tracks_stock THEN s.on_hand - s.reserved END AS available
  FROM carts c
  LEFT JOIN cart_lines l ON l.cart_id = c.id
  LEFT JOIN products p ON p.id = l.sku_id
  LEFT JOIN stock s ON s.sku_id = p.id
 WHERE c.id = $1
 ORDER BY l.added_at, p.sku;

-- name: lock_cart
-- Locks a cart and moves its version on.
UPDATE carts SET version = version + 1, updated_at = now() WHERE id = $1;

-- name: find_priced
-- A SKU's number and whether it has a price.
SELECT id, unit_price FROM products WHERE sku = $1;

-- name: measure_cart
-- How many other lines a cart has, and how many pieces of a SKU.
SELECT count(*) FILTER (WHERE sku_id <> $2) AS others, coalesce(sum(quantity) FILTER (WHERE sku_id = $2), 0)::bigint AS held
  FROM cart_lines WHERE cart_id = $1;

-- name: put_line
-- Sets a line's quantity.
INSERT INTO cart_lines (cart_id, sku_id, quantity) VALUES ($1, $2, $3)
ON CONFLICT (cart_id, sku_id) DO UPDATE SET quantity = excluded.quantity;

-- name: known_cart_key
-- Whether a key was used before, and for the same request; `result_id` is the cart it changed.
SELECT code, result_id FROM known_key($1, $2, 'cart');

-- name: keep_cart_key
-- Notes the key of a change of a cart; a fresh cart may follow one that was lost with its answer, and leaves its key alone.
INSERT INTO idempotency (key, fingerprint, kind, result_id)
SELECT $1, $2, 'cart', $3 WHERE NOT ($4::boolean AND EXISTS (SELECT FROM idempotency WHERE key = $1));

-- name: change_line
-- Sets the quantity of a line that is in the cart.
UPDATE cart_lines SET quantity = $3 WHERE cart_id = $1 AND sku_id = (SELECT id FROM products WHERE sku = $2) RETURNING 1;

-- name: remove_line
-- Takes a line out of the cart.
DELETE FROM cart_lines WHERE cart_id = $1 AND sku_id = (SELECT id FROM products WHERE sku = $2) RETURNING 1;

-- name: empty_cart
-- Takes all lines out of the cart.
DELETE FROM cart_lines WHERE cart_id = $1;
