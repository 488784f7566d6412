-- Promotions, coupons, tax and shipping, and what they came to in an order. (Their rules: pricing_rules.sql.)
-- NULL in the new columns of orders and of their lines means "none": an order without extras carries nothing of them.

ALTER TABLE products
    ADD COLUMN published boolean NOT NULL DEFAULT true,
    ADD COLUMN scheduled boolean NOT NULL DEFAULT false,
    ADD COLUMN buyer_limit integer CONSTRAINT products_buyer_limit_positive CHECK (buyer_limit > 0);
COMMENT ON COLUMN products.published IS 'false: in the catalogue, but not for sale';
COMMENT ON COLUMN products.scheduled IS 'true: its price is looked up in prices by the time of the order; false: unit_price';
COMMENT ON COLUMN products.buyer_limit IS 'most pieces that one buyer gets, counted since the product has a limit; NULL: as many as there are';

-- Prices with validity, per currency. Two that overlap are impossible: GiST on ranges needs no extension (btree_gist may
-- not be installed), so SKU and currency are made a range of one number.
CREATE TABLE prices (
    sku_id integer NOT NULL REFERENCES products,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount bigint NOT NULL CHECK (amount BETWEEN 0 AND 10000000000),
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    valid_to timestamptz CHECK (valid_to > valid_from),
    PRIMARY KEY (sku_id, currency, valid_from),
    CONSTRAINT prices_do_not_overlap EXCLUDE USING gist (
        int8range(
            sku_id::bigint * 16777216 + ascii(currency) * 65536 + ascii(substr(currency, 2)) * 256 + ascii(substr(currency, 3)),
            sku_id::bigint * 16777216 + ascii(currency) * 65536 + ascii(substr(currency, 2)) * 256 + ascii(substr(currency, 3)),
            '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&)
);
COMMENT ON TABLE prices IS
    'minor units; of products that are scheduled, and of all in other currencies than the shop''s. valid_to is the first moment without it';

-- On hand may go below zero by what is on back-order, and no further.
ALTER TABLE stock
    ADD COLUMN backorder bigint NOT NULL DEFAULT 0 CONSTRAINT stock_backorder_not_negative CHECK (backorder >= 0),
    DROP CONSTRAINT stock_on_hand_check,
    DROP CONSTRAINT stock_reserved_within_on_hand,
    ADD CONSTRAINT stock_reserved_within_on_hand CHECK (reserved BETWEEN 0 AND on_hand + backorder);
COMMENT ON COLUMN stock.backorder IS 'so many pieces more than there are may be sold: how far below zero available may go';

ALTER TABLE orders
    ADD COLUMN customer_id uuid,
    ADD COLUMN shipping bigint,
    ADD COLUMN shipping_tax bigint,
    ADD COLUMN tax bigint,
    ADD COLUMN tax_added boolean,
    ADD COLUMN shipping_method text,
    ADD COLUMN ship_to jsonb,
    ADD COLUMN quote jsonb,
    ADD CONSTRAINT orders_sums_not_negative CHECK (shipping >= 0 AND shipping_tax >= 0 AND tax >= 0);
CREATE INDEX orders_customer ON orders (customer_id, id) WHERE customer_id IS NOT NULL;
COMMENT ON COLUMN orders.tax IS 'all tax of the order, with shipping_tax';
COMMENT ON COLUMN orders.tax_added IS 'true: tax came on top of the prices; false or NULL: it is in them';
COMMENT ON COLUMN orders.quote IS 'what the rules gave, for people: promotions with amounts, coupons';

ALTER TABLE order_lines
    ADD COLUMN discount bigint,
    ADD COLUMN tax bigint,
    ADD COLUMN tax_rate_bp integer,
    ADD CONSTRAINT order_lines_discount_within_price CHECK (discount BETWEEN 0 AND quantity * unit_price),
    ADD CONSTRAINT order_lines_tax_not_negative CHECK (tax >= 0);
COMMENT ON COLUMN order_lines.discount IS 'off the whole line, with its share of discounts on the whole order';
COMMENT ON COLUMN order_lines.tax_rate_bp IS 'basis points: 2000 is 20 %';

-- Who bought how much of a product with a limit. Buyers are digests: whoever reads this learns no address.
CREATE TABLE limited_sales (
    sku_id integer NOT NULL,
    buyer bytea NOT NULL,
    order_id uuid NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (sku_id, buyer, order_id)
);
COMMENT ON TABLE limited_sales IS 'append-only; counts while its order is neither declined nor cancelled';

ALTER TABLE ledger_entries
    DROP CONSTRAINT ledger_entries_account_check,
    ADD CONSTRAINT ledger_entries_account_check
        CHECK (account IN ('receivable', 'sales', 'cash', 'returns', 'customer_credit', 'tax', 'shipping'));
COMMENT ON TABLE ledger_entries IS
    'double entry, minor units: the rows of each event sum to zero; debit positive, credit negative';

ALTER TABLE payment_intents
    DROP CONSTRAINT payment_intents_kind_check,
    ADD CONSTRAINT payment_intents_kind_check CHECK (kind IN ('charge', 'authorise', 'refund'));
COMMENT ON COLUMN payment_intents.kind IS 'charge: authorise and capture in one. authorise: staff capture later';
