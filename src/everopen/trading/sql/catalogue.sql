-- name: find_named
-- Products by their SKUs.
SELECT p.sku, p.title, p.description, p.unit_price, (CASE WHEN p.scheduled THEN (
           SELECT r.amount FROM prices r
            WHERE r.sku_id = p.id AND r.currency = $2 AND r.valid_from <= now() AND (r.valid_to > now() OR r.valid_to IS NULL))
       ELSE p.unit_price END) AS price, p.tracks_stock, p.published, p.buyer_limit,
       p.category_id, p.group_id, p.tax_category, p.weight_g, p.attributes, p.images, p.version, p.scheduled,
       s.on_hand + s.backorder - s.reserved AS available
  FROM products p
  LEFT JOIN stock s ON s.sku_id = p.id
 WHERE p.sku = ANY ($1::text[]);

-- name: upsert_products
-- Adds or changes products in one batch.
SELECT * FROM upsert_products($1, $2, $3, $4, $5);

-- name: put_prices
-- Sets all prices of a product.
SELECT * FROM put_prices($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: find_prices
-- The prices of a product as they were recorded at a time, by currency and validity.
SELECT v.currency, v.amount, nullif(v.valid_from, '-infinity') AS valid_from, v.valid_to
  FROM (SELECT DISTINCT ON (x.currency, x.valid_from) x.* FROM price_versions x
         WHERE x.sku_id = (SELECT p.id FROM products p WHERE p.sku = $1) AND x.changed_at <= $2
         ORDER BY x.currency, x.valid_from, x.id DESC) v
 WHERE NOT v.gone
 ORDER BY v.currency, v.valid_from;

-- name: prices_version
-- The last change of a product's prices; 0 before the first one, NULL without such a product.
SELECT coalesce((SELECT max(v.id) FROM price_versions v WHERE v.sku_id = p.id), 0)::bigint FROM products p WHERE p.sku = $1;

-- name: list_categories
-- The whole tree, depth first, each with its path and how many published products it and those below it have.
WITH RECURSIVE tree AS (
    SELECT c.id, c.name, c.parent_id, c.position, ARRAY[c.id] AS path, ARRAY[lpad((c.position + 1000000000)::text, 10, '0') || c.name || c.id] AS place
      FROM categories c WHERE c.parent_id IS NULL
    UNION ALL
    SELECT c.id, c.name, c.parent_id, c.position, t.path || c.id, t.place || (lpad((c.position + 1000000000)::text, 10, '0') || c.name || c.id)
      FROM categories c JOIN tree t ON c.parent_id = t.id
), own AS (
    SELECT p.category_id AS id, count(*) AS n FROM products p WHERE p.category_id IS NOT NULL AND p.published GROUP BY p.category_id
), counted AS (
    SELECT u.ancestor AS id, sum(o.n)::bigint AS n FROM own o JOIN tree t ON t.id = o.id, unnest(t.path) AS u (ancestor) GROUP BY u.ancestor
)
SELECT t.id, t.name, t.parent_id, t.position, t.path, coalesce(c.n, 0) AS products
  FROM tree t LEFT JOIN counted c ON c.id = t.id ORDER BY t.place;

-- name: put_categories
-- Adds or changes categories.
SELECT * FROM put_categories($1, $2, $3, $4, $5, $6);

-- name: find_group
-- One product group.
SELECT id, title, description, varies_by FROM product_groups WHERE id = $1;

-- name: list_groups
-- A page of product groups, after an id.
SELECT id, title, description, varies_by FROM product_groups WHERE id > $1 ORDER BY id LIMIT $2;

-- name: put_groups
-- Adds or changes product groups.
SELECT * FROM put_groups($1, $2, $3);
