-- name: place_orders
-- Commits a group of orders, each with its own outcome (see the migration's place_orders.sql).
SELECT * FROM place_orders(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

-- name: placed_facts
-- What was first answered for orders: immutable facts, one row per line.
SELECT o.id, o.currency, o.total, o.email, o.placed_at, o.reference, p.sku, l.title, l.quantity, l.unit_price
  FROM orders o
  JOIN order_lines l ON l.order_id = o.id
  JOIN products p ON p.id = l.sku_id
 WHERE o.id = ANY ($1::uuid[])
 ORDER BY o.id, l.line_no;

-- name: find_order
-- An order as it is now, one row per line.
SELECT o.id, o.status, o.currency, o.total, o.email, o.placed_at, o.reference, p.sku, l.title, l.quantity, l.unit_price,
       (SELECT coalesce(sum(r.amount), 0)::bigint FROM refunds r WHERE r.order_id = o.id) AS refunded
  FROM orders o
  JOIN order_lines l ON l.order_id = o.id
  JOIN products p ON p.id = l.sku_id
 WHERE o.id = $1
 ORDER BY l.line_no;

-- name: find_order_id
-- The order that carries a reference.
SELECT id FROM orders WHERE reference = $1;
