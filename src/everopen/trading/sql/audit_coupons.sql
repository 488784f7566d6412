-- name: coupon_uses_match_orders
-- Exactly the orders that got something for a coupon and were not released use it.
SELECT format('order %s, coupon %s: %s', coalesce(o.id, u.order_id), coalesce(o.coupon_id, u.coupon_id),
              CASE WHEN o.id IS NULL THEN 'used by no order that has it' ELSE 'not counted' END)
  FROM (SELECT x.id, c.coupon::uuid AS coupon_id
          FROM orders x CROSS JOIN LATERAL jsonb_array_elements_text(x.quote -> 'coupons') AS c (coupon)
         WHERE x.quote IS NOT NULL
           AND x.id NOT IN (SELECT e.order_id FROM ledger_entries e
                             WHERE e.event = 'released' AND e.account = 'receivable' AND e.order_id IS NOT NULL)) o
  FULL JOIN coupon_uses u ON u.order_id = o.id AND u.coupon_id = o.coupon_id
 WHERE o.id IS NULL OR u.order_id IS NULL;

-- name: coupons_count_their_uses
-- A coupon's counter is the number of orders that use it, and within its limit.
SELECT format('coupon %s: counter %s, orders %s, limit %s', coalesce(c.code, u.coupon_id::text), c.used, coalesce(u.n, 0), c.limit_total)
  FROM coupons c FULL JOIN (SELECT coupon_id, count(*) AS n FROM coupon_uses GROUP BY coupon_id) u ON u.coupon_id = c.id
 WHERE c.id IS NULL OR c.used <> coalesce(u.n, 0) OR c.used > c.limit_total;

-- name: coupons_within_customer_limits
-- No customer uses a coupon more often than one customer may.
SELECT format('coupon %s: %s uses of one customer, limit %s', c.code, count(*), c.limit_per_customer)
  FROM coupon_uses u JOIN coupons c ON c.id = u.coupon_id
 WHERE c.limit_per_customer IS NOT NULL
 GROUP BY c.id, u.customer HAVING count(*) > c.limit_per_customer;
