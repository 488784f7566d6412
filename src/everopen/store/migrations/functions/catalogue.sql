-- The range of goods and the goods themselves, in batches. Codes: 0 done, 1 replay, 2 key reused, 3 below what is reserved,
-- 4 unknown SKU, 9 not found, 12 SKU without stock, 15 changed meanwhile, 16 unknown category, 17 unknown group,
-- 18 unknown location, 19 not so many at the location, 20 categories in a circle, 21 overlapping prices. What is refused has written nothing.

-- upsert_products: adds or changes products; each item is an object with a sku and columns of products, and what an item
-- leaves out stays as it is. A `version` in an item must be the product's. Whether a SKU tracks stock is decided once, when
-- it is added. p_known: nothing is added.
CREATE FUNCTION upsert_products(
    p_key text, p_fingerprint bytea, p_items jsonb, p_known boolean, p_reason text,
    OUT code integer, OUT added bigint, OUT updated bigint, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
    fresh text[];
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'products') k;
    added := known[1];
    updated := known[2];
    IF code <> 0 THEN RETURN; END IF;
    SELECT string_agg(DISTINCT w.item ->> 'category_id', E'\n') INTO detail FROM jsonb_array_elements(p_items) AS w (item)
     WHERE NOT EXISTS (SELECT FROM categories c WHERE c.id = w.item ->> 'category_id') AND w.item ->> 'category_id' IS NOT NULL;
    IF detail IS NOT NULL THEN code := 16; RETURN; END IF;
    SELECT string_agg(DISTINCT w.item ->> 'group_id', E'\n') INTO detail FROM jsonb_array_elements(p_items) AS w (item)
     WHERE NOT EXISTS (SELECT FROM product_groups g WHERE g.id = w.item ->> 'group_id') AND w.item ->> 'group_id' IS NOT NULL;
    IF detail IS NOT NULL THEN code := 17; RETURN; END IF;

    -- Lock what is there, in one order, and look at it again under the lock.
    PERFORM FROM products p WHERE p.sku IN (SELECT w.item ->> 'sku' FROM jsonb_array_elements(p_items) AS w (item))
      ORDER BY p.sku FOR NO KEY UPDATE;
    IF p_known THEN
        SELECT string_agg(w.item ->> 'sku', E'\n') INTO detail FROM jsonb_array_elements(p_items) AS w (item)
         WHERE NOT EXISTS (SELECT FROM products p WHERE p.sku = w.item ->> 'sku');
        IF detail IS NOT NULL THEN code := 9; RETURN; END IF;
    END IF;
    SELECT string_agg(w.item ->> 'sku', E'\n') INTO detail FROM jsonb_array_elements(p_items) AS w (item)
      LEFT JOIN products p ON p.sku = w.item ->> 'sku'
     WHERE w.item ? 'version' AND p.version IS DISTINCT FROM (w.item ->> 'version')::integer;
    IF detail IS NOT NULL THEN
        -- Perhaps a twin of this request changed it while we waited for the lock.
        SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'products') k;
        added := known[1];
        updated := known[2];
        IF code = 0 THEN code := 15; END IF;
        RETURN;
    END IF;

    PERFORM set_config('everopen.reason', p_reason, true);  -- for the triggers that keep versions (who: everopen.actor)
    WITH wanted AS (
        SELECT DISTINCT ON (w.item ->> 'sku') w.item FROM jsonb_array_elements(p_items) WITH ORDINALITY AS w (item, ord)
         ORDER BY w.item ->> 'sku', w.ord DESC
    ), written AS (
        INSERT INTO products AS p (sku, title, unit_price, description, tracks_stock, published, buyer_limit, category_id, tax_category,
                                   weight_g, group_id, attributes, images)
        SELECT n.sku, n.title, n.unit_price, coalesce(n.description, ''), coalesce(n.tracks_stock, true), coalesce(n.published, true),
               n.buyer_limit, n.category_id, n.tax_category, n.weight_g, n.group_id, coalesce(n.attributes, '{}'), coalesce(n.images, '{}')
          FROM wanted w, jsonb_populate_record(NULL::products, w.item) n
         WHERE NOT EXISTS (SELECT FROM products p WHERE p.sku = n.sku)
         ORDER BY n.sku
        ON CONFLICT (sku) DO NOTHING
        RETURNING p.id, p.sku, p.tracks_stock
    ), shelves AS (
        INSERT INTO stock (sku_id) SELECT w.id FROM written w WHERE w.tracks_stock
    )
    SELECT coalesce(array_agg(w.sku), '{}') INTO fresh FROM written w;
    added := cardinality(fresh);
    UPDATE products p
       SET (title, unit_price, description, published, buyer_limit, category_id, tax_category, weight_g, group_id, attributes, images) = (
           SELECT n.title, n.unit_price, n.description, n.published, n.buyer_limit, n.category_id, n.tax_category, n.weight_g,
                  n.group_id, n.attributes, n.images
             FROM jsonb_populate_record(p, w.item - 'version') n)
      FROM (SELECT DISTINCT ON (u.item ->> 'sku') u.item, u.item ->> 'sku' AS sku
              FROM jsonb_array_elements(p_items) WITH ORDINALITY AS u (item, ord) ORDER BY u.item ->> 'sku', u.ord DESC) w
     WHERE p.sku = w.sku AND NOT p.sku = ANY (fresh);
    GET DIAGNOSTICS updated = ROW_COUNT;
    INSERT INTO audit_log (action, key, detail) VALUES ('products', p_key, format('%s added, %s updated', added, updated));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, 'products', ARRAY[added, updated]);
