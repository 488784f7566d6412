-- name: find_by_email
-- A customer by his address.
SELECT id, email, name, created_at, password_hash FROM customers WHERE email_key = $1;

-- name: find_customer
-- A customer who was not erased.
SELECT id, email, name, created_at, password_hash, email_key FROM customers WHERE id = $1 AND erased_at IS NULL;

-- name: list_customers
-- Customers after one, by id, which is by age; `$2` is the beginning of an address.
SELECT id, email, name, created_at FROM customers
 WHERE ($1::uuid IS NULL OR id < $1) AND ($2::text IS NULL OR starts_with(email_key, $2)) AND erased_at IS NULL
 ORDER BY id DESC LIMIT $3;

-- name: add_customer
-- A new customer.
INSERT INTO customers (id, email, email_key, name, password_hash) VALUES ($1, $2, $3, $4, $5)
RETURNING id, email, name, created_at;

-- name: lock_if_unchanged
-- Locks a customer whose password is still the one that was looked at.
SELECT id, email, name, created_at FROM customers WHERE id = $1 AND password_hash = $2 FOR NO KEY UPDATE;

-- name: is_unchanged
-- Whether the password is still the one that was looked at.
SELECT EXISTS (SELECT FROM customers WHERE id = $1 AND password_hash = $2);

-- name: renew_digest
-- The same password under other parameters.
UPDATE customers SET password_hash = $2 WHERE id = $1;

-- name: set_password
-- Another password.
UPDATE customers SET password_hash = $2, password_changed_at = now() WHERE id = $1 AND erased_at IS NULL
RETURNING id, email, name, created_at, email_key;

-- name: set_profile
-- Another name and address.
UPDATE customers SET name = $2, email = $3, email_key = $4 WHERE id = $1 AND erased_at IS NULL RETURNING id, email, name, created_at;

-- name: add_reset
-- A token of a password reset; only its digest is kept.
INSERT INTO password_resets (token_hash, customer_id, expires_at) VALUES ($1, $2, now() + $3::interval) RETURNING expires_at;

-- name: find_reset
-- Whether a token can still be used.
SELECT customer_id FROM password_resets WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now();

-- name: use_reset
-- Uses a token; whoever comes second finds it used.
UPDATE password_resets SET used_at = now() WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING customer_id;

-- name: drop_resets
-- Other tokens of a customer are good for nothing any more.
DELETE FROM password_resets WHERE customer_id = $1 AND used_at IS NULL;

-- name: purge_resets
-- Forgets tokens that ended long ago, a batch at a time.
DELETE FROM password_resets WHERE token_hash IN (SELECT token_hash FROM password_resets WHERE expires_at < now() - interval '1 day' LIMIT $1)
RETURNING 1;

-- name: list_addresses
-- The addresses of a customer, oldest first.
SELECT id, recipient, line1, line2, city, region, postcode, country, phone FROM customer_addresses WHERE customer_id = $1 ORDER BY id;

-- name: find_address
-- One address of a customer.
SELECT id, recipient, line1, line2, city, region, postcode, country, phone FROM customer_addresses WHERE id = $1 AND customer_id = $2;

-- name: add_address
-- Keeps an address, unless there are as many as one may keep.
INSERT INTO customer_addresses (id, customer_id, recipient, line1, line2, city, region, postcode, country, phone)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE (SELECT count(*) FROM customer_addresses WHERE customer_id = $2) < $11::integer
RETURNING id;

-- name: lock_customer
-- Makes changes of one customer wait for each other.
SELECT FROM customers WHERE id = $1 FOR NO KEY UPDATE;

-- name: set_address
-- Changes an address of a customer.
UPDATE customer_addresses
   SET recipient = $3, line1 = $4, line2 = $5, city = $6, region = $7, postcode = $8, country = $9, phone = $10
 WHERE id = $1 AND customer_id = $2 RETURNING id;

-- name: drop_address
-- Forgets an address of a customer.
DELETE FROM customer_addresses WHERE id = $1 AND customer_id = $2;

-- name: drop_addresses
-- Forgets all addresses of a customer.
DELETE FROM customer_addresses WHERE customer_id = $1;

-- name: erase_customer
-- Takes away what says who a customer is. His orders stay: the books need them.
UPDATE customers SET email = '', email_key = 'erased ' || id, name = '', password_hash = '', erased_at = now()
 WHERE id = $1 AND erased_at IS NULL RETURNING id;

-- name: own_orders
-- Orders of a customer before one, newest first.
SELECT o.id, o.status, o.total, o.currency, o.placed_at, o.reference, l.units
  FROM orders o
  CROSS JOIN LATERAL (SELECT sum(quantity)::bigint AS units FROM order_lines x WHERE x.order_id = o.id) l
 WHERE o.customer_id = $1 AND ($2::uuid IS NULL OR o.id < $2)
 ORDER BY o.id DESC LIMIT $3;
