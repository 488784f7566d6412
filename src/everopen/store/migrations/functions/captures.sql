-- Captures and voids of authorised orders, and what staff do about payments that failed. None of them is on the order path.
-- Codes: 0 done, 1 replay, 2 key reused, 9 not found, 10 wrong state, 11 more than there is. What is refused has written nothing.
-- Locks: the order first (two captures at once: one after the other), then stock by sku_id, then the key.

-- payments_of_order: the sums that decide what may still be done with an order's money.
CREATE FUNCTION payments_of_order(
    p_order uuid, OUT kind text, OUT status text, OUT held bigint, OUT captured bigint, OUT capturing bigint, OUT ending boolean,
    OUT provider text, OUT token text, OUT currency text
)
LANGUAGE sql STABLE AS $$
    SELECT f.kind, f.status, f.amount,
           coalesce(sum(c.amount) FILTER (WHERE c.status = 'captured'), 0)::bigint,
           coalesce(sum(c.amount) FILTER (WHERE c.status IN ('pending', 'unknown')), 0)::bigint,
           coalesce(bool_or(c.final) FILTER (WHERE c.status <> 'declined'), false),
           f.provider, f.token, f.currency
      FROM payment_intents f
      LEFT JOIN payment_intents c ON c.order_id = f.id AND c.kind = 'capture'
     WHERE f.id = p_order
     GROUP BY f.id
$$;

-- capture_order: asks for (a part of) what was authorised; no amount means all that is left. The last part, or one that is
-- called final, makes the order paid when the provider says yes.
CREATE FUNCTION capture_order(
    p_id uuid, p_order uuid, p_amount bigint, p_final boolean, p_key text, p_fingerprint bytea, p_reason text,
    OUT code integer, OUT result_id uuid, OUT detail text, OUT amount bigint, OUT available bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    money record;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'capture') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT * INTO sold FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    -- A twin of this request may have committed while we waited for the lock.
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'capture') k;
    IF code <> 0 THEN RETURN; END IF;
    IF sold.status <> 'authorised' THEN code := 10; detail := sold.status; RETURN; END IF;
    SELECT * INTO money FROM payments_of_order(p_order);
    available := money.held - money.captured - money.capturing;
    IF money.ending OR available = 0 THEN code := 10; detail := 'capturing'; RETURN; END IF;
    amount := coalesce(p_amount, available);
    IF amount > available THEN code := 11; RETURN; END IF;
    INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at, final)
    VALUES (p_id, p_order, 'capture', amount, money.currency, money.provider, money.token, now(),
            nullif(p_final OR amount = available, false));
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('capture', p_key, p_order, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'capture', p_id);
    result_id := p_id;
END
$$;

-- void_order: gives back what is authorised and not captured. Without a capture the order is cancelled, else it is paid with
-- what was captured. Refused while a capture is under way: its answer decides what there is to give back.
CREATE FUNCTION void_order(
    p_order uuid, p_key text, p_fingerprint bytea, p_reason text, p_event text, p_actor text,
    OUT code integer, OUT result_id uuid, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    money record;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'void') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT * INTO sold FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'void') k;
    IF code <> 0 THEN RETURN; END IF;
    IF sold.status <> 'authorised' THEN code := 10; detail := sold.status; RETURN; END IF;
    SELECT * INTO money FROM payments_of_order(p_order);
    IF money.capturing > 0 THEN code := 10; detail := 'capturing'; RETURN; END IF;
    IF money.captured > 0 THEN
        PERFORM pay_captured(sold, money.captured, true);
        PERFORM take_reserved(ARRAY[p_order], NULL);
    ELSE
        PERFORM release_order(sold, p_reason, p_event, p_actor);
    END IF;
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('void', p_key, p_order, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'void', p_order);
    result_id := p_order;
END
$$;

-- finish_captures: of these orders (locked by the caller), those that are paid now; the caller takes their goods off the shelf.
CREATE FUNCTION finish_captures(p_orders uuid[]) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    money record;
    finished uuid[];
BEGIN
    FOR sold IN SELECT * FROM orders o WHERE o.id = ANY (p_orders) AND o.status = 'authorised' ORDER BY o.id LOOP
        SELECT * INTO money FROM payments_of_order(sold.id);
        CONTINUE WHEN money.captured = 0 OR money.capturing > 0 OR NOT (money.captured = money.held OR money.ending);
        PERFORM pay_captured(sold, money.captured, money.captured < money.held);
        finished := finished || sold.id;
    END LOOP;
    RETURN finished;
END
$$;