END
$$;

-- put_prices: the prices of a product from now on, all of them; those that stay as they are keep their rows. A product that has
-- prices in the shop's currency is sold at them, else at its unit_price. p_version (NULL: any): the last change of its prices.
CREATE FUNCTION put_prices(
    p_key text, p_fingerprint bytea, p_sku text, p_currency text, p_currencies text[], p_amounts bigint[],
    p_from timestamptz[], p_to timestamptz[], p_version bigint, p_reason text,
    OUT code integer, OUT items bigint, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
    product integer;
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'prices') k;
    items := known[1];
    IF code <> 0 THEN RETURN; END IF;
    SELECT array_agg(coalesce(u.since, '-infinity') ORDER BY u.ord) INTO p_from FROM unnest(p_from) WITH ORDINALITY AS u (since, ord);
    SELECT a.currency INTO detail
      FROM unnest(p_currencies, p_from, p_to) WITH ORDINALITY AS a (currency, since, till, ord)
      JOIN unnest(p_currencies, p_from, p_to) WITH ORDINALITY AS b (currency, since, till, ord)
        ON a.currency = b.currency AND a.ord < b.ord AND tstzrange(a.since, a.till) && tstzrange(b.since, b.till)
     LIMIT 1;
    IF FOUND THEN code := 21; RETURN; END IF;
    SELECT p.id INTO product FROM products p WHERE p.sku = p_sku FOR NO KEY UPDATE;
    IF NOT FOUND THEN code := 9; RETURN; END IF;
    IF p_version <> coalesce((SELECT max(v.id) FROM price_versions v WHERE v.sku_id = product), 0) THEN
        -- Perhaps by a twin of this request, while we waited for the product's row.
        SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'prices') k;
        items := known[1];
        IF code = 0 THEN code := 15; detail := p_sku; END IF;
        RETURN;
    END IF;
    PERFORM set_config('everopen.reason', p_reason, true);
    DELETE FROM prices r WHERE r.sku_id = product AND NOT EXISTS (
        SELECT FROM unnest(p_currencies, p_amounts, p_from, p_to) AS u (currency, amount, since, till)
         WHERE (u.currency, u.amount, u.since) = (r.currency, r.amount, r.valid_from) AND u.till IS NOT DISTINCT FROM r.valid_to);
    INSERT INTO prices (sku_id, currency, amount, valid_from, valid_to)
    SELECT product, u.currency, u.amount, u.since, u.till FROM unnest(p_currencies, p_amounts, p_from, p_to) AS u (currency, amount, since, till)
     WHERE NOT EXISTS (SELECT FROM prices r WHERE r.sku_id = product AND r.currency = u.currency AND r.valid_from = u.since);
    UPDATE products p SET scheduled = p_currency = ANY (p_currencies) WHERE p.id = product AND p.scheduled <> (p_currency = ANY (p_currencies));
    items := cardinality(p_currencies);
    INSERT INTO audit_log (action, key, detail) VALUES ('prices', p_key, format('%s: %s prices', p_sku, items));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, 'prices', ARRAY[items]);
