-- An order after it is paid: what is sent, what arrives, and in which state that leaves the order.
--
-- None of it is on the order path. Each function takes the order's row first and then looks, so that two at once come one
-- after the other and neither goes by what the other has changed.
-- Codes: 0 done, 1 replay, 2 key reused, 4 unknown SKU, 9 not found, 10 wrong state, 11 more than there is.

-- order_transitions: the rows of `trading/states.py`; a test keeps them the same.
CREATE FUNCTION order_transitions() RETURNS TABLE (from_status text, event text, to_status text)
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('placed', 'authorise', 'authorised'),
           ('placed', 'capture', 'paid'),
           ('placed', 'decline', 'declined'),
           ('placed', 'cancel', 'cancelled'),
           ('placed', 'expire', 'cancelled'),
           ('authorised', 'capture', 'paid'),
           ('authorised', 'cancel', 'cancelled'),
           ('authorised', 'expire', 'cancelled'),
           ('paid', 'ship_part', 'partly_shipped'),
           ('paid', 'ship_all', 'shipped'),
           ('paid', 'refund_all', 'cancelled'),
           ('paid', 'return_all', 'returned'),
           ('partly_shipped', 'ship_all', 'shipped'),
           ('partly_shipped', 'refund_rest', 'shipped'),
           ('shipped', 'complete', 'completed'),
           ('shipped', 'return_all', 'returned'),
           ('completed', 'return_all', 'returned')
$$;
GRANT EXECUTE ON FUNCTION order_transitions() TO everopen_audit;

