-- name: sessions_lead_to_own_carts
-- A session of a customer leads to that customer's cart, and a guest's to nobody's: nobody sees the cart of another.
SELECT format('a session of %s leads to the cart %s of %s', coalesce(s.customer_id::text, 'a guest'), c.id, coalesce(c.customer_id::text, 'a guest'))
  FROM sessions s JOIN carts c ON c.id = s.cart_id
 WHERE s.customer_id IS DISTINCT FROM c.customer_id;
