-- How place_orders decides one by one, and what it knows of buyers of limited products.

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
    p_stale integer[],
    p_line_closed boolean[],
    p_line_limits integer[],
    p_line_by_email integer[],
    p_line_by_customer integer[],
    p_bought bigint[],
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
    is_stale boolean;
    bought bigint[] := p_bought;
    had bigint;
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
        is_stale := coalesce(i = ANY (p_stale), false);
        stop := first;
        WHILE code = 0 AND stop < line LOOP
            IF p_line_ids[stop] IS NULL THEN
                code := 4;
            ELSIF p_line_closed[stop] THEN
                code := 16;
            ELSIF p_line_prices[stop] IS NULL THEN
                code := 5;
            ELSIF is_stale THEN
                stop := stop + 1;
            ELSE
                IF p_line_limits[stop] IS NOT NULL THEN
                    had := greatest(bought[p_line_by_email[stop]], bought[p_line_by_customer[stop]]);
                    IF had + p_line_quantities[stop] > p_line_limits[stop] THEN
                        code := 17;
                        EXIT;
                    END IF;
                END IF;
                spot := positions[stop];
                IF spot IS NOT NULL THEN
                    IF need[spot] + p_line_quantities[stop] > p_sku_free[spot] THEN
                        code := 3;
                        EXIT;
                    END IF;
                    need[spot] := need[spot] + p_line_quantities[stop];
                END IF;
                IF p_line_limits[stop] IS NOT NULL THEN
                    bought[p_line_by_email[stop]] := bought[p_line_by_email[stop]] + p_line_quantities[stop];
                    IF p_line_by_customer[stop] IS NOT NULL THEN
                        bought[p_line_by_customer[stop]] := bought[p_line_by_customer[stop]] + p_line_quantities[stop];
                    END IF;
                END IF;
                stop := stop + 1;
            END IF;
        END LOOP;
        IF code IN (3, 4, 5, 16, 17) AND NOT is_stale THEN
            -- Give back what the order's first lines had taken.
            FOR k IN first .. stop - 1 LOOP
                IF positions[k] IS NOT NULL THEN
                    need[positions[k]] := need[positions[k]] - p_line_quantities[k];
                END IF;
                IF p_line_limits[k] IS NOT NULL THEN
                    bought[p_line_by_email[k]] := bought[p_line_by_email[k]] - p_line_quantities[k];
                    IF p_line_by_customer[k] IS NOT NULL THEN
                        bought[p_line_by_customer[k]] := bought[p_line_by_customer[k]] - p_line_quantities[k];
                    END IF;
                END IF;
            END LOOP;
        END IF;
        IF is_stale AND code = 0 THEN
            code := 14;
        END IF;
        IF code = 3 THEN
            skus[i] := p_line_skus[stop];
            available[i] := p_sku_free[spot] - need[spot];
            requested[i] := (
                SELECT sum(q.quantity)
                  FROM unnest(p_line_ids[first:line - 1], p_line_quantities[first:line - 1]) AS q (id, quantity)
                 WHERE q.id = p_line_ids[stop]);
        ELSIF code = 16 THEN
            skus[i] := p_line_skus[stop];
        ELSIF code = 17 THEN
            skus[i] := p_line_skus[stop];
            available[i] := greatest(p_line_limits[stop] - had, 0);
            requested[i] := p_line_quantities[stop];
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

-- buyer_name: under which a buyer's purchases of limited products are counted: a digest of the e-mail address, and one of the
-- customer's id if there is one. Whoever has reached the limit under either has reached it.
CREATE FUNCTION buyer_name(p_text text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
RETURN sha256(convert_to(lower(p_text), 'UTF8'));

-- count_limited: what the buyers of limited products have bought of them so far, one count per product and name, and for
-- each line the places of its buyer's counts. The caller holds a lock on each of the products. (No joins of lines with
-- names: planned for any group, they would cost its square.)
CREATE FUNCTION count_limited(
    p_emails text[], p_customers uuid[], p_line_orders integer[], p_line_ids integer[], p_line_limits integer[],
    OUT line_by_email integer[], OUT line_by_customer integer[], OUT bought bigint[]
)
LANGUAGE plpgsql
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    WITH named AS MATERIALIZED (
        SELECT l.spot, n.number, l.id, n.buyer,
               CASE WHEN n.buyer IS NOT NULL THEN dense_rank() OVER (ORDER BY n.buyer IS NULL, l.id, n.buyer) END AS place
          FROM unnest(p_line_ids, p_line_orders, p_line_limits) WITH ORDINALITY AS l (id, ord, most, spot)
          CROSS JOIN LATERAL (
              VALUES (1, CASE WHEN l.most IS NOT NULL THEN buyer_name(p_emails[l.ord]) END),
                     (2, CASE WHEN l.most IS NOT NULL THEN buyer_name(p_customers[l.ord]::text) END)) AS n (number, buyer)
    )
    SELECT (SELECT array_agg(n.place ORDER BY n.spot) FILTER (WHERE n.number = 1) FROM named n),
           (SELECT array_agg(n.place ORDER BY n.spot) FILTER (WHERE n.number = 2) FROM named n),
           (SELECT array_agg(coalesce(b.quantity, 0)::bigint ORDER BY d.place)
              FROM (SELECT DISTINCT n.place, n.id, n.buyer FROM named n WHERE n.place IS NOT NULL) d
              CROSS JOIN LATERAL (
                  SELECT sum(s.quantity) AS quantity
                    FROM limited_sales s
                    CROSS JOIN LATERAL (SELECT x.status FROM orders x WHERE x.id = s.order_id OFFSET 0) o
                   WHERE s.sku_id = d.id AND s.buyer = d.buyer AND o.status NOT IN ('declined', 'cancelled')) b)
      INTO line_by_email, line_by_customer, bought;
END
$$;
