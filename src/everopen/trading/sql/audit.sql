-- name: stock_within_bounds
-- No SKU has promised more than is there and may be on back-order, and so none has less on the shelf than that.
SELECT format('%s: on hand %s, on back-order at most %s, reserved %s', p.sku, s.on_hand, s.backorder, s.reserved)
  FROM stock s JOIN products p ON p.id = s.sku_id
 WHERE s.backorder < 0 OR s.reserved < 0 OR s.reserved > s.on_hand + s.backorder;

-- name: stock_for_each_product
-- Exactly the products that track stock have a shelf.
SELECT format('%s: tracks stock %s, shelf %s', p.sku, p.tracks_stock, s.sku_id IS NOT NULL)
  FROM products p FULL JOIN stock s ON s.sku_id = p.id
 WHERE (s.sku_id IS NOT NULL) IS DISTINCT FROM p.tracks_stock;

-- name: reserved_matches_open_orders
-- What is reserved of a SKU is what the unpaid orders hold of it.
SELECT format('%s: reserved %s, open orders hold %s', p.sku, s.reserved, coalesce(l.quantity, 0))
  FROM stock s JOIN products p ON p.id = s.sku_id
  LEFT JOIN (SELECT sku_id, sum(quantity) AS quantity FROM order_lines l JOIN orders o ON o.id = l.order_id
              WHERE o.status IN ('placed', 'authorised') AND l.tracked GROUP BY sku_id) l USING (sku_id)
 WHERE s.reserved <> coalesce(l.quantity, 0);

-- name: on_hand_matches_movements
-- What lies on the shelf is the sum of all movements: nothing appears and nothing vanishes.
SELECT format('SKU id %s: on hand %s, movements %s', coalesce(s.sku_id, m.sku_id), s.on_hand, m.delta)
  FROM stock s FULL JOIN (SELECT sku_id, sum(delta) AS delta FROM stock_movements GROUP BY sku_id) m USING (sku_id)
 WHERE coalesce(s.on_hand, 0) <> coalesce(m.delta, 0);

-- name: sales_match_paid_orders
-- The goods that left the shelf as sales are those of the paid orders: no unit was sold twice.
SELECT format('SKU id %s: left the shelf %s, paid for %s', coalesce(m.sku_id, l.sku_id), coalesce(m.sold, 0), coalesce(l.quantity, 0))
  FROM (SELECT sku_id, -sum(delta) AS sold FROM stock_movements WHERE kind = 'sale' GROUP BY sku_id) m
  FULL JOIN (SELECT sku_id, sum(quantity) AS quantity FROM order_lines l JOIN orders o ON o.id = l.order_id
              WHERE l.tracked AND (o.status IN ('paid', 'partly_shipped', 'shipped', 'completed', 'returned')
                               OR (o.status = 'cancelled' AND o.id IN (SELECT order_id FROM order_history WHERE from_status = 'paid')))
              GROUP BY sku_id) l USING (sku_id)
 WHERE coalesce(m.sold, 0) <> coalesce(l.quantity, 0);

-- name: returns_match_refunds
-- The goods that came back to the shelf are those of the refunds and credits that say so.
SELECT format('SKU id %s: came back %s, refunds say %s', coalesce(m.sku_id, l.sku_id), coalesce(m.delta, 0), coalesce(l.quantity, 0))
  FROM (SELECT sku_id, sum(delta) AS delta FROM stock_movements WHERE kind IN ('return', 'cancellation') GROUP BY sku_id) m
  FULL JOIN (SELECT sku_id, sum(quantity) AS quantity FROM refund_lines WHERE restocked GROUP BY sku_id) l USING (sku_id)
 WHERE coalesce(m.delta, 0) <> coalesce(l.quantity, 0);

-- name: ledger_balances
-- Each money event, and so the ledger in each currency, sums to zero.
SELECT format('%s of order %s, refund %s: %s %s', event, order_id, refund_id, sum(amount), currency)
  FROM ledger_entries
 GROUP BY event, order_id, refund_id, currency HAVING sum(amount) <> 0;

-- name: ledger_matches_orders
-- The ledger posts each order's total once, its release if it was given up, its capture if it was captured.
SELECT format('order %s (%s): total %s, posted %s, captured %s, released %s', coalesce(o.id, e.order_id), o.status, o.total, e.placed, e.captured, e.released)
  FROM orders o
  LEFT JOIN payment_intents i ON i.id = o.id
  LEFT JOIN (SELECT order_id, sum(amount) AS amount FROM payment_intents WHERE kind = 'capture' AND status = 'captured' GROUP BY order_id) c
    ON c.order_id = o.id
  FULL JOIN (SELECT order_id,
                    sum(amount) FILTER (WHERE event = 'placed' AND account = 'receivable') AS placed,
                    count(*) FILTER (WHERE event = 'placed' AND account IN ('receivable', 'sales')) AS placed_rows,
                    coalesce(sum(amount) FILTER (WHERE event = 'captured' AND account = 'cash'), 0) AS captured,
                    -coalesce(sum(amount) FILTER (WHERE event = 'released' AND account = 'receivable'), 0) AS released
               FROM ledger_entries WHERE order_id IS NOT NULL AND refund_id IS NULL GROUP BY order_id) e ON e.order_id = o.id
 WHERE (e.placed, e.placed_rows, e.captured, e.released) IS DISTINCT FROM (
           o.total, 2,
           CASE WHEN i.status = 'captured' THEN o.total ELSE coalesce(c.amount, 0) END,
           CASE WHEN o.status = 'declined'
                  OR (o.status = 'cancelled' AND o.id NOT IN (SELECT order_id FROM order_history WHERE from_status = 'paid'))
                THEN o.total ELSE 0 END);