-- pay_captured: an authorised order is paid with what was captured of it. What is left of its authorisation is voided, and
-- waived in the ledger: nobody owes it any more. Its tax share goes with it, rounded down.
CREATE FUNCTION pay_captured(p_sold orders, p_captured bigint, p_void boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    waived bigint := p_sold.total - p_captured;
    waived_tax bigint := floor(coalesce(p_sold.tax, 0)::numeric * waived / nullif(p_sold.total, 0));
BEGIN
    UPDATE orders SET status = 'paid', settled_at = now() WHERE id = p_sold.id;
    INSERT INTO outbox (topic, subject) VALUES ('order.paid', p_sold.id);
    IF waived > 0 THEN
        INSERT INTO ledger_entries (order_id, event, account, amount, currency) VALUES
            (p_sold.id, 'waived', 'sales', waived - waived_tax, p_sold.currency),
            (p_sold.id, 'waived', 'receivable', -waived, p_sold.currency);
        IF waived_tax > 0 THEN
            INSERT INTO ledger_entries (order_id, event, account, amount, currency)
            VALUES (p_sold.id, 'waived', 'tax', waived_tax, p_sold.currency);
        END IF;
    END IF;
    IF p_void THEN
        PERFORM void_rest(p_sold.id, waived);
    END IF;
END
$$;

-- void_rest: asks the provider to give back what it holds for an order.
CREATE FUNCTION void_rest(p_order uuid, p_amount bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
    SELECT gen_random_uuid(), i.order_id, 'void', p_amount, i.currency, i.provider, i.token, now()
      FROM payment_intents i
     WHERE i.id = p_order AND i.kind = 'authorise' AND i.status = 'authorised' AND p_amount > 0
$$;

-- give_up_payment: an order is taken back (its row is locked). A payment that is on its way is in doubt from now on, and once
-- whoever follows it has given up (its lease ends) the provider is asked what became of it; what it holds is voided.
CREATE FUNCTION give_up_payment(p_order uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE payment_intents SET status = 'unknown' WHERE id = p_order AND status = 'pending';
    IF NOT FOUND THEN
        PERFORM void_rest(p_order, i.amount) FROM payment_intents i WHERE i.id = p_order;
    END IF;
END
$$;

-- may_cancel: whether an order's money allows to take it back: nothing was captured of it, and nothing is being captured.
CREATE FUNCTION may_cancel(p_sold orders) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT p_sold.status = 'placed'
        OR (p_sold.status = 'authorised' AND NOT EXISTS (
               SELECT FROM payment_intents c WHERE c.order_id = p_sold.id AND c.kind = 'capture' AND c.status <> 'declined'))
$$;

-- overturn_payment: the provider takes back what it had approved. A hold that lapsed there: the order is released, or paid with
-- what was captured of it. A refund that came back: the customer is owed the money again. Anything else is no news.
CREATE FUNCTION overturn_payment(p_id uuid, p_outcome text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    intent payment_intents;
    money record;
BEGIN
    SELECT o.* INTO sold FROM orders o WHERE o.id = (SELECT order_id FROM payment_intents WHERE id = p_id) FOR NO KEY UPDATE;
    SELECT * INTO intent FROM payment_intents WHERE id = p_id FOR NO KEY UPDATE;
    IF intent.kind = 'refund' AND intent.status = 'refunded' AND p_outcome = 'declined' THEN
        UPDATE payment_intents SET status = 'declined', settled_at = now() WHERE id = p_id;
        INSERT INTO ledger_entries (order_id, refund_id, event, account, amount, currency) VALUES
            (intent.order_id, p_id, 'refund_returned', 'cash', intent.amount, intent.currency),
            (intent.order_id, p_id, 'refund_returned', 'receivable', -intent.amount, intent.currency);
        INSERT INTO outbox (topic, subject) VALUES ('refund.failed', p_id);
        RETURN true;
    END IF;
    IF intent.kind = 'authorise' AND intent.status = 'authorised' AND sold.status = 'authorised' AND p_outcome = 'lapsed' THEN
        SELECT * INTO money FROM payments_of_order(sold.id);
        IF money.capturing > 0 THEN
            RETURN false;  -- the capture's own answer comes first
        END IF;
        UPDATE payment_intents SET status = 'voided', settled_at = now() WHERE id = p_id;
        IF money.captured > 0 THEN
            PERFORM pay_captured(sold, money.captured, false);
            PERFORM take_reserved(ARRAY[sold.id], NULL);
        ELSE
            PERFORM release_order(sold, 'the authorisation lapsed', 'expire');
        END IF;
        RETURN true;
    END IF;
    RETURN false;
END
$$;

-- retry_payment: staff take up a capture, void or refund that was declined: once more at the provider under a new key, or as
-- done by hand (money that left another way). Each declined payment is taken up once; the new one may be taken up in turn.
CREATE FUNCTION retry_payment(
    p_id uuid, p_failed uuid, p_by_hand boolean, p_key text, p_fingerprint bytea, p_reason text,
    OUT code integer, OUT result_id uuid, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    failed payment_intents;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'retry') k;
    IF code <> 0 THEN RETURN; END IF;
    PERFORM FROM orders WHERE id = (SELECT order_id FROM payment_intents WHERE id = p_failed) FOR NO KEY UPDATE;
    SELECT * INTO failed FROM payment_intents WHERE id = p_failed;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'retry') k;
    IF code <> 0 THEN RETURN; END IF;
    IF failed.status <> 'declined' THEN code := 10; detail := failed.status; RETURN; END IF;
    IF failed.kind NOT IN ('void', 'refund') OR (p_by_hand AND failed.kind <> 'refund') THEN
        code := 10; detail := failed.kind; RETURN;
    END IF;
    IF EXISTS (SELECT FROM payment_intents WHERE retry_of = p_failed) THEN
        code := 10; detail := 'taken up'; RETURN;
    END IF;
    INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at, retry_of)
    VALUES (p_id, failed.order_id, failed.kind, failed.amount, failed.currency,
            CASE WHEN p_by_hand THEN 'hand' ELSE failed.provider END, failed.token, now(), p_failed);
    IF p_by_hand THEN
        PERFORM settle_payments(ARRAY[p_id], ARRAY['approved'], ARRAY['by hand']);
    END IF;
    INSERT INTO audit_log (action, key, subject, detail)
    VALUES (CASE WHEN p_by_hand THEN 'payment by hand' ELSE 'retry payment' END, p_key, p_failed, p_reason);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'retry', p_id);
    result_id := p_id;
END
$$;
