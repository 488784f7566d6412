-- Goods on the shelf: receipts, corrections, transfers, picks. Codes as in catalogue.sql.
--
-- Locks: stock by sku_id (only where the total changes), then stock_at by sku_id and location_id. A transfer or a pick does
-- not change the total, so it never holds the row that a rush of orders waits for.

-- shelve: changes what lies at locations, all or nothing; entries without a location are left out. Codes 0, 18, 19.
CREATE FUNCTION shelve(
    p_sku_ids integer[], p_locations text[], p_deltas bigint[],
    OUT code integer, OUT sku_id integer, OUT location text, OUT held bigint, OUT short bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    code := 0;
    SELECT u.location INTO location FROM unnest(p_locations) AS u (location)
     WHERE u.location IS NOT NULL AND NOT EXISTS (SELECT FROM locations l WHERE l.id = u.location) LIMIT 1;
    IF FOUND THEN code := 18; RETURN; END IF;
    PERFORM FROM stock_at s
       JOIN (SELECT DISTINCT u.id, u.location FROM unnest(p_sku_ids, p_locations) AS u (id, location)) d
         ON s.sku_id = d.id AND s.location_id = d.location
      ORDER BY s.sku_id, s.location_id FOR UPDATE OF s;
    SELECT d.id, d.location, coalesce(s.on_hand, 0), -d.delta INTO sku_id, location, held, short
      FROM (SELECT u.id, u.location, sum(u.delta) AS delta FROM unnest(p_sku_ids, p_locations, p_deltas) AS u (id, location, delta)
             WHERE u.location IS NOT NULL GROUP BY u.id, u.location) d
      LEFT JOIN stock_at s ON s.sku_id = d.id AND s.location_id = d.location
     WHERE coalesce(s.on_hand, 0) + d.delta < 0 ORDER BY d.id, d.location LIMIT 1;
    IF FOUND THEN code := 19; RETURN; END IF;
    UPDATE stock_at s SET on_hand = s.on_hand + d.delta
      FROM (SELECT u.id, u.location, sum(u.delta) AS delta FROM unnest(p_sku_ids, p_locations, p_deltas) AS u (id, location, delta)
             WHERE u.location IS NOT NULL GROUP BY u.id, u.location HAVING sum(u.delta) < 0) d
     WHERE s.sku_id = d.id AND s.location_id = d.location;
    INSERT INTO stock_at AS s (sku_id, location_id, on_hand)
    SELECT u.id, u.location, sum(u.delta) FROM unnest(p_sku_ids, p_locations, p_deltas) AS u (id, location, delta)
     WHERE u.location IS NOT NULL GROUP BY u.id, u.location HAVING sum(u.delta) > 0 ORDER BY u.id, u.location
    ON CONFLICT (sku_id, location_id) DO UPDATE SET on_hand = s.on_hand + excluded.on_hand;
END
$$;

-- move_stock: receipts and corrections. All or nothing. p_locations has an element per SKU, NULL: at no location.
CREATE FUNCTION move_stock(
    p_kind text, p_key text, p_fingerprint bytea, p_skus text[], p_deltas bigint[], p_locations text[], p_reason text,
    OUT code integer, OUT items bigint, OUT detail text, OUT available bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
    item record;
    shelved record;
    ids integer[];
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, p_kind) k;
    items := known[1];
    IF code <> 0 THEN RETURN; END IF;
    SELECT string_agg(DISTINCT w.sku, E'\n') INTO detail FROM unnest(p_skus) AS w (sku)
     WHERE NOT EXISTS (SELECT FROM products p WHERE p.sku = w.sku);
    IF detail IS NOT NULL THEN code := 4; RETURN; END IF;
    SELECT string_agg(DISTINCT w.sku, E'\n') INTO detail FROM unnest(p_skus) AS w (sku)
      JOIN products p ON p.sku = w.sku WHERE NOT p.tracks_stock;
    IF detail IS NOT NULL THEN code := 12; RETURN; END IF;

    -- Lock all, look at all, and only then write: a refusal has written nothing.
    FOR item IN
        SELECT s.sku_id, s.on_hand + s.backorder - s.reserved AS free, d.sku, d.delta
          FROM (SELECT p.id, p.sku, sum(w.delta) AS delta FROM unnest(p_skus, p_deltas) AS w (sku, delta)
                  JOIN products p ON p.sku = w.sku GROUP BY p.id, p.sku) d
          JOIN stock s ON s.sku_id = d.id
         ORDER BY s.sku_id FOR NO KEY UPDATE OF s
    LOOP
        IF item.delta < 0 AND item.free + item.delta < 0 THEN
            -- Perhaps a twin of this request took it while we waited for the lock.
            SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, p_kind) k;
            items := known[1];
            IF code = 0 THEN
                code := 3; detail := item.sku; available := item.free; requested := -item.delta;
            END IF;
            RETURN;
        END IF;
    END LOOP;
    SELECT array_agg(p.id ORDER BY w.ord) INTO ids FROM unnest(p_skus) WITH ORDINALITY AS w (sku, ord) JOIN products p ON p.sku = w.sku;
    SELECT * INTO shelved FROM shelve(ids, p_locations, p_deltas);
    IF shelved.code <> 0 THEN
        SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, p_kind) k;
        items := known[1];
        IF code = 0 THEN
            code := shelved.code; available := shelved.held; requested := shelved.short;
            detail := concat_ws(E'\n', shelved.location, (SELECT p.sku FROM products p WHERE p.id = shelved.sku_id));
        END IF;
        RETURN;
    END IF;
    UPDATE stock s SET on_hand = s.on_hand + d.delta
      FROM (SELECT u.id, sum(u.delta) AS delta FROM unnest(ids, p_deltas) AS u (id, delta) GROUP BY u.id) d
     WHERE s.sku_id = d.id AND d.delta <> 0;
    INSERT INTO stock_movements (sku_id, delta, kind, key, reason, location_id)
    SELECT u.id, sum(u.delta), p_kind, p_key, p_reason, u.location
      FROM unnest(ids, p_deltas, p_locations) AS u (id, delta, location)
     GROUP BY u.id, u.location HAVING sum(u.delta) <> 0 ORDER BY u.id, u.location;
    SELECT count(DISTINCT u.id) INTO items FROM unnest(ids, p_deltas) AS u (id, delta) WHERE u.delta <> 0;
    INSERT INTO audit_log (action, key, detail) VALUES (p_kind, p_key, format('%s SKUs: %s', items, p_reason));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, p_kind, ARRAY[items]);
