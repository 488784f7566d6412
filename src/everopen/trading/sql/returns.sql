-- name: request_return
-- A customer wants to send pieces back.
SELECT * FROM request_return($1, $2, $3, $4, $5, $6, $7, $8, make_interval(secs => $9::float8), $10);

-- name: move_return
-- A return is received, withdrawn or refused.
SELECT * FROM move_return($1, $2, $3, $4, $5, $6, $7);

-- name: inspect_return
-- The pieces of a parcel were looked at; the money of the accepted ones goes back.
SELECT * FROM inspect_return($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: return_facts
-- Returns as they are now, one row per line.
SELECT r.id, r.rma, r.order_id, r.status, r.reason, r.note, r.requested_by, r.requested_at, r.received_at, r.closed_at, r.refund_id,
       p.sku, o.title, l.quantity, l.good, l.damaged, l.rejected
  FROM returns r
  JOIN return_lines l ON l.return_id = r.id
  JOIN order_lines o ON o.order_id = r.order_id AND o.line_no = l.order_line_no
  JOIN products p ON p.id = o.sku_id
 WHERE r.id = ANY ($1::uuid[])
 ORDER BY r.rma, l.order_line_no;

-- name: returns_of_order
-- The returns of an order.
SELECT id FROM returns WHERE order_id = $1 ORDER BY rma;

-- name: search_returns
-- Returns for staff, the newest first: status, number, and the number after which the page begins may be NULL.
SELECT id FROM returns
 WHERE ($1::text IS NULL OR status = $1) AND ($2::bigint IS NULL OR rma = $2) AND ($3::bigint IS NULL OR rma < $3)
 ORDER BY rma DESC LIMIT $4;
