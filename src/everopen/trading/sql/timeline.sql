-- name: timeline
-- All that happened to an order, for its customer: when, what, and the facts that the sentence needs.
SELECT t.at, t.what, t.note, t.amount, t.quantity
  FROM (
      SELECT o.placed_at AS at, 0 AS rank, 'placed' AS what, '' AS note, o.total AS amount, NULL::bigint AS quantity
        FROM orders o WHERE o.id = $1
      UNION ALL
      SELECT o.settled_at, 1, CASE WHEN was_paid(o.id, o.status) THEN 'paid' ELSE o.status END, '', o.total, NULL
        FROM orders o WHERE o.id = $1 AND (o.status IN ('declined', 'authorised') OR was_paid(o.id, o.status))
      UNION ALL
      SELECT h.at, 8, h.event, h.why, NULL, NULL FROM order_history h
       WHERE h.order_id = $1 AND h.event IN ('cancel', 'expire', 'refund_all', 'complete', 'return_all')
      UNION ALL
      SELECT s.shipped_at, 3, 'shipped', concat_ws(' ', nullif(s.carrier, ''), nullif(s.tracking, '')), s.number,
             (SELECT sum(l.quantity) FROM shipment_lines l WHERE l.order_id = s.order_id AND l.number = s.number)
        FROM shipments s WHERE s.order_id = $1
      UNION ALL
      SELECT v.at, v.rank, v.what, v.note, r.rma, (SELECT sum(l.quantity) FROM return_lines l WHERE l.return_id = r.id)
        FROM returns r
        CROSS JOIN LATERAL (VALUES
            (r.requested_at, 4, 'return_requested', r.reason), (r.received_at, 5, 'return_received', ''),
            (r.closed_at, 6, 'return_' || r.status, r.note)) AS v (at, rank, what, note)
       WHERE r.order_id = $1 AND v.at IS NOT NULL
      UNION ALL
      SELECT r.created_at, 7, 'refund', r.reason, r.amount, NULL FROM refunds r WHERE r.order_id = $1
      UNION ALL
      SELECT i.settled_at, 9, CASE i.status WHEN 'refunded' THEN 'refund_paid' ELSE 'refund_failed' END, '', i.amount, NULL
        FROM payment_intents i
       WHERE i.id IN (SELECT r.id FROM refunds r WHERE r.order_id = $1) AND i.status IN ('refunded', 'declined')
      UNION ALL
      SELECT d.issued_at, 10, d.kind, d.content ->> 'number', d.total, NULL FROM documents d WHERE d.order_id = $1
  ) t
 ORDER BY t.at, t.rank, t.amount;

-- name: search_orders
-- Orders for staff, the newest first. Status, e-mail, customer, first and last time, and the order after which the page begins may be
-- NULL; the time of an id is that of its placing or later (history has times of its own), so the first time bounds ids.
SELECT o.id, o.status, o.currency, o.total, o.email, o.placed_at, o.settled_at, o.reference,
       (SELECT coalesce(sum(l.quantity), 0)::bigint FROM order_lines l WHERE l.order_id = o.id) AS units
  FROM orders o
 WHERE ($1::text[] IS NULL OR o.status = ANY ($1)) AND ($2::text IS NULL OR lower(o.email) = lower($2))
   AND ($3::uuid IS NULL OR o.customer_id = $3)
   AND ($4::timestamptz IS NULL OR o.placed_at >= $4) AND ($5::timestamptz IS NULL OR o.placed_at < $5)
   AND ($6::uuid IS NULL OR o.id >= $6) AND ($7::uuid IS NULL OR o.id < $7)
 ORDER BY o.id DESC LIMIT $8;
