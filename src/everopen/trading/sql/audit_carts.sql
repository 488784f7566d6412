-- name: cart_lines_have_carts
-- Each line of a cart lies in a cart and is of a product, and each session leads to a cart. (No foreign keys: see the migration.)
SELECT format('line of cart %s, SKU id %s: %s', l.cart_id, l.sku_id, CASE WHEN c.id IS NULL THEN 'no such cart' ELSE 'no such product' END)
  FROM cart_lines l LEFT JOIN carts c ON c.id = l.cart_id LEFT JOIN products p ON p.id = l.sku_id
 WHERE c.id IS NULL OR p.id IS NULL
UNION ALL
SELECT format('session of cart %s: no such cart', s.cart_id)
  FROM sessions s LEFT JOIN carts c ON c.id = s.cart_id WHERE c.id IS NULL;
