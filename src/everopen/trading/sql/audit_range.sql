-- name: locations_match_movements
-- What lies at each location is the sum of what was moved there and away, and so all locations and what is unplaced sum to the total.
SELECT format('SKU id %s at %s: on hand %s, movements %s', coalesce(s.sku_id, m.sku_id), coalesce(s.location_id, m.location_id), s.on_hand, m.delta)
  FROM stock_at s
  FULL JOIN (SELECT sku_id, location_id, sum(delta) AS delta FROM stock_movements WHERE location_id IS NOT NULL GROUP BY sku_id, location_id) m
    USING (sku_id, location_id)
 WHERE coalesce(s.on_hand, 0) <> coalesce(m.delta, 0);

-- name: picks_within_sales
-- Nothing was picked for a shipment that was not sold.
SELECT format('SKU id %s: picked %s, sold %s', sku_id, sum(delta) FILTER (WHERE kind = 'pick'), -sum(delta) FILTER (WHERE kind = 'sale'))
  FROM stock_movements WHERE (kind = 'pick' AND location_id IS NULL) OR kind = 'sale'
 GROUP BY sku_id HAVING sum(delta) > 0;

-- name: moves_between_places_sum_to_zero
-- Transfers and picks change where goods are, never how many there are.
SELECT format('%s %s of SKU id %s: %s', kind, key, sku_id, sum(delta))
  FROM stock_movements WHERE kind IN ('transfer', 'pick') GROUP BY kind, key, sku_id HAVING sum(delta) <> 0;

-- name: versions_are_complete
-- Each product's versions run from 1 to today's without a gap, and the last one is the product as it is.
SELECT format('product %s is at version %s: %s versions from %s to %s', p.sku, p.version, v.n, v.first, v.last)
  FROM products p
  LEFT JOIN (SELECT product_id, count(*) AS n, min(version) AS first, max(version) AS last FROM product_versions GROUP BY product_id) v
    ON v.product_id = p.id
  LEFT JOIN product_versions c ON c.product_id = p.id AND c.version = p.version
 WHERE (v.n, v.first, v.last) IS DISTINCT FROM (p.version::bigint, 1, p.version)
    OR (to_jsonb(p) - '{search,updated_at}'::text[]) || c.content <> to_jsonb(p) - '{search,updated_at}'::text[];

-- name: price_versions_are_complete
-- Each price with validity is the last version of it that was kept, and each that was kept is there.
SELECT format('SKU id %s in %s from %s: %s, kept %s', coalesce(r.sku_id, v.sku_id), coalesce(r.currency, v.currency),
              coalesce(r.valid_from, v.valid_from), r.amount, v.amount)
  FROM prices r
  FULL JOIN (SELECT * FROM (SELECT DISTINCT ON (sku_id, currency, valid_from) * FROM price_versions
                             ORDER BY sku_id, currency, valid_from, id DESC) l WHERE NOT l.gone) v
    USING (sku_id, currency, valid_from)
 WHERE (r.amount, r.valid_to) IS DISTINCT FROM (v.amount, v.valid_to);

-- name: scheduled_products_have_prices
-- A product that is sold at prices with validity has some.
SELECT format('product %s', p.sku) FROM products p WHERE p.scheduled AND NOT EXISTS (SELECT FROM prices r WHERE r.sku_id = p.id);

-- name: categories_are_a_tree
-- Each category is reached from a root.
WITH RECURSIVE reached AS (
    SELECT c.id FROM categories c WHERE c.parent_id IS NULL
    UNION ALL SELECT c.id FROM categories c JOIN reached r ON c.parent_id = r.id
)
SELECT format('category %s', c.id) FROM categories c WHERE NOT EXISTS (SELECT FROM reached r WHERE r.id = c.id);
