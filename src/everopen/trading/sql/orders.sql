-- name: place_orders
-- Commits a group of orders, each with its own outcome (see the migration's place_orders.sql).
SELECT * FROM place_orders(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26,
    $27, $28, $29, $30, $31, $32, $33, $34, $35);

-- name: quote_facts
-- What the rules need to know of each line: its price now (as place_orders finds it), and the version of the rules beside it.
SELECT p.title, p.published, p.category_id AS category, p.tax_category, p.weight_g,
       CASE WHEN p.scheduled OR k.currency <> $3 THEN q.amount ELSE p.unit_price END AS amount,
       (SELECT r.version FROM pricing_rules r) AS version
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (sku, currency, ord)
  LEFT JOIN products p ON p.sku = k.sku
  LEFT JOIN LATERAL (
      SELECT x.amount FROM prices x
       WHERE x.sku_id = p.id AND x.currency = k.currency AND x.valid_from <= now() AND (x.valid_to IS NULL OR x.valid_to > now())
       ORDER BY x.valid_from DESC LIMIT 1) q ON p.scheduled OR k.currency <> $3
 ORDER BY k.ord;

-- name: placed_facts
-- What was first answered for orders: immutable facts, one row per line.
SELECT o.id, o.currency, o.total, o.email, o.placed_at, o.reference, p.sku, l.title, l.quantity, l.unit_price,
       l.discount, l.tax AS line_tax, l.tax_rate_bp, o.shipping, o.shipping_tax, o.tax, o.tax_added, o.shipping_method, o.ship_to, o.quote
  FROM orders o
  JOIN order_lines l ON l.order_id = o.id
  JOIN products p ON p.id = l.sku_id
 WHERE o.id = ANY ($1::uuid[])
 ORDER BY o.id, l.line_no;

-- name: find_orders
-- Orders as they are now, one row per line.
SELECT o.id, o.status, o.currency, o.total, o.email, o.placed_at, o.reference, p.sku, l.title, l.quantity, l.unit_price,
       l.discount, l.tax AS line_tax, l.tax_rate_bp, o.shipping, o.shipping_tax, o.tax, o.tax_added, o.shipping_method, o.ship_to, o.quote,
       (SELECT coalesce(sum(r.amount), 0)::bigint FROM refunds r WHERE r.order_id = o.id) AS refunded,
       CASE WHEN was_paid(o.id, o.status) THEN o.settled_at END AS paid_at
  FROM unnest($1::uuid[]) AS asked (id)
  CROSS JOIN LATERAL (SELECT * FROM orders x WHERE x.id = asked.id OFFSET 0) o
  CROSS JOIN LATERAL (SELECT * FROM order_lines x WHERE x.order_id = o.id OFFSET 0) l
  CROSS JOIN LATERAL (SELECT * FROM products x WHERE x.id = l.sku_id OFFSET 0) p
 ORDER BY o.id, l.line_no;

-- name: find_order_id
-- The order that carries a reference.
SELECT id FROM orders WHERE reference = $1;
