-- Carts in groups: what the requests of a moment ask of their carts is one call, each with its own outcome. They run on
-- connections that plan once and by index only (see `PROBES` in trading/batches.py).

-- price_now: what a piece costs now; the common product's price is on its row, and nothing is looked up.
CREATE FUNCTION price_now(p_sku_id integer, p_unit_price bigint, p_scheduled boolean, p_currency text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN NOT p_scheduled THEN p_unit_price
                ELSE (SELECT r.amount FROM prices r
                       WHERE r.sku_id = p_sku_id AND r.currency = p_currency AND r.valid_from <= now()
                         AND (r.valid_to > now() OR r.valid_to IS NULL)) END
$$;

-- read_carts: carts with their lines at today's prices, one row per line, one with NULLs for an empty cart.
CREATE FUNCTION read_carts(p_carts uuid[], p_currency text)
RETURNS TABLE (cart_id uuid, version integer, sku text, title text, quantity integer, unit_price bigint, price_was bigint, available bigint)
LANGUAGE sql STABLE
AS $$
    SELECT c.id, c.version, p.sku, p.title, l.quantity, price_now(p.id, p.unit_price, p.scheduled, p_currency), l.unit_price,
           CASE WHEN NOT p.published THEN 0 WHEN p.tracks_stock THEN s.on_hand + s.backorder - s.reserved END
      FROM carts c
      LEFT JOIN LATERAL (SELECT * FROM cart_lines x WHERE x.cart_id = c.id OFFSET 0) l ON true
      LEFT JOIN LATERAL (SELECT * FROM products x WHERE x.id = l.sku_id OFFSET 0) p ON true
      LEFT JOIN LATERAL (SELECT * FROM stock x WHERE x.sku_id = p.id OFFSET 0) s ON true
     WHERE c.id = ANY (p_carts)
     ORDER BY c.id, l.added_at, p.sku
$$;

-- add_to_carts: a group of additions, each to a cart of its own (the worker never puts two for one cart into a group).
--
-- `p_fresh`: the cart was opened for this very request. A visitor without a session whose answer was lost can't say which
-- cart was his, so his request fills a new one again; the former is nobody's. `p_sessions`: the digest of a new session's
-- token, kept in the same transaction as its cart.
--
-- Answers the code of each addition in their order, one row each; then the carts that were changed or are replayed, as
-- `read_carts` does.
--
-- The carts are locked before the keys are looked at: a twin of the request has then committed or will wait.
--
-- Codes: 0 added, 1 replay, 2 key reused, 4 unknown SKU, 5 no price, 15 too many lines, 16 too many pieces, 17 not for sale.
CREATE FUNCTION add_to_carts(
    p_carts uuid[],
    p_fresh boolean[],
    p_sessions bytea[],
    p_session_life interval,
    p_skus text[],
    p_quantities integer[],
    p_keys text[],
    p_fingerprints bytea[],
    p_lines_max integer,
    p_quantity_max integer,
    p_currency text
) RETURNS TABLE (code smallint, cart_id uuid, version integer, sku text, title text, quantity integer, unit_price bigint, price_was bigint, available bigint)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    codes smallint[];
    sku_ids integer[];
    prices bigint[];  -- NULL: not for sale
    published boolean[];
    quantities bigint[];
    keyless boolean[];
    opened uuid[];
    locked bigint;
BEGIN
    SELECT array_agg(p.id ORDER BY i.ord), array_agg(CASE WHEN p.published THEN price_now(p.id, p.unit_price, p.scheduled, p_currency) END ORDER BY i.ord),
           array_agg(p.published ORDER BY i.ord)
      INTO sku_ids, prices, published
      FROM unnest(p_skus) WITH ORDINALITY AS i (sku, ord)
      LEFT JOIN LATERAL (SELECT * FROM products x WHERE x.sku = i.sku OFFSET 0) p ON true;

    WITH made AS (
        INSERT INTO carts (id)
        SELECT i.cart FROM unnest(p_carts, prices) AS i (cart, price) WHERE i.price IS NOT NULL ORDER BY i.cart
        ON CONFLICT DO NOTHING RETURNING id)
    SELECT coalesce(array_agg(id), '{}') INTO opened FROM made;
    PERFORM FROM carts WHERE id = ANY (p_carts) ORDER BY id FOR UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    IF locked < cardinality(prices) - cardinality(array_positions(prices, NULL)) THEN
        RAISE serialization_failure USING MESSAGE = 'A cart was forgotten meanwhile.';  -- the worker asks again
    END IF;

    SELECT array_agg(d.code ORDER BY d.ord), array_agg(d.held + d.quantity ORDER BY d.ord), array_agg(d.key IS NOT NULL ORDER BY d.ord)
      INTO codes, quantities, keyless
      FROM (SELECT i.ord, i.quantity, k.key, m.held,
                   CASE WHEN k.key IS NOT NULL AND NOT k.same THEN 2
                        WHEN k.key IS NOT NULL AND k.result_id = i.cart THEN 1
                        WHEN k.key IS NOT NULL AND NOT i.fresh THEN 2
                        WHEN i.sku_id IS NULL THEN 4
                        WHEN NOT published[i.ord] THEN 17
                        WHEN i.price IS NULL THEN 5
                        WHEN m.others >= p_lines_max THEN 15
                        WHEN m.held + i.quantity > p_quantity_max THEN 16
                        ELSE 0 END::smallint AS code
              FROM unnest(p_carts, p_fresh, sku_ids, prices, p_quantities, p_keys, p_fingerprints) WITH ORDINALITY
                AS i (cart, fresh, sku_id, price, quantity, key, fingerprint, ord)
              LEFT JOIN LATERAL (
                  SELECT x.key, x.result_id, x.fingerprint = i.fingerprint AND x.kind = 'cart' AS same
                    FROM idempotency x WHERE x.key = i.key OFFSET 0) k ON true
              CROSS JOIN LATERAL (
                  SELECT count(*) FILTER (WHERE x.sku_id <> i.sku_id) AS others,
                         coalesce(sum(x.quantity) FILTER (WHERE x.sku_id = i.sku_id), 0) AS held
                    FROM cart_lines x WHERE x.cart_id = i.cart OFFSET 0) m) d;
    IF 1 = ANY (codes) THEN
        PERFORM pg_logical_emit_message(true, 'everopen.replay', '');  -- a replay waits for the standby too
    END IF;

    UPDATE carts SET version = version + 1, updated_at = now()
     WHERE id = ANY (ARRAY(SELECT i.cart FROM unnest(p_carts, codes) AS i (cart, code) WHERE i.code = 0))
       AND id <> ALL (opened);
    INSERT INTO cart_lines (cart_id, sku_id, quantity, unit_price)
    SELECT i.cart, i.sku_id, i.quantity, i.price
      FROM unnest(p_carts, sku_ids, quantities, prices, codes) AS i (cart, sku_id, quantity, price, code)
     WHERE i.code = 0
    ON CONFLICT (cart_id, sku_id) DO UPDATE SET quantity = excluded.quantity, unit_price = excluded.unit_price;
    INSERT INTO sessions (token_hash, cart_id, expires_at)
    SELECT i.session, i.cart, now() + p_session_life
      FROM unnest(p_sessions, p_carts, codes) AS i (session, cart, code)
     WHERE i.session IS NOT NULL AND i.code IN (0, 1)
    ON CONFLICT (token_hash) DO NOTHING;
    INSERT INTO idempotency (key, fingerprint, kind, result_id)
    SELECT i.key, i.fingerprint, 'cart', i.cart
      FROM unnest(p_keys, p_fingerprints, p_carts, codes, keyless) AS i (key, fingerprint, cart, code, keyless)
     WHERE i.code = 0 AND NOT i.keyless
     ORDER BY i.key COLLATE "C";
    -- A cart that was opened for what can't be put into it is nobody's.
    DELETE FROM carts WHERE id = ANY (opened)
       AND id = ANY (ARRAY(SELECT i.cart FROM unnest(p_carts, codes) AS i (cart, code) WHERE i.code > 1));
    RETURN QUERY
    SELECT i.code, r.cart_id, r.version, r.sku, r.title, r.quantity, r.unit_price, r.price_was, r.available
      FROM (SELECT u.code, u.ord FROM unnest(codes) WITH ORDINALITY AS u (code, ord)
            UNION ALL SELECT NULL, NULL) i
      LEFT JOIN read_carts(ARRAY(SELECT k.cart FROM unnest(p_carts, codes) AS k (cart, code) WHERE k.code <= 1), p_currency) r
             ON i.ord IS NULL
     ORDER BY i.ord NULLS LAST;
END
$$;

-- merge_carts: what lies in one cart goes into another, quantities added up to the most that a line may have. Lines that the
-- other has no room for stay where they are. Once more, it finds nothing to do. True: something moved.
CREATE FUNCTION merge_carts(p_from uuid, p_into uuid, p_lines_max integer, p_quantity_max integer) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    room integer;
    moving integer[];
BEGIN
    IF p_from = p_into THEN
        RETURN false;
    END IF;
    PERFORM FROM carts WHERE id IN (p_from, p_into) ORDER BY id FOR UPDATE;
    IF NOT EXISTS (SELECT FROM carts WHERE id = p_into) THEN
        RETURN false;
    END IF;
    SELECT p_lines_max - count(*) INTO room FROM cart_lines WHERE cart_id = p_into;
    SELECT array_agg(x.sku_id) INTO moving
      FROM (SELECT f.sku_id, i.sku_id IS NOT NULL AS met,
                   row_number() OVER (PARTITION BY i.sku_id IS NULL ORDER BY f.added_at, f.sku_id) AS place
              FROM cart_lines f LEFT JOIN cart_lines i ON i.cart_id = p_into AND i.sku_id = f.sku_id
             WHERE f.cart_id = p_from) x
     WHERE x.met OR x.place <= room;
    IF moving IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO cart_lines AS l (cart_id, sku_id, quantity, unit_price, added_at)
    SELECT p_into, f.sku_id, f.quantity, f.unit_price, f.added_at FROM cart_lines f WHERE f.cart_id = p_from AND f.sku_id = ANY (moving)
    ON CONFLICT (cart_id, sku_id) DO UPDATE
       SET quantity = least(l.quantity::bigint + excluded.quantity, p_quantity_max), unit_price = excluded.unit_price;
    DELETE FROM cart_lines WHERE cart_id = p_from AND sku_id = ANY (moving);
    UPDATE carts SET version = version + 1, updated_at = now() WHERE id IN (p_from, p_into);
    RETURN true;
END
$$;

-- cart_of_customer: the one cart of a customer, made when there is none yet.
CREATE FUNCTION cart_of_customer(p_customer uuid, p_new_cart uuid) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    found_cart uuid;
BEGIN
    SELECT id INTO found_cart FROM carts WHERE customer_id = p_customer;
    IF found_cart IS NULL THEN
        INSERT INTO carts (id, customer_id) VALUES (p_new_cart, p_customer)
        ON CONFLICT (customer_id) WHERE customer_id IS NOT NULL DO NOTHING;
        SELECT id INTO found_cart FROM carts WHERE customer_id = p_customer;
    END IF;
    RETURN found_cart;
END
$$;
