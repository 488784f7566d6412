-- The range of goods: variants, categories, attributes, prices with validity, versions, stock at several locations.

-- Ids are short words that people chose (a slug): they stand in addresses, in files and in promotions.
CREATE TABLE categories (
    id text COLLATE "C" PRIMARY KEY,
    parent_id text COLLATE "C" REFERENCES categories,
    name text NOT NULL,
    position integer NOT NULL DEFAULT 0,
    CONSTRAINT categories_parent_is_another CHECK (parent_id <> id)
);

CREATE TABLE product_groups (
    id text COLLATE "C" PRIMARY KEY,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    varies_by text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE product_groups IS 'what schema.org calls a ProductGroup: its products are the variants, told apart by the attributes in varies_by';

-- Words are found without their accents: the shop's databases have the locale C, which knows no case of é. And what the
-- parser would take for a tag, a path or an address (red/blue) is words to a buyer.
ALTER TABLE products
    ADD COLUMN category_id text COLLATE "C" REFERENCES categories,
    ADD COLUMN tax_category text COLLATE "C",
    ADD COLUMN weight_g integer CHECK (weight_g BETWEEN 0 AND 1000000000),
    ADD COLUMN group_id text COLLATE "C" REFERENCES product_groups,
    ADD COLUMN attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    ADD COLUMN images text[] NOT NULL DEFAULT '{}',
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('pg_catalog.simple', sku), 'A')
        || setweight(to_tsvector('pg_catalog.english', regexp_replace(translate(normalize(title, NFD), '<>/_@', '     '), '[\u0300-\u036f]', '', 'g')), 'A')
        || setweight(to_tsvector('pg_catalog.english', regexp_replace(translate(normalize(attributes::text, NFD), '<>/_@', '     '), '[\u0300-\u036f]', '', 'g')), 'B')
        || setweight(to_tsvector('pg_catalog.english', regexp_replace(translate(normalize(description, NFD), '<>/_@', '     '), '[\u0300-\u036f]', '', 'g')), 'C')
    ) STORED;
COMMENT ON COLUMN products.attributes IS 'name → list of texts, also where there is one, so that a filter is one containment';
CREATE INDEX products_search ON products USING gin (search);
CREATE INDEX products_attributes ON products USING gin (attributes jsonb_path_ops);
CREATE INDEX products_category ON products (category_id) WHERE category_id IS NOT NULL;
CREATE INDEX products_group ON products (group_id) WHERE group_id IS NOT NULL;

-- Versions are kept by triggers with the owner's rights: the application can neither skip nor write one.
CREATE TABLE product_versions (
    product_id integer NOT NULL,
    version integer NOT NULL,
    changed_at timestamptz NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    content jsonb NOT NULL,
    PRIMARY KEY (product_id, version)
);
COMMENT ON TABLE product_versions IS 'each product as it was after each change, append-only: who (everopen.actor), when, why (everopen.reason)';
INSERT INTO product_versions
SELECT id, version, updated_at, '', 'as it was when versions began', to_jsonb(p) - '{search,updated_at}'::text[] FROM products p;

CREATE FUNCTION products_count_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    beside constant text[] := '{search,updated_at,version}';
BEGIN
    IF to_jsonb(NEW) - beside = to_jsonb(OLD) - beside THEN
        NEW.version := OLD.version;
        NEW.updated_at := OLD.updated_at;
    ELSE
        NEW.version := OLD.version + 1;
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER products_count_version BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION products_count_version();

-- (The time is the clock's, under the row's lock: versions of a product have their times in their order.)
CREATE FUNCTION products_keep_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.version <> OLD.version THEN
        INSERT INTO product_versions (product_id, version, changed_at, actor, reason, content)
        VALUES (NEW.id, NEW.version, clock_timestamp(), coalesce(current_setting('everopen.actor', true), ''),
                coalesce(current_setting('everopen.reason', true), ''), to_jsonb(NEW) - '{search,updated_at}'::text[]);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER products_keep_version AFTER INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION products_keep_version();

CREATE TABLE price_versions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku_id integer NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    gone boolean NOT NULL,
    changed_at timestamptz NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX price_versions_sku ON price_versions (sku_id, id);
COMMENT ON TABLE price_versions IS 'each row of prices as it was written or taken away (gone), append-only; the row of a SKU, currency and valid_from that was last written counts';
INSERT INTO price_versions (sku_id, currency, amount, valid_from, valid_to, gone, changed_at, actor, reason)
SELECT sku_id, currency, amount, valid_from, valid_to, false, now(), '', 'as it was when versions began' FROM prices;

CREATE FUNCTION prices_keep_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    who constant text := coalesce(current_setting('everopen.actor', true), '');
    why constant text := coalesce(current_setting('everopen.reason', true), '');
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD IS DISTINCT FROM NEW) THEN
        INSERT INTO price_versions (sku_id, currency, amount, valid_from, valid_to, gone, changed_at, actor, reason)
        VALUES (OLD.sku_id, OLD.currency, OLD.amount, OLD.valid_from, OLD.valid_to, true, clock_timestamp(), who, why);
    END IF;
    IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND OLD IS DISTINCT FROM NEW) THEN
        INSERT INTO price_versions (sku_id, currency, amount, valid_from, valid_to, gone, changed_at, actor, reason)
        VALUES (NEW.sku_id, NEW.currency, NEW.amount, NEW.valid_from, NEW.valid_to, false, clock_timestamp(), who, why);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER prices_keep_version AFTER INSERT OR UPDATE OR DELETE ON prices FOR EACH ROW EXECUTE FUNCTION prices_keep_version();

-- Locations divide what is physically there; `stock` stays the one row per SKU that orders reserve from. A sale takes
-- from the total only: which location gave the goods is known when they are picked for a shipment. Until then the
-- movement has no location. So a SKU's total is what lies at its locations plus what is unplaced (see architecture.md).
CREATE TABLE locations (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    priority integer NOT NULL DEFAULT 0
);
COMMENT ON COLUMN locations.priority IS 'goods are picked where it is lowest, unless a location is named';

CREATE TABLE stock_at (
    sku_id integer NOT NULL REFERENCES products,
    location_id text COLLATE "C" NOT NULL REFERENCES locations,
    on_hand bigint NOT NULL CHECK (on_hand >= 0),
    PRIMARY KEY (sku_id, location_id)
);

ALTER TABLE stock_movements
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY (CACHE 100),
    ADD COLUMN location_id text COLLATE "C",
    ADD COLUMN actor text,
    DROP CONSTRAINT stock_movements_kind_check,
    ADD CONSTRAINT stock_movements_kind_check
        CHECK (kind IN ('receipt', 'correction', 'return', 'cancellation', 'sale', 'transfer', 'pick'));
ALTER TABLE stock_movements ALTER COLUMN actor SET DEFAULT nullif(current_setting('everopen.actor', true), '');
COMMENT ON COLUMN stock_movements.location_id IS 'NULL: at no location (sold and not picked yet, or not put away)';
CREATE INDEX stock_movements_sku ON stock_movements (sku_id, moved_at, id);

-- Beside the stock row, not in it: whoever watches for low stock never locks or widens the row that a rush writes to.
CREATE TABLE stock_alerts (
    sku_id integer PRIMARY KEY REFERENCES products,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    low_at bigint NOT NULL CHECK (low_at >= 0),
    low_since timestamptz
);
COMMENT ON TABLE stock_alerts IS 'stock.low is announced once when no more than low_at is available, and again only after it was above';