-- name: ledger_matches_refunds
-- The ledger posts each refund and credit once, and its payment once the provider has paid it.
SELECT format('refund %s: amount %s, posted %s, paid %s, posted %s', x.id, x.amount, e.promised, x.paid, e.paid)
  FROM (SELECT coalesce(r.id, i.id) AS id, coalesce(r.amount, 0) AS amount,
               CASE WHEN i.status = 'refunded' THEN i.amount ELSE 0 END AS paid
          FROM refunds r FULL JOIN (SELECT * FROM payment_intents WHERE kind = 'refund') i ON i.id = r.id) x
  FULL JOIN (SELECT refund_id,
                    coalesce(-sum(amount) FILTER (WHERE event IN ('refund', 'credit') AND account IN ('receivable', 'customer_credit')), 0) AS promised,
                    coalesce(-sum(amount) FILTER (WHERE event IN ('refund_paid', 'refund_returned') AND account = 'cash'), 0) AS paid
               FROM ledger_entries WHERE refund_id IS NOT NULL GROUP BY refund_id) e ON e.refund_id = x.id
 WHERE (x.amount, x.paid) IS DISTINCT FROM (coalesce(e.promised, 0), coalesce(e.paid, 0));

-- name: money_captured_matches_orders
-- Money captured minus money given back is what the ledger has in cash.
SELECT format('intents say %s, cash is %s', i.amount, e.amount)
  FROM (SELECT coalesce(sum(CASE status WHEN 'captured' THEN amount WHEN 'refunded' THEN -amount END), 0) AS amount FROM payment_intents) i,
       (SELECT coalesce(sum(amount), 0) AS amount FROM ledger_entries WHERE account = 'cash') e
 WHERE i.amount <> e.amount;

-- name: orders_match_payments
-- A paid order has a captured charge of its total, a declined one a declined charge, and a charge captured for an order that is no more is given back.
SELECT format('order %s is %s, its charge %s of %s is %s', o.id, o.status, i.amount, o.total, i.status)
  FROM orders o LEFT JOIN payment_intents i ON i.id = o.id
 WHERE i.id IS NULL OR i.kind NOT IN ('charge', 'authorise') OR i.amount <> o.total OR i.order_id <> o.id
    OR NOT CASE o.status
           WHEN 'placed' THEN i.status IN ('pending', 'unknown')
           WHEN 'authorised' THEN i.status = 'authorised'
           WHEN 'cancelled' THEN i.status <> 'captured' OR i.amount = 0
                OR o.id IN (SELECT order_id FROM order_history WHERE from_status = 'paid')
                OR EXISTS (SELECT FROM payment_intents r WHERE r.order_id = o.id AND r.kind = 'refund' AND r.amount = i.amount)
           WHEN 'declined' THEN i.status = 'declined'
           ELSE i.status = 'captured' OR (i.kind = 'authorise' AND i.status IN ('authorised', 'voided'))  -- by its captures
           END;

-- name: orders_have_lines
-- Each order's total is the sum of its lines less discounts, with its shipping and added tax, its tax is that of its parts, it has lines, and its quote says the same of them.
SELECT format('order %s: total %s, lines %s, shipping %s, tax %s, of lines %s, quote %s', coalesce(o.id, l.order_id), o.total, l.amount, o.shipping, o.tax, l.tax, o.quote)
  FROM orders o
  FULL JOIN (SELECT order_id, sum(quantity * unit_price - coalesce(discount, 0)) AS amount, sum(coalesce(tax, 0)) AS tax,
                    coalesce(sum(discount), 0) AS discount
               FROM order_lines GROUP BY order_id) l ON l.order_id = o.id
 WHERE o.total IS DISTINCT FROM l.amount + coalesce(o.shipping, 0) + CASE WHEN o.tax_added THEN coalesce(o.tax, 0) ELSE 0 END
    OR coalesce(o.tax, 0) <> l.tax + coalesce(o.shipping_tax, 0)
    OR (o.quote ->> 'discount')::bigint <> l.discount
    OR (o.quote ->> 'goods')::bigint <> l.amount + l.discount;

