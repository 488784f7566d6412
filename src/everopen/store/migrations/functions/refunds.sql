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

-- return_stock: goods of a refund go on the shelf again, in the order of sku_id. Kinds: return, cancellation (never left).
CREATE FUNCTION return_stock(p_refund uuid, p_key text, p_kind text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT l.sku_id, sum(l.quantity) AS quantity FROM refund_lines l
         WHERE l.refund_id = p_refund AND l.restocked GROUP BY l.sku_id ORDER BY l.sku_id
    LOOP
        UPDATE stock SET on_hand = on_hand + item.quantity WHERE sku_id = item.sku_id;
        INSERT INTO stock_movements (sku_id, delta, kind, key) VALUES (item.sku_id, item.quantity, p_kind, p_key);
    END LOOP;
END
$$;

-- give_back: the one way in which money of a paid order is promised back: refund, lines, stock, ledger, payment, event. The
-- caller holds the order's row and has seen that there is so much to give back.
--
-- Pieces are worth their share of what was charged for their line, discount and tax in it. The share of k pieces after b
-- others is floor(charge*(b+k)/q) - floor(charge*b/q): in whatever portions they go back, together they are the charge.
-- Pieces that are still in the house go back first, so that they are not sent any more; in a return (p_sent_first) those
-- that were sent. A line may come twice, once for the shelf and once not.
CREATE FUNCTION give_back(
    p_refund uuid, p_sold orders, p_key text, p_lines integer[], p_parts integer[], p_restock boolean[], p_sent_first boolean,
    p_stock_kind text, p_shipping boolean, p_reason text, p_reference text
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    amounts bigint[];
    taxes bigint[];
    not_sent integer[];
    sum_amount bigint;
    sum_tax bigint;
    carriage bigint := 0;
    carriage_tax bigint := 0;
BEGIN
    SELECT array_agg(x.charge * (x.b + x.k) / x.quantity - x.charge * x.b / x.quantity ORDER BY x.ord),
           array_agg(x.tax * (x.b + x.k) / x.quantity - x.tax * x.b / x.quantity ORDER BY x.ord),
           array_agg(CASE WHEN p_sent_first THEN greatest(0, x.before + x.k - x.away) - greatest(0, x.before - x.away)
                          ELSE least(x.before + x.k, x.here) - least(x.before, x.here) END ORDER BY x.ord)
      INTO amounts, taxes, not_sent
      FROM (SELECT c.ord, c.k, c.before, p.back + c.before AS b, p.charge, p.tax, p.quantity,
                   greatest(0, p.quantity - p.shipped - p.withheld) AS here, p.shipped - (p.back - p.withheld) AS away
              FROM (SELECT u.ord, u.line_no, u.k, sum(u.k) OVER (PARTITION BY u.line_no ORDER BY u.ord) - u.k AS before
                      FROM unnest(p_lines, p_parts) WITH ORDINALITY AS u (line_no, k, ord)) c
              JOIN order_pieces(p_sold.id) p USING (line_no)) x;
    SELECT coalesce(sum(a.amount), 0), coalesce(sum(a.tax), 0) INTO sum_amount, sum_tax FROM unnest(amounts, taxes) AS a (amount, tax);
    IF p_shipping THEN
        SELECT shipping_left(p_sold),
               share_of(coalesce(p_sold.shipping_tax, 0), captured_of(p_sold.id, p_sold.total), p_sold.total)
                   - coalesce(sum(r.shipping_tax), 0)
          INTO carriage, carriage_tax FROM refunds r WHERE r.order_id = p_sold.id;
        sum_amount := sum_amount + carriage;
        sum_tax := sum_tax + carriage_tax;
    END IF;

    INSERT INTO refunds (id, order_id, currency, amount, email, reason, reference, restocked, shipping, tax, shipping_tax)
    VALUES (p_refund, p_sold.id, p_sold.currency, sum_amount, p_sold.email, p_reason, p_reference, coalesce(true = ANY (p_restock), false),
            nullif(carriage, 0), nullif(sum_tax, 0), nullif(carriage_tax, 0));
    INSERT INTO refund_lines (refund_id, line_no, order_line_no, sku_id, quantity, unit_price, restocked, title, amount, tax, unshipped)
    SELECT p_refund, a.ord, l.line_no, l.sku_id, a.quantity, l.unit_price, a.restock AND l.tracked, l.title, a.amount,
           nullif(a.tax, 0), a.unshipped
      FROM unnest(p_lines, p_parts, p_restock, amounts, taxes, not_sent) WITH ORDINALITY
        AS a (line_no, quantity, restock, amount, tax, unshipped, ord)
      JOIN order_lines l ON l.order_id = p_sold.id AND l.line_no = a.line_no;
    PERFORM return_stock(p_refund, p_key, p_stock_kind);
    INSERT INTO ledger_entries (order_id, refund_id, event, account, amount, currency)
    SELECT p_sold.id, p_refund, 'refund', e.account, e.amount, p_sold.currency
      FROM (VALUES ('returns', sum_amount - sum_tax - (carriage - carriage_tax)), ('tax', sum_tax),
                   ('shipping', carriage - carriage_tax), ('receivable', -sum_amount)) AS e (account, amount)
     WHERE e.account IN ('returns', 'receivable') OR e.amount <> 0;
    IF sum_amount > 0 THEN
        INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
        SELECT p_refund, p_sold.id, 'refund', sum_amount, p_sold.currency, i.provider, i.token, now()
          FROM payment_intents i WHERE i.id = p_sold.id;
    END IF;
    INSERT INTO outbox (topic, subject) VALUES ('order.refund', p_refund);
    RETURN sum_amount;
END
$$;

-- refund_order: money (and goods, if p_restock) of a paid order go back; no lines means all that is left. p_shipping: what
-- was charged for shipping too; with it, an order of which all goods are given back already may have no lines to name.
-- A SKU that was sold on several lines goes back from its first line on.
CREATE FUNCTION refund_order(
    p_refund uuid, p_order uuid, p_key text, p_fingerprint bytea, p_skus text[], p_quantities integer[],
    p_restock boolean, p_reason text, p_reference text, p_shipping boolean, p_actor text,
    OUT code integer, OUT result_id uuid, OUT detail text, OUT refundable bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    chosen record;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'refund') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT * INTO sold FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    -- A twin of this request may have committed while we waited for the lock: then what follows would refuse what was done.
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'refund') k;
    IF code <> 0 THEN RETURN; END IF;
    IF NOT was_paid(p_order, sold.status) THEN code := 10; detail := sold.status; RETURN; END IF;
    IF EXISTS (SELECT FROM refunds r WHERE r.reference = p_reference) THEN code := 6; detail := p_reference; RETURN; END IF;
    chosen := choose_pieces(p_order, 'refund', p_skus, p_quantities);
    IF chosen.code <> 0 AND NOT (p_shipping AND chosen.detail = '' AND shipping_left(sold) > 0) THEN
        code := chosen.code; detail := chosen.detail; refundable := chosen.available; requested := chosen.requested; RETURN;
    END IF;
    PERFORM give_back(
        p_refund, sold, p_key, chosen.lines, chosen.parts, array_fill(p_restock, ARRAY[coalesce(cardinality(chosen.lines), 0)]),
        false, 'return', p_shipping, p_reason, p_reference);
    PERFORM settle_state(p_order, 'refund', p_actor, p_reason);
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('refund', p_key, p_order, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'refund', p_refund);
    result_id := p_refund;
END
$$;

-- shipping_left: what was charged for shipping an order and not given back yet.
CREATE FUNCTION shipping_left(p_sold orders) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT share_of(coalesce(p_sold.shipping, 0) + CASE WHEN p_sold.tax_added THEN coalesce(p_sold.shipping_tax, 0) ELSE 0 END,
                    captured_of(p_sold.id, p_sold.total), p_sold.total)
               - coalesce(sum(r.shipping), 0)
      FROM refunds r WHERE r.order_id = p_sold.id
$$;

-- cancel_pieces: pieces of a paid order that have not left the house go back on the shelf, and their money goes back. When
-- nothing of the order is left and nothing of it was sent, what was charged for shipping goes back too.
CREATE FUNCTION cancel_pieces(
    p_refund uuid, p_order uuid, p_key text, p_fingerprint bytea, p_skus text[], p_quantities integer[], p_reason text,
    p_actor text,
    OUT code integer, OUT result_id uuid, OUT detail text, OUT refundable bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    chosen record;
    nothing_left boolean;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'cancel') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT * INTO sold FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'cancel') k;
    IF code <> 0 THEN RETURN; END IF;
    IF sold.status NOT IN ('paid', 'partly_shipped') THEN code := 10; detail := sold.status; RETURN; END IF;
    chosen := choose_pieces(p_order, 'send', p_skus, p_quantities);
    IF chosen.code <> 0 THEN
        code := chosen.code; detail := chosen.detail; refundable := chosen.available; requested := chosen.requested; RETURN;
    END IF;
    SELECT sold.status = 'paid' AND bool_and(p.quantity = p.back + coalesce(c.part, 0)) INTO nothing_left
      FROM order_pieces(p_order) p
      LEFT JOIN unnest(chosen.lines, chosen.parts) AS c (line_no, part) USING (line_no)
     WHERE p.must_ship;
    PERFORM give_back(
        p_refund, sold, p_key, chosen.lines, chosen.parts, array_fill(true, ARRAY[cardinality(chosen.lines)]), false,
        'cancellation', nothing_left, p_reason, NULL);
    PERFORM settle_state(p_order, 'refund', p_actor, p_reason);
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('cancel', p_key, p_order, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'cancel', p_refund);
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
    PERFORM return_stock(p_refund, p_key, 'return');
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
    p_order uuid, p_key text, p_fingerprint bytea, p_reason text, p_actor text,
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
    IF NOT may_cancel(sold) THEN code := 10; detail := sold.status; RETURN; END IF;
    PERFORM release_order(sold, p_reason, 'cancel', p_actor);
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('cancel', p_key, p_order, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'cancel', p_order);
    result_id := p_order;
END
$$;

-- release_order: the common end of a cancelled and of an expired order, whose row the caller has locked.
-- Its charge may be on the way: it is in doubt from now on, and once whoever follows it has given up (its lease ends) the
-- provider is asked what became of it.
CREATE FUNCTION release_order(
    p_sold orders, p_reason text, p_event text DEFAULT 'cancel', p_actor text DEFAULT 'system'
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders SET status = note_move(p_sold.id, p_sold.status, p_event, p_actor, p_reason), settled_at = now()
     WHERE id = p_sold.id;
    PERFORM give_up_payment(p_sold.id);
    PERFORM free_coupons(ARRAY[p_sold.id]);
    PERFORM take_reserved(NULL, ARRAY[p_sold.id]);
    PERFORM post_released(ARRAY[p_sold.id]);
    INSERT INTO outbox (topic, subject, payload) VALUES ('order.cancelled', p_sold.id, jsonb_build_object('reason', p_reason));
END
$$;
