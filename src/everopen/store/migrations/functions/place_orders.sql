-- place_orders: one call commits a group of orders, each with its own outcome.
--
-- The group is decided as a whole when everything fits (one comparison per SKU), and one by one in the order of
-- arrival when something doesn't: then an order takes all of its lines or none, and only it fails. The stock row of a
-- hot product is locked and written once per group, not once per order.
--
-- Locks are taken in one order everywhere: orders by id, carts by id, stock by sku_id, idempotency keys by key.
--
-- Plans are forced, not hoped for: a row is found through LATERAL (… OFFSET 0) or = ANY (array), which leaves the
-- planner nothing but one index probe per element. A plain join was tried: made while a table was empty, its plan read
-- the whole table for each order later on (300 us per order instead of 30).
--
-- Codes: 0 placed, 1 replay, 2 key reused, 3 sold out, 4 unknown SKU, 5 no price, 6 reference taken, 7 cart changed,
-- 8 no lines, 13 too much money. Arrays of the optional facts (references, carts, cart versions, times, prices) may be NULL as a whole.

CREATE FUNCTION place_orders(
    p_currency text,
    p_lease interval,
    p_ids uuid[],
    p_keys text[],
    p_fingerprints bytea[],
    p_emails text[],
    p_providers text[],
    p_tokens text[],
    p_references text[],
    p_carts uuid[],
    p_cart_versions integer[],
    p_placed_at timestamptz[],
    p_line_orders integer[],
    p_line_numbers integer[],
    p_line_skus text[],
    p_line_quantities integer[],
    p_line_prices bigint[],
    OUT o_now timestamptz,
    OUT o_codes smallint[],
    OUT o_replay_ids uuid[],
    OUT o_totals bigint[],
    OUT o_prices bigint[],
    OUT o_titles text[],
    OUT o_detail_skus text[],
    OUT o_detail_available bigint[],
    OUT o_detail_requested bigint[]
)
LANGUAGE plpgsql
-- One plan per statement for good, and plans for a group, not for the size that a table happens to have.
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_material = off
AS $$
DECLARE
    orders_n integer := cardinality(p_ids);
    plain boolean := p_references IS NULL AND p_carts IS NULL;
    placed_n integer := orders_n;
    free_n integer;
    dearest bigint;
    first_codes smallint[];
    -- Far from what a bigint holds, so that sums over millions of orders fit one too; a number that JavaScript reads exactly.
    total_max constant bigint := 1000000000000;
    known_ord integer[];
    known_ids uuid[];
    known_same boolean[];
    line_ids integer[];
    line_tracked boolean[];
    has_gap boolean;
    sku_ids integer[];
    sku_need bigint[];
    sku_free bigint[];
    fits boolean;
    sold_carts uuid[];
