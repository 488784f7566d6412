-- place_orders: one call commits a group of orders, each with its own outcome.
--
-- The group is decided as a whole when everything fits (one comparison per SKU), and one by one in the order of
-- arrival when something doesn't: then an order takes all of its lines or none, and only it fails. The stock row of a
-- hot product is locked and written once per group, not once per order.
--
-- Locks are taken in one order everywhere: orders by id, coupons by id, carts by id, stock by sku_id (then, of SKUs without
-- stock that have a limit per buyer, an advisory one by sku_id), idempotency keys by key.
--
-- What an order costs beyond pieces times prices was worked out by the worker (its quote), and isn't believed: the quote
-- must be of the rules' present version, of the prices found here, and sum up to the total found here. If not, the order
-- is stale and the worker quotes again. Nothing of this is looked at in a group that brings none of it.
--
-- Plans are forced, not hoped for: a row is found through LATERAL (… OFFSET 0) or = ANY (array), which leaves the
-- planner nothing but one index probe per element. A plain join was tried: made while a table was empty, its plan read
-- the whole table for each order later on (300 us per order instead of 30).
--
-- Codes: 0 placed, 1 replay, 2 key reused, 3 sold out, 4 unknown SKU, 5 no price, 6 reference taken, 7 cart changed,
-- 8 no lines, 13 too much money, 14 stale, 15 not the expected total, 16 not for sale, 17 beyond the buyer's limit,
-- 18 coupon used up. Arrays of the optional facts (references, carts, times, prices, and all from p_currencies on) may be
-- NULL as a whole. p_rules: versions of the rules that the worker went by, NULL where it knows of none.

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
    p_currencies text[] DEFAULT NULL,
    p_customers uuid[] DEFAULT NULL,
    p_kinds text[] DEFAULT NULL,
    p_ship_to jsonb[] DEFAULT NULL,
    p_expected bigint[] DEFAULT NULL,
    p_rules bigint[] DEFAULT NULL,
    p_quotes jsonb[] DEFAULT NULL,
    p_quoted_totals bigint[] DEFAULT NULL,
    p_shippings bigint[] DEFAULT NULL,
    p_shipping_taxes bigint[] DEFAULT NULL,
    p_tax_added boolean[] DEFAULT NULL,
    p_shipping_methods text[] DEFAULT NULL,
    p_line_quoted bigint[] DEFAULT NULL,
    p_line_discounts bigint[] DEFAULT NULL,
    p_line_taxes bigint[] DEFAULT NULL,
    p_line_rates integer[] DEFAULT NULL,
    p_coupon_orders integer[] DEFAULT NULL,
    p_coupons uuid[] DEFAULT NULL,
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
    quoted boolean := p_quoted_totals IS NOT NULL;
    extras boolean := p_quoted_totals IS NOT NULL OR p_currencies IS NOT NULL;
    again boolean;
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
    special boolean;
    rules_version bigint;
    stale integer[];
    line_closed boolean[];
    line_limits integer[];
    line_by_email integer[];
    line_by_customer integer[];
    bought bigint[];
    taxes bigint[];
    tried integer[] := '{}';
    try_ords integer[];
    try_coupons uuid[];
    used_up smallint[];
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
               OR count(*) FILTER (WHERE l.number = 1) <> orders_n,
           bool_or(p.scheduled OR NOT p.published OR p.buyer_limit IS NOT NULL) IS TRUE
      INTO line_ids, o_prices, o_titles, line_tracked, has_gap, special
      FROM unnest(p_line_skus, p_line_prices, p_line_numbers) AS l (sku, price, number)
      LEFT JOIN LATERAL (SELECT * FROM products x WHERE x.sku = l.sku OFFSET 0) p ON true;

    -- Products that aren't simply for sale at their unit_price: closed ones, prices by time or in other currencies, limits.
    -- A line at a price that staff name is a sale that has happened elsewhere: none of this applies to it.
    IF special OR p_currencies IS NOT NULL THEN
        SELECT array_agg(l.price), array_agg(l.closed), array_agg(l.buyer_limit),
               bool_or(l.id IS NULL OR l.price IS NULL OR l.closed OR l.buyer_limit IS NOT NULL) IS NOT FALSE
                   OR count(*) FILTER (WHERE l.number = 1) <> orders_n,
               bool_or(l.buyer_limit IS NOT NULL)
          INTO o_prices, line_closed, line_limits, has_gap, special
          FROM (SELECT u.id, u.number,
                       CASE WHEN u.price IS NOT NULL THEN u.price
                            WHEN p.scheduled OR c.currency <> p_currency THEN q.amount
                            ELSE p.unit_price END AS price,
                       u.price IS NULL AND NOT p.published AS closed,
                       CASE WHEN u.price IS NULL THEN p.buyer_limit END AS buyer_limit
                  FROM unnest(line_ids, p_line_orders, p_line_numbers, p_line_prices) AS u (id, ord, number, price)
                  CROSS JOIN LATERAL (SELECT coalesce(p_currencies[u.ord], p_currency) AS currency,
                                             coalesce(p_placed_at[u.ord], o_now) AS at) c
                  LEFT JOIN LATERAL (SELECT * FROM products x WHERE x.id = u.id OFFSET 0) p ON true
                  LEFT JOIN LATERAL (
                      SELECT x.amount FROM prices x
                       WHERE x.sku_id = u.id AND x.currency = c.currency AND (p.scheduled OR c.currency <> p_currency)
                         AND x.valid_from <= c.at AND (x.valid_to IS NULL OR x.valid_to > c.at)
                       ORDER BY x.valid_from DESC LIMIT 1) q ON true) l;
    END IF;

    -- Is the worker's idea of rules and prices the present one?
    IF p_rules IS NOT NULL THEN
        SELECT r.version INTO rules_version FROM pricing_rules r;
        IF NOT coalesce(rules_version = ALL (p_rules), false) THEN
            SELECT array_agg(k.ord::integer) INTO stale
              FROM unnest(p_rules) WITH ORDINALITY AS k (version, ord) WHERE k.version <> rules_version;
        END IF;
    END IF;
    IF quoted THEN
        SELECT stale || array_agg(l.ord) INTO stale
          FROM unnest(p_line_orders, p_line_quoted, o_prices) AS l (ord, quoted, price) WHERE l.quoted <> l.price;
    END IF;
    plain := plain AND stale IS NULL;

    -- 3. Coupons, and carts of checkouts, in the order of their ids.
    IF p_coupons IS NOT NULL THEN
        PERFORM FROM coupons WHERE id = ANY (p_coupons) ORDER BY id FOR NO KEY UPDATE;
    END IF;
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
                  SELECT x.sku_id, x.on_hand + x.backorder - x.reserved AS free FROM stock x WHERE x.sku_id = d.id FOR NO KEY UPDATE) t
           ) s;

    -- What have buyers of limited products bought before? Seen after the locks: two orders of one buyer come one after the other.
    IF special AND line_limits IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(4503061, d.id)
           FROM (SELECT DISTINCT l.id FROM unnest(line_ids, line_tracked, line_limits) AS l (id, tracked, most)
                  WHERE l.most IS NOT NULL AND NOT l.tracked ORDER BY l.id) d;
        SELECT b.line_by_email, b.line_by_customer, b.bought INTO line_by_email, line_by_customer, bought
          FROM count_limited(p_emails, p_customers, p_line_orders, line_ids, line_limits) b;
    END IF;

    -- 5. Something is out of the ordinary: decide one by one. Orders of too much or of unexpected money are found by their
    -- totals, used-up coupons last of all; then the others are decided once more: a refused order takes no goods. (Totals
    -- first would cost a sold-out rush more.)
    first_codes := o_codes;
    LOOP
        IF NOT (plain AND fits AND NOT has_gap) THEN
            SELECT d.codes, d.need, d.skus, d.available, d.requested
              INTO o_codes, sku_need, o_detail_skus, o_detail_available, o_detail_requested
              FROM decide_orders(
                  first_codes, p_references, p_carts, p_cart_versions, p_line_orders, p_line_skus, p_line_quantities,
                  line_ids, o_prices, line_tracked, sku_ids, sku_free,
                  stale, line_closed, line_limits, line_by_email, line_by_customer, bought) d;
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
        EXIT WHEN placed_n = 0;
        -- (One row of nothing per order keeps the places of orders without lines.)
        SELECT array_agg(t.total), count(*) FILTER (WHERE t.total = 0), max(t.total)
          INTO o_totals, free_n, dearest
          FROM (SELECT least(sum(l.quantity * l.price), total_max + 1)::bigint AS total
                  FROM (SELECT u.ord, u.quantity, u.price
                          FROM unnest(p_line_orders, p_line_quantities, o_prices) AS u (ord, quantity, price)
                        UNION ALL SELECT g.ord, 0, 0 FROM generate_series(1, orders_n) AS g (ord)) l
                 GROUP BY l.ord ORDER BY l.ord) t;
        IF quoted THEN
            SELECT array_agg(t.total), array_agg(t.tax), count(*) FILTER (WHERE t.total = 0), max(t.total)
              INTO o_totals, taxes, free_n, dearest
              FROM (SELECT sum(l.tax)::bigint AS tax,
                           least(o_totals[l.ord] - sum(l.discount) + sum(l.shipping) + CASE WHEN bool_or(l.added) THEN sum(l.tax) ELSE 0 END,
                                 total_max + 1)::bigint AS total
                      FROM (SELECT u.ord::bigint, coalesce(u.discount, 0) AS discount, coalesce(u.tax, 0) AS tax, 0 AS shipping, false AS added
                              FROM unnest(p_line_orders, p_line_discounts, p_line_taxes) AS u (ord, discount, tax)
                            UNION ALL
                            SELECT g.ord, 0, coalesce(g.tax, 0), coalesce(g.shipping, 0), g.added
                              FROM unnest(p_quoted_totals, p_shippings, p_shipping_taxes, p_tax_added) WITH ORDINALITY
                                AS g (total, shipping, tax, added, ord)) l
                     GROUP BY l.ord ORDER BY l.ord) t;
        END IF;
        again := false;
        IF dearest > total_max OR quoted OR p_expected IS NOT NULL THEN
            FOR i IN 1 .. orders_n LOOP
                CONTINUE WHEN o_codes[i] <> 0;
                IF o_totals[i] > total_max THEN
                    first_codes[i] := 13;
                ELSIF p_quoted_totals[i] <> o_totals[i] THEN
                    first_codes[i] := 14;
                ELSIF p_expected[i] <> o_totals[i] THEN
                    first_codes[i] := 15;
                ELSE
                    CONTINUE;
                END IF;
                again := true;
            END LOOP;
        END IF;
        IF NOT again AND p_coupons IS NOT NULL THEN
            SELECT array_agg(k.ord), array_agg(k.id) INTO try_ords, try_coupons
              FROM unnest(p_coupon_orders, p_coupons) AS k (ord, id)
             WHERE o_codes[k.ord] = 0 AND NOT k.ord = ANY (tried);
            IF try_ords IS NOT NULL THEN
                tried := tried || try_ords;
                used_up := use_coupons(
                    ARRAY(SELECT p_ids[k.ord] FROM unnest(try_ords) WITH ORDINALITY AS k (ord, n) ORDER BY k.n),
                    try_coupons,
                    ARRAY(SELECT coalesce(p_customers[k.ord]::text, lower(p_emails[k.ord]))
                            FROM unnest(try_ords) WITH ORDINALITY AS k (ord, n) ORDER BY k.n));
                FOR i IN 1 .. cardinality(used_up) LOOP
                    IF used_up[i] <> 0 THEN
                        first_codes[try_ords[i]] := 18;
                        again := true;
                    END IF;
                END LOOP;
            END IF;
        END IF;
        EXIT WHEN NOT again;
        plain := false;
    END LOOP;
    IF tried <> '{}' THEN
        -- Of an order that was refused after it had used its coupons.
        try_ords := ARRAY(SELECT DISTINCT k.ord FROM unnest(tried) AS k (ord) WHERE o_codes[k.ord] <> 0);
        IF try_ords <> '{}' THEN
            PERFORM free_coupons(ARRAY(SELECT p_ids[k.ord] FROM unnest(try_ords) AS k (ord)));
        END IF;
    END IF;
    IF placed_n = 0 THEN
        RETURN;
    END IF;

    -- 6. Write.
    UPDATE stock t SET reserved = t.reserved + sku_need[array_position(sku_ids, t.sku_id)]
     WHERE t.sku_id = ANY (sku_ids) AND sku_need[array_position(sku_ids, t.sku_id)] > 0;

    INSERT INTO orders (
        id, currency, total, email, placed_at, reference, cart_id, customer_id, shipping, shipping_tax, tax, tax_added,
        shipping_method, ship_to, quote)
    SELECT o.id, coalesce(o.currency, p_currency), o.total, o.email, coalesce(o.placed_at, o_now), o.reference, o.cart_id,
           o.customer_id, o.shipping, o.shipping_tax, CASE WHEN o.quoted_total IS NOT NULL THEN o.tax END, o.tax_added,
           o.shipping_method, o.ship_to, o.quote
      FROM unnest(
              o_codes, p_ids, p_currencies, o_totals, p_emails, p_placed_at, p_references, p_carts, p_customers, p_shippings,
              p_shipping_taxes, taxes, p_quoted_totals, p_tax_added, p_shipping_methods, p_ship_to, p_quotes)
        AS o (code, id, currency, total, email, placed_at, reference, cart_id, customer_id, shipping,
              shipping_tax, tax, quoted_total, tax_added, shipping_method, ship_to, quote)
     WHERE o.code = 0;

    INSERT INTO order_lines (order_id, line_no, sku_id, quantity, unit_price, tracked, title, discount, tax, tax_rate_bp)
    SELECT p_ids[l.ord], l.number, l.id, l.quantity, l.price, l.tracked, l.title, l.discount, l.tax, l.rate
      FROM unnest(
              p_line_orders, p_line_numbers, line_ids, p_line_quantities, o_prices, line_tracked, o_titles,
              p_line_discounts, p_line_taxes, p_line_rates)
        AS l (ord, number, id, quantity, price, tracked, title, discount, tax, rate)
     WHERE o_codes[l.ord] = 0;

    INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
    SELECT o.id, o.id, CASE WHEN o.total > 0 THEN coalesce(o.kind, 'charge') ELSE 'charge' END, o.total,
           coalesce(o.currency, p_currency), o.provider, o.token, o_now + p_lease
      FROM unnest(o_codes, p_ids, o_totals, p_kinds, p_currencies, p_providers, p_tokens)
        AS o (code, id, total, kind, currency, provider, token)
     WHERE o.code = 0;

    IF extras THEN
        PERFORM post_placed(ARRAY(SELECT o.id FROM unnest(o_codes, p_ids) AS o (code, id) WHERE o.code = 0));
    ELSE
        INSERT INTO ledger_entries (order_id, event, account, amount, currency)
        SELECT o.id, 'placed', e.account, e.sign * o.total, p_currency
          FROM unnest(o_codes, p_ids, o_totals) AS o (code, id, total),
               (VALUES ('receivable', 1), ('sales', -1)) AS e (account, sign)
         WHERE o.code = 0;
    END IF;

    IF special AND line_limits IS NOT NULL THEN
        INSERT INTO limited_sales (sku_id, buyer, order_id, quantity)
        SELECT l.id, b.buyer, p_ids[l.ord], sum(l.quantity)
          FROM unnest(p_line_orders, line_ids, p_line_quantities, line_limits) AS l (ord, id, quantity, most)
          CROSS JOIN LATERAL (
              VALUES (buyer_name(p_emails[l.ord])), (buyer_name(p_customers[l.ord]::text))) AS b (buyer)
         WHERE l.most IS NOT NULL AND o_codes[l.ord] = 0 AND b.buyer IS NOT NULL
         GROUP BY l.id, b.buyer, l.ord;
    END IF;

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
