-- Carts of customers, what a line cost when it was put in, sessions that know their customer.

-- One cart per customer, on whichever device he is; a guest's cart has none.
ALTER TABLE carts ADD COLUMN customer_id uuid;
CREATE UNIQUE INDEX carts_customer ON carts (customer_id) WHERE customer_id IS NOT NULL;
COMMENT ON COLUMN carts.customer_id IS 'NULL: a guest''s, known by its session only';

ALTER TABLE cart_lines ADD COLUMN unit_price bigint CHECK (unit_price >= 0);
COMMENT ON COLUMN cart_lines.unit_price IS
    'the price that the buyer saw when the line was last touched, to show him what changed since; NULL: not known. Never charged';

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS customer_id uuid;
CREATE INDEX IF NOT EXISTS sessions_customer ON sessions (customer_id) WHERE customer_id IS NOT NULL;

-- As on the order path: no foreign keys. Each of them locks a row that all visitors share (the hot product's), and costs a
-- query per row. Carts are emptied and deleted in few places, and `everopen audit` proves the relations.
ALTER TABLE cart_lines DROP CONSTRAINT cart_lines_cart_id_fkey, DROP CONSTRAINT cart_lines_sku_id_fkey;
ALTER TABLE sessions DROP CONSTRAINT sessions_cart_id_fkey;
