-- Returns: goods that a customer has come back, are looked at, and only then is money given back.
--
-- A return holds no stock and moves no money before it is inspected, so one that nobody ends does no harm. The order's row
-- comes first in each function, as in all that change an order; two inspections of one parcel give its money back once.
-- Codes: 0 done, 1 replay, 2 key reused, 4 unknown SKU, 9 no such order or return, 10 wrong state, 11 more than there is,
-- 12 too late.

-- return_transitions: the rows of `trading/states.py`; a test keeps them the same.
CREATE FUNCTION return_transitions() RETURNS TABLE (from_status text, event text, to_status text)
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('requested', 'receive', 'received'),
           ('requested', 'withdraw', 'withdrawn'),
           ('requested', 'refuse', 'refused'),
           ('received', 'inspect', 'inspected')
$$;

-- request_return: a customer wants to send pieces back. They must be with the customer (p_unsent: an order of which nothing
-- was ever sent counts as handed over), in no other return, and the last of them may have been sent p_window ago at most.
CREATE FUNCTION request_return(
    p_return uuid, p_order uuid, p_key text, p_fingerprint bytea, p_skus text[], p_quantities integer[], p_reason text,
    p_actor text, p_window interval, p_unsent boolean,
    OUT code integer, OUT result_id uuid, OUT detail text, OUT available bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    chosen record;
    number bigint;
    since timestamptz;
BEGIN
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'return') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT * INTO sold FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    -- A twin of this request may have committed while we waited for the row.
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'return') k;
    IF code <> 0 THEN RETURN; END IF;
    IF NOT (sold.status IN ('partly_shipped', 'shipped', 'completed') OR (p_unsent AND sold.status = 'paid')) THEN
        code := 10; detail := sold.status; RETURN;
    END IF;
    SELECT max(coalesce(s.delivered_at, s.shipped_at)) INTO since FROM shipments s WHERE s.order_id = p_order;
    IF coalesce(since, sold.settled_at) < now() - p_window THEN code := 12; RETURN; END IF;
    chosen := choose_pieces(p_order, CASE sold.status WHEN 'paid' THEN 'return_any' ELSE 'return' END, p_skus, p_quantities);
    IF chosen.code <> 0 THEN
        code := chosen.code; detail := chosen.detail; available := chosen.available; requested := chosen.requested; RETURN;
    END IF;
    INSERT INTO returns (id, order_id, reason, requested_by) VALUES (p_return, p_order, p_reason, p_actor) RETURNING rma INTO number;
    INSERT INTO return_lines (return_id, order_line_no, quantity)
    SELECT p_return, c.line_no, c.part FROM unnest(chosen.lines, chosen.parts) AS c (line_no, part);
    INSERT INTO outbox (topic, subject, payload) VALUES ('return.requested', p_order, jsonb_build_object('rma', number, 'reason', p_reason));
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'return', p_return);
    result_id := p_return;
END
$$;

-- open_return: the common beginning of all that happens to a return: takes the order's row, then looks at the return.
CREATE FUNCTION open_return(
    p_order uuid, p_rma bigint, p_key text, p_fingerprint bytea, p_event text,
    OUT code integer, OUT result_id uuid, OUT detail text, OUT target text
)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    SELECT k.code, k.result_id INTO code, result_id FROM known_key(p_key, p_fingerprint, 'return ' || p_event) k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT r.id, r.status INTO result_id, detail FROM returns r WHERE r.order_id = p_order AND r.rma = p_rma;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    SELECT t.to_status INTO target FROM return_transitions() t WHERE t.from_status = detail AND t.event = p_event;
    IF target IS NULL THEN code := 10; END IF;
END
$$;

-- close_return: the common end.
CREATE FUNCTION close_return(
    p_return uuid, p_event text, p_target text, p_refund uuid, p_key text, p_fingerprint bytea, p_actor text, p_why text
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE returns
       SET status = p_target, note = coalesce(nullif(p_why, ''), note), refund_id = p_refund,
           received_at = CASE p_target WHEN 'received' THEN now() ELSE received_at END,
           closed_at = CASE p_target WHEN 'received' THEN NULL ELSE now() END
     WHERE id = p_return;
    INSERT INTO outbox (topic, subject, payload)
    SELECT 'return.' || p_target, r.order_id, jsonb_build_object('rma', r.rma, 'reason', p_why) FROM returns r WHERE r.id = p_return;
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('return ' || p_event, p_key, p_return, concat_ws(': ', p_actor, p_why));
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'return ' || p_event, p_return);
END
$$;