-- note_move: writes a transition into the order's history and answers where it leads. What the table lacks can't happen.
CREATE FUNCTION note_move(p_order uuid, p_from text, p_event text, p_actor text, p_why text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    target text;
BEGIN
    SELECT t.to_status INTO target FROM order_transitions() t WHERE t.from_status = p_from AND t.event = p_event;
    IF target IS NULL THEN
        RAISE EXCEPTION 'order % is %, from which % leads nowhere', p_order, p_from, p_event USING ERRCODE = 'check_violation';
    END IF;
    -- (Of staff, the connection knows who it is.)
    INSERT INTO order_history (order_id, from_status, event, to_status, actor, why)
    VALUES (p_order, p_from, p_event, target,
            CASE p_actor WHEN 'staff' THEN coalesce(nullif(current_setting('everopen.actor', true), ''), 'staff') ELSE p_actor END, p_why);
    RETURN target;
END
$$;

-- move_order: moves an order by an event of the table and notes it. Takes the order's row.
CREATE FUNCTION move_order(p_order uuid, p_event text, p_actor text, p_why text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    target text;
BEGIN
    SELECT note_move(p_order, o.status, p_event, p_actor, p_why) INTO target
      FROM (SELECT x.status FROM orders x WHERE x.id = p_order FOR NO KEY UPDATE) o;
    UPDATE orders SET status = target WHERE id = p_order;
    RETURN target;
END
$$;

-- was_paid: whether the money of an order in this state was captured (a cancelled one may have been paid before).
CREATE FUNCTION was_paid(p_order uuid, p_status text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE p_status
           WHEN 'cancelled' THEN EXISTS (SELECT FROM order_history h WHERE h.order_id = p_order AND h.from_status = 'paid')
           ELSE p_status IN ('paid', 'partly_shipped', 'shipped', 'completed', 'returned') END
$$;

-- captured_of: how much of an order's total was captured. Less than all of it where staff captured a part of what was
-- authorised and gave up the rest.
CREATE FUNCTION captured_of(p_order uuid, p_total bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT CASE f.kind
           WHEN 'authorise' THEN coalesce((SELECT sum(c.amount) FROM payment_intents c
                                            WHERE c.order_id = p_order AND c.kind = 'capture' AND c.status = 'captured'), 0)::bigint
           ELSE p_total END
      FROM payment_intents f WHERE f.id = p_order
$$;

-- share_of: what of an amount was captured, rounded down, so that all the parts of an order are never more than was captured.
CREATE FUNCTION share_of(p_amount bigint, p_captured bigint, p_total bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_captured >= p_total THEN p_amount ELSE floor(p_amount::numeric * p_captured / p_total)::bigint END
$$;

-- order_pieces: where the pieces of each line are. `back`: given back, of which `withheld` had not been sent. `shipped`: ever
-- sent. `announced`: in a return that is not inspected yet. `charge`: what the customer paid for the line. Lines without stock
-- (fees, postage) need no shipment, unless the order has nothing else.
CREATE FUNCTION order_pieces(p_order uuid)
RETURNS TABLE (
    line_no integer, sku text, quantity integer, tracked boolean, must_ship boolean, charge bigint, tax bigint,
    back integer, withheld integer, shipped integer, announced integer)
LANGUAGE sql STABLE AS $$
    SELECT l.line_no, p.sku, l.quantity, l.tracked, l.tracked OR NOT bool_or(l.tracked) OVER (),
           share_of(l.quantity * l.unit_price - coalesce(l.discount, 0) + CASE WHEN o.tax_added THEN coalesce(l.tax, 0) ELSE 0 END,
                    m.captured, o.total),
           share_of(coalesce(l.tax, 0), m.captured, o.total),
           coalesce(b.back, 0)::integer, coalesce(b.withheld, 0)::integer, coalesce(s.shipped, 0)::integer,
           coalesce(a.announced, 0)::integer
      FROM orders o
      CROSS JOIN LATERAL (SELECT captured_of(o.id, o.total) AS captured OFFSET 0) m
      JOIN order_lines l ON l.order_id = o.id
      JOIN products p ON p.id = l.sku_id
      LEFT JOIN (SELECT rl.order_line_no, sum(rl.quantity) AS back, sum(coalesce(rl.unshipped, rl.quantity)) AS withheld
                   FROM refunds r JOIN refund_lines rl ON rl.refund_id = r.id
                  WHERE r.order_id = p_order GROUP BY rl.order_line_no) b ON b.order_line_no = l.line_no
      LEFT JOIN (SELECT sl.order_line_no, sum(sl.quantity) AS shipped
                   FROM shipment_lines sl WHERE sl.order_id = p_order GROUP BY sl.order_line_no) s ON s.order_line_no = l.line_no
      LEFT JOIN (SELECT tl.order_line_no, sum(tl.quantity) AS announced
                   FROM returns t JOIN return_lines tl ON tl.return_id = t.id
                  WHERE t.order_id = p_order AND t.status IN ('requested', 'received')
                  GROUP BY tl.order_line_no) a ON a.order_line_no = l.line_no
     WHERE o.id = p_order
     ORDER BY l.line_no
$$;

-- choose_pieces: which lines the wished pieces of each SKU are taken from, the first line first. No wish means all there are.
-- Purposes: refund (not given back yet), send (in the house), return (with the customer), return_any (also never sent).
CREATE FUNCTION choose_pieces(
    p_order uuid, p_purpose text, p_skus text[], p_quantities integer[],
    OUT code integer, OUT detail text, OUT available bigint, OUT requested bigint, OUT lines integer[], OUT parts integer[]
)
LANGUAGE plpgsql AS $$
DECLARE
    all_of_it boolean := coalesce(cardinality(p_skus), 0) = 0;
    found_lines integer[];
    found_skus text[];
    rooms integer[];
BEGIN
    SELECT array_agg(k.line_no), array_agg(k.sku), array_agg(greatest(k.room, 0)) INTO found_lines, found_skus, rooms
      FROM (SELECT p.line_no, p.sku,
                   CASE p_purpose
                        WHEN 'refund' THEN p.quantity - p.back
                        WHEN 'send' THEN CASE WHEN p.must_ship OR NOT all_of_it THEN p.quantity - p.shipped - p.withheld ELSE 0 END
                        WHEN 'return' THEN p.shipped - (p.back - p.withheld) - p.announced
                        WHEN 'return_any' THEN p.quantity - p.back - p.announced
                   END AS room
              FROM order_pieces(p_order) p ORDER BY p.line_no) k;
    SELECT w.sku INTO detail FROM unnest(p_skus) AS w (sku) WHERE NOT w.sku = ANY (found_skus) LIMIT 1;
    IF detail IS NOT NULL THEN code := 4; RETURN; END IF;
    SELECT w.sku, w.quantity, r.room INTO detail, requested, available
      FROM (SELECT u.sku, sum(u.quantity) AS quantity FROM unnest(p_skus, p_quantities) AS u (sku, quantity) GROUP BY u.sku) w
      JOIN (SELECT u.sku, sum(u.room) AS room FROM unnest(found_skus, rooms) AS u (sku, room) GROUP BY u.sku) r USING (sku)
     WHERE w.quantity > r.room ORDER BY w.sku LIMIT 1;
    IF detail IS NOT NULL THEN code := 11; RETURN; END IF;
    SELECT array_agg(c.line_no ORDER BY c.line_no), array_agg(c.part ORDER BY c.line_no) INTO lines, parts
      FROM (SELECT r.line_no, least(r.room, w.quantity - r.before)::integer AS part
              FROM (SELECT u.line_no, u.sku, u.room, sum(u.room) OVER (PARTITION BY u.sku ORDER BY u.line_no) - u.room AS before
                      FROM unnest(found_lines, found_skus, rooms) AS u (line_no, sku, room)) r
              LEFT JOIN (SELECT u.sku, sum(u.quantity) AS quantity
                           FROM unnest(p_skus, p_quantities) AS u (sku, quantity) GROUP BY u.sku) w USING (sku)
             WHERE all_of_it OR w.sku IS NOT NULL) c
     WHERE c.part > 0;
    code := 0;
    IF lines IS NULL THEN code := 11; detail := ''; available := 0; requested := 1; END IF;
END
$$;

-- settle_state: moves a paid order to the state that its pieces are in; `p_by` is what has just happened: shipment, refund or
-- return. The caller holds the order's row.
CREATE FUNCTION settle_state(p_order uuid, p_by text, p_actor text, p_why text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    state text;
    event text;
    sent bigint;
    here bigint;
    kept bigint;
BEGIN
    SELECT sum(p.shipped), sum(p.quantity - p.shipped - p.withheld) FILTER (WHERE p.must_ship),
           sum(p.quantity - p.back) FILTER (WHERE p.must_ship)
      INTO sent, here, kept FROM order_pieces(p_order) p;
    SELECT o.status INTO state FROM orders o WHERE o.id = p_order;
    LOOP
        event := CASE
            WHEN state = 'paid' AND sent > 0 THEN CASE here WHEN 0 THEN 'ship_all' ELSE 'ship_part' END
            WHEN state = 'paid' AND kept = 0 THEN CASE p_by WHEN 'return' THEN 'return_all' ELSE 'refund_all' END
            WHEN state = 'partly_shipped' AND here = 0 THEN CASE p_by WHEN 'shipment' THEN 'ship_all' ELSE 'refund_rest' END
            WHEN state IN ('shipped', 'completed') AND kept = 0 THEN 'return_all'
        END;
        EXIT WHEN event IS NULL;
        state := move_order(p_order, event, p_actor, p_why);
        IF event IN ('refund_all', 'return_all') THEN
            INSERT INTO outbox (topic, subject, payload)
            VALUES ('order.' || state, p_order, jsonb_build_object('reason', p_why));
        END IF;
    END LOOP;
    RETURN state;
END
$$;

-- ship_order: pieces of a paid order leave the house; no lines means all that are left. `shipment` is its number within the order.
-- They are picked at p_location (NULL: by the priority of locations; codes 18, 19: see pick_stock in stock.sql).
CREATE FUNCTION ship_order(
    p_order uuid, p_key text, p_fingerprint bytea, p_skus text[], p_quantities integer[], p_carrier text, p_tracking text,
    p_actor text, p_location text,
    OUT code integer, OUT shipment integer, OUT detail text, OUT available bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
    state text;
    chosen record;
    picked record;
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'shipment') k;
    shipment := known[1];
    IF code <> 0 THEN RETURN; END IF;
    SELECT o.status INTO state FROM orders o WHERE o.id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    -- A twin of this request may have committed while we waited for the row.
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'shipment') k;
    shipment := known[1];
    IF code <> 0 THEN RETURN; END IF;
    IF state NOT IN ('paid', 'partly_shipped') THEN code := 10; detail := state; RETURN; END IF;
    chosen := choose_pieces(p_order, 'send', p_skus, p_quantities);
    IF chosen.code <> 0 THEN
        code := chosen.code; detail := chosen.detail; available := chosen.available; requested := chosen.requested; RETURN;
    END IF;
    SELECT coalesce(max(s.number), 0) + 1 INTO shipment FROM shipments s WHERE s.order_id = p_order;
    SELECT k.* INTO picked FROM pick_stock(
        (SELECT array_agg(l.sku_id ORDER BY l.line_no) FROM order_lines l WHERE l.order_id = p_order AND l.tracked AND l.line_no = ANY (chosen.lines)),
        (SELECT array_agg(c.part::bigint ORDER BY l.line_no) FROM unnest(chosen.lines, chosen.parts) AS c (line_no, part)
           JOIN order_lines l ON l.order_id = p_order AND l.line_no = c.line_no WHERE l.tracked),
        p_location, p_key, format('order %s, shipment %s', p_order, shipment)) k;
    IF picked.code <> 0 THEN
        code := picked.code; detail := (SELECT p.sku FROM products p WHERE p.id = picked.sku_id);
        available := picked.held; requested := picked.short; shipment := NULL; RETURN;
    END IF;
    INSERT INTO shipments (order_id, number, carrier, tracking) VALUES (p_order, shipment, p_carrier, p_tracking);
    INSERT INTO shipment_lines (order_id, number, order_line_no, quantity)
    SELECT p_order, shipment, c.line_no, c.part FROM unnest(chosen.lines, chosen.parts) AS c (line_no, part);
    PERFORM settle_state(p_order, 'shipment', p_actor, format('shipment %s', shipment));
    INSERT INTO outbox (topic, subject, payload)
    VALUES ('order.shipped', p_order, jsonb_build_object('shipment', shipment, 'carrier', p_carrier, 'tracking', p_tracking));
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('shipment', p_key, p_order, format('shipment %s', shipment));
    INSERT INTO idempotency (key, fingerprint, kind, result_id, result)
    VALUES (p_key, p_fingerprint, 'shipment', p_order, ARRAY[shipment::bigint]);
END
$$;

-- complete_order: all of a shipped order has arrived.
CREATE FUNCTION complete_order(
    p_order uuid, p_key text, p_fingerprint bytea, p_actor text, p_why text, OUT code integer, OUT detail text
)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT k.code INTO code FROM known_key(p_key, p_fingerprint, 'complete') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT o.status INTO detail FROM orders o WHERE o.id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    SELECT k.code INTO code FROM known_key(p_key, p_fingerprint, 'complete') k;
    IF code <> 0 THEN RETURN; END IF;
    IF detail <> 'shipped' THEN code := 10; RETURN; END IF;
    PERFORM arrive(p_order, p_actor, p_why);
    INSERT INTO audit_log (action, key, subject, detail) VALUES ('complete', p_key, p_order, p_why);
    INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES (p_key, p_fingerprint, 'complete', p_order);
END
$$;

-- arrive: the shipments of a shipped order have arrived; the caller holds its row.
CREATE FUNCTION arrive(p_order uuid, p_actor text, p_why text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shipments SET delivered_at = now() WHERE order_id = p_order AND delivered_at IS NULL;
    PERFORM move_order(p_order, 'complete', p_actor, p_why);
    INSERT INTO outbox (topic, subject) VALUES ('order.completed', p_order);
END
$$;

-- complete_due: what has been on its way for so long counts as arrived. A batch; answers how many orders it looked at and how
-- many of them are completed now. Orders that somebody else holds come in the next round.
CREATE FUNCTION complete_due(p_age interval, p_limit integer, OUT looked_at integer, OUT completed integer)
LANGUAGE plpgsql AS $$
DECLARE
    sent record;
    why text := format('on its way for %s days', round(extract(epoch FROM p_age) / 86400));
BEGIN
    looked_at := 0;
    completed := 0;
    FOR sent IN
        SELECT o.id, o.status FROM orders o
         WHERE o.id IN (SELECT s.order_id FROM shipments s
                         WHERE s.delivered_at IS NULL AND s.shipped_at < now() - p_age ORDER BY s.shipped_at LIMIT p_limit)
         ORDER BY o.id FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        looked_at := looked_at + 1;
        UPDATE shipments s SET delivered_at = now()
         WHERE s.order_id = sent.id AND s.delivered_at IS NULL AND s.shipped_at < now() - p_age;
        CONTINUE WHEN sent.status <> 'shipped' OR EXISTS (
            SELECT FROM shipments s WHERE s.order_id = sent.id AND s.delivered_at IS NULL);
        PERFORM arrive(sent.id, 'system', why);
        completed := completed + 1;
    END LOOP;
END
$$;
