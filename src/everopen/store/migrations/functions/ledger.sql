-- The ledger rows of an order, in one place: what it posts when it is placed, and the reverse when it is given up.
--
-- Debit positive, credit negative, the rows of an event sum to zero: the customer owes the total, and it is owed to sales,
-- to the tax office and to shipping. An order without tax and shipping posts two rows. (place_orders writes those two itself
-- for a group in which no order has extras: reading its own orders back costs more than writing them.)

-- order_postings: the rows of an order's total, as at the time of placing it. Shipping is posted without its tax.
CREATE FUNCTION order_postings(p_ids uuid[])
RETURNS TABLE (order_id uuid, account text, amount bigint, currency text)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT o.id, e.account, e.amount, o.currency
      FROM unnest(p_ids) AS k (id)
      CROSS JOIN LATERAL (SELECT * FROM orders x WHERE x.id = k.id OFFSET 0) o
      CROSS JOIN LATERAL (
          SELECT coalesce(o.tax, 0) AS tax,
                 coalesce(o.shipping, 0) - CASE WHEN o.tax_added THEN 0 ELSE coalesce(o.shipping_tax, 0) END AS shipping) n
      CROSS JOIN LATERAL (
          VALUES ('receivable', o.total), ('sales', n.tax + n.shipping - o.total), ('tax', -n.tax), ('shipping', -n.shipping)
      ) AS e (account, amount)
     WHERE e.account IN ('receivable', 'sales') OR e.amount <> 0
$$;

-- post_placed: orders were placed.
CREATE FUNCTION post_placed(p_ids uuid[]) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO ledger_entries (order_id, event, account, amount, currency)
    SELECT p.order_id, 'placed', p.account, p.amount, p.currency FROM order_postings(p_ids) p
$$;

-- post_released: placed orders were given up before they were paid (declined, cancelled, expired).
CREATE FUNCTION post_released(p_ids uuid[]) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO ledger_entries (order_id, event, account, amount, currency)
    SELECT p.order_id, 'released', p.account, -p.amount, p.currency FROM order_postings(p_ids) p
$$;
