-- name: read_carts
-- Carts with their lines at today's prices, one row per line, one with NULLs for an empty cart.
SELECT cart_id, version, sku, title, quantity, unit_price, price_was, available FROM read_carts($1, $2);

-- name: add_to_carts
-- A group of additions to carts, each with its own outcome (see the function).
SELECT * FROM add_to_carts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: lock_cart
-- Locks a cart.
SELECT FROM carts WHERE id = $1 FOR UPDATE;

-- name: move_on
-- Moves a cart's version on.
UPDATE carts SET version = version + 1, updated_at = now() WHERE id = $1;

-- name: change_line
-- Sets the quantity of a line that is in the cart; its buyer has seen today's price.
UPDATE cart_lines l SET quantity = $3, unit_price = price_now(p.id, p.unit_price, p.scheduled, $4)
  FROM products p WHERE p.sku = $2 AND l.cart_id = $1 AND l.sku_id = p.id RETURNING 1;

-- name: remove_line
-- Takes a line out of the cart.
DELETE FROM cart_lines WHERE cart_id = $1 AND sku_id = (SELECT id FROM products WHERE sku = $2) RETURNING 1;

-- name: empty_cart
-- Takes all lines out of the cart, and says whether there were some.
WITH gone AS (DELETE FROM cart_lines WHERE cart_id = $1 RETURNING 1) SELECT count(*) FROM gone;

-- name: merge_carts
-- Moves what lies in one cart into another.
SELECT merge_carts($1, $2, $3, $4);

-- name: cart_of_customer
-- The one cart of a customer, made when there is none yet.
SELECT cart_of_customer($1, $2);

-- name: cart_owner
-- The customer whose cart it is; NULL for a guest's.
SELECT customer_id FROM carts WHERE id = $1;

-- name: touch_cart
-- Keeps a cart from being forgotten for its age; NULL when it was.
UPDATE carts SET updated_at = now() WHERE id = $1 RETURNING 1;
