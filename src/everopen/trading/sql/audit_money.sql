-- name: captures_within_authorisations
-- Only what was authorised is captured: the captures of an order never exceed its authorisation, and a charge has none.
SELECT format('order %s: authorised %s (%s %s), captured or being captured %s', c.order_id, f.amount, f.kind, f.status, c.amount)
  FROM (SELECT order_id, sum(amount) AS amount FROM payment_intents WHERE kind = 'capture' AND status <> 'declined' GROUP BY order_id) c
  LEFT JOIN payment_intents f ON f.id = c.order_id
 WHERE f.kind IS DISTINCT FROM 'authorise' OR c.amount > f.amount OR f.status NOT IN ('authorised', 'voided');

-- name: refunds_within_captures
-- No more money goes back than was captured of an order.
SELECT format('order %s: captured at once %s and later %s, given back or being given back %s', b.order_id, f.amount, c.amount, b.amount)
  FROM (SELECT order_id, sum(amount) AS amount FROM payment_intents WHERE kind = 'refund' AND status <> 'declined' GROUP BY order_id) b
  LEFT JOIN payment_intents f ON f.id = b.order_id AND f.status = 'captured'
  LEFT JOIN (SELECT order_id, sum(amount) AS amount FROM payment_intents WHERE kind = 'capture' AND status = 'captured' GROUP BY order_id) c
    ON c.order_id = b.order_id
 WHERE b.amount > coalesce(f.amount, 0) + coalesce(c.amount, 0);

-- name: authorised_orders_are_held
-- An authorised order has an authorisation, and one that was paid by captures owes nothing: captured and waived are its total.
SELECT format('order %s is %s, its %s is %s: total %s, captured %s, waived %s, being captured %s', o.id, o.status, f.kind, f.status,
              o.total, coalesce(c.captured, 0), coalesce(w.amount, 0), coalesce(c.capturing, 0))
  FROM payment_intents f
  JOIN orders o ON o.id = f.id
  LEFT JOIN (SELECT order_id, sum(amount) FILTER (WHERE status = 'captured') AS captured,
                    sum(amount) FILTER (WHERE status IN ('pending', 'unknown')) AS capturing
               FROM payment_intents WHERE kind = 'capture' GROUP BY order_id) c ON c.order_id = o.id
  LEFT JOIN (SELECT order_id, -sum(amount) AS amount FROM ledger_entries WHERE event = 'waived' AND account = 'receivable' GROUP BY order_id) w
    ON w.order_id = o.id
 WHERE f.kind = 'authorise' AND CASE
       WHEN o.status IN ('placed', 'declined')
            OR (o.status = 'cancelled' AND o.id NOT IN (SELECT order_id FROM order_history WHERE from_status = 'paid'))
           THEN w.amount IS NOT NULL
       WHEN o.status = 'authorised' THEN f.status <> 'authorised' OR w.amount IS NOT NULL
       ELSE f.amount > 0 AND (c.capturing > 0 OR coalesce(c.captured, 0) + coalesce(w.amount, 0) <> o.total) END;

-- name: payments_are_taken_up_once
-- What staff take up again is a declined payment of the same kind, order and amount.
SELECT format('payment %s takes up %s', n.id, n.retry_of)
  FROM payment_intents n LEFT JOIN payment_intents f ON f.id = n.retry_of
 WHERE n.retry_of IS NOT NULL
   AND (f.status, f.kind, f.order_id, f.amount, f.currency) IS DISTINCT FROM ('declined', n.kind, n.order_id, n.amount, n.currency);

-- name: reconciliations_add_up
-- Each report of a comparison with a provider holds what it counts.
SELECT format('report %s: %s differences, %s kept', id, differences_n, jsonb_array_length(differences))
  FROM reconciliations
 WHERE differences_n < jsonb_array_length(differences) OR (differences_n > 0) <> (jsonb_array_length(differences) > 0);
