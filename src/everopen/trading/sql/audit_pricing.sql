-- name: ledger_splits_orders
-- Tax and shipping of each order are on accounts of their own, and so is their release.
SELECT format('order %s (%s): tax %s, posted %s, shipping %s, posted %s', coalesce(o.id, e.order_id), o.status, o.tax, e.tax, o.shipping, e.shipping)
  FROM (SELECT id, status, currency, coalesce(tax, 0) AS tax,
               coalesce(shipping, 0) - CASE WHEN tax_added THEN 0 ELSE coalesce(shipping_tax, 0) END AS shipping,
               status = 'declined'
                   OR (status = 'cancelled' AND id NOT IN (SELECT order_id FROM order_history WHERE from_status = 'paid')) AS gone
          FROM orders WHERE tax > 0 OR shipping > 0) o
  FULL JOIN (SELECT order_id, min(currency) AS currency,
                    -coalesce(sum(amount) FILTER (WHERE account = 'tax' AND event = 'placed'), 0) AS tax,
                    -coalesce(sum(amount) FILTER (WHERE account = 'shipping' AND event = 'placed'), 0) AS shipping,
                    coalesce(sum(amount) FILTER (WHERE account = 'tax' AND event = 'released'), 0) AS tax_back,
                    coalesce(sum(amount) FILTER (WHERE account = 'shipping' AND event = 'released'), 0) AS shipping_back
               FROM ledger_entries WHERE account IN ('tax', 'shipping') AND event IN ('placed', 'released') GROUP BY order_id) e
       ON e.order_id = o.id
 WHERE (o.tax, o.shipping) IS DISTINCT FROM (coalesce(e.tax, 0), coalesce(e.shipping, 0))
    OR (e.tax_back, e.shipping_back) IS DISTINCT FROM (CASE WHEN o.gone THEN o.tax ELSE 0 END, CASE WHEN o.gone THEN o.shipping ELSE 0 END)
       AND e.order_id IS NOT NULL
    OR o.currency <> e.currency;

-- name: limited_sales_match_lines
-- What counts towards a buyer's limit was ordered.
SELECT format('SKU id %s of order %s: counted %s, ordered %s', s.sku_id, s.order_id, s.quantity, l.quantity)
  FROM limited_sales s
  LEFT JOIN LATERAL (SELECT sum(x.quantity) AS quantity FROM order_lines x WHERE x.order_id = s.order_id AND x.sku_id = s.sku_id) l ON true
 WHERE l.quantity IS NULL OR s.quantity > l.quantity;