BEGIN
    o_now := now();
    o_codes := array_fill(0::smallint, ARRAY[orders_n]);

    -- 1. Which keys are known?
    SELECT array_agg(k.ord::integer), array_agg(i.result_id), array_agg(i.fingerprint = k.fingerprint AND i.kind = 'order')
      INTO known_ord, known_ids, known_same
      FROM unnest(p_keys, p_fingerprints) WITH ORDINALITY AS k (key, fingerprint, ord)
      CROSS JOIN LATERAL (SELECT * FROM idempotency x WHERE x.key = k.key OFFSET 0) i;
    IF known_ord IS NOT NULL THEN
        plain := false;
        o_replay_ids := array_fill(NULL::uuid, ARRAY[orders_n]);
        FOR i IN 1 .. cardinality(known_ord) LOOP
            o_codes[known_ord[i]] := CASE WHEN known_same[i] THEN 1 ELSE 2 END;
            o_replay_ids[known_ord[i]] := known_ids[i];
        END LOOP;
        -- The commit of the row that we have just seen may still wait for the standby. A record of our own makes this
        -- transaction wait too, and for longer: a replay acknowledges nothing that a failover could take back.
        PERFORM pg_logical_emit_message(true, 'everopen.replay', '');
    END IF;

    -- 2. What are the lines?
    SELECT array_agg(p.id), array_agg(coalesce(l.price, p.unit_price)), array_agg(p.title),
           array_agg(coalesce(p.tracks_stock, false)),
           bool_or(p.id IS NULL OR coalesce(l.price, p.unit_price) IS NULL) IS NOT FALSE
               OR count(*) FILTER (WHERE l.number = 1) <> orders_n
      INTO line_ids, o_prices, o_titles, line_tracked, has_gap
      FROM unnest(p_line_skus, p_line_prices, p_line_numbers) AS l (sku, price, number)
      LEFT JOIN LATERAL (SELECT * FROM products x WHERE x.sku = l.sku OFFSET 0) p ON true;

    -- 3. Carts of checkouts, in the order of their ids.
    IF p_carts IS NOT NULL THEN
        PERFORM FROM carts WHERE id = ANY (p_carts) ORDER BY id FOR UPDATE;
    END IF;

    -- 4. Lock the stock and see whether all fits.
    SELECT array_agg(s.sku_id), array_agg(s.need), array_agg(s.free), coalesce(bool_and(s.need <= s.free), true)
      INTO sku_ids, sku_need, sku_free, fits
      FROM (SELECT t.sku_id, d.need, t.free
              FROM (SELECT l.id, sum(l.quantity) AS need
                      FROM unnest(line_ids, p_line_quantities, line_tracked) AS l (id, quantity, tracked)
                     WHERE l.tracked GROUP BY l.id ORDER BY l.id) d
              CROSS JOIN LATERAL (
                  SELECT x.sku_id, x.on_hand - x.reserved AS free FROM stock x WHERE x.sku_id = d.id FOR NO KEY UPDATE) t
           ) s;

    -- 5. Something is out of the ordinary: decide one by one. Orders of too much money are found by their totals, and then
    -- the others are decided once more: a refused order takes no goods. (Totals first would cost a sold-out rush more.)
    first_codes := o_codes;
    LOOP
        IF NOT (plain AND fits AND NOT has_gap) THEN
            SELECT d.codes, d.need, d.skus, d.available, d.requested
              INTO o_codes, sku_need, o_detail_skus, o_detail_available, o_detail_requested
              FROM decide_orders(
                  first_codes, p_references, p_carts, p_cart_versions, p_line_orders, p_line_skus, p_line_quantities,
                  line_ids, o_prices, line_tracked, sku_ids, sku_free) d;
            -- A refused order may have been placed by a twin of its request that committed while we waited for a lock: the
            -- twin took the last unit, emptied the cart, bears the reference. Looked at after the evidence, so it can't be missed.
            SELECT array_agg(k.ord::integer), array_agg(i.result_id), array_agg(i.fingerprint = k.fingerprint AND i.kind = 'order')
              INTO known_ord, known_ids, known_same
              FROM unnest(p_keys, p_fingerprints, o_codes) WITH ORDINALITY AS k (key, fingerprint, code, ord)
              CROSS JOIN LATERAL (SELECT * FROM idempotency x WHERE x.key = k.key OFFSET 0) i
             WHERE k.code > 2;
            IF known_ord IS NOT NULL THEN
                o_replay_ids := coalesce(o_replay_ids, array_fill(NULL::uuid, ARRAY[orders_n]));
                FOR i IN 1 .. cardinality(known_ord) LOOP
                    o_codes[known_ord[i]] := CASE WHEN known_same[i] THEN 1 ELSE 2 END;
                    first_codes[known_ord[i]] := o_codes[known_ord[i]];
                    o_replay_ids[known_ord[i]] := known_ids[i];
                END LOOP;
                PERFORM pg_logical_emit_message(true, 'everopen.replay', '');
            END IF;
            placed_n := cardinality(array_positions(o_codes, 0::smallint));
        END IF;
        IF placed_n = 0 THEN
            RETURN;
        END IF;
        -- (One row of nothing per order keeps the places of orders without lines.)
        SELECT array_agg(t.total), count(*) FILTER (WHERE t.total = 0), max(t.total)
          INTO o_totals, free_n, dearest
          FROM (SELECT least(sum(l.quantity * l.price), total_max + 1)::bigint AS total
                  FROM (SELECT u.ord, u.quantity, u.price
                          FROM unnest(p_line_orders, p_line_quantities, o_prices) AS u (ord, quantity, price)
                        UNION ALL SELECT g.ord, 0, 0 FROM generate_series(1, orders_n) AS g (ord)) l
                 GROUP BY l.ord ORDER BY l.ord) t;
        EXIT WHEN dearest <= total_max;
        plain := true;
        FOR i IN 1 .. orders_n LOOP
            IF o_codes[i] = 0 AND o_totals[i] > total_max THEN
                first_codes[i] := 13;
                plain := false;
            END IF;
        END LOOP;
        EXIT WHEN plain;
    END LOOP;

    -- 6. Write.
    UPDATE stock t SET reserved = t.reserved + sku_need[array_position(sku_ids, t.sku_id)]
     WHERE t.sku_id = ANY (sku_ids) AND sku_need[array_position(sku_ids, t.sku_id)] > 0;

    INSERT INTO orders (id, currency, total, email, placed_at, reference, cart_id)
    SELECT o.id, p_currency, o.total, o.email, coalesce(o.placed_at, o_now), o.reference, o.cart_id
      FROM unnest(o_codes, p_ids, o_totals, p_emails, p_placed_at, p_references, p_carts)
        AS o (code, id, total, email, placed_at, reference, cart_id)
     WHERE o.code = 0;

    INSERT INTO order_lines (order_id, line_no, sku_id, quantity, unit_price, tracked, title)
    SELECT p_ids[l.ord], l.number, l.id, l.quantity, l.price, l.tracked, l.title
      FROM unnest(p_line_orders, p_line_numbers, line_ids, p_line_quantities, o_prices, line_tracked, o_titles)
        AS l (ord, number, id, quantity, price, tracked, title)
     WHERE o_codes[l.ord] = 0;

    INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
    SELECT o.id, o.id, 'charge', o.total, p_currency, o.provider, o.token, o_now + p_lease
      FROM unnest(o_codes, p_ids, o_totals, p_providers, p_tokens) AS o (code, id, total, provider, token)
     WHERE o.code = 0;

    INSERT INTO ledger_entries (order_id, event, account, amount, currency)
    SELECT o.id, 'placed', e.account, e.sign * o.total, p_currency
      FROM unnest(o_codes, p_ids, o_totals) AS o (code, id, total),
           (VALUES ('receivable', 1), ('sales', -1)) AS e (account, sign)
     WHERE o.code = 0;

    INSERT INTO outbox (topic, subject)
    SELECT 'order.placed', o.id FROM unnest(o_codes, p_ids) AS o (code, id) WHERE o.code = 0;

    INSERT INTO idempotency (key, fingerprint, kind, result_id)
    SELECT o.key, o.fingerprint, 'order', o.id
      FROM unnest(o_codes, p_keys, p_fingerprints, p_ids) AS o (code, key, fingerprint, id)
     WHERE o.code = 0
     ORDER BY o.key COLLATE "C";

    IF p_carts IS NOT NULL THEN
        sold_carts := ARRAY(SELECT o.id FROM unnest(o_codes, p_carts) AS o (code, id) WHERE o.code = 0 AND o.id IS NOT NULL);
        DELETE FROM cart_lines WHERE cart_id = ANY (sold_carts);
        UPDATE carts SET version = version + 1, updated_at = o_now WHERE id = ANY (sold_carts);
    END IF;

    -- Nothing to pay: paid at once.
    IF free_n > 0 THEN
        PERFORM settle_payments(array_agg(o.id), array_agg('approved'::text), array_agg('nothing to pay'::text))
           FROM unnest(o_codes, p_ids, o_totals) AS o (code, id, total) WHERE o.code = 0 AND o.total = 0;
    END IF;
