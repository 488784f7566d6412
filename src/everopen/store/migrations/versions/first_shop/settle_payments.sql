-- settle_payments: writes down what providers answered. The answer of a call, of a webhook and of a poll all end here.
-- Idempotent and independent of order: an intent that is settled stays as it is, and an approval that comes after
-- its order was cancelled is captured and at once given back. Returns how many intents changed.
--
-- Locks: orders by id (each with its intent), then stock by sku_id.

CREATE FUNCTION settle_payments(p_ids uuid[], p_outcomes text[], p_provider_references text[]) RETURNS integer
LANGUAGE plpgsql
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_material = off
AS $$
DECLARE
    ids uuid[];
    order_ids uuid[];
    amounts bigint[];
    moves text[];
    provider_references text[];
BEGIN
    -- The move of an intent: what it means in the state its order is in.
    SELECT array_agg(s.id), array_agg(s.order_id), array_agg(s.amount), array_agg(s.reference),
           array_agg(CASE
               WHEN s.kind = 'refund' THEN CASE s.outcome WHEN 'approved' THEN 'refund_paid' ELSE 'refund_failed' END
               WHEN s.outcome = 'approved' THEN CASE s.status WHEN 'placed' THEN 'captured' ELSE 'captured_late' END
               ELSE CASE s.status WHEN 'placed' THEN 'released' ELSE 'declined_late' END
           END)
      INTO ids, order_ids, amounts, provider_references, moves
      FROM (SELECT i.id, i.order_id, i.amount, i.kind, o.status, a.outcome, a.reference
              FROM unnest(p_ids, p_outcomes, p_provider_references) AS a (id, outcome, reference)
              JOIN payment_intents i ON i.id = a.id
              JOIN orders o ON o.id = i.order_id
             WHERE i.status IN ('pending', 'unknown', 'void') AND a.outcome IN ('approved', 'declined')
             ORDER BY o.id, i.id
               FOR NO KEY UPDATE OF o, i) s;
    IF ids IS NULL THEN
        RETURN 0;
    END IF;

    UPDATE payment_intents i
       SET status = CASE a.move WHEN 'captured' THEN 'captured' WHEN 'captured_late' THEN 'captured'
                                WHEN 'refund_paid' THEN 'refunded' ELSE 'declined' END,
           provider_reference = a.reference, settled_at = now()
      FROM unnest(ids, moves, provider_references) AS a (id, move, reference)
     WHERE i.id = a.id;

    UPDATE orders o
       SET status = CASE a.move WHEN 'captured' THEN 'paid' ELSE 'declined' END, settled_at = now()
      FROM unnest(order_ids, moves) AS a (id, move)
     WHERE o.id = a.id AND a.move IN ('captured', 'released');

    PERFORM take_reserved(
        (SELECT array_agg(a.id) FROM unnest(order_ids, moves) AS a (id, move) WHERE a.move = 'captured'),
        (SELECT array_agg(a.id) FROM unnest(order_ids, moves) AS a (id, move) WHERE a.move = 'released'));

    INSERT INTO ledger_entries (order_id, refund_id, event, account, amount, currency)
    SELECT i.order_id, CASE i.kind WHEN 'refund' THEN i.id END, e.event, e.account, e.sign * i.amount, i.currency
      FROM unnest(ids, moves) AS a (id, move)
      JOIN payment_intents i ON i.id = a.id
      JOIN (VALUES ('captured', 'captured', 'cash', 1), ('captured', 'captured', 'receivable', -1),
                   ('captured_late', 'captured', 'cash', 1), ('captured_late', 'captured', 'receivable', -1),
                   ('released', 'released', 'sales', 1), ('released', 'released', 'receivable', -1),
                   ('refund_paid', 'refund_paid', 'receivable', 1), ('refund_paid', 'refund_paid', 'cash', -1)
           ) AS e (move, event, account, sign) ON e.move = a.move;

    INSERT INTO outbox (topic, subject)
    SELECT CASE a.move WHEN 'captured' THEN 'order.paid' WHEN 'released' THEN 'order.declined'
                       WHEN 'refund_paid' THEN 'refund.paid' WHEN 'refund_failed' THEN 'refund.failed'
                       WHEN 'captured_late' THEN 'payment.late' ELSE 'payment.void' END, a.id
      FROM unnest(ids, moves) AS a (id, move);

    -- Money for an order that is no more goes back by itself.
    INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
    SELECT gen_random_uuid(), i.order_id, 'refund', i.amount, i.currency, i.provider, i.token, now()
      FROM unnest(ids, moves) AS a (id, move) JOIN payment_intents i ON i.id = a.id
     WHERE a.move = 'captured_late' AND i.amount > 0;

    RETURN cardinality(ids);
END
$$;

-- take_reserved: what the sold orders reserved leaves the shelf, what the released ones reserved is free again.
CREATE FUNCTION take_reserved(p_sold uuid[], p_released uuid[]) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
AS $$
DECLARE
    sku_ids integer[];
    sold bigint[];
    reserved_by bigint[];
BEGIN
    SELECT array_agg(s.sku_id), array_agg(s.sold), array_agg(s.reserved_by) INTO sku_ids, sold, reserved_by
      FROM (SELECT t.sku_id, d.sold, d.reserved_by
              FROM (SELECT l.sku_id, sum(l.quantity) FILTER (WHERE k.sold) AS sold, sum(l.quantity) AS reserved_by
                      FROM (SELECT u.id, true AS sold FROM unnest(p_sold) AS u (id)
                            UNION ALL SELECT u.id, false FROM unnest(p_released) AS u (id)) k
                      JOIN order_lines l ON l.order_id = k.id
                     WHERE l.tracked GROUP BY l.sku_id) d
              JOIN stock t ON t.sku_id = d.sku_id
             ORDER BY t.sku_id
               FOR NO KEY UPDATE OF t) s;
    UPDATE stock t SET reserved = t.reserved - s.reserved_by, on_hand = t.on_hand - coalesce(s.sold, 0)
      FROM unnest(sku_ids, sold, reserved_by) AS s (sku_id, sold, reserved_by)
     WHERE t.sku_id = s.sku_id;
    INSERT INTO stock_movements (sku_id, delta, kind)
    SELECT s.sku_id, -s.sold, 'sale' FROM unnest(sku_ids, sold) AS s (sku_id, sold) WHERE s.sold > 0;
END
$$;
