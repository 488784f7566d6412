-- name: list_products
-- A page of products in the order of their SKUs, after a SKU, optionally those whose SKU or title contains a text.
SELECT p.sku, p.title, p.description, p.unit_price, p.tracks_stock, s.on_hand - s.reserved AS available
  FROM products p
  LEFT JOIN stock s ON s.sku_id = p.id
 WHERE ($1::text IS NULL OR p.sku > $1)
   AND ($2::text IS NULL OR p.title ILIKE $2 OR p.sku ILIKE $2)
 ORDER BY p.sku
 LIMIT $3;

-- name: find_product
-- One product as customers see it.
SELECT p.sku, p.title, p.description, p.unit_price, p.tracks_stock, s.on_hand - s.reserved AS available
  FROM products p
  LEFT JOIN stock s ON s.sku_id = p.id
 WHERE p.sku = $1;

-- name: upsert_products
-- Adds or changes products in one batch.
SELECT * FROM upsert_products($1, $2, $3, $4, $5, $6, $7);

-- name: move_stock
-- Books a goods receipt or a correction, all or nothing.
SELECT * FROM move_stock($1, $2, $3, $4, $5, $6);
