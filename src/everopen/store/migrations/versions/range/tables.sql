-- The range of goods: variants, categories, attributes, prices with validity, versions, stock at several locations.

-- Ids are short words that people chose (a slug): they stand in addresses, in files and in promotions.
CREATE TABLE categories (
    id text COLLATE "C" PRIMARY KEY,
    parent_id text COLLATE "C" REFERENCES categories,
    name text NOT NULL,
    position integer NOT NULL DEFAULT 0,
    CONSTRAINT categories_parent_is_another CHECK (parent_id <> id)
);

ALTER TABLE products
    ADD COLUMN category_id text COLLATE "C" REFERENCES categories,
    ADD COLUMN tax_category text COLLATE "C",
    ADD COLUMN weight_g integer CHECK (weight_g BETWEEN 0 AND 1000000000);
