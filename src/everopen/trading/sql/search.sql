-- name: find_products
-- A page of products that satisfy the conditions, in an order that no two of them share.
SELECT p.sku, p.title, p.description, p.unit_price, {price} AS price, p.tracks_stock, p.published, p.buyer_limit, p.category_id,
       p.group_id, p.tax_category, p.weight_g, p.attributes, p.images, p.version, p.scheduled,
       s.on_hand + s.backorder - s.reserved AS available, {key} AS sort_key
  FROM products p
  LEFT JOIN stock s ON s.sku_id = p.id
 WHERE {where}
 ORDER BY {key} {direction}, p.sku
 LIMIT {limit};

-- name: find_facets
-- What the products that satisfy the conditions can be narrowed by, one count per row; `failed` names the attributes of a product that are not as wished.
WITH RECURSIVE found AS MATERIALIZED (
    SELECT {price} AS price, p.category_id, p.attributes, (NOT p.tracks_stock OR s.on_hand + s.backorder > s.reserved) AS in_stock,
           ARRAY(SELECT f.key FROM jsonb_each({attributes}::jsonb) f
                  WHERE NOT EXISTS (SELECT FROM jsonb_array_elements_text(f.value) v WHERE p.attributes -> f.key ? v.value)) AS failed
      FROM products p
      LEFT JOIN stock s ON s.sku_id = p.id
     WHERE {where}
), above AS (
    SELECT c.id, c.id AS ancestor FROM categories c
    UNION ALL SELECT a.id, c.parent_id FROM above a JOIN categories c ON c.id = a.ancestor WHERE c.parent_id IS NOT NULL
), figures AS (
    SELECT count(*) AS total, count(*) FILTER (WHERE f.in_stock) AS in_stock, min(f.price) AS price_min, max(f.price) AS price_max
      FROM found f WHERE f.failed = '{{}}'
)
SELECT 'figure' AS kind, u.name, NULL AS value, u.count
  FROM figures g, LATERAL (VALUES ('total', g.total), ('in_stock', g.in_stock), ('price_min', g.price_min), ('price_max', g.price_max)) AS u (name, count)
UNION ALL
(SELECT 'category', '', a.ancestor, count(*) FROM found f JOIN above a ON a.id = f.category_id WHERE f.failed = '{{}}'
  GROUP BY a.ancestor ORDER BY count(*) DESC, a.ancestor LIMIT {most})
UNION ALL
(SELECT 'attribute', t.key, v.value, count(*) FROM found f, jsonb_each(f.attributes) t, jsonb_array_elements_text(t.value) v
  WHERE f.failed <@ ARRAY[t.key] GROUP BY t.key, v.value ORDER BY t.key, count(*) DESC, v.value LIMIT {most});

-- name: price
-- What it costs now (see products.scheduled). No function: it would be called for each row, and almost none is scheduled.
CASE WHEN p.scheduled THEN (
    SELECT r.amount FROM prices r
     WHERE r.sku_id = p.id AND r.currency = :currency AND r.valid_from <= now() AND (r.valid_to > now() OR r.valid_to IS NULL))
ELSE p.unit_price END;

-- name: is_published
-- Visitors see it.
p.published;

-- name: matches
-- Its words match what was typed (quotes, OR and - have their usual meaning), or its SKU begins like that.
(p.search @@ websearch_to_tsquery('pg_catalog.english', regexp_replace(translate(normalize(:query, NFD), '<>/_@', '     '), '[\u0300-\u036f]', '', 'g'))
 OR p.sku LIKE :sku OR p.sku LIKE upper(:sku));

-- name: rank
-- How well it matches, between 0 and 1 in steps that a cursor can hold exactly.
round(ts_rank(p.search, websearch_to_tsquery('pg_catalog.english', regexp_replace(translate(normalize(:query, NFD), '<>/_@', '     '), '[\u0300-\u036f]', '', 'g')), 32)::numeric, 6)::float8;

-- name: in_category
-- It is in the category or in one below it.
p.category_id IN (
    WITH RECURSIVE below AS (
        SELECT c.id FROM categories c WHERE c.id = :category
        UNION ALL SELECT c.id FROM categories c JOIN below b ON c.parent_id = b.id)
    SELECT b.id FROM below b);

-- name: in_group
-- It is a variant of the group.
p.group_id = :group;

-- name: price_from
-- It costs at least so much.
{price} >= :amount;

-- name: price_to
-- It costs at most so much.
{price} <= :amount;

-- name: is_in_stock
-- Some of it is available, or it has no stock to run out of.
(NOT p.tracks_stock OR s.on_hand + s.backorder > s.reserved);

-- name: has_attribute
-- An attribute has one of the values.
p.attributes @> ANY (:any::jsonb[]);

-- name: order_sku
-- In the order of SKUs.
p.sku ASC;

-- name: order_relevance
-- The best match first.
{key} DESC;

-- name: order_price
-- The cheapest first; what has no price comes last.
coalesce({price}, 9000000000000000000) ASC;

-- name: order_price_down
-- The dearest first; what has no price comes last.
coalesce({price}, -1) DESC;

-- name: order_title
-- By title.
(p.title COLLATE "C") ASC;

-- name: order_newest
-- What was added last first.
p.id DESC;

-- name: after_sku
-- Behind an SKU.
p.sku > :sku;

-- name: after_asc
-- Behind the place where the page before ended.
({key}, p.sku) > (:value, :sku);

-- name: after_desc
-- Behind the place where the page before ended, going down.
({key} < :value OR ({key} = :value AND p.sku > :sku));
