-- name: orders_follow_the_table
-- Each order is in a state that the table of transitions allows, and its history leads there step by step.
WITH untold (before, after) AS (VALUES ('placed', 'authorised'), ('placed', 'paid'), ('authorised', 'paid')),
steps AS (
    SELECT h.order_id, h.from_status, h.event, h.to_status,
           coalesce(lag(h.to_status) OVER w, 'placed') AS before, lead(h.id) OVER w IS NULL AS is_last
      FROM order_history h WINDOW w AS (PARTITION BY h.order_id ORDER BY h.id)
)
SELECT format('order %s: %s by %s to %s, which the table lacks', s.order_id, s.from_status, s.event, s.to_status)
  FROM steps s WHERE (s.from_status, s.event, s.to_status) NOT IN (SELECT t.from_status, t.event, t.to_status FROM order_transitions() t)
UNION ALL
SELECT format('order %s: left %s, its history had it in %s', s.order_id, s.from_status, s.before)
  FROM steps s WHERE s.before <> s.from_status AND (s.before, s.from_status) NOT IN (SELECT u.before, u.after FROM untold u)
UNION ALL
SELECT format('order %s is %s, its history ends in %s', s.order_id, coalesce(o.status, 'not there'), s.to_status)
  FROM steps s LEFT JOIN orders o ON o.id = s.order_id
 WHERE s.is_last AND (o.id IS NULL OR (o.status <> s.to_status AND (s.to_status, o.status) NOT IN (SELECT u.before, u.after FROM untold u)))
UNION ALL
SELECT format('order %s is %s without a history', o.id, o.status)
  FROM orders o
 WHERE o.status NOT IN ('placed', 'authorised', 'paid', 'declined')
   AND NOT EXISTS (SELECT FROM order_history h WHERE h.order_id = o.id);

-- name: shipments_within_sales
-- No piece is sent that was not sold, or not paid for, or was given back before; and a shipped order has nothing left to send.
WITH lines AS (
    SELECT u.order_id, u.line_no, bool_or(u.tracked) AS tracked, sum(u.sold) AS sold, sum(u.sent) AS sent, sum(u.gone) AS gone,
           sum(u.withheld) AS withheld, sum(u.back) AS back
      FROM (SELECT l.order_id, l.line_no, l.tracked, l.quantity AS sold, 0 AS sent, 0 AS gone, 0 AS withheld, 0 AS back
              FROM order_lines l WHERE l.order_id IN (SELECT s.order_id FROM shipments s)
            UNION ALL SELECT s.order_id, s.order_line_no, NULL, 0, s.quantity, s.quantity, 0, 0 FROM shipment_lines s
            UNION ALL SELECT r.order_id, l.order_line_no, NULL, 0, 0, coalesce(l.unshipped, l.quantity), coalesce(l.unshipped, l.quantity), l.quantity
              FROM refunds r JOIN refund_lines l ON l.refund_id = r.id WHERE r.order_id IN (SELECT s.order_id FROM shipments s)) u
     GROUP BY u.order_id, u.line_no
)
SELECT format('order %s is %s, line %s: sold %s, sent %s, given back before that %s', l.order_id, coalesce(o.status, 'not there'), l.line_no, l.sold, l.sent, l.withheld)
  FROM lines l LEFT JOIN orders o ON o.id = l.order_id
 WHERE l.gone > l.sold OR l.withheld > l.back OR o.status IS NULL
    OR o.status NOT IN ('partly_shipped', 'shipped', 'completed', 'returned')
    OR (o.status <> 'partly_shipped' AND l.tracked AND l.gone < l.sold)
UNION ALL
SELECT format('order %s is %s, with nothing left to send', o.id, o.status)
  FROM orders o
 WHERE o.status = 'partly_shipped' AND o.id NOT IN (SELECT l.order_id FROM lines l WHERE l.tracked AND l.gone < l.sold)
   AND o.id IN (SELECT l.order_id FROM lines l WHERE l.tracked)
UNION ALL
SELECT format('order %s is %s without a shipment', o.id, o.status)
  FROM orders o WHERE o.status IN ('partly_shipped', 'shipped', 'completed')
   AND NOT EXISTS (SELECT FROM shipments s WHERE s.order_id = o.id)
UNION ALL
SELECT format('shipment %s of order %s has no lines', s.number, s.order_id)
  FROM shipments s WHERE NOT EXISTS (SELECT FROM shipment_lines l WHERE l.order_id = s.order_id AND l.number = s.number);

-- name: returns_were_inspected
-- Of a return, exactly what inspection accepted was refunded, and exactly what it found good went on the shelf.
SELECT format('return %s is %s: accepted %s, refunded %s, good %s, on the shelf %s', r.rma, r.status, l.accepted, b.back, l.good, b.shelf)
  FROM returns r
  LEFT JOIN (SELECT l.return_id, count(*) AS n, count(l.good) AS seen, coalesce(sum(l.good + l.damaged), 0) AS accepted,
                    coalesce(sum(l.good) FILTER (WHERE o.tracked), 0) AS good
               FROM return_lines l
               JOIN returns t ON t.id = l.return_id
               LEFT JOIN order_lines o ON o.order_id = t.order_id AND o.line_no = l.order_line_no
              GROUP BY l.return_id) l ON l.return_id = r.id
  LEFT JOIN (SELECT refund_id, sum(quantity) AS back, coalesce(sum(quantity) FILTER (WHERE restocked), 0) AS shelf
               FROM refund_lines GROUP BY refund_id) b ON b.refund_id = r.refund_id
 WHERE l.n IS NULL
    OR CASE r.status
       WHEN 'inspected' THEN l.seen <> l.n OR l.accepted <> coalesce(b.back, 0) OR l.good <> coalesce(b.shelf, 0)
                             OR r.received_at IS NULL OR r.closed_at IS NULL
       ELSE l.seen <> 0 OR r.refund_id IS NOT NULL OR (r.received_at IS NOT NULL) <> (r.status = 'received')
            OR (r.closed_at IS NULL) <> (r.status IN ('requested', 'received')) END;

