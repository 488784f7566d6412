-- settle_payments: writes down what providers answered. The answer of a call, of a webhook and of a poll all end here.
-- Idempotent and independent of order: an intent that is settled stays as it is, and an approval that comes after
-- its order was cancelled is given back: a capture by a refund, an authorisation by a void. Returns how many intents changed.
--
-- Locks: orders by id (each with its intent), then coupons by id, then stock by sku_id.

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
    currencies text[];
    refund_ids uuid[];
    moves text[];
    released uuid[];
    provider_references text[];
    finished uuid[];
BEGIN
    -- The move of an intent: what the answer means in the state that its order is in.
    SELECT array_agg(a.id), array_agg(a.order_id), array_agg(a.reference), array_agg(i.amount), array_agg(i.currency),
           array_agg(CASE i.kind WHEN 'refund' THEN i.id END),
           array_agg(CASE
               WHEN i.kind = 'charge' OR (i.kind = 'authorise' AND i.amount = 0) THEN
                   CASE WHEN a.outcome = 'approved' THEN CASE o.status WHEN 'placed' THEN 'captured' ELSE 'captured_late' END
                        ELSE CASE o.status WHEN 'placed' THEN 'released' ELSE 'declined_late' END END
               WHEN i.kind = 'authorise' THEN
                   CASE WHEN a.outcome = 'approved' THEN CASE o.status WHEN 'placed' THEN 'authorised' ELSE 'authorised_late' END
                        ELSE CASE o.status WHEN 'placed' THEN 'released' ELSE 'declined_late' END END
               WHEN i.kind = 'capture' THEN
                   CASE WHEN a.outcome = 'approved' THEN CASE o.status WHEN 'authorised' THEN 'part' ELSE 'part_late' END
                        ELSE 'capture_failed' END
               WHEN i.kind = 'void' THEN CASE a.outcome WHEN 'approved' THEN 'voided' ELSE 'void_failed' END
               ELSE CASE a.outcome WHEN 'approved' THEN 'refund_paid' ELSE 'refund_failed' END
           END)
      INTO ids, order_ids, provider_references, amounts, currencies, refund_ids, moves
      FROM (SELECT u.id, u.outcome, u.reference, k.order_id
              FROM (SELECT DISTINCT ON (v.id) v.* FROM unnest(p_ids, p_outcomes, p_provider_references) AS v (id, outcome, reference)
                     WHERE v.outcome IN ('approved', 'declined')) u
              CROSS JOIN LATERAL (SELECT x.order_id FROM payment_intents x WHERE x.id = u.id OFFSET 0) k
             ORDER BY k.order_id, u.id) a
      CROSS JOIN LATERAL (SELECT x.status FROM orders x WHERE x.id = a.order_id FOR NO KEY UPDATE) o
      CROSS JOIN LATERAL (
          SELECT x.id, x.kind, x.amount, x.currency FROM payment_intents x
           WHERE x.id = a.id AND x.status IN ('pending', 'unknown') FOR NO KEY UPDATE) i;
    IF ids IS NULL THEN
        RETURN 0;
    END IF;

    UPDATE payment_intents i
       SET status = CASE moves[array_position(ids, i.id)]
                        WHEN 'captured' THEN 'captured' WHEN 'captured_late' THEN 'captured'
                        WHEN 'refund_paid' THEN 'refunded'
                        WHEN 'authorised' THEN 'authorised' WHEN 'authorised_late' THEN 'authorised'
                        WHEN 'part' THEN 'captured' WHEN 'part_late' THEN 'captured'
                        WHEN 'voided' THEN 'voided' ELSE 'declined' END,
           provider_reference = coalesce(nullif(provider_references[array_position(ids, i.id)], ''), i.provider_reference),
           settled_at = now()
     WHERE i.id = ANY (ids);

    -- (Only an order's first payment has the order's id: what captures do to it is decided below, and refunds and voids
    -- leave its status alone.)
    UPDATE orders o
       SET status = CASE moves[array_position(ids, o.id)] WHEN 'captured' THEN 'paid' WHEN 'authorised' THEN 'authorised' ELSE 'declined' END,
           settled_at = now()
     WHERE o.id = ANY (ids) AND moves[array_position(ids, o.id)] IN ('captured', 'released', 'authorised');

    IF moves && ARRAY['part', 'capture_failed'] THEN
        finished := finish_captures(
            (SELECT array_agg(DISTINCT a.id) FROM unnest(order_ids, moves) AS a (id, move) WHERE a.move IN ('part', 'capture_failed')));
    END IF;

    SELECT array_agg(a.id) INTO released FROM unnest(order_ids, moves) AS a (id, move) WHERE a.move = 'released';
    IF released IS NOT NULL THEN
        PERFORM free_coupons(released);
    END IF;
    PERFORM take_reserved(
        finished || (SELECT array_agg(a.id) FROM unnest(order_ids, moves) AS a (id, move) WHERE a.move = 'captured'), released);
    IF released IS NOT NULL THEN
        PERFORM post_released(released);
    END IF;

    INSERT INTO ledger_entries (order_id, refund_id, intent_id, event, account, amount, currency)
    SELECT a.order_id, a.refund_id, CASE WHEN a.move IN ('part', 'part_late') THEN a.id END,
           CASE WHEN a.move IN ('captured_late', 'part', 'part_late') THEN 'captured' ELSE a.move END,
           CASE WHEN e.receivable THEN 'receivable' ELSE 'cash' END,
           CASE WHEN e.receivable = (a.move = 'refund_paid') THEN a.amount ELSE -a.amount END,
           a.currency
      FROM unnest(ids, order_ids, refund_ids, moves, amounts, currencies) AS a (id, order_id, refund_id, move, amount, currency),
           (VALUES (true), (false)) AS e (receivable)
     WHERE a.move IN ('captured', 'captured_late', 'refund_paid', 'part', 'part_late');

    INSERT INTO outbox (topic, subject)
    SELECT CASE a.move WHEN 'captured' THEN 'order.paid' WHEN 'released' THEN 'order.declined'
                       WHEN 'refund_paid' THEN 'refund.paid' WHEN 'refund_failed' THEN 'refund.failed'
                       WHEN 'captured_late' THEN 'payment.late' WHEN 'part_late' THEN 'payment.late'
                       WHEN 'authorised' THEN 'order.authorised' WHEN 'authorised_late' THEN 'payment.late'
                       WHEN 'part' THEN 'payment.captured' WHEN 'capture_failed' THEN 'payment.capture_failed'
                       WHEN 'voided' THEN 'payment.voided' WHEN 'void_failed' THEN 'payment.void_failed'
                       ELSE 'payment.declined' END, a.id
      FROM unnest(ids, moves) AS a (id, move);

    -- Money for an order that is no more goes back by itself.
    IF moves && ARRAY['captured_late', 'part_late', 'authorised_late'] THEN
        INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
        SELECT gen_random_uuid(), i.order_id, CASE i.status WHEN 'authorised' THEN 'void' ELSE 'refund' END,
               i.amount, i.currency, i.provider, i.token, now()
          FROM payment_intents i
         WHERE i.id = ANY (ids) AND i.amount > 0
           AND moves[array_position(ids, i.id)] IN ('captured_late', 'part_late', 'authorised_late');
    END IF;

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
                      CROSS JOIN LATERAL (SELECT * FROM order_lines x WHERE x.order_id = k.id OFFSET 0) l
                     WHERE l.tracked GROUP BY l.sku_id ORDER BY l.sku_id) d
              CROSS JOIN LATERAL (SELECT x.sku_id FROM stock x WHERE x.sku_id = d.sku_id FOR NO KEY UPDATE) t) s;
    UPDATE stock t
       SET reserved = t.reserved - reserved_by[array_position(sku_ids, t.sku_id)],
           on_hand = t.on_hand - coalesce(sold[array_position(sku_ids, t.sku_id)], 0)
     WHERE t.sku_id = ANY (sku_ids);
    INSERT INTO stock_movements (sku_id, delta, kind)
    SELECT s.sku_id, -s.sold, 'sale' FROM unnest(sku_ids, sold) AS s (sku_id, sold) WHERE s.sold > 0;
END
$$;
