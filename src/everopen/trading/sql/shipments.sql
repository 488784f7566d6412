-- name: ship_order
-- Pieces of a paid order leave the house.
SELECT * FROM ship_order($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: complete_order
-- A shipped order has arrived.
SELECT * FROM complete_order($1, $2, $3, $4, $5);

-- name: complete_due
-- What has been on its way for so long counts as arrived, a batch at a time.
SELECT * FROM complete_due(make_interval(secs => $1::float8), $2);

-- name: shipments
-- The shipments of an order, one row per line.
SELECT s.number, s.carrier, s.tracking, s.shipped_at, s.delivered_at, p.sku, o.title, l.quantity
  FROM shipments s
  JOIN shipment_lines l USING (order_id, number)
  JOIN order_lines o ON o.order_id = s.order_id AND o.line_no = l.order_line_no
  JOIN products p ON p.id = o.sku_id
 WHERE s.order_id = $1
 ORDER BY s.number, l.order_line_no;

-- name: order_status
-- The state that an order is in now.
SELECT status FROM orders WHERE id = $1;