-- name: refunds_within_charges
-- However it is divided, no more is given back for a line, or for shipping, than was charged for it.
SELECT format('order %s line %s: charged %s, given back %s', o.id, l.line_no, c.charge, b.amount)
  FROM (SELECT r.order_id, l.order_line_no, sum(coalesce(l.amount, l.quantity * l.unit_price)) AS amount,
               sum(coalesce(l.tax, 0)) AS tax, sum(l.quantity) AS quantity
          FROM refunds r JOIN refund_lines l ON l.refund_id = r.id WHERE r.order_id IS NOT NULL GROUP BY r.order_id, l.order_line_no) b
  JOIN orders o ON o.id = b.order_id
  JOIN order_lines l ON l.order_id = b.order_id AND l.line_no = b.order_line_no
  LEFT JOIN (SELECT order_id, -sum(amount) AS amount FROM ledger_entries WHERE event = 'waived' AND account = 'receivable' GROUP BY order_id) w
    ON w.order_id = o.id
  CROSS JOIN LATERAL (SELECT (o.total - coalesce(w.amount, 0))::numeric AS captured, greatest(o.total, 1) AS total) s
  -- (Multiplied first: a third of 750 is 250, and 750 times a rounded third is not.)
  CROSS JOIN LATERAL (SELECT floor((l.quantity * l.unit_price - coalesce(l.discount, 0)
                                    + CASE WHEN o.tax_added THEN coalesce(l.tax, 0) ELSE 0 END) * s.captured / s.total) AS charge,
                             floor(coalesce(l.tax, 0) * s.captured / s.total) AS tax) c
 WHERE b.amount > c.charge OR b.tax > c.tax OR (b.quantity = l.quantity AND abs(b.amount - c.charge) + abs(b.tax - c.tax) > (w.amount IS NOT NULL)::integer)
UNION ALL
SELECT format('order %s: shipping %s, given back %s', o.id, o.shipping, b.shipping)
  FROM (SELECT r.order_id, sum(r.shipping) AS shipping FROM refunds r WHERE r.shipping > 0 GROUP BY r.order_id) b
  JOIN orders o ON o.id = b.order_id
 WHERE b.shipping > coalesce(o.shipping, 0) + CASE WHEN o.tax_added THEN coalesce(o.shipping_tax, 0) ELSE 0 END;

-- name: documents_have_no_gaps
-- The numbers of each series and year begin at 1 and have neither gaps nor doubles. (That a document shows its own number is a constraint.)
SELECT format('%s %s: %s documents from %s to %s, numbers are taken to %s', coalesce(d.series, s.series), coalesce(d.year, s.year), d.n, d.low, d.high, s.last)
  FROM document_series s
  FULL JOIN (SELECT series, year, count(*) AS n, min(number) AS low, max(number) AS high
               FROM documents GROUP BY series, year) d ON d.series = s.series AND d.year = s.year
 WHERE (coalesce(d.n, 0), coalesce(d.high, 0)) IS DISTINCT FROM (s.last::bigint, s.last) OR d.low > 1;

-- name: paid_orders_have_invoices
-- Each order that was paid a day ago or more has an invoice of its total (less what was never captured), and no other order has one.
SELECT format('order %s (%s): total %s, invoice of %s', coalesce(o.id, d.order_id), o.status, o.total, d.total)
  FROM orders o
  FULL JOIN (SELECT order_id, total FROM documents WHERE kind = 'invoice') d ON d.order_id = o.id
  LEFT JOIN (SELECT order_id, sum(amount) AS amount FROM ledger_entries WHERE event = 'waived' AND account = 'receivable' GROUP BY order_id) w
    ON w.order_id = o.id
 CROSS JOIN invoicing i
 CROSS JOIN LATERAL (SELECT o.status IN ('paid', 'partly_shipped', 'shipped', 'completed', 'returned')
                            OR (o.status = 'cancelled' AND o.id IN (SELECT order_id FROM order_history WHERE from_status = 'paid')) AS paid) p
 WHERE o.id IS NULL OR d.total <> o.total + coalesce(w.amount, 0) OR (d.order_id IS NOT NULL AND NOT p.paid)
    OR (d.order_id IS NULL AND p.paid AND o.settled_at >= i.since AND o.settled_at < now() - interval '1 day');

-- name: refunds_have_credit_notes
-- Each refund and credit that was made a day ago or more has a credit note of its amount.
SELECT format('refund %s: amount %s, credit note of %s', coalesce(r.id, d.refund_id), r.amount, d.total)
  FROM refunds r
  FULL JOIN (SELECT refund_id, total FROM documents WHERE kind = 'credit_note') d ON d.refund_id = r.id
 CROSS JOIN invoicing i
 WHERE r.id IS NULL OR d.total <> r.amount
    OR (d.refund_id IS NULL AND r.created_at >= i.since AND r.created_at < now() - interval '1 day');