END
$$;

-- decide_orders: the exact decision, in the order of arrival. Pure but for its look at references and carts (which the
-- caller has locked). `need` is what the accepted orders take of each SKU.
CREATE FUNCTION decide_orders(
    p_codes smallint[],
    p_references text[],
    p_carts uuid[],
    p_cart_versions integer[],
    p_line_orders integer[],
    p_line_skus text[],
    p_line_quantities integer[],
    p_line_ids integer[],
    p_line_prices bigint[],
    p_line_tracked boolean[],
    p_sku_ids integer[],
    p_sku_free bigint[],
    OUT codes smallint[],
    OUT need bigint[],
    OUT skus text[],
    OUT available bigint[],
    OUT requested bigint[]
)
LANGUAGE plpgsql
AS $$
DECLARE
    orders_n integer := cardinality(p_codes);
    lines_n integer := coalesce(cardinality(p_line_orders), 0);
    positions integer[];
    used_references text[];
    seen_carts uuid[] := '{}';
    fresh_carts uuid[];
    first integer;
    line integer := 1;
    stop integer;
    spot integer;
    code smallint;
BEGIN
    codes := p_codes;
    need := array_fill(0::bigint, ARRAY[coalesce(cardinality(p_sku_ids), 0)]);
    skus := array_fill(NULL::text, ARRAY[orders_n]);
    available := array_fill(NULL::bigint, ARRAY[orders_n]);
    requested := array_fill(NULL::bigint, ARRAY[orders_n]);
    SELECT array_agg(CASE WHEN l.tracked THEN array_position(p_sku_ids, l.id) END) INTO positions
      FROM unnest(p_line_ids, p_line_tracked) AS l (id, tracked);
    IF p_references IS NOT NULL THEN
        SELECT coalesce(array_agg(o.reference), '{}') INTO used_references
          FROM orders o WHERE o.reference = ANY (p_references) AND o.reference IS NOT NULL;
    END IF;
    IF p_carts IS NOT NULL THEN
        SELECT coalesce(array_agg(c.id), '{}') INTO fresh_carts
          FROM unnest(p_carts, p_cart_versions) AS k (id, version)
          JOIN carts c ON c.id = k.id AND (k.version IS NULL OR c.version = k.version);
    END IF;

    FOR i IN 1 .. orders_n LOOP
        first := line;
        WHILE line <= lines_n AND p_line_orders[line] = i LOOP
            line := line + 1;
        END LOOP;
        CONTINUE WHEN codes[i] <> 0;
        code := 0;
        IF first = line THEN
            code := 8;
        ELSIF p_references[i] = ANY (used_references) THEN
            code := 6;
            skus[i] := p_references[i];
        ELSIF p_carts[i] IS NOT NULL AND (p_carts[i] = ANY (seen_carts) OR NOT p_carts[i] = ANY (fresh_carts)) THEN
            code := 7;
        END IF;
        stop := first;
        WHILE code = 0 AND stop < line LOOP
            IF p_line_ids[stop] IS NULL THEN
                code := 4;
            ELSIF p_line_prices[stop] IS NULL THEN
                code := 5;
            ELSE
                spot := positions[stop];
                IF spot IS NOT NULL THEN
                    IF need[spot] + p_line_quantities[stop] > p_sku_free[spot] THEN
                        code := 3;
                        EXIT;
                    END IF;
                    need[spot] := need[spot] + p_line_quantities[stop];
                END IF;
                stop := stop + 1;
            END IF;
        END LOOP;
        IF code IN (3, 4, 5) THEN
            -- Give back what the order's first lines had taken.
            FOR k IN first .. stop - 1 LOOP
                IF positions[k] IS NOT NULL THEN
                    need[positions[k]] := need[positions[k]] - p_line_quantities[k];
                END IF;
            END LOOP;
        END IF;
        IF code = 3 THEN
            skus[i] := p_line_skus[stop];
            available[i] := p_sku_free[spot] - need[spot];
            requested[i] := (
                SELECT sum(q.quantity)
                  FROM unnest(p_line_ids[first:line - 1], p_line_quantities[first:line - 1]) AS q (id, quantity)
                 WHERE q.id = p_line_ids[stop]);
        ELSIF code = 0 THEN
            IF p_references[i] IS NOT NULL THEN
                used_references := used_references || p_references[i];
            END IF;
            IF p_carts[i] IS NOT NULL THEN
                seen_carts := seen_carts || p_carts[i];
            END IF;
        END IF;
        codes[i] := code;
    END LOOP;
END
$$;