-- name: keys_match_orders
-- Each order has one idempotency key (until keys are forgotten), and each key an order: nothing acknowledged is lost or doubled.
SELECT format('order %s: %s keys', coalesce(o.id, k.result_id), coalesce(k.n, 0))
  FROM orders o
  JOIN payment_intents i ON i.id = o.id
  FULL JOIN (SELECT result_id, count(*) AS n FROM idempotency WHERE kind = 'order' GROUP BY result_id) k ON k.result_id = o.id
 WHERE o.id IS NULL OR k.n > 1 OR (k.n IS NULL AND i.created_at > now() - make_interval(secs => $1::float8));

-- name: references_are_unique
-- No reference is carried by two orders or by two refunds.
SELECT format('%s is carried by %s', reference, count(*))
  FROM (SELECT reference, 'orders' AS carrier FROM orders UNION ALL SELECT reference, 'refunds' FROM refunds) r
 WHERE reference IS NOT NULL GROUP BY reference, carrier HAVING count(*) > 1;

-- name: refunds_within_sales
-- Nothing is given back that was not sold, and none of it twice.
SELECT format('order %s line %s: sold %s, given back %s', r.order_id, l.order_line_no, s.quantity, sum(l.quantity))
  FROM refunds r
  JOIN refund_lines l ON l.refund_id = r.id
  LEFT JOIN order_lines s ON s.order_id = r.order_id AND s.line_no = l.order_line_no AND s.sku_id = l.sku_id AND s.unit_price = l.unit_price
 WHERE r.order_id IS NOT NULL
 GROUP BY r.order_id, l.order_line_no, s.quantity HAVING s.quantity IS NULL OR sum(l.quantity) > s.quantity;

-- name: refunds_have_lines
-- Each refund's amount is the sum of its lines, and one of an order has its payment.
SELECT format('refund %s: amount %s, lines %s, payment %s', r.id, r.amount, l.amount, i.amount)
  FROM refunds r
  LEFT JOIN (SELECT refund_id, sum(coalesce(amount, quantity * unit_price)) AS amount FROM refund_lines GROUP BY refund_id) l ON l.refund_id = r.id
  LEFT JOIN payment_intents i ON i.id = r.id
 WHERE r.amount IS DISTINCT FROM coalesce(l.amount, 0) + coalesce(r.shipping, 0) OR (r.order_id IS NOT NULL AND r.amount > 0 AND r.amount IS DISTINCT FROM i.amount);

-- name: payments_back_have_reasons
-- Money goes back only for a refund, or for an order that was given up, and for that one at most once.
SELECT format('payment back %s of order %s: %s', i.id, i.order_id, coalesce(o.status, 'no order'))
  FROM (SELECT b.id, b.order_id, row_number() OVER (PARTITION BY b.order_id ORDER BY b.id) AS number
          FROM payment_intents b
          LEFT JOIN refunds r ON r.id = b.id
         WHERE b.kind = 'refund' AND r.id IS NULL AND b.retry_of IS NULL) i
  LEFT JOIN orders o ON o.id = i.order_id
 WHERE o.status IS NULL OR o.status NOT IN ('declined', 'cancelled') OR i.number > 1;

-- name: counts
-- What the audit looked at.
SELECT (SELECT count(*) FROM orders) AS orders,
       (SELECT count(*) FROM idempotency WHERE kind = 'order') AS acknowledged,
       (SELECT count(*) FROM orders WHERE status IN ('paid', 'partly_shipped', 'shipped', 'completed', 'returned')) AS paid,
       (SELECT count(*) FROM orders WHERE status = 'placed') AS awaiting_payment,
       (SELECT count(*) FROM orders WHERE status = 'declined') AS declined,
       (SELECT count(*) FROM orders WHERE status = 'cancelled') AS cancelled,
       (SELECT coalesce(sum(quantity), 0)::bigint FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE o.status NOT IN ('declined', 'cancelled')) AS units_sold,
       (SELECT coalesce(sum(total), 0)::bigint FROM orders WHERE status NOT IN ('declined', 'cancelled')) AS amount_sold,
       (SELECT coalesce(sum(amount), 0)::bigint FROM payment_intents WHERE status = 'captured' AND provider = 'sandbox') AS captured,
       (SELECT coalesce(sum(amount), 0)::bigint FROM payment_intents WHERE status = 'refunded' AND provider = 'sandbox') AS refunded,
       (SELECT coalesce(sum(amount), 0)::bigint FROM payment_intents WHERE status IN ('pending', 'unknown') AND kind IN ('charge', 'capture') AND provider = 'sandbox') AS charges_open,
       (SELECT coalesce(sum(amount), 0)::bigint FROM payment_intents WHERE status IN ('pending', 'unknown') AND kind = 'refund' AND provider = 'sandbox') AS refunds_open,
       (SELECT count(*) FROM refunds WHERE order_id IS NOT NULL) AS refunds,
       (SELECT count(*) FROM refunds WHERE order_id IS NULL) AS credits,
       (SELECT coalesce(sum(amount), 0)::bigint FROM refunds WHERE order_id IS NULL) AS amount_credited,
       (SELECT count(*) FROM ledger_entries) AS ledger_entries;