END
$$;

-- put_categories: adds or changes categories. The tree that would come out is looked at first: each category must be
-- reached from a root.
CREATE FUNCTION put_categories(
    p_key text, p_fingerprint bytea, p_ids text[], p_names text[], p_parents text[], p_positions integer[],
    OUT code integer, OUT items bigint, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(4503071);  -- one at a time: two moves that are right each can make a circle together
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'categories') k;
    items := known[1];
    IF code <> 0 THEN RETURN; END IF;
    SELECT string_agg(DISTINCT u.parent, E'\n') INTO detail FROM unnest(p_parents) AS u (parent)
     WHERE u.parent IS NOT NULL AND NOT u.parent = ANY (p_ids) AND NOT EXISTS (SELECT FROM categories c WHERE c.id = u.parent);
    IF detail IS NOT NULL THEN code := 16; RETURN; END IF;
    WITH RECURSIVE wanted AS (
        SELECT u.id, u.parent FROM unnest(p_ids, p_parents) AS u (id, parent)
        UNION ALL SELECT c.id, c.parent_id FROM categories c WHERE NOT c.id = ANY (p_ids)
    ), reached AS (
        SELECT w.id FROM wanted w WHERE w.parent IS NULL
        UNION ALL SELECT w.id FROM wanted w JOIN reached r ON w.parent = r.id
    )
    SELECT string_agg(w.id, E'\n') INTO detail FROM wanted w WHERE NOT EXISTS (SELECT FROM reached r WHERE r.id = w.id);
    IF detail IS NOT NULL THEN code := 20; RETURN; END IF;
    INSERT INTO categories (id, name) SELECT u.id, u.name FROM unnest(p_ids, p_names) AS u (id, name) ON CONFLICT (id) DO NOTHING;
    UPDATE categories c SET name = u.name, parent_id = u.parent, position = u.position
      FROM unnest(p_ids, p_names, p_parents, p_positions) AS u (id, name, parent, position) WHERE c.id = u.id;
    items := cardinality(p_ids);
    INSERT INTO audit_log (action, key, detail) VALUES ('categories', p_key, array_to_string(p_ids[1:20], ', '));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, 'categories', ARRAY[items]);
END
$$;

-- put_groups: adds or changes product groups; p_items has objects with id, title, description, varies_by.
CREATE FUNCTION put_groups(p_key text, p_fingerprint bytea, p_items jsonb, OUT code integer, OUT items bigint)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'groups') k;
    items := known[1];
    IF code <> 0 THEN RETURN; END IF;
    INSERT INTO product_groups (id, title, description, varies_by)
    SELECT n.id, n.title, n.description, n.varies_by FROM jsonb_populate_recordset(NULL::product_groups, p_items) n ORDER BY n.id
    ON CONFLICT (id) DO UPDATE SET title = excluded.title, description = excluded.description, varies_by = excluded.varies_by;
    GET DIAGNOSTICS items = ROW_COUNT;
    INSERT INTO audit_log (action, key, detail) VALUES ('groups', p_key, format('%s groups', items));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, 'groups', ARRAY[items]);
END
$$;

-- put_locations: adds or changes locations.
CREATE FUNCTION put_locations(
    p_key text, p_fingerprint bytea, p_ids text[], p_names text[], p_priorities integer[], OUT code integer, OUT items bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    known bigint[];
BEGIN
    SELECT k.code, k.result INTO code, known FROM known_key(p_key, p_fingerprint, 'locations') k;
    items := known[1];
    IF code <> 0 THEN RETURN; END IF;
    INSERT INTO locations (id, name, priority)
    SELECT u.id, u.name, u.priority FROM unnest(p_ids, p_names, p_priorities) AS u (id, name, priority) ORDER BY u.id
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, priority = excluded.priority;
    GET DIAGNOSTICS items = ROW_COUNT;
    INSERT INTO audit_log (action, key, detail) VALUES ('locations', p_key, array_to_string(p_ids[1:20], ', '));
    INSERT INTO idempotency (key, fingerprint, kind, result) VALUES (p_key, p_fingerprint, 'locations', ARRAY[items]);
END
$$;