END
$$;

-- transfer_stock: goods go from one location to another; either may be NULL (unplaced). The total stays. All or nothing.
CREATE FUNCTION transfer_stock(
    p_key text, p_fingerprint bytea, p_skus text[], p_quantities bigint[], p_from text, p_to text, p_reason text,
    OUT code integer, OUT items bigint, OUT detail text, OUT available bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
    shelved record;
    ids integer[];
    n integer := cardinality(p_skus);
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'transfer') k;
    items := known[1];
    IF code <> 0 THEN RETURN; END IF;
    SELECT string_agg(DISTINCT w.sku, E'\n') INTO detail FROM unnest(p_skus) AS w (sku)
     WHERE NOT EXISTS (SELECT FROM products p WHERE p.sku = w.sku);
    IF detail IS NOT NULL THEN code := 4; RETURN; END IF;
    SELECT string_agg(DISTINCT w.sku, E'\n') INTO detail FROM unnest(p_skus) AS w (sku)
      JOIN products p ON p.sku = w.sku WHERE NOT p.tracks_stock;
    IF detail IS NOT NULL THEN code := 12; RETURN; END IF;
    SELECT array_agg(p.id ORDER BY w.ord) INTO ids FROM unnest(p_skus) WITH ORDINALITY AS w (sku, ord) JOIN products p ON p.sku = w.sku;
    SELECT * INTO shelved FROM shelve(
        ids || ids, array_fill(p_from, ARRAY[n]) || array_fill(p_to, ARRAY[n]),
        (SELECT array_agg(-u.quantity ORDER BY u.ord) FROM unnest(p_quantities) WITH ORDINALITY AS u (quantity, ord)) || p_quantities);
    IF shelved.code <> 0 THEN
        -- Perhaps a twin of this request moved them while we waited for the lock.
        SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'transfer') k;
        items := known[1];
        IF code = 0 THEN
            code := shelved.code; available := shelved.held; requested := shelved.short;
            detail := concat_ws(E'\n', shelved.location, (SELECT p.sku FROM products p WHERE p.id = shelved.sku_id));
        END IF;
        RETURN;
    END IF;
    INSERT INTO stock_movements (sku_id, delta, kind, key, reason, location_id)
    SELECT u.id, e.sign * sum(u.quantity), 'transfer', p_key, p_reason, e.location
      FROM unnest(ids, p_quantities) AS u (id, quantity), (VALUES (-1, p_from), (1, p_to)) AS e (sign, location)
     GROUP BY u.id, e.sign, e.location ORDER BY u.id, e.sign;
    SELECT count(DISTINCT u.id) INTO items FROM unnest(ids) AS u (id);
    INSERT INTO audit_log (action, key, detail)
    VALUES ('transfer', p_key, format('%s SKUs from %s to %s: %s', items, coalesce(p_from, 'nowhere'), coalesce(p_to, 'nowhere'), p_reason));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, 'transfer', ARRAY[items]);
END
$$;