-- move_return: receive, withdraw, refuse.
CREATE FUNCTION move_return(
    p_order uuid, p_rma bigint, p_key text, p_fingerprint bytea, p_event text, p_actor text, p_why text,
    OUT code integer, OUT result_id uuid, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    target text;
BEGIN
    SELECT o.code, o.result_id, o.detail, o.target INTO code, result_id, detail, target
      FROM open_return(p_order, p_rma, p_key, p_fingerprint, p_event) o;
    IF code <> 0 THEN RETURN; END IF;
    PERFORM close_return(result_id, p_event, target, NULL, p_key, p_fingerprint, p_actor, p_why);
END
$$;

-- inspect_return: each piece of the parcel is good, damaged or rejected; what is good goes on the shelf, and the money of what
-- is good or damaged goes back, in one transaction. Pieces of a SKU that nobody names are rejected.
CREATE FUNCTION inspect_return(
    p_order uuid, p_rma bigint, p_key text, p_fingerprint bytea, p_refund uuid, p_skus text[], p_good integer[],
    p_damaged integer[], p_shipping boolean, p_actor text, p_why text,
    OUT code integer, OUT result_id uuid, OUT detail text, OUT available bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    sold orders;
    target text;
    lines integer[];
    parts integer[];
    shelf boolean[];
BEGIN
    SELECT o.code, o.result_id, o.detail, o.target INTO code, result_id, detail, target
      FROM open_return(p_order, p_rma, p_key, p_fingerprint, 'inspect') o;
    IF code <> 0 THEN RETURN; END IF;
    SELECT w.sku INTO detail FROM unnest(p_skus) AS w (sku)
     WHERE NOT EXISTS (
         SELECT FROM return_lines l JOIN order_pieces(p_order) p ON p.line_no = l.order_line_no
          WHERE l.return_id = result_id AND p.sku = w.sku) LIMIT 1;
    IF detail IS NOT NULL THEN code := 4; RETURN; END IF;
    SELECT w.sku, w.n, l.n INTO detail, requested, available
      FROM (SELECT u.sku, sum(u.good + u.damaged) AS n FROM unnest(p_skus, p_good, p_damaged) AS u (sku, good, damaged) GROUP BY u.sku) w
      JOIN (SELECT p.sku, sum(least(x.quantity, p.quantity - p.back)) AS n
              FROM return_lines x JOIN order_pieces(p_order) p ON p.line_no = x.order_line_no
             WHERE x.return_id = result_id GROUP BY p.sku) l USING (sku)
     WHERE w.n > l.n ORDER BY w.sku LIMIT 1;
    IF detail IS NOT NULL THEN code := 11; RETURN; END IF;

    -- A SKU in several lines: its good pieces are those of its first lines, then come the damaged ones, then the rejected. (As
    -- ranges: a line has the pieces from `before` on, and takes what of it is below the good, and below good and damaged.)
    UPDATE return_lines l
       SET good = k.good, damaged = k.accepted - k.good, rejected = l.quantity - k.accepted
      FROM (SELECT r.line_no,
                   least(r.room, greatest(0, coalesce(w.good, 0) - r.before))::integer AS good,
                   least(r.room, greatest(0, coalesce(w.accepted, 0) - r.before))::integer AS accepted
              FROM (SELECT p.line_no, p.sku, least(x.quantity, p.quantity - p.back) AS room,
                           sum(least(x.quantity, p.quantity - p.back)) OVER (PARTITION BY p.sku ORDER BY p.line_no)
                               - least(x.quantity, p.quantity - p.back) AS before
                      FROM return_lines x JOIN order_pieces(p_order) p ON p.line_no = x.order_line_no
                     WHERE x.return_id = result_id) r
              LEFT JOIN (SELECT u.sku, sum(u.good) AS good, sum(u.good + u.damaged) AS accepted
                           FROM unnest(p_skus, p_good, p_damaged) AS u (sku, good, damaged) GROUP BY u.sku) w USING (sku)) k
     WHERE l.return_id = result_id AND l.order_line_no = k.line_no;
    SELECT array_agg(c.line_no ORDER BY c.line_no, c.shelf DESC), array_agg(c.n ORDER BY c.line_no, c.shelf DESC),
           array_agg(c.shelf ORDER BY c.line_no, c.shelf DESC)
      INTO lines, parts, shelf
      FROM (SELECT l.order_line_no AS line_no, l.good AS n, true AS shelf FROM return_lines l WHERE l.return_id = result_id
            UNION ALL SELECT l.order_line_no, l.damaged, false FROM return_lines l WHERE l.return_id = result_id) c
     WHERE c.n > 0;
    -- The return is closed before the order's state is settled: its pieces are no longer announced.
    IF lines IS NULL THEN
        PERFORM close_return(result_id, 'inspect', target, NULL, p_key, p_fingerprint, p_actor, p_why);
    ELSE
        SELECT * INTO sold FROM orders WHERE id = p_order;
        PERFORM give_back(p_refund, sold, p_key, lines, parts, shelf, true, 'return', p_shipping, format('return RMA-%s', lpad(p_rma::text, greatest(6, length(p_rma::text)), '0')), NULL);
        PERFORM close_return(result_id, 'inspect', target, p_refund, p_key, p_fingerprint, p_actor, p_why);
        PERFORM settle_state(p_order, 'return', p_actor, format('return RMA-%s', lpad(p_rma::text, greatest(6, length(p_rma::text)), '0')));
    END IF;
END
$$;
