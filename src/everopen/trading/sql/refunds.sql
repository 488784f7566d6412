-- name: refund_order
-- Money, and goods if wanted, of a paid order go back.
SELECT * FROM refund_order($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: credit
-- Money promised back for a sale that is not in this shop.
SELECT * FROM credit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: cancel_order
-- Takes an unpaid order back.
SELECT * FROM cancel_order($1, $2, $3, $4);

-- name: refund_facts
-- A refund or credit as it was answered, one row per line.
SELECT r.id, r.order_id, r.currency, r.amount, r.reason, r.reference, r.created_at, p.sku, l.title, l.quantity, l.unit_price
  FROM refunds r
  JOIN refund_lines l ON l.refund_id = r.id
  JOIN products p ON p.id = l.sku_id
 WHERE r.id = $1
 ORDER BY l.line_no;
