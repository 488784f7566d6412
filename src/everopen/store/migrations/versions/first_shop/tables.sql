-- Tables of the first shop. Few indexes and no foreign keys on the order path: place_orders takes its ids from rows
-- that it has just read or locked in the same transaction, nothing is ever deleted from under it (products are never
-- deleted), and `everopen audit` proves each of these relations at any moment.

-- Also for the tables of later migrations.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO everopen_app, everopen_audit;

CREATE TABLE products (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku text COLLATE "C" NOT NULL,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    unit_price bigint CHECK (unit_price BETWEEN 0 AND 10000000000),
    tracks_stock boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT products_sku_key UNIQUE (sku)
);
COMMENT ON COLUMN products.unit_price IS 'minor units; NULL = sold only at a price that staff name';

-- Half-empty pages, so that updates stay on their page (HOT) and never touch the index.
CREATE TABLE stock (
    sku_id integer PRIMARY KEY REFERENCES products,
    on_hand bigint NOT NULL DEFAULT 0 CHECK (on_hand >= 0),
    reserved bigint NOT NULL DEFAULT 0,
    CONSTRAINT stock_reserved_within_on_hand CHECK (reserved BETWEEN 0 AND on_hand)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE stock_movements (
    sku_id integer NOT NULL,
    delta bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('receipt', 'correction', 'return', 'sale')),
    key text,
    reason text NOT NULL DEFAULT '',
    moved_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE stock_movements IS 'every change of stock.on_hand, append-only; sales are summed per settlement';

CREATE TABLE orders (
    id uuid PRIMARY KEY,
    status text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'paid', 'declined', 'cancelled')),
    currency text NOT NULL,
    total bigint NOT NULL CHECK (total BETWEEN 0 AND 1000000000000),
    email text NOT NULL,
    placed_at timestamptz NOT NULL,
    settled_at timestamptz,
    reference text,
    cart_id uuid
) WITH (fillfactor = 75);
CREATE UNIQUE INDEX orders_reference_key ON orders (reference) WHERE reference IS NOT NULL;

CREATE TABLE order_lines (
    order_id uuid NOT NULL,
    line_no integer NOT NULL,
    sku_id integer NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price bigint NOT NULL CHECK (unit_price >= 0),
    tracked boolean NOT NULL,
    title text NOT NULL,
    PRIMARY KEY (order_id, line_no)
);
COMMENT ON COLUMN order_lines.tracked IS 'whether the line reserved stock when it was sold';

-- A charge has the id of its order, so one unique index serves as both; a refund has an id of its own.
CREATE TABLE payment_intents (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('charge', 'refund')),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'unknown', 'captured', 'refunded', 'declined')),
    amount bigint NOT NULL CHECK (amount >= 0),
    currency text NOT NULL,
    provider text NOT NULL,
    token text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    provider_reference text,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz
) WITH (fillfactor = 75);
CREATE INDEX payment_intents_due ON payment_intents (next_attempt_at) WHERE status IN ('pending', 'unknown');
COMMENT ON COLUMN payment_intents.status IS
    'pending: to be asked. unknown: asked, answer lost or order cancelled meanwhile, polled. others: final';

-- Append-only. No index: nothing on the order path reads it, and the audit reads all of it.
CREATE TABLE ledger_entries (
    order_id uuid,
    refund_id uuid,
    event text NOT NULL CHECK (event IN ('placed', 'captured', 'released', 'refund', 'refund_paid', 'credit')),
    account text NOT NULL CHECK (account IN ('receivable', 'sales', 'cash', 'returns', 'customer_credit')),
    amount bigint NOT NULL,
    currency text NOT NULL,
    posted_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ledger_entries IS
    'double entry, minor units: each event posts two rows that sum to zero; debit positive, credit negative';

-- Thin events: the subject names immutable facts, the payload only what they do not tell.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY (CACHE 100) PRIMARY KEY,
    topic text NOT NULL,
    subject uuid NOT NULL,
    payload jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz
);

CREATE TABLE idempotency (
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    kind text NOT NULL,
    result_id uuid,
    result bigint[],
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_pkey PRIMARY KEY (key)
);
CREATE INDEX idempotency_age ON idempotency USING brin (created_at);  -- for the purge; costs next to nothing to keep
COMMENT ON TABLE idempotency IS 'one row per accepted request, written in its transaction: the only judge of what happened';

CREATE TABLE refunds (
    id uuid PRIMARY KEY,
    order_id uuid,
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    email text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    reference text,
    restocked boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refunds_order ON refunds (order_id) WHERE order_id IS NOT NULL;
CREATE UNIQUE INDEX refunds_reference_key ON refunds (reference) WHERE reference IS NOT NULL;
COMMENT ON COLUMN refunds.order_id IS 'NULL: a stand-alone credit, its sale is not in this shop';

CREATE TABLE refund_lines (
    refund_id uuid NOT NULL REFERENCES refunds,
    line_no integer NOT NULL,
    order_line_no integer,
    sku_id integer NOT NULL REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price bigint NOT NULL CHECK (unit_price >= 0),
    restocked boolean NOT NULL,
    title text NOT NULL,
    PRIMARY KEY (refund_id, line_no)
);

CREATE TABLE audit_log (
    happened_at timestamptz NOT NULL DEFAULT now(),
    action text NOT NULL,
    key text NOT NULL,
    subject uuid,
    detail text NOT NULL DEFAULT ''
);
COMMENT ON TABLE audit_log IS 'what staff did, append-only';

CREATE TABLE carts (
    id uuid PRIMARY KEY,
    version integer NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE cart_lines (
    cart_id uuid NOT NULL REFERENCES carts ON DELETE CASCADE,
    sku_id integer NOT NULL REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cart_id, sku_id)
);

CREATE TABLE sessions (
    token_hash bytea PRIMARY KEY,
    cart_id uuid NOT NULL REFERENCES carts ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_cart ON sessions (cart_id);
