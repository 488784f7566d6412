-- The rules that prices follow. Nothing here is ever deleted, only ended, and each row names the version of the rules that
-- changed it last: a worker that knows version 7 reads what is newer.

CREATE TABLE pricing_rules (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL DEFAULT 1,
    prices_include_tax boolean NOT NULL DEFAULT true,
    rounding text NOT NULL DEFAULT 'half-even' CHECK (rounding IN ('half-even', 'half-up')),
    home_country text CHECK (home_country ~ '^[A-Z]{2}$'),
    shipping_required boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE pricing_rules IS 'one row; its version grows with every change of a promotion, coupon, tax rate or shipping method';
INSERT INTO pricing_rules DEFAULT VALUES;

CREATE TABLE promotions (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    label text NOT NULL,
    rule jsonb NOT NULL,
    currency text CHECK (currency ~ '^[A-Z]{3}$'),
    min_value bigint NOT NULL DEFAULT 0 CHECK (min_value >= 0),
    starts_at timestamptz,
    ends_at timestamptz,
    priority integer NOT NULL DEFAULT 100,
    exclusive boolean NOT NULL DEFAULT false,
    coupon_only boolean NOT NULL DEFAULT false,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT promotions_amounts_have_a_currency CHECK (min_value = 0 OR currency IS NOT NULL)
);
COMMENT ON COLUMN promotions.rule IS 'what it gives: {"kind": …} with the fields of its kind';

-- Half-empty pages: the counter of a code that everybody has changes with every commit.
CREATE TABLE coupons (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    code text COLLATE "C" NOT NULL CHECK (code ~ '^[A-Z0-9][A-Z0-9_-]{0,39}$'),
    promotion_id uuid NOT NULL REFERENCES promotions,
    limit_total bigint CHECK (limit_total > 0),
    limit_per_customer integer CHECK (limit_per_customer > 0),
    starts_at timestamptz,
    ends_at timestamptz,
    ended_at timestamptz,
    used bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT coupons_code_key UNIQUE (code),
    CONSTRAINT coupons_used_within_limit CHECK (used >= 0 AND (limit_total IS NULL OR used <= limit_total))
) WITH (fillfactor = 50);
CREATE INDEX coupons_version ON coupons (version);
COMMENT ON COLUMN coupons.used IS 'orders that use it now: the rows of coupon_uses, counted';

CREATE TABLE coupon_uses (
    order_id uuid NOT NULL,
    coupon_id uuid NOT NULL,
    customer text NOT NULL,
    PRIMARY KEY (order_id, coupon_id)
);
CREATE INDEX coupon_uses_customer ON coupon_uses (coupon_id, customer);
COMMENT ON TABLE coupon_uses IS 'the orders that use a coupon; an order that is released gives it back';

CREATE TABLE tax_rates (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    tax_category text NOT NULL,
    rate_bp integer NOT NULL CHECK (rate_bp BETWEEN 0 AND 100000),
    starts_at timestamptz,
    ends_at timestamptz,
    ended_at timestamptz
);
COMMENT ON COLUMN tax_rates.rate_bp IS 'basis points: 2000 is 20 %';

CREATE TABLE shipping_methods (
    code text COLLATE "C" PRIMARY KEY CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    version bigint NOT NULL,
    label text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    countries text[] NOT NULL DEFAULT '{}',
    tax_category text NOT NULL DEFAULT 'standard',
    basis text NOT NULL CHECK (basis IN ('weight', 'value')),
    weight_g_max bigint CHECK (weight_g_max > 0),
    ended_at timestamptz
);
COMMENT ON COLUMN shipping_methods.countries IS 'empty: to all';

CREATE TABLE shipping_steps (
    code text COLLATE "C" NOT NULL REFERENCES shipping_methods,
    at_least bigint NOT NULL CHECK (at_least >= 0),
    price bigint NOT NULL CHECK (price >= 0),
    PRIMARY KEY (code, at_least)
);
COMMENT ON COLUMN shipping_steps.at_least IS 'grams or minor units, as the method''s basis says';
