-- name: refund_order
-- Money, and goods if wanted, of a paid order go back.
SELECT * FROM refund_order($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: cancel_pieces
-- Pieces of a paid order that have not left the house go back on the shelf, and their money to the customer.
SELECT * FROM cancel_pieces($1, $2, $3, $4, $5, $6, $7, $8);

-- name: credit
-- Money promised back for a sale that is not in this shop.
SELECT * FROM credit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: cancel_order
-- Takes an unpaid order back.
SELECT * FROM cancel_order($1, $2, $3, $4, $5);

-- name: refund_facts
-- A refund or credit as it was answered, one row per line (one of nothing but shipping has a row without a SKU).
SELECT r.id, r.order_id, r.currency, r.amount, r.reason, r.reference, r.created_at, coalesce(r.shipping, 0) AS shipping,
       coalesce(r.tax, 0) AS tax, p.sku, l.title, l.quantity, l.unit_price,
       coalesce(l.amount, l.quantity * l.unit_price) AS line_amount
  FROM refunds r
  LEFT JOIN refund_lines l ON l.refund_id = r.id
  LEFT JOIN products p ON p.id = l.sku_id
 WHERE r.id = $1
 ORDER BY l.line_no;
