-- Refunds, cancellations and credits. None of them is on the order path, so they are written line by line.
-- Codes: 0 done, 1 replay, 2 key reused, 4 unknown SKU, 5 no price, 6 reference taken, 9 not found, 10 wrong state,
-- 11 more than was sold. What is refused has written nothing.

-- known_key: whether a key was used before, and for the same request. Makes a replay wait for the standby (see place_orders).
CREATE FUNCTION known_key(p_key text, p_fingerprint bytea, p_kind text, OUT code integer, OUT result_id uuid, OUT result bigint[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT CASE WHEN i.fingerprint = p_fingerprint AND i.kind = p_kind THEN 1 ELSE 2 END, i.result_id, i.result
      INTO code, result_id, result
      FROM idempotency i WHERE i.key = p_key;
    IF code IS NULL THEN
        code := 0;
    ELSE
        PERFORM pg_logical_emit_message(true, 'everopen.replay', '');
    END IF;
END
$$;

-- return_stock: goods that came back go on the shelf again, in the order of sku_id.
CREATE FUNCTION return_stock(p_refund uuid, p_key text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT l.sku_id, sum(l.quantity) AS quantity FROM refund_lines l
         WHERE l.refund_id = p_refund AND l.restocked GROUP BY l.sku_id ORDER BY l.sku_id
    LOOP
        UPDATE stock SET on_hand = on_hand + item.quantity WHERE sku_id = item.sku_id;
        INSERT INTO stock_movements (sku_id, delta, kind, key) VALUES (item.sku_id, item.quantity, 'return', p_key);
    END LOOP;
END
$$;

-- refund_order: money (and goods, if p_restock) of a paid order go back; no lines means all that is left.
-- A SKU that was sold on several lines goes back from its first line on. Holds the order's lock, so that two refunds
-- at once can't give back more than was sold.
CREATE FUNCTION refund_order(
    p_refund uuid, p_order uuid, p_key text, p_fingerprint bytea, p_skus text[], p_quantities integer[],
    p_restock boolean, p_reason text, p_reference text,
    OUT code integer, OUT result_id uuid, OUT detail text, OUT refundable bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    wish record;
    line record;
    left_over bigint;
    part integer;
    line_numbers integer[] := '{}';
    parts integer[] := '{}';
    sum_amount bigint := 0;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'refund') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT * INTO sold FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    -- A twin of this request may have committed while we waited for the lock: then what follows would refuse what was done.
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'refund') k;
    IF code <> 0 THEN RETURN; END IF;
    IF sold.status <> 'paid' THEN code := 10; detail := sold.status; RETURN; END IF;
    IF EXISTS (SELECT FROM refunds r WHERE r.reference = p_reference) THEN code := 6; detail := p_reference; RETURN; END IF;

    -- First see whether all fits, so that a refusal has written nothing.
    FOR wish IN SELECT w.sku, sum(w.quantity) AS quantity FROM unnest(p_skus, p_quantities) AS w (sku, quantity) GROUP BY w.sku LOOP
        SELECT coalesce(sum(l.quantity), 0) - coalesce(sum(b.quantity), 0), count(*) INTO left_over, part
          FROM order_lines l
          JOIN products p ON p.id = l.sku_id AND p.sku = wish.sku
          LEFT JOIN LATERAL (
              SELECT sum(rl.quantity) AS quantity FROM refunds r JOIN refund_lines rl ON rl.refund_id = r.id
               WHERE r.order_id = p_order AND rl.order_line_no = l.line_no) b ON true
         WHERE l.order_id = p_order;
        IF part = 0 THEN code := 4; detail := wish.sku; RETURN; END IF;
        IF wish.quantity > left_over THEN
            code := 11; detail := wish.sku; refundable := left_over; requested := wish.quantity; RETURN;
        END IF;
    END LOOP;

    FOR wish IN
        SELECT w.sku, sum(w.quantity) AS quantity FROM unnest(p_skus, p_quantities) AS w (sku, quantity) GROUP BY w.sku
        UNION ALL SELECT NULL, NULL WHERE coalesce(cardinality(p_skus), 0) = 0
    LOOP
        left_over := wish.quantity;
        FOR line IN
            SELECT l.*, l.quantity - coalesce(b.quantity, 0) AS rest
              FROM order_lines l
              JOIN products p ON p.id = l.sku_id
              LEFT JOIN LATERAL (
                  SELECT sum(rl.quantity) AS quantity FROM refunds r JOIN refund_lines rl ON rl.refund_id = r.id
                   WHERE r.order_id = p_order AND rl.order_line_no = l.line_no) b ON true
             WHERE l.order_id = p_order AND (wish.sku IS NULL OR p.sku = wish.sku)
             ORDER BY l.line_no
        LOOP
            part := least(line.rest, coalesce(left_over, line.rest));
            CONTINUE WHEN part <= 0;
            left_over := left_over - part;
            sum_amount := sum_amount + part * line.unit_price;
            line_numbers := line_numbers || line.line_no;
            parts := parts || part;
        END LOOP;
    END LOOP;
    IF parts = '{}' THEN
        code := 11; detail := ''; refundable := 0; requested := 1; RETURN;
    END IF;
    INSERT INTO refunds (id, order_id, currency, amount, email, reason, reference, restocked)
    VALUES (p_refund, p_order, sold.currency, sum_amount, sold.email, p_reason, p_reference, p_restock);
    INSERT INTO refund_lines (refund_id, line_no, order_line_no, sku_id, quantity, unit_price, restocked, title)
    SELECT p_refund, a.ord, l.line_no, l.sku_id, a.quantity, l.unit_price, p_restock AND l.tracked, l.title
      FROM unnest(line_numbers, parts) WITH ORDINALITY AS a (line_no, quantity, ord)
      JOIN order_lines l ON l.order_id = p_order AND l.line_no = a.line_no;
    PERFORM return_stock(p_refund, p_key);
    INSERT INTO ledger_entries (order_id, refund_id, event, account, amount, currency) VALUES
        (p_order, p_refund, 'refund', 'returns', sum_amount, sold.currency),
        (p_order, p_refund, 'refund', 'receivable', -sum_amount, sold.currency);
    IF sum_amount > 0 THEN
        INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
        SELECT p_refund, p_order, 'refund', sum_amount, sold.currency, i.provider, i.token, now()
          FROM payment_intents i WHERE i.id = p_order;
    END IF;
    INSERT INTO outbox (topic, subject) VALUES ('order.refund', p_refund);
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('refund', p_key, p_order, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'refund', p_refund);
    result_id := p_refund;
END
$$;

-- credit: money promised back for a sale that is not in this shop; stays as the customer's credit in the ledger.
CREATE FUNCTION credit(
    p_refund uuid, p_currency text, p_key text, p_fingerprint bytea, p_skus text[], p_quantities integer[],
    p_prices bigint[], p_email text, p_restock boolean, p_reason text, p_reference text, p_at timestamptz,
    OUT code integer, OUT result_id uuid, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    sum_amount bigint;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'credit') k;
    IF code <> 0 THEN RETURN; END IF;
    IF EXISTS (SELECT FROM refunds r WHERE r.reference = p_reference) THEN
        -- Taken by a twin of this request, perhaps, that committed after our look.
        SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'credit') k;
        IF code = 0 THEN code := 6; detail := p_reference; END IF;
        RETURN;
    END IF;
    SELECT string_agg(w.sku, E'\n') INTO detail FROM unnest(p_skus) AS w (sku)
     WHERE NOT EXISTS (SELECT FROM products p WHERE p.sku = w.sku);
    IF detail IS NOT NULL THEN code := 4; RETURN; END IF;
    SELECT string_agg(w.sku, E'\n') INTO detail
      FROM unnest(p_skus, p_prices) AS w (sku, price) JOIN products p ON p.sku = w.sku
     WHERE coalesce(w.price, p.unit_price) IS NULL;
    IF detail IS NOT NULL THEN code := 5; RETURN; END IF;

    SELECT sum(w.quantity * coalesce(w.price, p.unit_price)) INTO sum_amount
      FROM unnest(p_skus, p_quantities, p_prices) AS w (sku, quantity, price) JOIN products p ON p.sku = w.sku;
    INSERT INTO refunds (id, currency, amount, email, reason, reference, restocked, created_at)
    VALUES (p_refund, p_currency, sum_amount, p_email, p_reason, p_reference, p_restock, coalesce(p_at, now()));
    INSERT INTO refund_lines (refund_id, line_no, sku_id, quantity, unit_price, restocked, title)
    SELECT p_refund, w.ord, p.id, w.quantity, coalesce(w.price, p.unit_price), p_restock AND p.tracks_stock, p.title
      FROM unnest(p_skus, p_quantities, p_prices) WITH ORDINALITY AS w (sku, quantity, price, ord)
      JOIN products p ON p.sku = w.sku;
    PERFORM return_stock(p_refund, p_key);
    INSERT INTO ledger_entries (refund_id, event, account, amount, currency) VALUES
        (p_refund, 'credit', 'returns', sum_amount, p_currency),
        (p_refund, 'credit', 'customer_credit', -sum_amount, p_currency);
    INSERT INTO outbox (topic, subject) VALUES ('customer.credit', p_refund);
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('credit', p_key, p_refund, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'credit', p_refund);
    result_id := p_refund;
END
$$;

-- cancel_order: takes an unpaid order back. Its payment may be on the way: a captured one is given back when it is
-- settled, so there is no race to lose.
CREATE FUNCTION cancel_order(
    p_order uuid, p_key text, p_fingerprint bytea, p_reason text,
    OUT code integer, OUT result_id uuid, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'cancel') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT * INTO sold FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    -- A twin of this request may have committed while we waited for the lock: then what follows would refuse what was done.
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'cancel') k;
    IF code <> 0 THEN RETURN; END IF;
    IF sold.status <> 'placed' THEN code := 10; detail := sold.status; RETURN; END IF;
    PERFORM release_order(sold, p_reason);
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('cancel', p_key, p_order, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'cancel', p_order);
    result_id := p_order;
END
$$;

-- release_order: the common end of a cancelled and of an expired order, whose row the caller has locked.
-- Its charge may be on the way: it is in doubt from now on, and once whoever follows it has given up (its lease ends) the
-- provider is asked what became of it.
CREATE FUNCTION release_order(p_sold orders, p_reason text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders SET status = 'cancelled', settled_at = now() WHERE id = p_sold.id;
    UPDATE payment_intents SET status = 'unknown' WHERE id = p_sold.id AND status = 'pending';
    PERFORM free_coupons(ARRAY[p_sold.id]);
    PERFORM take_reserved(NULL, ARRAY[p_sold.id]);
    PERFORM post_released(ARRAY[p_sold.id]);
    INSERT INTO outbox (topic, subject, payload) VALUES ('order.cancelled', p_sold.id, jsonb_build_object('reason', p_reason));
END
$$;
