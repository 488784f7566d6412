-- The range of goods: variants, categories, attributes, prices with validity, versions, stock at several locations.
SELECT 1;