-- pick_stock: sold goods are taken from where they lie, for a shipment whose transaction this is part of. The total stays: the
-- sale took them from it. A named location gives all or nothing (code 19); without one, locations give in the order of their
-- priority, and what none of them has stays unplaced (a shop without locations has nothing to do here).
CREATE FUNCTION pick_stock(
    p_sku_ids integer[], p_quantities bigint[], p_location text, p_key text, p_reason text,
    OUT code integer, OUT sku_id integer, OUT held bigint, OUT short bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ids integer[];
    places text[];
    parts bigint[];
    shelved record;
BEGIN
    code := 0;
    IF p_location IS NOT NULL THEN
        SELECT array_agg(u.id), array_agg(p_location), array_agg(u.quantity) INTO ids, places, parts
          FROM (SELECT v.id, sum(v.quantity)::bigint AS quantity FROM unnest(p_sku_ids, p_quantities) AS v (id, quantity) GROUP BY v.id) u;
    ELSE
        PERFORM FROM stock_at s WHERE s.sku_id = ANY (p_sku_ids) ORDER BY s.sku_id, s.location_id FOR UPDATE;
        SELECT array_agg(t.sku_id), array_agg(t.location_id), array_agg(t.part) INTO ids, places, parts
          FROM (SELECT s.sku_id, s.location_id,
                       greatest(0, least(s.on_hand, d.quantity - coalesce(sum(s.on_hand) OVER (
                           PARTITION BY s.sku_id ORDER BY l.priority, l.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))::bigint AS part
                  FROM stock_at s
                  JOIN locations l ON l.id = s.location_id
                  JOIN (SELECT v.id, sum(v.quantity) AS quantity FROM unnest(p_sku_ids, p_quantities) AS v (id, quantity) GROUP BY v.id) d
                    ON d.id = s.sku_id) t
         WHERE t.part > 0;
    END IF;
    IF ids IS NULL THEN RETURN; END IF;
    SELECT * INTO shelved FROM shelve(ids, places, (SELECT array_agg(-u.part ORDER BY u.ord) FROM unnest(parts) WITH ORDINALITY AS u (part, ord)));
    IF shelved.code <> 0 THEN
        code := shelved.code; sku_id := shelved.sku_id; held := shelved.held; short := shelved.short;
        RETURN;
    END IF;
    INSERT INTO stock_movements (sku_id, delta, kind, key, reason, location_id)
    SELECT u.id, -u.part, 'pick', p_key, p_reason, u.place FROM unnest(ids, places, parts) AS u (id, place, part)
    UNION ALL
    SELECT u.id, sum(u.part), 'pick', p_key, p_reason, NULL FROM unnest(ids, parts) AS u (id, part) GROUP BY u.id;
END
$$;

-- set_stock: how a SKU may be sold out, and when it counts as low; what is left out (NULL) stays. p_low_at -1: it is not
-- watched any more. A back-order that customers already count on can't be taken back (code 3).
CREATE FUNCTION set_stock(
    p_key text, p_fingerprint bytea, p_sku text, p_backorder bigint, p_low_at bigint,
    OUT code integer, OUT available bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    shelf stock;
BEGIN
    SELECT k.code INTO code FROM known_key(p_key, p_fingerprint, 'stock settings') k;
    IF code <> 0 THEN RETURN; END IF;
    SELECT s.* INTO shelf FROM stock s JOIN products p ON p.id = s.sku_id WHERE p.sku = p_sku FOR NO KEY UPDATE OF s;
    IF NOT FOUND THEN
        code := CASE WHEN EXISTS (SELECT FROM products p WHERE p.sku = p_sku) THEN 12 ELSE 9 END;
        RETURN;
    END IF;
    IF shelf.reserved > shelf.on_hand + p_backorder THEN
        SELECT k.code INTO code FROM known_key(p_key, p_fingerprint, 'stock settings') k;
        IF code = 0 THEN code := 3; available := p_backorder; requested := shelf.reserved - shelf.on_hand; END IF;
        RETURN;
    END IF;
    UPDATE stock s SET backorder = p_backorder WHERE s.sku_id = shelf.sku_id AND s.backorder <> p_backorder;
    IF p_low_at = -1 THEN
        DELETE FROM stock_alerts a WHERE a.sku_id = shelf.sku_id;
    ELSIF p_low_at IS NOT NULL THEN
        INSERT INTO stock_alerts (sku_id, low_at) VALUES (shelf.sku_id, p_low_at)
        ON CONFLICT (sku_id) DO UPDATE SET low_at = excluded.low_at;
    END IF;
    INSERT INTO audit_log (action, key, detail)
    VALUES ('stock settings', p_key, format('%s: back-order %s, low at %s', p_sku, p_backorder, p_low_at));
    INSERT INTO idempotency (key, fingerprint, kind) VALUES (p_key, p_fingerprint, 'stock settings');
END
$$;
