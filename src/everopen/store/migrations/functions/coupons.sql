-- Coupons: counted when an order is placed, in its transaction, and given back when it is released.

-- use_coupons: one pair of order and coupon per place of the arrays, the pairs of an order side by side; orders are decided as
-- they come. Codes: 0 used, 1 used up (in all, or by this customer). An order with a 1 uses none of its coupons. A pair that
-- is there already is a replay: 0, and not counted again.
--
-- Locks coupons by id, after orders and before carts and stock. Two buyers of the last use meet at that lock, and the second
-- one counts what the first one has left.
CREATE FUNCTION use_coupons(p_order_ids uuid[], p_coupon_ids uuid[], p_customers text[]) RETURNS smallint[]
LANGUAGE plpgsql
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_material = off
AS $$
DECLARE
    pairs_n integer := coalesce(cardinality(p_coupon_ids), 0);
    codes smallint[] := array_fill(0::smallint, ARRAY[pairs_n]);
    ids uuid[];
    free bigint[];
    most integer[];
    known boolean[];
    by_customer bigint[];
    taken integer[] := '{}';
    first integer := 1;
    stop integer;
    spot integer;
    fits boolean;
BEGIN
    IF pairs_n = 0 THEN
        RETURN codes;
    END IF;
    SELECT array_agg(c.id), array_agg(c.limit_total - c.used), array_agg(c.limit_per_customer) INTO ids, free, most
      FROM (SELECT DISTINCT u.id FROM unnest(p_coupon_ids) AS u (id) ORDER BY u.id) d
      CROSS JOIN LATERAL (
          SELECT x.id, x.limit_total, x.used, x.limit_per_customer FROM coupons x WHERE x.id = d.id FOR NO KEY UPDATE) c;

    -- (A statement of its own: it sees what others have committed while we waited for the locks.)
    SELECT array_agg(EXISTS (SELECT FROM coupon_uses x WHERE x.order_id = p.order_id AND x.coupon_id = p.coupon_id) ORDER BY p.ord),
           array_agg(CASE WHEN most[array_position(ids, p.coupon_id)] IS NULL THEN 0
                          ELSE (SELECT count(*) FROM coupon_uses x WHERE x.coupon_id = p.coupon_id AND x.customer = p.customer)
                     END ORDER BY p.ord)
      INTO known, by_customer
      FROM unnest(p_order_ids, p_coupon_ids, p_customers) WITH ORDINALITY AS p (order_id, coupon_id, customer, ord);

    WHILE first <= pairs_n LOOP
        stop := first;
        fits := true;
        WHILE stop <= pairs_n AND p_order_ids[stop] = p_order_ids[first] LOOP
            spot := array_position(ids, p_coupon_ids[stop]);
            IF spot IS NULL OR (NOT known[stop] AND (
                    free[spot] <= 0
                    OR by_customer[stop] + (
                        SELECT count(*) FROM unnest(taken) AS t (pair)
                         WHERE most[spot] IS NOT NULL
                           AND p_coupon_ids[t.pair] = p_coupon_ids[stop] AND p_customers[t.pair] = p_customers[stop]
                    ) >= most[spot])) THEN
                codes[stop] := 1;
                fits := false;
            END IF;
            stop := stop + 1;
        END LOOP;
        IF fits THEN
            FOR pair IN first .. stop - 1 LOOP
                IF NOT known[pair] THEN
                    spot := array_position(ids, p_coupon_ids[pair]);
                    free[spot] := free[spot] - 1;
                    taken := taken || pair;
                END IF;
            END LOOP;
        END IF;
        first := stop;
    END LOOP;

    WITH written AS (
        INSERT INTO coupon_uses (order_id, coupon_id, customer)
        SELECT p_order_ids[t.pair], p_coupon_ids[t.pair], coalesce(p_customers[t.pair], '') FROM unnest(taken) AS t (pair)
        ON CONFLICT DO NOTHING
        RETURNING coupon_id
    )
    UPDATE coupons c SET used = c.used + w.n
      FROM (SELECT coupon_id, count(*) AS n FROM written GROUP BY coupon_id) w
     WHERE c.id = w.coupon_id;
    RETURN codes;
END
$$;

-- free_coupons: orders that are released, or were not placed after all, give back what they used. The caller holds the orders'
-- locks. Returns how many uses came back.
CREATE FUNCTION free_coupons(p_order_ids uuid[]) RETURNS integer
LANGUAGE plpgsql
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_material = off
AS $$
DECLARE
    ids uuid[];
    freed integer;
BEGIN
    SELECT array_agg(DISTINCT u.coupon_id) INTO ids
      FROM unnest(p_order_ids) AS o (id)
      CROSS JOIN LATERAL (SELECT x.coupon_id FROM coupon_uses x WHERE x.order_id = o.id OFFSET 0) u;
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM FROM (SELECT u.id FROM unnest(ids) AS u (id) ORDER BY u.id) d
       CROSS JOIN LATERAL (SELECT x.id FROM coupons x WHERE x.id = d.id FOR NO KEY UPDATE) c;
    WITH gone AS (
        DELETE FROM coupon_uses WHERE order_id = ANY (p_order_ids) RETURNING coupon_id
    ), counted AS (
        UPDATE coupons c SET used = c.used - g.n
          FROM (SELECT coupon_id, count(*) AS n FROM gone GROUP BY coupon_id) g
         WHERE c.id = g.coupon_id
    )
    SELECT count(*) INTO freed FROM gone;
    RETURN freed;
END
$$;
