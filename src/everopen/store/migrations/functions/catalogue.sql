-- Catalogue and goods, in batches. Codes: 0 done, 1 replay, 2 key reused, 3 below what is reserved, 4 unknown SKU,
-- 12 SKU without stock.

-- upsert_products: adds or changes products. Whether a SKU tracks stock is decided once, when it is added.
CREATE FUNCTION upsert_products(
    p_key text, p_fingerprint bytea, p_skus text[], p_titles text[], p_prices bigint[], p_descriptions text[], p_tracks boolean[],
    OUT code integer, OUT added bigint, OUT updated bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'products') k;
    added := known[1];
    updated := known[2];
    IF code <> 0 THEN RETURN; END IF;
    WITH written AS (
        INSERT INTO products AS p (sku, title, unit_price, description, tracks_stock)
        SELECT DISTINCT ON (w.sku COLLATE "C") w.sku, w.title, w.price, w.description, w.tracks
          FROM unnest(p_skus, p_titles, p_prices, p_descriptions, p_tracks) WITH ORDINALITY
            AS w (sku, title, price, description, tracks, ord)
         ORDER BY w.sku COLLATE "C", w.ord DESC
        ON CONFLICT (sku) DO UPDATE
           SET title = excluded.title, unit_price = excluded.unit_price, description = excluded.description, updated_at = now()
        RETURNING p.id, p.tracks_stock, (xmax = 0) AS is_new
    ), shelves AS (
        INSERT INTO stock (sku_id) SELECT w.id FROM written w WHERE w.is_new AND w.tracks_stock
    )
    SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) INTO added, updated FROM written;
    INSERT INTO audit_log (action, key, detail) VALUES ('products', p_key, format('%s added, %s updated', added, updated));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, 'products', ARRAY[added, updated]);
END
$$;

-- move_stock: receipts and corrections. All or nothing.
CREATE FUNCTION move_stock(
    p_kind text, p_key text, p_fingerprint bytea, p_skus text[], p_deltas bigint[], p_reason text,
    OUT code integer, OUT items bigint, OUT detail text, OUT available bigint, OUT requested bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
    item record;
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, p_kind) k;
    items := known[1];
    IF code <> 0 THEN RETURN; END IF;
    SELECT string_agg(w.sku, E'\n') INTO detail FROM unnest(p_skus) AS w (sku)
     WHERE NOT EXISTS (SELECT FROM products p WHERE p.sku = w.sku);
    IF detail IS NOT NULL THEN code := 4; RETURN; END IF;
    SELECT string_agg(w.sku, E'\n') INTO detail FROM unnest(p_skus) AS w (sku)
      JOIN products p ON p.sku = w.sku WHERE NOT p.tracks_stock;
    IF detail IS NOT NULL THEN code := 12; RETURN; END IF;

    -- Lock all, look at all, and only then write: a refusal has written nothing.
    FOR item IN
        SELECT s.sku_id, s.on_hand - s.reserved AS free, d.sku, d.delta
          FROM (SELECT p.id, p.sku, sum(w.delta) AS delta FROM unnest(p_skus, p_deltas) AS w (sku, delta)
                  JOIN products p ON p.sku = w.sku GROUP BY p.id, p.sku) d
          JOIN stock s ON s.sku_id = d.id
         ORDER BY s.sku_id FOR NO KEY UPDATE OF s
    LOOP
        IF item.free + item.delta < 0 THEN
            -- Perhaps a twin of this request took it while we waited for the lock.
            SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, p_kind) k;
            items := known[1];
            IF code = 0 THEN
                code := 3; detail := item.sku; available := item.free; requested := -item.delta;
            END IF;
            RETURN;
        END IF;
    END LOOP;
    WITH moved AS (
        UPDATE stock s SET on_hand = s.on_hand + d.delta
          FROM (SELECT p.id, sum(w.delta) AS delta FROM unnest(p_skus, p_deltas) AS w (sku, delta)
                  JOIN products p ON p.sku = w.sku GROUP BY p.id) d
         WHERE s.sku_id = d.id AND d.delta <> 0
        RETURNING s.sku_id, d.delta
    ), noted AS (
        INSERT INTO stock_movements (sku_id, delta, kind, key, reason) SELECT m.sku_id, m.delta, p_kind, p_key, p_reason FROM moved m
    )
    SELECT count(*) INTO items FROM moved;
    INSERT INTO audit_log (action, key, detail) VALUES (p_kind, p_key, format('%s SKUs: %s', items, p_reason));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, p_kind, ARRAY[items]);
END
$$;
